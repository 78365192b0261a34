//! `pndm`: pseudo linear multistep sampling, started by pseudo Runge–Kutta steps or, with `skip_prk_steps` as Stable
//! Diffusion has it, by taking the second timestep twice.
//!
//! Source: Liu et al., *Pseudo Numerical Methods for Diffusion Models on Manifolds* (2022), equations 9, 12 and 13;
//! diffusers 0.42.1 `PNDMScheduler`.

use burn::tensor::Tensor;

use super::config::{SchedulerConfig, invalid};
use super::schedule::{BetaDefaults, Spacing, alphas_cumprod};
use super::{DrawNoise, Prediction, Sampler, Stepped, mix, roots};
use crate::kernels::Blend;
use crate::{Error, Result};

/// Model evaluations of one Runge–Kutta step, and of the three that start a run.
const PRK_ORDER: usize = 4;
const PRK_LEN: usize = 3 * PRK_ORDER;

struct Pndm {
    schedule: Schedule,
    /// The evaluations' timesteps and numbers, of the run as it began.
    timesteps: Vec<f64>,
    rows: Vec<Row>,
    /// Model evaluations that belong to Runge–Kutta steps.
    prk_len: usize,
    prediction: Prediction,
    /// The last four model outputs, newest first.
    outputs: Vec<Blend>,
    /// The sample that the present Runge–Kutta step, or the twice taken first step, started from.
    start: Option<Blend>,
    /// Weighted sum of the model outputs of the present Runge–Kutta step.
    sum: Option<Blend>,
}

/// What the evaluations are made from.
struct Schedule {
    /// Timesteps, descending.
    spaced: Vec<i64>,
    /// Training timesteps between two of them.
    stride: i64,
    alphas: Vec<f32>,
    /// ᾱ after the last.
    final_alpha: f32,
    skips_prk: bool,
}

/// ᾱ at a model evaluation's own timestep, and at the two that its transfer goes from and to.
struct Row {
    alpha_prod: f32,
    alpha_prod_t: f32,
    alpha_prod_t_prev: f32,
}

pub(super) fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let defaults = BetaDefaults { beta_start: 0.0001, beta_end: 0.02, beta_schedule: "linear", rescales: false };
    let alphas = alphas_cumprod(config, defaults)?;
    let final_alpha = if config.flag("set_alpha_to_one", false)? { 1.0 } else { alphas[0] };
    let spaced = Spacing::from_config(config, "leading")?.timesteps(config, steps)?;
    let spaced: Vec<i64> = spaced.into_iter().map(|timestep| timestep.round_ties_even() as i64).collect();
    let stride = (alphas.len() / steps) as i64;
    let skips_prk = config.flag("skip_prk_steps", false)?;
    let schedule = Schedule { spaced, stride, alphas, final_alpha, skips_prk };
    let (timesteps, rows) = schedule.evaluations(0, skips_prk)?;
    Ok(Box::new(Pndm {
        schedule,
        timesteps,
        rows,
        prk_len: if skips_prk { 0 } else { PRK_LEN },
        prediction: Prediction::without_sample(config)?,
        outputs: Vec::new(),
        start: None,
        sum: None,
    }))
}

impl Schedule {
    /// The model evaluations of a run without the first `skipped` timesteps.
    fn evaluations(&self, skipped: usize, skips_prk: bool) -> Result<(Vec<f64>, Vec<Row>)> {
        let spaced = self.spaced.get(skipped..).unwrap_or_default();
        let transfers = match skips_prk {
            true => skipping_prk(spaced, self.stride),
            false => with_prk(spaced, self.stride)?,
        };
        let row = |transfer: &Transfer| {
            let alpha_prod_t_prev = if transfer.to < 0 { self.final_alpha } else { self.alpha(transfer.to)? };
            Ok(Row {
                alpha_prod: self.alpha(transfer.at)?,
                alpha_prod_t: self.alpha(transfer.from)?,
                alpha_prod_t_prev,
            })
        };
        let rows = transfers.iter().map(row).collect::<Result<_>>()?;
        Ok((transfers.iter().map(|transfer| transfer.at as f64).collect(), rows))
    }

    fn alpha(&self, timestep: i64) -> Result<f32> {
        let last = self.alphas.len() - 1;
        let reason = || format!("puts a timestep at {timestep} where the schedule ends at {last}");
        let index = usize::try_from(timestep).unwrap_or(0);
        self.alphas.get(index).copied().ok_or_else(|| invalid("steps_offset", reason()))
    }
}

/// The timestep of one model evaluation, and those that the sample goes from and to with it; a negative one is the end.
struct Transfer {
    at: i64,
    from: i64,
    to: i64,
}

/// Every timestep once but the second, which corrects the first step and then takes its own.
fn skipping_prk(spaced: &[i64], stride: i64) -> Vec<Transfer> {
    let mut transfers: Vec<Transfer> = spaced.iter().map(|&at| Transfer { at, from: at, to: at - stride }).collect();
    if let Some(&second) = spaced.get(1) {
        transfers.insert(1, Transfer { at: second, from: second + stride, to: second });
    }
    transfers
}

