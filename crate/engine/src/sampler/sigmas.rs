//! Noise levels σ = √((1 − ᾱ) / ᾱ): of the training schedule, between its timesteps, and spread in other ways.

use burn::tensor::Tensor;

use super::config::{SchedulerConfig, invalid};
use super::schedule::{BetaDefaults, alphas_cumprod, linspace};
use crate::Result;

/// A sample of noise level σ, brought to the variance that the model was trained on.
pub(super) fn scale_by_sigma(sample: Tensor<4>, sigma: f32) -> Tensor<4> {
    sample.div_scalar((sigma * sigma + 1.0).sqrt())
}

/// Noise levels accepted in configurations.
const SIGMA_RANGE: core::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// The noise level of every training timestep, ascending.
pub(super) struct TrainSigmas {
    sigmas: Vec<f32>,
    log_sigmas: Vec<f32>,
}

impl TrainSigmas {
    pub fn from_config(config: &SchedulerConfig, defaults: BetaDefaults) -> Result<Self> {
        let rescales = defaults.rescales;
        let mut alphas = alphas_cumprod(config, defaults)?;
        if let (true, Some(last)) = (rescales && config.flag("rescale_betas_zero_snr", false)?, alphas.last_mut()) {
            // As good as zero, and σ stays finite.
            *last = 1.0 / 16_777_216.0;
        }
        let sigmas: Vec<f32> = alphas.into_iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect();
        if sigmas.iter().any(|sigma| !sigma.is_finite()) {
            return Err(invalid("beta_end", "the schedule ends without any signal left"));
        }
        Ok(Self { log_sigmas: sigmas.iter().map(|sigma| sigma.ln()).collect(), sigmas })
    }

    pub fn first(&self) -> f32 {
        self.sigmas[0]
    }

    pub fn last(&self) -> f32 {
        self.sigmas[self.sigmas.len() - 1]
    }

    /// How many timesteps have λ = −ln σ of at least `lambda`.
    pub fn count_with_lambda_from(&self, lambda: f32) -> usize {
        self.log_sigmas.partition_point(|log_sigma| -log_sigma >= lambda)
    }

    /// The noise level at a timestep with a fraction, as `numpy.interp`.
    pub fn at(&self, timestep: f64) -> f64 {
        let low = (timestep as usize).min(self.sigmas.len() - 1);
        let sigma = |index: usize| f64::from(self.sigmas[index]);
        match low + 1 < self.sigmas.len() {
            true => (sigma(low + 1) - sigma(low)) * (timestep - low as f64) + sigma(low),
            false => sigma(low),
        }
    }

    /// The training timestep, with its fraction, of a noise level.
    pub fn timestep_of(&self, sigma: f64) -> f64 {
        let log_sigmas = &self.log_sigmas;
        let log_sigma = sigma.max(1e-10).ln();
        let below = log_sigmas.partition_point(|&other| f64::from(other) <= log_sigma);
        let low = below.saturating_sub(1).min(log_sigmas.len().saturating_sub(2));
        let high = (low + 1).min(log_sigmas.len() - 1);
        let distance = f64::from(log_sigmas[low] - log_sigmas[high]);
        let weight = ((f64::from(log_sigmas[low]) - log_sigma) / distance).clamp(0.0, 1.0);
        (1.0 - weight) * low as f64 + weight * high as f64
    }
}

/// Another spread of the noise levels between the schedule's first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SigmaSpread {
    /// Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models* (2022), equation 5.
    Karras,
    /// Even in the logarithm.
    Exponential,
}

impl SigmaSpread {
    /// The spread that the configuration switches on, if any.
    pub fn from_config(config: &SchedulerConfig) -> Result<Option<Self>> {
        config.unsupported("use_beta_sigmas", "beta-distributed noise levels are not supported")?;
        for field in ["sigma_min", "sigma_max"] {
            config.optional_number(field, SIGMA_RANGE)?;
        }
        match (config.flag("use_karras_sigmas", false)?, config.flag("use_exponential_sigmas", false)?) {
            (true, true) => Err(invalid("use_karras_sigmas", "excludes use_exponential_sigmas")),
            (true, false) => Ok(Some(Self::Karras)),
            (false, true) => Ok(Some(Self::Exponential)),
            (false, false) => Ok(None),
        }
    }

    /// `steps` noise levels, descending, between the ends of `sigmas` or those that the configuration names.
    pub fn respread(self, config: &SchedulerConfig, sigmas: &[f64], steps: usize) -> Result<Vec<f64>> {
        let end = |field, sigma: Option<&f64>| config.number(field, sigma.copied().unwrap_or(1.0), SIGMA_RANGE);
        let (max, min) = (end("sigma_max", sigmas.first())?, end("sigma_min", sigmas.last())?);
        Ok(match self {
            Self::Karras => {
                let rho = 7.0;
                let (max, min) = (max.powf(1.0 / rho), min.powf(1.0 / rho));
                linspace(0.0, 1.0, steps).into_iter().map(|ramp| (max + ramp * (min - max)).powf(rho)).collect()
            }
            Self::Exponential => linspace(max.ln(), min.ln(), steps).into_iter().map(f64::exp).collect(),
        })
    }
}
