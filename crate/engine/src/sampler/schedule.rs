//! Tables that samplers share: the noise schedule and the spacing of timesteps.
//!
//! Sums and products are single or double precision exactly where diffusers' are (torch tensors are single, NumPy arrays
//! and torch's running products double), because 1 − ᾱ near t = 0 magnifies a rounding of ᾱ a thousandfold.

use super::config::{SchedulerConfig, invalid};
use crate::Result;

/// Smallest and largest β accepted.
const BETA_RANGE: core::ops::RangeInclusive<f64> = 1e-9..=0.9999;

/// What a class assumes of a configuration that does not say.
pub(super) struct BetaDefaults {
    pub beta_start: f64,
    pub beta_end: f64,
    pub beta_schedule: &'static str,
    /// Whether the class knows `rescale_betas_zero_snr`; the others keep the schedule as it is.
    pub rescales: bool,
}

#[derive(Clone, Copy)]
enum BetaSchedule {
    Linear,
    ScaledLinear,
    SquaredcosCapV2,
}

/// ᾱ_t, the part of the variance that is signal, for every training timestep.
///
/// Source: Nichol and Dhariwal (2021) for `squaredcos_cap_v2`; Lin et al., *Common Diffusion Noise Schedules and Sample
/// Steps are Flawed* (2023), algorithm 1, for `rescale_betas_zero_snr`.
pub(super) fn alphas_cumprod(config: &SchedulerConfig, defaults: BetaDefaults) -> Result<Vec<f32>> {
    let len = config.num_train_timesteps()?;
    let start = config.number("beta_start", defaults.beta_start, BETA_RANGE)?;
    let end = config.number("beta_end", defaults.beta_end, BETA_RANGE)?;
    let choices = [
        ("linear", BetaSchedule::Linear),
        ("scaled_linear", BetaSchedule::ScaledLinear),
        ("squaredcos_cap_v2", BetaSchedule::SquaredcosCapV2),
    ];
    let schedule = config.choice("beta_schedule", defaults.beta_schedule, &choices)?;
    let betas = match config.optional_numbers("trained_betas", len, BETA_RANGE)? {
        Some(trained) => trained.into_iter().map(|beta| beta as f32).collect(),
        None => match schedule {
            BetaSchedule::Linear => torch_linspace(start as f32, end as f32, len),
            BetaSchedule::ScaledLinear => {
                let roots = torch_linspace(start.sqrt() as f32, end.sqrt() as f32, len);
                roots.into_iter().map(|root| root * root).collect()
            }
            BetaSchedule::SquaredcosCapV2 => cosine_betas(len),
        },
    };
    let betas = match defaults.rescales && config.flag("rescale_betas_zero_snr", false)? {
        true => rescale_zero_terminal_snr(&betas),
        false => betas,
    };
    Ok(cumprod(betas.into_iter().map(|beta| 1.0 - beta)))
}

fn cosine_betas(len: usize) -> Vec<f32> {
    let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * core::f64::consts::PI / 2.0).cos().powi(2);
    let at = |index: usize| alpha_bar(index as f64 / len as f64);
    (0..len).map(|index| (1.0 - at(index + 1) / at(index)).min(0.999) as f32).collect()
}

/// Shifts and scales √ᾱ so that the last is 0 and the first stays.
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let mut roots: Vec<f32> = cumprod(betas.iter().map(|beta| 1.0 - beta)).into_iter().map(f32::sqrt).collect();
    let (first, last) = (roots.first().copied().unwrap_or(1.0), roots.last().copied().unwrap_or(0.0));
    let scale = first / (first - last);
    roots.iter_mut().for_each(|root| *root = (*root - last) * scale);
    let mut before = 1.0;
    let beta = |root: f32| {
        let alpha_bar = root * root;
        let beta = 1.0 - alpha_bar / before;
        before = alpha_bar;
        beta
    };
    roots.into_iter().map(beta).collect()
}

/// `torch.cumprod`, which carries the product in double precision.
fn cumprod(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let multiply = |product: &mut f64, value: f32| {
        *product *= f64::from(value);
        Some(*product as f32)
    };
    values.scan(1.0, multiply).collect()
}

