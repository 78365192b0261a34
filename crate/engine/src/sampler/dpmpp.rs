//! `dpmpp_2m`, `dpmpp_2m_karras` and `dpmpp_sde`: multistep solvers that integrate the linear part of the diffusion
//! equation exactly.
//!
//! `dpmpp_sde` is diffusers' `DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")`, which draws its noise from
//! the run's generator like every other sampler here. It is not `DPMSolverSDEScheduler`, whose noise comes from a
//! Brownian tree of the torchsde package, outside any generator's stream.
//!
//! Source: Lu et al., *DPM-Solver* (2022) and *DPM-Solver++* (2022); diffusers 0.42.1 `DPMSolverMultistepScheduler`.

use burn::tensor::Tensor;
use serde_json::Value;

use super::config::{SchedulerConfig, invalid};
use super::dpmpp_update::{Level, Solver, Update};
use super::schedule::{BetaDefaults, Spacing, linspace};
use super::sigmas::{SigmaSpread, TrainSigmas};
use super::{DrawNoise, Prediction, Sampler, Stepped, mix};
use crate::kernels::Blend;
use crate::{Error, Result};

/// Runs of at least this many steps need no solver of lower order at their end.
const STABLE_STEPS: usize = 15;

struct Dpmpp {
    timesteps: Vec<f64>,
    /// Noise level at each step and after the last.
    levels: Vec<Level>,
    updates: Vec<Update>,
    solver: Solver,
    /// The solver's order at each step of a whole run.
    orders: Vec<usize>,
    prediction: Prediction,
    /// The last converted model outputs, newest first.
    outputs: Vec<Blend>,
}

/// `dpmpp_2m_karras`: with the noise levels of Karras et al., whatever the configuration says.
pub(super) fn build_karras(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    build(&config.with("use_karras_sigmas", Value::Bool(true)), steps)
}

/// `dpmpp_sde`: with fresh noise at every step, whatever the configuration says.
pub(super) fn build_sde(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    build(&config.with("algorithm_type", Value::from("sde-dpmsolver++")), steps)
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    refuse_unsupported(config)?;
    let defaults = BetaDefaults { beta_start: 0.0001, beta_end: 0.02, beta_schedule: "linear", rescales: true };
    let train_sigmas = TrainSigmas::from_config(config, defaults)?;
    let mut timesteps = timesteps(config, &train_sigmas, steps)?;
    let mut sigmas: Vec<f64> = timesteps.iter().map(|&timestep| train_sigmas.at(timestep)).collect();
    if let Some((spread, whole)) = spread(config, &train_sigmas, steps)? {
        let timestep = |&sigma: &f64| {
            let timestep = train_sigmas.timestep_of(sigma);
            if whole { timestep.round_ties_even() } else { timestep.trunc() }
        };
        timesteps = spread.iter().map(timestep).collect();
        sigmas = spread;
    }
    let solver = Solver::from_config(config)?;
    let ends_at_zero = config.choice("final_sigmas_type", "zero", &[("zero", true), ("sigma_min", false)])?;
    if ends_at_zero && solver.algorithm.integrates_noise() {
        return Err(invalid("final_sigmas_type", "this `algorithm_type` needs `sigma_min`"));
    }
    let last = if ends_at_zero { 0.0 } else { train_sigmas.first() };
    let sigmas = sigmas.into_iter().map(|sigma| sigma as f32).chain([last]);
    let levels: Vec<Level> = sigmas.map(Level::from_sigma).collect();
    let orders = orders(config, solver.order, ends_at_zero, timesteps.len())?;
    Ok(Box::new(Dpmpp {
        updates: updates(&solver, &levels, &orders, 0)?,
        timesteps,
        solver,
        orders,
        prediction: Prediction::from_config(config)?,
        levels,
        outputs: Vec::new(),
    }))
}

/// The updates of a run that begins at step `begin`, whose first ones have fewer outputs to look back at; those before
/// it are as in a whole run.
fn updates(solver: &Solver, levels: &[Level], orders: &[usize], begin: usize) -> Result<Vec<Update>> {
    let update = |(index, &order): (usize, &usize)| {
        let order = if index < begin { order } else { order.min(index - begin + 1) };
        let levels: Vec<Level> = levels[(index + 1).saturating_sub(order)..=index + 1].iter().rev().copied().collect();
        let reason = || format!("{} makes two noise levels one, between which there is no step", orders.len());
        solver.update(order, &levels).ok_or_else(|| Error::request("steps", reason()))
    };
    orders.iter().enumerate().map(update).collect()
}

fn refuse_unsupported(config: &SchedulerConfig) -> Result<()> {
    config.unsupported("thresholding", "dynamic thresholding is not for latent diffusion and not supported")?;
    config.unsupported("use_flow_sigmas", "noise levels of a rectified flow are not supported; see flow_euler")?;
    config.unsupported("use_dynamic_shifting", "shifting by the picture's size is not supported")?;
    config.refuse("variance_type", "models that predict their variance are not supported")
}

