//! `pndm`: pseudo linear multistep sampling, started by pseudo Runge–Kutta steps or, with `skip_prk_steps` as Stable
//! Diffusion has it, by taking the second timestep twice.
//!
//! Source: Liu et al., *Pseudo Numerical Methods for Diffusion Models on Manifolds* (2022), equations 9, 12 and 13;
//! diffusers 0.42.1 `PNDMScheduler`.

use burn::tensor::Tensor;

use super::config::{SchedulerConfig, invalid};
use super::schedule::{BetaDefaults, Spacing, alphas_cumprod};
use super::{DrawNoise, Prediction, Sampler, Stepped, roots};
use crate::{Error, Result};

/// Model evaluations of one Runge–Kutta step, and of the three that start a run.
const PRK_ORDER: usize = 4;
const PRK_LEN: usize = 3 * PRK_ORDER;

struct Pndm {
    timesteps: Vec<f64>,
    rows: Vec<Row>,
    /// Model evaluations that belong to Runge–Kutta steps.
    prk_len: usize,
    prediction: Prediction,
    /// The last four model outputs, newest first.
    outputs: Vec<Tensor<4>>,
    /// The sample that the present Runge–Kutta step, or the twice taken first step, started from.
    start: Option<Tensor<4>>,
    /// Weighted sum of the model outputs of the present Runge–Kutta step.
    sum: Option<Tensor<4>>,
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
    let transfers = match config.flag("skip_prk_steps", false)? {
        true => skipping_prk(&spaced, stride),
        false => with_prk(&spaced, stride)?,
    };
    let alpha = |timestep: i64| {
        let reason = || format!("puts a timestep at {timestep} where the schedule ends at {}", alphas.len() - 1);
        let index = usize::try_from(timestep).unwrap_or(0);
        alphas.get(index).copied().ok_or_else(|| invalid("steps_offset", reason()))
    };
    let row = |transfer: &Transfer| {
        let alpha_prod_t_prev = if transfer.to < 0 { final_alpha } else { alpha(transfer.to)? };
        Ok(Row { alpha_prod: alpha(transfer.at)?, alpha_prod_t: alpha(transfer.from)?, alpha_prod_t_prev })
    };
    Ok(Box::new(Pndm {
        rows: transfers.iter().map(row).collect::<Result<_>>()?,
        timesteps: transfers.iter().map(|transfer| transfer.at as f64).collect(),
        prk_len: if config.flag("skip_prk_steps", false)? { 0 } else { PRK_LEN },
        prediction: Prediction::without_sample(config)?,
        outputs: Vec::new(),
        start: None,
        sum: None,
    }))
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
    fn combine(&mut self, output: Tensor<4>, index: usize, sample: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
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

    fn runge_kutta(&mut self, output: Tensor<4>, stage: usize, sample: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
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

    fn remember(&mut self, output: Tensor<4>) {
        self.outputs.insert(0, output);
        self.outputs.truncate(4);
    }
}

impl Sampler for Pndm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn step(
        &mut self,
        model_output: Tensor<4>,
        index: usize,
        sample: Tensor<4>,
        _noise: &mut DrawNoise<'_>,
    ) -> Stepped {
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
