//! `heun`: Heun's second-order method over noise levels σ, two model evaluations for every step but the last.
//!
//! Source: Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models* (2022), algorithm 1;
//! diffusers 0.42.1 `HeunDiscreteScheduler`.

use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::schedule::{BetaDefaults, Spacing};
use super::sigmas::{SigmaSpread, TrainSigmas, scale_by_sigma};
use super::{DrawNoise, Prediction, Sampler, Stepped, clip, clip_range, mix};
use crate::Result;
use crate::kernels::Blend;

struct Heun {
    timesteps: Vec<f64>,
    /// Noise level at each model evaluation, and 0 after the last.
    sigmas: Vec<f32>,
    init_noise_sigma: f32,
    prediction: Prediction,
    clip_range: Option<f32>,
    /// Between the two evaluations of a step: where it started, and the slope there.
    start: Option<(Blend, Blend)>,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let spacing = Spacing::from_config(config, "linspace")?;
    let defaults = BetaDefaults { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "linear", rescales: false };
    let train_sigmas = TrainSigmas::from_config(config, defaults)?;
    let mut timesteps = spacing.float_timesteps(config, steps)?;
    let mut sigmas: Vec<f64> = timesteps.iter().map(|&timestep| train_sigmas.at(timestep)).collect();
    if let Some(spread) = SigmaSpread::from_config(config)? {
        sigmas = spread.respread(config, &sigmas, steps)?;
        let timestep = |&sigma: &f64| f64::from(train_sigmas.timestep_of(sigma) as f32);
        timesteps = sigmas.iter().map(timestep).collect();
    }
    let sigmas: Vec<f32> = twice(&sigmas).map(|sigma| sigma as f32).chain([0.0]).collect();
    Ok(Box::new(Heun {
        timesteps: twice(&timesteps).collect(),
        init_noise_sigma: spacing.init_noise_sigma(&sigmas),
        sigmas,
        prediction: Prediction::from_config(config)?,
        clip_range: clip_range(config, false)?,
        start: None,
    }))
}

/// The first once, all others twice: as the end of one step, and as the start of the next.
fn twice(values: &[f64]) -> impl Iterator<Item = f64> {
    values.iter().flat_map(|&value| [value, value]).skip(1)
}

impl Sampler for Heun {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        f64::from(self.init_noise_sigma)
    }

    fn scale_model_input(&self, sample: Tensor<4>, index: usize) -> Tensor<4> {
        scale_by_sigma(sample, self.sigmas[index])
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4> {
        mix(original, noise, (1.0, self.sigmas[index]))
    }

    fn begin_after(&mut self, skipped: usize) -> Result<usize> {
        Ok(2 * skipped)
    }

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, _noise: &mut DrawNoise<'_>) -> Stepped {
        let sigma = self.sigmas[index];
        let original = self.prediction.original_of_sigma(model_output, sample.clone(), sigma);
        let pred_original_sample = clip(original, self.clip_range);
        let slope = (sample.clone() - pred_original_sample.clone()).div_scalar(sigma);
        let prev_sample = match self.start.take() {
            None => {
                self.start = Some((sample.clone(), slope.clone()));
                sample + slope.mul_scalar(self.sigmas[index + 1] - sigma)
            }
            Some((start, start_slope)) => {
                let mean_slope = (start_slope + slope).div_scalar(2.0);
                start + mean_slope.mul_scalar(sigma - self.sigmas[index - 1])
            }
        };
        Stepped { prev_sample, pred_original_sample }
    }
}
