//! The UNet's embeddings of numbers: the time, and in SDXL the picture's geometry.
//!
//! Source: diffusers 0.42.1 `models/embeddings.py`, `get_timestep_embedding` and `TimestepEmbedding`.

use burn::tensor::{Device, Tensor, TensorData};

use super::{TIME_IDS, UNet2DConditionConfig};
use crate::Result;
use crate::kernels;
use crate::layers::Linear;
use crate::weights::Scope;

/// Embeds a number in sines and cosines.
#[derive(Debug)]
pub(super) struct Wave {
    /// Angular frequency per pair of channels.
    frequencies: Vec<f64>,
    flip_sin_to_cos: bool,
}

impl Wave {
    /// A wave of `width` channels.
    pub(super) fn new(width: usize, config: &UNet2DConditionConfig) -> Self {
        let half = width / 2;
        let exponent = |i: usize| -(10_000f64.ln()) * i as f64 / (half as f64 - config.freq_shift);
        let frequencies = (0..half).map(|i| exponent(i).exp()).collect();
        Self { frequencies, flip_sin_to_cos: config.flip_sin_to_cos }
    }

    fn of(&self, number: f64) -> Vec<f32> {
        // f32 angles, as the reference computes them.
        let angles = self.frequencies.iter().map(|&f| number as f32 * f as f32);
        let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        if self.flip_sin_to_cos { [cosines, sines] } else { [sines, cosines] }.concat()
    }
}

/// Embeds the timestep, and in LCM models the guidance scale.
#[derive(Debug)]
pub(super) struct TimeEmbedding {
    wave: Wave,
    cond_proj: Option<Linear>,
    linear_1: Linear,
    linear_2: Linear,
}

impl TimeEmbedding {
    pub(super) fn init(s: &mut Scope, config: &UNet2DConditionConfig) -> Result<Self> {
        let first = config.block_out_channels[0];
        let cond_proj = match config.time_cond_proj_dim {
            Some(width) => Some(Linear::init(&mut s.sub("cond_proj"), width, first, false)?),
            None => None,
        };
        Ok(Self {
            wave: Wave::new(first, config),
            cond_proj,
            linear_1: Linear::init(&mut s.sub("linear_1"), first, first * 4, true)?,
            linear_2: Linear::init(&mut s.sub("linear_2"), first * 4, first * 4, true)?,
        })
    }

    /// [T, 4·first width], not yet activated.
    pub(super) fn forward(&self, timesteps: &[f64], guidance: Option<&Tensor<2>>, device: &Device) -> Tensor<2> {
        let waves: Vec<f32> = timesteps.iter().flat_map(|timestep| self.wave.of(*timestep)).collect();
        let shape = [timesteps.len(), waves.len() / timesteps.len().max(1)];
        let mut x = Tensor::from_data(TensorData::new(waves, shape), device);
        if let (Some(projection), Some(guidance)) = (&self.cond_proj, guidance) {
            x = x + projection.forward(guidance.clone());
        }
        self.linear_2.forward(kernels::silu(self.linear_1.forward(x)))
    }
}

/// SDXL's second embedding: of the pooled text and the picture's geometry.
#[derive(Debug)]
pub(super) struct AddedEmbedding {
    wave: Wave,
    linear_1: Linear,
    linear_2: Linear,
}

impl AddedEmbedding {
    /// `None` for models that add nothing.
    pub(super) fn init(s: &mut Scope, config: &UNet2DConditionConfig) -> Result<Option<Self>> {
        let (Some(width), Some(wave)) = (config.added_width(), config.addition_time_embed_dim) else { return Ok(None) };
        let time = config.block_out_channels[0] * 4;
        Ok(Some(Self {
            wave: Wave::new(wave, config),
            linear_1: Linear::init(&mut s.sub("linear_1"), width, time, true)?,
            linear_2: Linear::init(&mut s.sub("linear_2"), time, time, true)?,
        }))
    }

    pub(super) fn forward(&self, pooled: Tensor<2>, time_ids: [f64; TIME_IDS]) -> Tensor<2> {
        let [batch, _] = pooled.dims();
        let waves = time_ids.map(|number| self.wave.of(number)).concat();
        let width = waves.len();
        let waves = Tensor::<2>::from_data(TensorData::new(waves, [1, width]), &pooled.device());
        let x = Tensor::cat(vec![pooled, waves.repeat_dim(0, batch)], 1); // [B, pooled + 6 waves]
        self.linear_2.forward(kernels::silu(self.linear_1.forward(x)))
    }
}
