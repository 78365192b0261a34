//! `tcd`: strategic stochastic sampling of trajectory consistency models.
//!
//! Source: Zheng et al., *Trajectory Consistency Distillation* (2024), algorithm 4; diffusers 0.42.1 `TCDScheduler`.

use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::lcm::train_timesteps;
use super::schedule::{BetaDefaults, alphas_cumprod};
use super::{DrawNoise, Prediction, Sampler, Stepped, mix, roots};
use crate::Result;
use crate::kernels::Blend;

struct Tcd {
    timesteps: Vec<f64>,
    rows: Vec<Row>,
    prediction: Prediction,
    /// Whether fresh noise follows every step but the last.
    stochastic: bool,
}

/// ᾱ at a step's beginning, at the timestep s < t that the model jumps to, and at the step's end.
struct Row {
    alpha_prod_t: f32,
    alpha_prod_s: f32,
    alpha_prod_t_prev: f32,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let defaults =
        BetaDefaults { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", rescales: true };
    let alphas = alphas_cumprod(config, defaults)?;
    let indices = train_timesteps(config, alphas.len(), steps)?;
    // How much of every step is stochastic (γ in the paper). No field of diffusers' configuration but an argument of its
    // pipelines, where it is 0 unless named.
    let eta = config.number("eta", 0.0, 0.0..=1.0)?;
    let row = |(index, &t): (usize, &usize)| {
        let prev = indices.get(index + 1).copied().unwrap_or(0);
        let s = ((1.0 - eta) as f32 * prev as f32).floor() as usize;
        Row { alpha_prod_t: alphas[t], alpha_prod_s: alphas[s], alpha_prod_t_prev: alphas[prev] }
    };
    Ok(Box::new(Tcd {
        rows: indices.iter().enumerate().map(row).collect(),
        timesteps: indices.iter().map(|&t| t as f64).collect(),
        prediction: Prediction::from_config(config)?,
        stochastic: eta > 0.0,
    }))
}

impl Sampler for Tcd {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4> {
        mix(original, noise, roots(self.rows[index].alpha_prod_t))
    }

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, noise: &mut DrawNoise<'_>) -> Stepped {
        let Row { alpha_prod_t, alpha_prod_s, alpha_prod_t_prev } = self.rows[index];
        let parts = roots(alpha_prod_t);
        let pred_original_sample = self.prediction.original_sample(model_output.clone(), sample.clone(), parts);
        let epsilon = self.prediction.noise(model_output, sample, parts);
        let (signal, noise_part) = roots(alpha_prod_s);
        let pred_noised = pred_original_sample.clone().mul_scalar(signal) + epsilon.mul_scalar(noise_part);
        let prev_sample = match self.stochastic && index + 1 < self.rows.len() {
            true => {
                let (kept, fresh) = roots(alpha_prod_t_prev / alpha_prod_s);
                pred_noised.mul_scalar(kept) + Blend::from(noise()).mul_scalar(fresh)
            }
            false => pred_noised,
        };
        Stepped { prev_sample, pred_original_sample }
    }
}
