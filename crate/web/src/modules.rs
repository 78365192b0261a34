//! One module of the loaded pack at a time, for `tests/bench`. Built only with the feature `parity`.

use burn::tensor::{Device, Tensor, TensorData};
use fraise_engine::kernels::Border;
use fraise_engine::{Error, Result, parity};
use js_sys::Float32Array;
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use crate::FraiseEngine;
use crate::error::to_js;

/// A module and what it is given.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Module {
    TextEncoder { prompt: String },
    Unet { sample: Values, timestep: f64, context: Values },
    VaeDecoder { latents: Values },
}

/// A tensor as JavaScript gives it.
#[derive(Deserialize)]
struct Values {
    shape: Vec<usize>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    data: Float32Array,
}

#[wasm_bindgen]
impl FraiseEngine {
    /// Runs a module `repeats` times, one after the other, and reads back what it gives last.
    ///
    /// `module`: `{text_encoder: {prompt}}`, `{unet: {sample, timestep, context}}` or `{vae_decoder: {latents}}`, whose
    /// tensors are `{shape, data}`.
    ///
    /// # Errors
    /// `Request` for anything else, and where no pack is loaded; the device's own.
    #[wasm_bindgen(js_name = runModule)]
    pub async fn run_module(&self, module: JsValue, repeats: u32) -> Result<Float32Array, JsValue> {
        let values = self.module_output(module, repeats).await.map_err(|error| to_js(&error))?;
        Ok(Float32Array::from(values.as_slice()))
    }
}

impl FraiseEngine {
    async fn module_output(&self, module: JsValue, repeats: u32) -> Result<Vec<f32>> {
        let module: Module =
            serde_wasm_bindgen::from_value(module).map_err(|error| Error::request("module", error.to_string()))?;
        let (compute, pipeline) = (self.compute(), self.loaded()?.pipeline);
        let values = match module {
            Module::TextEncoder { prompt } => last(repeats, || pipeline.encode(&prompt)).await?,
            Module::Unet { sample, timestep, context } => {
                let (sample, context) = (sample.on(&compute.device)?, context.on(&compute.device)?);
                last(repeats, || Ok(pipeline.predict(sample.clone(), timestep, context.clone()))).await?
            }
            Module::VaeDecoder { latents } => {
                let latents = latents.on(&compute.device)?;
                last(repeats, || Ok(pipeline.decode(latents.clone(), Border::Zeros))).await?
            }
        };
        compute.check()?;
        Ok(values)
    }
}

/// The last of several outputs of `forward`, read back.
async fn last<const D: usize>(repeats: u32, forward: impl Fn() -> Result<Tensor<D>>) -> Result<Vec<f32>> {
    let mut output = forward()?;
    for _ in 1..repeats {
        output = forward()?;
    }
    parity::read(output).await
}

impl Values {
    fn on<const D: usize>(self, device: &Device) -> Result<Tensor<D>> {
        let (shape, data) = (self.shape, self.data.to_vec());
        if shape.len() != D
            || shape.iter().try_fold(1, |count: usize, side| count.checked_mul(*side)) != Some(data.len())
        {
            return Err(Error::request(
                "module",
                format!("a tensor of {D} dimensions has shape {shape:?} and {} values", data.len()),
            ));
        }
        Ok(Tensor::from_data(TensorData::new(data, shape), device))
    }
}
