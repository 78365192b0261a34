//! `euler_a`: Euler's method with ancestral sampling, fresh noise after every step.
//!
//! Source: Crowson, k-diffusion, `sample_euler_ancestral`; diffusers 0.42.1 `EulerAncestralDiscreteScheduler`.

use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::schedule::{BetaDefaults, Spacing};
use super::sigmas::{TrainSigmas, scale_by_sigma};
use super::{DrawNoise, Prediction, Sampler, Stepped, mix};
use crate::Result;
use crate::kernels::Blend;

struct EulerAncestral {
    timesteps: Vec<f64>,
    /// Noise level at each step and after the last.
    sigmas: Vec<f32>,
    init_noise_sigma: f32,
    prediction: Prediction,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let spacing = Spacing::from_config(config, "linspace")?;
    let defaults = BetaDefaults { beta_start: 0.0001, beta_end: 0.02, beta_schedule: "linear", rescales: true };
    let train_sigmas = TrainSigmas::from_config(config, defaults)?;
    let timesteps = spacing.float_timesteps(config, steps)?;
    let sigmas = timesteps.iter().map(|&timestep| train_sigmas.at(timestep) as f32);
    let sigmas: Vec<f32> = sigmas.chain([0.0]).collect();
    Ok(Box::new(EulerAncestral {
        timesteps,
        init_noise_sigma: spacing.init_noise_sigma(&sigmas),
        sigmas,
        prediction: Prediction::without_sample(config)?,
    }))
}

impl Sampler for EulerAncestral {
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

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, noise: &mut DrawNoise<'_>) -> Stepped {
        let (sigma, sigma_to) = (self.sigmas[index], self.sigmas[index + 1]);
        // Down further than the next level, and up to it again with fresh noise.
        let variance_to = sigma_to * sigma_to;
        let sigma_up = (variance_to * (sigma * sigma - variance_to) / (sigma * sigma)).sqrt();
        let sigma_down = (variance_to - sigma_up * sigma_up).sqrt();
        let pred_original_sample = self.prediction.original_of_sigma(model_output, sample.clone(), sigma);
        let derivative = (sample.clone() - pred_original_sample.clone()).div_scalar(sigma);
        let prev_sample =
            sample + derivative.mul_scalar(sigma_down - sigma) + Blend::from(noise()).mul_scalar(sigma_up);
        Stepped { prev_sample, pred_original_sample }
    }
}