/// `torch.linspace` in single precision: each half counts from its own end, and multiplies and adds with one rounding.
pub(super) fn torch_linspace(start: f32, end: f32, len: usize) -> Vec<f32> {
    if len == 1 {
        return vec![start];
    }
    let step = f64::from((end - start) / (len - 1) as f32);
    let value = |index: usize| match index < len / 2 {
        true => (f64::from(start) + step * index as f64) as f32,
        false => (f64::from(end) - step * (len - 1 - index) as f64) as f32,
    };
    (0..len).map(value).collect()
}

/// `numpy.linspace` in double precision.
pub(super) fn linspace(start: f64, stop: f64, len: usize) -> Vec<f64> {
    if len == 1 {
        return vec![start];
    }
    let step = (stop - start) / (len - 1) as f64;
    (0..len).map(|index| if index + 1 == len { stop } else { index as f64 * step + start }).collect()
}

/// How inference timesteps are spread over the training schedule (table 2 of Lin et al.).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    Leading,
    Trailing,
    Linspace,
}

impl Spacing {
    pub fn from_config(config: &SchedulerConfig, default: &str) -> Result<Self> {
        let choices = [("leading", Self::Leading), ("trailing", Self::Trailing), ("linspace", Self::Linspace)];
        config.choice("timestep_spacing", default, &choices)
    }

    /// `steps` timesteps, descending; fractional with [`Spacing::Linspace`], whole otherwise.
    ///
    /// For a few numbers of steps (61 of 1000 is the smallest) rounding gives diffusers' `trailing` one timestep too
    /// many, −1, which would end a run on pure noise; it is left out here.
    pub fn timesteps(self, config: &SchedulerConfig, steps: usize) -> Result<Vec<f64>> {
        let len = config.num_train_timesteps()?;
        let offset = config.integer("steps_offset", 0, 0..=len)?;
        Ok(match self {
            Self::Linspace => linspace(0.0, (len - 1) as f64, steps).into_iter().rev().collect(),
            Self::Leading => (0..steps).rev().map(|index| (index * (len / steps) + offset) as f64).collect(),
            Self::Trailing => {
                let len = len as f64;
                let step = (len - len / steps as f64) - len;
                (0..steps).map(|index| (len + index as f64 * step).round_ties_even() - 1.0).collect()
            }
        })
    }

    /// The same timesteps as the 32-bit array that samplers over noise levels have in diffusers.
    pub fn float_timesteps(self, config: &SchedulerConfig, steps: usize) -> Result<Vec<f64>> {
        let timesteps = self.timesteps(config, steps)?;
        Ok(timesteps.into_iter().map(|timestep| f64::from(timestep as f32)).collect())
    }

    /// Standard deviation of the initial sample of a run that starts at the largest of `sigmas`.
    pub fn init_noise_sigma(self, sigmas: &[f32]) -> f32 {
        let max = sigmas.iter().copied().fold(0.0, f32::max);
        if self == Self::Leading { (max * max + 1.0).sqrt() } else { max }
    }
}

/// Indices into the training schedule of timesteps that are whole.
pub(super) fn train_indices(timesteps: &[f64], config: &SchedulerConfig) -> Result<Vec<usize>> {
    let len = config.num_train_timesteps()?;
    let index = |&timestep: &f64| {
        let index = timestep as usize;
        let reason = || format!("puts a timestep at {index} where the schedule ends at {}", len - 1);
        if index < len { Ok(index) } else { Err(invalid("steps_offset", reason())) }
    };
    timesteps.iter().map(index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_starts_at_the_last_timestep_whatever_the_number_of_steps() {
        let config = SchedulerConfig::default();
        for steps in 1..=150 {
            let timesteps = Spacing::Trailing.timesteps(&config, steps).unwrap();
            assert_eq!((timesteps.len(), timesteps[0]), (steps, 999.0));
            assert!(timesteps.windows(2).all(|pair| pair[0] > pair[1]) && timesteps[steps - 1] >= 0.0, "{timesteps:?}");
        }
    }

    #[test]
    fn zero_terminal_snr_leaves_no_signal_at_the_end() {
        let json = serde_json::json!({"rescale_betas_zero_snr": true});
        let config: SchedulerConfig = serde_json::from_value(json).unwrap();
        let defaults =
            BetaDefaults { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", rescales: true };
        let alphas = alphas_cumprod(&config, defaults).unwrap();
        assert_eq!((alphas.len(), alphas[999]), (1000, 0.0));
        assert!((alphas[0] - 0.99915).abs() < 1e-6);
    }
}
