//! `ddim`: deterministic denoising (η = 0).
//!
//! Source: Song et al., *Denoising Diffusion Implicit Models* (2021), equation 12; diffusers 0.42.1 `DDIMScheduler`.

use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::schedule::{BetaDefaults, Spacing, alphas_cumprod, train_indices};
use super::{DrawNoise, Prediction, Sampler, Stepped, clip, clip_range, mix, roots};
use crate::Result;
use crate::kernels::Blend;

struct Ddim {
    timesteps: Vec<f64>,
    /// ᾱ at each step and at the one after it.
    alpha_prods: Vec<(f32, f32)>,
    prediction: Prediction,
    clip_range: Option<f32>,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let defaults = BetaDefaults { beta_start: 0.0001, beta_end: 0.02, beta_schedule: "linear", rescales: true };
    let alphas = alphas_cumprod(config, defaults)?;
    let timesteps = Spacing::from_config(config, "leading")?.timesteps(config, steps)?;
    let timesteps: Vec<f64> = timesteps.into_iter().map(f64::round_ties_even).collect();
    let final_alpha = if config.flag("set_alpha_to_one", true)? { 1.0 } else { alphas[0] };
    // Not the next timestep but a fixed stride below this one, whatever the spacing.
    let stride = alphas.len() / steps;
    let indices = train_indices(&timesteps, config)?;
    let pair = |&t: &usize| (alphas[t], t.checked_sub(stride).map_or(final_alpha, |prev| alphas[prev]));
    Ok(Box::new(Ddim {
        alpha_prods: indices.iter().map(pair).collect(),
        timesteps,
        prediction: Prediction::from_config(config)?,
        clip_range: clip_range(config, true)?,
    }))
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4> {
        mix(original, noise, roots(self.alpha_prods[index].0))
    }

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, _noise: &mut DrawNoise<'_>) -> Stepped {
        let (alpha_prod_t, alpha_prod_t_prev) = self.alpha_prods[index];
        let parts = roots(alpha_prod_t);
        let original = self.prediction.original_sample(model_output.clone(), sample.clone(), parts);
        let epsilon = self.prediction.noise(model_output, sample, parts);
        // The noise is not corrected for the clipping: diffusers' pipelines do not ask for it.
        let pred_original_sample = clip(original, self.clip_range);
        let direction = epsilon.mul_scalar((1.0 - alpha_prod_t_prev).sqrt());
        let prev_sample = pred_original_sample.clone().mul_scalar(alpha_prod_t_prev.sqrt()) + direction;
        Stepped { prev_sample, pred_original_sample }
    }
}
