//! `euler`: Euler's method on the probability-flow equation over noise levels σ.
//!
//! Source: Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models* (2022), algorithm 2
//! without churn; diffusers 0.42.1 `EulerDiscreteScheduler`.

use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::schedule::{BetaDefaults, Spacing, torch_linspace};
use super::sigmas::{SigmaSpread, TrainSigmas, scale_by_sigma};
use super::{DrawNoise, Prediction, Sampler, Stepped, mix};
use crate::Result;
use crate::kernels::Blend;

struct Euler {
    timesteps: Vec<f64>,
    /// Noise level at each step and after the last.
    sigmas: Vec<f32>,
    init_noise_sigma: f32,
    prediction: Prediction,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let prediction = Prediction::from_config(config)?;
    let spacing = Spacing::from_config(config, "linspace")?;
    let defaults = BetaDefaults { beta_start: 0.0001, beta_end: 0.02, beta_schedule: "linear", rescales: true };
    let train_sigmas = TrainSigmas::from_config(config, defaults)?;
    let mut timesteps = spacing.float_timesteps(config, steps)?;
    let mut sigmas = match config.choice("interpolation_type", "linear", &[("linear", true), ("log_linear", false)])? {
        true => timesteps.iter().map(|&timestep| train_sigmas.at(timestep)).collect(),
        false => log_linear(&train_sigmas, steps),
    };
    if let Some(spread) = SigmaSpread::from_config(config)? {
        sigmas = spread.respread(config, &sigmas, steps)?;
        timesteps = sigmas.iter().map(|&sigma| train_sigmas.timestep_of(sigma)).collect();
    }
    let last = match config.choice("final_sigmas_type", "zero", &[("zero", true), ("sigma_min", false)])? {
        true => 0.0,
        false => train_sigmas.first(),
    };
    let sigmas: Vec<f32> = sigmas.into_iter().map(|sigma| sigma as f32).chain([last]).collect();
    let continuous = config.choice("timestep_type", "discrete", &[("discrete", false), ("continuous", true)])?;
    let in_float = |timestep: f64| f64::from(timestep as f32);
    Ok(Box::new(Euler {
        timesteps: match continuous && prediction == Prediction::Velocity {
            true => sigmas[..steps].iter().map(|sigma| f64::from(0.25 * sigma.ln())).collect(),
            false => timesteps.into_iter().map(in_float).collect(),
        },
        init_noise_sigma: spacing.init_noise_sigma(&sigmas),
        sigmas,
        prediction,
    }))
}

/// Noise levels even in the logarithm over the whole schedule; one more than steps, so the last step ends above zero.
fn log_linear(train_sigmas: &TrainSigmas, steps: usize) -> Vec<f64> {
    let (min, max) = (train_sigmas.first().ln(), train_sigmas.last().ln());
    torch_linspace(max, min, steps + 1).into_iter().map(|log_sigma| f64::from(log_sigma.exp())).collect()
}

impl Sampler for Euler {
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

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, _noise: &mut DrawNoise<'_>) -> Stepped {
        let (sigma, sigma_next) = (self.sigmas[index], self.sigmas[index + 1]);
        let pred_original_sample = self.prediction.original_of_sigma(model_output, sample.clone(), sigma);
        let derivative = (sample.clone() - pred_original_sample.clone()).div_scalar(sigma);
        let prev_sample = sample + derivative.mul_scalar(sigma_next - sigma);
        Stepped { prev_sample, pred_original_sample }
    }
}
