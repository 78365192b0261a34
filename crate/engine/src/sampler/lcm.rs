//! `lcm`: multistep sampling of latent consistency models; fresh noise after every step but the last.
//!
//! Source: Luo et al., *Latent Consistency Models* (2023), algorithm 3 and its boundary condition; diffusers 0.42.1
//! `LCMScheduler`.

use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::schedule::{BetaDefaults, alphas_cumprod};
use super::{DrawNoise, Prediction, Sampler, Stepped, clip, clip_range, mix, roots};
use crate::kernels::Blend;
use crate::{Error, Result};

/// Standard deviation of the data that the boundary condition assumes.
const SIGMA_DATA: f32 = 0.5;

struct Lcm {
    timesteps: Vec<f64>,
    rows: Vec<Row>,
    prediction: Prediction,
    clip_range: Option<f32>,
}

/// The numbers of one step.
struct Row {
    alpha_prod_t: f32,
    alpha_prod_t_prev: f32,
    c_skip: f32,
    c_out: f32,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let defaults =
        BetaDefaults { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", rescales: true };
    let alphas = alphas_cumprod(config, defaults)?;
    let scaling = config.number("timestep_scaling", 10.0, 1e-6..=1e6)? as f32;
    let indices = train_timesteps(config, alphas.len(), steps)?;
    let row = |(index, &t): (usize, &usize)| {
        let scaled = t as f32 * scaling;
        let variance = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        Row {
            alpha_prod_t: alphas[t],
            alpha_prod_t_prev: alphas[indices.get(index + 1).copied().unwrap_or(t)],
            c_skip: SIGMA_DATA * SIGMA_DATA / variance,
            c_out: scaled / variance.sqrt(),
        }
    };
    Ok(Box::new(Lcm {
        rows: indices.iter().enumerate().map(row).collect(),
        timesteps: indices.iter().map(|&t| t as f64).collect(),
        prediction: Prediction::from_config(config)?,
        clip_range: clip_range(config, false)?,
    }))
}

/// `steps` of the timesteps that the model was distilled on, descending and evenly spread.
pub(super) fn train_timesteps(config: &SchedulerConfig, len: usize, steps: usize) -> Result<Vec<usize>> {
    let original_steps = config.integer("original_inference_steps", 50.min(len), 1..=len)?;
    if steps > original_steps {
        let reason = format!("{steps} is more than the {original_steps} that this model was distilled on");
        return Err(Error::request("steps", reason));
    }
    let skip = original_steps as f64 / steps as f64;
    let stride = len / original_steps;
    let timestep = |index: usize| (original_steps - (index as f64 * skip).floor() as usize) * stride - 1;
    Ok((0..steps).map(timestep).collect())
}

impl Sampler for Lcm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4> {
        mix(original, noise, roots(self.rows[index].alpha_prod_t))
    }

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, noise: &mut DrawNoise<'_>) -> Stepped {
        let Row { alpha_prod_t, alpha_prod_t_prev, c_skip, c_out } = self.rows[index];
        let original = self.prediction.original_sample(model_output, sample.clone(), roots(alpha_prod_t));
        let original = clip(original, self.clip_range);
        let denoised = original.mul_scalar(c_out) + sample.mul_scalar(c_skip);
        let prev_sample = match index + 1 < self.rows.len() {
            true => {
                let renoised = Blend::from(noise()).mul_scalar((1.0 - alpha_prod_t_prev).sqrt());
                denoised.clone().mul_scalar(alpha_prod_t_prev.sqrt()) + renoised
            }
            false => denoised.clone(),
        };
        Stepped { prev_sample, pred_original_sample: denoised }
    }
}
