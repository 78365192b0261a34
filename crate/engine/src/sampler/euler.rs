//! `euler`: Euler's method on the probability-flow equation over noise levels σ.
//!
//! Source: Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models* (2022), algorithm 2
//! without churn; diffusers 0.42.1 `EulerDiscreteScheduler`.

use burn::tensor::Tensor;

use super::config::{SchedulerConfig, invalid};
use super::schedule::{BetaDefaults, SigmaSpread, Spacing, alphas_cumprod, torch_linspace};
use super::{DrawNoise, Prediction, Sampler, Stepped};
use crate::Result;

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
    let train_sigmas = train_sigmas(config)?;
    let mut timesteps: Vec<f64> = spacing.timesteps(config, steps)?;
    // A 32-bit array in diffusers.
    timesteps.iter_mut().for_each(|timestep| *timestep = f64::from(*timestep as f32));
    let mut sigmas = match config.choice("interpolation_type", "linear", &[("linear", true), ("log_linear", false)])? {
        true => timesteps.iter().map(|&timestep| interpolate(timestep, &train_sigmas)).collect(),
        false => log_linear(&train_sigmas, steps),
    };
    if let Some(spread) = SigmaSpread::from_config(config)? {
        sigmas = spread.respread(config, &sigmas, steps)?;
        let log_sigmas: Vec<f32> = train_sigmas.iter().map(|sigma| sigma.ln()).collect();
        timesteps = sigmas.iter().map(|&sigma| sigma_to_t(sigma, &log_sigmas)).collect();
    }
    let last = match config.choice("final_sigmas_type", "zero", &[("zero", true), ("sigma_min", false)])? {
        true => 0.0,
        false => train_sigmas[0],
    };
    let sigmas: Vec<f32> = sigmas.into_iter().map(|sigma| sigma as f32).chain([last]).collect();
    let max = sigmas.iter().copied().fold(0.0, f32::max);
    if !max.is_finite() {
        return Err(invalid("beta_end", "the schedule ends without any signal left"));
    }
    let continuous = config.choice("timestep_type", "discrete", &[("discrete", false), ("continuous", true)])?;
    let in_float = |timestep: f64| f64::from(timestep as f32);
    Ok(Box::new(Euler {
        timesteps: match continuous && prediction == Prediction::Velocity {
            true => sigmas[..steps].iter().map(|sigma| f64::from(0.25 * sigma.ln())).collect(),
            false => timesteps.into_iter().map(in_float).collect(),
        },
        init_noise_sigma: if spacing == Spacing::Leading { (max * max + 1.0).sqrt() } else { max },
        sigmas,
        prediction,
    }))
}

/// σ = √((1 − ᾱ) / ᾱ) for every training timestep, ascending.
fn train_sigmas(config: &SchedulerConfig) -> Result<Vec<f32>> {
    let defaults = BetaDefaults { beta_start: 0.0001, beta_end: 0.02, beta_schedule: "linear" };
    let mut alphas = alphas_cumprod(config, defaults)?;
    if let (true, Some(last)) = (config.flag("rescale_betas_zero_snr", false)?, alphas.last_mut()) {
        // As good as zero, and σ stays finite.
        *last = 1.0 / 16_777_216.0;
    }
    Ok(alphas.into_iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect())
}

/// `numpy.interp` of the training noise levels.
fn interpolate(timestep: f64, train_sigmas: &[f32]) -> f64 {
    let low = (timestep as usize).min(train_sigmas.len() - 1);
    let sigma = |index: usize| f64::from(train_sigmas[index]);
    match low + 1 < train_sigmas.len() {
        true => (sigma(low + 1) - sigma(low)) * (timestep - low as f64) + sigma(low),
        false => sigma(low),
    }
}

/// Noise levels even in the logarithm over the whole schedule; one more than steps, so the last step ends above zero.
fn log_linear(train_sigmas: &[f32], steps: usize) -> Vec<f64> {
    let (min, max) = (train_sigmas[0].ln(), train_sigmas[train_sigmas.len() - 1].ln());
    torch_linspace(max, min, steps + 1).into_iter().map(|log_sigma| f64::from(log_sigma.exp())).collect()
}

/// The training timestep, with its fraction, of a noise level.
fn sigma_to_t(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let below = log_sigmas.partition_point(|&other| f64::from(other) <= log_sigma);
    let low = below.saturating_sub(1).min(log_sigmas.len().saturating_sub(2));
    let high = (low + 1).min(log_sigmas.len() - 1);
    let distance = f64::from(log_sigmas[low] - log_sigmas[high]);
    let weight = ((f64::from(log_sigmas[low]) - log_sigma) / distance).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * high as f64
}

impl Sampler for Euler {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        f64::from(self.init_noise_sigma)
    }

    fn scale_model_input(&self, sample: Tensor<4>, index: usize) -> Tensor<4> {
        let sigma = self.sigmas[index];
        sample.div_scalar((sigma * sigma + 1.0).sqrt())
    }

    fn step(
        &mut self,
        model_output: Tensor<4>,
        index: usize,
        sample: Tensor<4>,
        _noise: &mut DrawNoise<'_>,
    ) -> Stepped {
        let (sigma, sigma_next) = (self.sigmas[index], self.sigmas[index + 1]);
        let variance = sigma * sigma + 1.0;
        let pred_original_sample = match self.prediction {
            Prediction::Epsilon => sample.clone() - model_output.mul_scalar(sigma),
            Prediction::Sample => model_output,
            Prediction::Velocity => {
                model_output.mul_scalar(-sigma / variance.sqrt()) + sample.clone().div_scalar(variance)
            }
        };
        let derivative = (sample.clone() - pred_original_sample.clone()).div_scalar(sigma);
        let prev_sample = sample + derivative.mul_scalar(sigma_next - sigma);
        Stepped { prev_sample, pred_original_sample }
    }
}