/// Three Runge–Kutta steps, each looking at its beginning, twice at its middle, and at its end; then the others.
fn with_prk(spaced: &[i64], stride: i64) -> Result<Vec<Transfer>> {
    let half = stride / 2;
    let runge_kutta = |pair: &[i64]| {
        let (from, end) = (pair[0], pair[1]);
        let middle = end + half;
        [(from, from - half), (middle, middle), (middle, middle - half), (end, end)].map(|(at, to)| Transfer {
            at,
            from,
            to,
        })
    };
    let Some((starting, rest)) = spaced.split_at_checked(3).filter(|(_, rest)| !rest.is_empty()) else {
        let reason = format!("{} is fewer than the 4 that this sampler needs without `skip_prk_steps`", spaced.len());
        return Err(Error::request("steps", reason));
    };
    let pairs: Vec<i64> = starting.iter().chain(rest.first()).copied().collect();
    let multistep = rest.iter().map(|&at| Transfer { at, from: at, to: at - stride });
    Ok(pairs.windows(2).flat_map(runge_kutta).chain(multistep).collect())
}

impl Pndm {
    /// The model output that evaluation `index` is taken with, and the sample that it is applied to.
    fn combine(&mut self, output: Blend, index: usize, sample: Blend) -> (Blend, Blend) {
        if index < self.prk_len {
            return self.runge_kutta(output, index % PRK_ORDER, sample);
        }
        if index == 1 && self.prk_len == 0 {
            let combined = (output + self.outputs[0].clone()).div_scalar(2.0);
            return (combined, self.start.take().unwrap_or(sample));
        }
        self.start = (index == 0).then(|| sample.clone());
        self.remember(output);
        let output = |age: usize, weight: f64| self.outputs[age].clone().mul_scalar(weight);
        let combined = match self.outputs.len() {
            1 => output(0, 1.0),
            2 => (output(0, 3.0) - output(1, 1.0)).div_scalar(2.0),
            3 => (output(0, 23.0) - output(1, 16.0) + output(2, 5.0)).div_scalar(12.0),
            _ => (output(0, 55.0) - output(1, 59.0) + output(2, 37.0) - output(3, 9.0)).mul_scalar(1.0 / 24.0),
        };
        (combined, sample)
    }

    fn runge_kutta(&mut self, output: Blend, stage: usize, sample: Blend) -> (Blend, Blend) {
        if stage == 0 {
            self.remember(output.clone());
            self.start = Some(sample.clone());
        }
        let weight = if matches!(stage, 0 | 3) { 1.0 / 6.0 } else { 1.0 / 3.0 };
        let weighted = output.clone().mul_scalar(weight);
        let sum = match self.sum.take() {
            Some(sum) => sum + weighted,
            None => weighted,
        };
        let start = self.start.clone().unwrap_or(sample);
        if stage + 1 == PRK_ORDER {
            return (sum, start);
        }
        self.sum = Some(sum);
        (output, start)
    }

    fn remember(&mut self, output: Blend) {
        self.outputs.insert(0, output);
        self.outputs.truncate(4);
    }
}

impl Sampler for Pndm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4> {
        mix(original, noise, roots(self.rows[index].alpha_prod))
    }

    /// Starts anew at a later timestep. diffusers goes through its list of evaluations instead, where the second one is
    /// there twice: it loses a timestep on the way, and leaves its noise in the picture. Where fewer steps are left than start
    /// a run by Runge–Kutta, none does.
    fn begin_after(&mut self, skipped: usize) -> Result<usize> {
        let has_few_left = self.schedule.spaced.len() < skipped + PRK_ORDER;
        let skips_prk = self.schedule.skips_prk || has_few_left;
        (self.timesteps, self.rows) = self.schedule.evaluations(skipped, skips_prk)?;
        self.prk_len = if skips_prk { 0 } else { PRK_LEN };
        Ok(0)
    }

    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, _noise: &mut DrawNoise<'_>) -> Stepped {
        let Row { alpha_prod, alpha_prod_t, alpha_prod_t_prev } = self.rows[index];
        let pred_original_sample =
            self.prediction.original_sample(model_output.clone(), sample.clone(), roots(alpha_prod));
        let (combined, sample) = self.combine(model_output, index, sample);
        let epsilon = self.prediction.noise(combined, sample.clone(), roots(alpha_prod_t));
        let denominator = alpha_prod_t * (1.0 - alpha_prod_t_prev).sqrt()
            + (alpha_prod_t * (1.0 - alpha_prod_t) * alpha_prod_t_prev).sqrt();
        let direction = epsilon.mul_scalar(alpha_prod_t_prev - alpha_prod_t).div_scalar(denominator);
        let prev_sample = sample.mul_scalar((alpha_prod_t_prev / alpha_prod_t).sqrt()) - direction;
        Stepped { prev_sample, pred_original_sample }
    }
}