/// The noise levels, where the configuration spreads them otherwise than over timesteps, and whether the timesteps that
/// belong to them are rounded; the others are cut.
fn spread(config: &SchedulerConfig, train_sigmas: &TrainSigmas, steps: usize) -> Result<Option<(Vec<f64>, bool)>> {
    let schedules = [("linear", true), ("scaled_linear", true), ("squaredcos_cap_v2", false)];
    let whole = config.choice("beta_schedule", "linear", &schedules)?;
    let ends = [train_sigmas.last(), train_sigmas.first()];
    let respread = |spread: SigmaSpread| spread.respread(config, &ends.map(f64::from), steps);
    Ok(match (SigmaSpread::from_config(config)?, config.flag("use_lu_lambdas", false)?) {
        (Some(SigmaSpread::Karras), _) => Some((respread(SigmaSpread::Karras)?, whole)),
        (_, true) => {
            // Even in λ = −ln σ, always over the whole schedule.
            let [start, stop] = ends.map(|sigma| f64::from(sigma.ln()));
            let sigmas = linspace(0.0, 1.0, steps).into_iter().map(|ramp| (start + ramp * (stop - start)).exp());
            Some((sigmas.collect(), whole))
        }
        (Some(spread), false) => Some((respread(spread)?, false)),
        (None, false) => None,
    })
}

/// Whole timesteps, descending, over the part of the schedule that `lambda_min_clipped` leaves. Unlike other samplers'
/// they leave room for the end of the schedule: `steps + 1` of them are spread, and the last is left out.
fn timesteps(config: &SchedulerConfig, train_sigmas: &TrainSigmas, steps: usize) -> Result<Vec<f64>> {
    let len = config.num_train_timesteps()?;
    let len = match config.optional_number("lambda_min_clipped", -1e3..=1e3)? {
        Some(lambda) => train_sigmas.count_with_lambda_from(lambda as f32),
        None => len,
    };
    if len == 0 {
        return Err(invalid("lambda_min_clipped", "leaves no timestep"));
    }
    let offset = config.integer("steps_offset", 0, 0..=config.num_train_timesteps()?)?;
    Ok(match Spacing::from_config(config, "linspace")? {
        Spacing::Linspace => {
            linspace(0.0, (len - 1) as f64, steps + 1).into_iter().skip(1).rev().map(f64::round_ties_even).collect()
        }
        Spacing::Leading => (1..=steps).rev().map(|index| (index * (len / (steps + 1)) + offset) as f64).collect(),
        Spacing::Trailing => {
            // Counts down by the stride of the whole schedule, so a shortened one has fewer steps.
            let start = len as f64;
            let stride = (start - config.num_train_timesteps()? as f64 / steps as f64) - start;
            let timesteps = (0..steps).map(|index| (start + index as f64 * stride).round_ties_even() - 1.0);
            timesteps.filter(|&timestep| timestep >= 0.0).collect()
        }
    })
}

/// The solver's order at each step: lower while outputs are still few, and at the end where that is more stable.
fn orders(config: &SchedulerConfig, order: usize, ends_at_zero: bool, len: usize) -> Result<Vec<usize>> {
    let lower_order_final = config.flag("lower_order_final", true)? && len < STABLE_STEPS;
    let first_at_end = config.flag("euler_at_final", false)? || lower_order_final || ends_at_zero;
    let order_at = |index: usize| match len - 1 - index {
        0 if first_at_end => 1,
        1 if lower_order_final => order.min(index + 1).min(2),
        _ => order.min(index + 1),
    };
    Ok((0..len).map(order_at).collect())
}

impl Sampler for Dpmpp {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4> {
        mix(original, noise, self.levels[index].parts())
    }

    fn begin_after(&mut self, skipped: usize) -> Result<usize> {
        // A schedule may have fewer steps than were asked for.
        let begin = skipped.min(self.timesteps.len().saturating_sub(1));
        self.updates = updates(&self.solver, &self.levels, &self.orders, begin)?;
        Ok(begin)
    }

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, noise: &mut DrawNoise<'_>) -> Stepped {
        let parts = self.levels[index].parts();
        let pred_original_sample = self.prediction.original_sample(model_output.clone(), sample.clone(), parts);
        let output = match self.solver.algorithm.integrates_noise() {
            true => self.prediction.noise(model_output, sample.clone(), parts),
            false => pred_original_sample.clone(),
        };
        self.outputs.insert(0, output);
        self.outputs.truncate(3);
        let update = &self.updates[index];
        let prev_sample = update.apply(sample, &self.outputs);
        let prev_sample = match self.solver.algorithm.is_stochastic() {
            true => prev_sample + Blend::from(noise()).mul_scalar(update.noise),
            false => prev_sample,
        };
        Stepped { prev_sample, pred_original_sample }
    }
}
