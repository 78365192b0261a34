//! `flow_euler`: Euler's method on a rectified flow, whose model predicts noise − sample.
//!
//! Source: Lipman et al., *Flow Matching for Generative Modeling* (2023); Esser et al., *Scaling Rectified Flow
//! Transformers* (2024), section 5.3.2, for `shift`; diffusers 0.42.1 `FlowMatchEulerDiscreteScheduler`.

use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::schedule::linspace;
use super::sigmas::SigmaSpread;
use super::{DrawNoise, Sampler, Stepped, mix};
use crate::Result;
use crate::kernels::Blend;

struct FlowEuler {
    timesteps: Vec<f64>,
    /// Part of the sample that is noise, at each step and after the last.
    sigmas: Vec<f32>,
    /// Whether each step replaces the noise by fresh noise.
    stochastic_sampling: bool,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    config.unsupported("use_dynamic_shifting", "shifting by the picture's size is not supported")?;
    config.unsupported("invert_sigmas", "inverted noise levels are not supported")?;
    let len = config.num_train_timesteps()? as f32;
    let shift = config.number("shift", 1.0, 1e-3..=1e3)?;
    // The ends of the training schedule are shifted, in single precision, and then what lies between them once more.
    let end = |timestep: f32| {
        let sigma = timestep / len;
        f64::from(shift as f32 * sigma / (1.0 + (shift - 1.0) as f32 * sigma)) * f64::from(len)
    };
    let shifted = |timestep: f64| {
        let sigma = timestep / f64::from(len);
        shift * sigma / (1.0 + (shift - 1.0) * sigma)
    };
    let mut sigmas: Vec<f64> = linspace(end(len), end(1.0), steps).into_iter().map(shifted).collect();
    if let Some(terminal) = config.optional_number("shift_terminal", 0.0..=0.999)?.filter(|&terminal| terminal != 0.0) {
        stretch_to_terminal(&mut sigmas, terminal);
    }
    if let Some(spread) = SigmaSpread::from_config(config)? {
        sigmas = spread.respread(config, &sigmas, steps)?;
    }
    let sigmas: Vec<f32> = sigmas.into_iter().map(|sigma| sigma as f32).chain([0.0]).collect();
    Ok(Box::new(FlowEuler {
        timesteps: sigmas[..steps].iter().map(|sigma| f64::from(sigma * len)).collect(),
        sigmas,
        stochastic_sampling: config.flag("stochastic_sampling", false)?,
    }))
}

/// Stretches the noise levels so that the last is `terminal`; one alone, at pure noise, has nothing to stretch.
fn stretch_to_terminal(sigmas: &mut [f64], terminal: f64) {
    let scale = sigmas.last().map_or(0.0, |last| (1.0 - last) / (1.0 - terminal));
    if scale > 0.0 {
        sigmas.iter_mut().for_each(|sigma| *sigma = 1.0 - (1.0 - *sigma) / scale);
    }
}

impl Sampler for FlowEuler {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4> {
        let sigma = self.sigmas[index];
        mix(original, noise, (1.0 - sigma, sigma))
    }

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, noise: &mut DrawNoise<'_>) -> Stepped {
        let (sigma, sigma_next) = (self.sigmas[index], self.sigmas[index + 1]);
        let pred_original_sample = sample.clone() - model_output.clone().mul_scalar(sigma);
        let prev_sample = match self.stochastic_sampling {
            true => {
                pred_original_sample.clone().mul_scalar(1.0 - sigma_next) + Blend::from(noise()).mul_scalar(sigma_next)
            }
            false => sample + model_output.mul_scalar(sigma_next - sigma),
        };
        Stepped { prev_sample, pred_original_sample }
    }
}
