//! The update formulas of the DPM-Solver family: weights of the sample, of differences of model outputs, and of noise.
//!
//! Source: Lu et al., *DPM-Solver* (2022), algorithms 1 and 2, and *DPM-Solver++* (2022), algorithm 2 and appendix D;
//! diffusers 0.42.1 `DPMSolverMultistepScheduler`.

use super::config::{SchedulerConfig, invalid};
use crate::Result;
use crate::kernels::Blend;

/// What is integrated between two noise levels, and whether noise is added on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// `dpmsolver`: the predicted noise.
    Noise,
    /// `sde-dpmsolver`
    NoiseSde,
    /// `dpmsolver++`: the predicted noise-free sample.
    Data,
    /// `sde-dpmsolver++`
    DataSde,
}

impl Algorithm {
    pub fn integrates_noise(self) -> bool {
        matches!(self, Self::Noise | Self::NoiseSde)
    }

    pub fn is_stochastic(self) -> bool {
        matches!(self, Self::NoiseSde | Self::DataSde)
    }
}

/// One noise level: parts of the sample that are signal (α) and noise (σ), and λ = ln(α / σ).
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    alpha: f32,
    sigma: f32,
    lambda: f32,
}

impl Level {
    /// The level where noise is `sigma` times the signal; 0 gives λ = ∞.
    pub fn from_sigma(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        let sigma = sigma * alpha;
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }

    pub fn parts(self) -> (f32, f32) {
        (self.alpha, self.sigma)
    }
}

/// Which of the formulas.
pub(super) struct Solver {
    pub algorithm: Algorithm,
    /// Model outputs that a step looks at, 1 to 3.
    pub order: usize,
    /// Whether second-order steps take the midpoint's slope instead of Heun's.
    midpoint: bool,
}

/// x ← `sample`·x + Σ `terms[k]`·D_k + `noise`·z, where D_k is the k-th divided difference of the model outputs.
pub(super) struct Update {
    sample: f32,
    terms: Vec<f32>,
    /// Weights that make differences of outputs into divided ones: none, one or four by the step's order.
    divisors: Vec<f32>,
    pub noise: f32,
}

impl Solver {
    pub fn from_config(config: &SchedulerConfig) -> Result<Self> {
        let algorithms = [
            ("dpmsolver++", Algorithm::Data),
            ("sde-dpmsolver++", Algorithm::DataSde),
            ("dpmsolver", Algorithm::Noise),
            ("sde-dpmsolver", Algorithm::NoiseSde),
            // What another class calls its own; diffusers takes its default instead.
            ("deis", Algorithm::Data),
        ];
        let types = [("midpoint", true), ("heun", false), ("logrho", true), ("bh1", true), ("bh2", true)];
        let solver = Self {
            algorithm: config.choice("algorithm_type", "dpmsolver++", &algorithms)?,
            order: config.integer("solver_order", 2, 1..=3)?,
            midpoint: config.choice("solver_type", "midpoint", &types)?,
        };
        if solver.order == 3 && solver.algorithm == Algorithm::NoiseSde {
            return Err(invalid("solver_order", "there is no third order of `sde-dpmsolver`"));
        }
        Ok(solver)
    }

    /// The step from the second of `levels` to the first; the others are where the steps before it started, newest
    /// first, `order + 1` in all. Nothing where two levels are one.
    pub fn update(&self, order: usize, levels: &[Level]) -> Option<Update> {
        let (to, from) = (levels[0], levels[1]);
        let h = to.lambda - from.lambda;
        let (sample, noise) = match self.algorithm {
            Algorithm::Data => (to.sigma / from.sigma, 0.0),
            Algorithm::DataSde => (to.sigma / from.sigma * (-h).exp(), to.sigma * (1.0 - (-2.0 * h).exp()).sqrt()),
            Algorithm::Noise => (to.alpha / from.alpha, 0.0),
            Algorithm::NoiseSde => (to.alpha / from.alpha, to.sigma * ((2.0 * h).exp() - 1.0).sqrt()),
        };
        // Sizes in λ of the steps before this one, over its own.
        let ratio = |pair: &[Level]| (pair[0].lambda - pair[1].lambda) / h;
        let ratios: Vec<f32> = levels[1..].windows(2).map(ratio).collect();
        let divisors = match ratios.as_slice() {
            [] => Vec::new(),
            [r0] => vec![1.0 / r0],
            [r0, r1, ..] => vec![1.0 / r0, 1.0 / r1, r0 / (r0 + r1), 1.0 / (r0 + r1)],
        };
        let terms = (0..order).map(|term| self.term(term, order, to, h)).collect();
        let update = Update { sample, terms, divisors, noise };
        let numbers = [update.sample, update.noise];
        let finite = numbers.iter().chain(&update.terms).chain(&update.divisors).all(|number| number.is_finite());
        finite.then_some(update)
    }

    /// The weight of D_`term` in a step of size `h` in λ, operation by operation as diffusers has it.
    fn term(&self, term: usize, order: usize, to: Level, h: f32) -> f32 {
        let Level { alpha, sigma, .. } = to;
        let midpoint = order == 2 && self.midpoint;
        let (down, up, twice) = ((-h).exp() - 1.0, h.exp() - 1.0, 1.0 - (-2.0 * h).exp());
        match (self.algorithm, term) {
            (Algorithm::Data, 0) => -(alpha * down),
            (Algorithm::Data, 1) if midpoint => -0.5 * (alpha * down),
            (Algorithm::Data, 1) => alpha * (down / h + 1.0),
            (Algorithm::Data, _) => -(alpha * ((down + h) / (h * h) - 0.5)),
            (Algorithm::DataSde, 0) => alpha * twice,
            (Algorithm::DataSde, 1) if midpoint => 0.5 * (alpha * twice),
            (Algorithm::DataSde, 1) => alpha * (twice / (-2.0 * h) + 1.0),
            (Algorithm::DataSde, _) => alpha * ((twice - 2.0 * h) / ((2.0 * h) * (2.0 * h)) - 0.5),
            (Algorithm::Noise, 0) => -(sigma * up),
            (Algorithm::Noise, 1) if midpoint => -0.5 * (sigma * up),
            (Algorithm::Noise, 1) => -(sigma * (up / h - 1.0)),
            (Algorithm::Noise, _) => -(sigma * ((up - h) / (h * h) - 0.5)),
            (Algorithm::NoiseSde, 0) => -2.0 * (sigma * up),
            (Algorithm::NoiseSde, _) if midpoint => -(sigma * up),
            (Algorithm::NoiseSde, _) => -2.0 * (sigma * (up / h - 1.0)),
        }
    }
}

impl Update {
    /// The next sample but for its noise. `outputs` are the converted model outputs, newest first, at least as many as
    /// this step's order. All `[1, C, h, w]`.
    pub fn apply(&self, sample: Blend, outputs: &[Blend]) -> Blend {
        let next = sample.mul_scalar(self.sample) + outputs[0].clone().mul_scalar(self.terms[0]);
        let difference =
            |newer: usize, weight: &f32| (outputs[newer].clone() - outputs[newer + 1].clone()).mul_scalar(*weight);
        match self.divisors.as_slice() {
            [newer, older, mix, scale] => {
                let newer = difference(0, newer);
                let change = newer.clone() - difference(1, older);
                let first = newer + change.clone().mul_scalar(*mix);
                next + first.mul_scalar(self.terms[1]) + change.mul_scalar(*scale).mul_scalar(self.terms[2])
            }
            [newer, ..] => next + difference(0, newer).mul_scalar(self.terms[1]),
            [] => next,
        }
    }
}
