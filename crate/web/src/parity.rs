//! The engine's goldens in a browser, for `tests/browser`. Built only with the feature `parity`.

use std::collections::BTreeMap;
use std::pin::pin;

use fraise_engine::kernels::Border;
use fraise_engine::parity::{self, Comparison, Files};
use fraise_engine::request::Request;
use fraise_engine::{Error, Result};
use futures::StreamExt;
use js_sys::{Array, Float32Array, Object, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::FraiseEngine;
use crate::error::{serialize_or_throw, set, to_js};

/// How far one result is from the reference, with the verdict.
#[derive(Serialize)]
struct Verdict {
    name: String,
    relative: f64,
    tolerance: f64,
    passes: bool,
}

#[wasm_bindgen]
impl FraiseEngine {
    /// Every case with the files that it wants: `{[name]: string[]}`, paths below `tests/parity/goldens`.
    ///
    /// # Errors
    /// `Manifest` where the index is broken.
    #[wasm_bindgen(js_name = parityCases)]
    pub fn parity_cases() -> Result<JsValue, JsValue> {
        let cases = parity::cases().map_err(|error| to_js(&error))?;
        let files: BTreeMap<_, _> = cases.iter().map(|case| (case.name.as_str(), case.files())).collect();
        serialize_or_throw(&files)
    }

    /// Runs a case on this engine's device: `[{name, relative, tolerance, passes}]`.
    ///
    /// `files`: the case's files by path, as `Uint8Array`s.
    ///
    /// # Errors
    /// What the engine reports, the device's own among it.
    #[wasm_bindgen(js_name = parityCase)]
    pub async fn parity_case(&self, name: String, files: Object) -> Result<JsValue, JsValue> {
        let files: Files = Object::entries(&files)
            .iter()
            .filter_map(|entry| {
                let entry: Array = entry.dyn_into().ok()?;
                Some((entry.get(0).as_string()?, entry.get(1).dyn_into::<Uint8Array>().ok()?.to_vec()))
            })
            .collect();
        let compute = self.compute();
        self.verdicts(parity::run_case(&name, &files, &compute.device).await).await
    }

    /// Products with weights of every scheme on this engine's device: as [`Self::parity_case`].
    ///
    /// # Errors
    /// What the device reports.
    #[wasm_bindgen(js_name = paritySchemes)]
    pub async fn parity_schemes(&self) -> Result<JsValue, JsValue> {
        let compute = self.compute();
        self.verdicts(parity::compare_schemes(&compute.device).await).await
    }

    /// Paints with the loaded pack: `{latents, image}` as `Float32Array`s, the final latents [1, C, h, w] and the
    /// picture [1, 3, H, W] in [0, 1].
    ///
    /// # Errors
    /// What the engine reports, the device's own among it.
    #[wasm_bindgen(js_name = parityPaint)]
    pub async fn parity_paint(&self, request: JsValue) -> Result<JsValue, JsValue> {
        let compute = self.compute();
        let painted = self.paint(request).await.map_err(|error| to_js(&error))?;
        compute.finish().await.map_err(|error| to_js(&error))?;
        let result = Object::new();
        for (name, values) in ["latents", "image"].into_iter().zip(painted) {
            set(&result, name, &Float32Array::from(values.as_slice()));
        }
        Ok(result.into())
    }
}

impl FraiseEngine {
    async fn verdicts(&self, comparisons: Result<Vec<Comparison>>) -> Result<JsValue, JsValue> {
        let comparisons = comparisons.map_err(|error| to_js(&error))?;
        self.compute().finish().await.map_err(|error| to_js(&error))?;
        let verdicts: Vec<_> = comparisons
            .into_iter()
            .map(|comparison| Verdict {
                relative: comparison.relative(),
                tolerance: comparison.tolerance,
                passes: comparison.passes(),
                name: comparison.name,
            })
            .collect();
        serialize_or_throw(&verdicts)
    }

    async fn paint(&self, request: JsValue) -> Result<[Vec<f32>; 2]> {
        let loaded = self.loaded()?;
        let request: Request =
            serde_wasm_bindgen::from_value(request).map_err(|error| Error::request("request", error.to_string()))?;
        let mut steps = pin!(loaded.pipeline.generate(loaded.pipeline.resolve(&request)?));
        let mut latents = None;
        while let Some(step) = steps.next().await {
            latents = Some(step?.latents);
        }
        let latents = latents.ok_or_else(|| Error::request("steps", "the run has none"))?;
        let image = loaded.pipeline.decode(latents.clone(), Border::Zeros);
        Ok([parity::read(latents).await?, parity::read(image).await?])
    }
}
