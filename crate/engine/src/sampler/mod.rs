//! Samplers: from noise to a picture's latents in a few steps, number for number as diffusers' schedulers.
//!
//! A [`Sampler`] is a table of per-step numbers, made once from the pack's `scheduler_config.json`, and a `step` that
//! applies one row of it to tensors. The numbers are single precision where torch's are. What a step adds up is written down in
//! diffusers' order and computed in one pass ([`Blend`]), guidance included, so that results differ by rounding only.
//!
//! Source: diffusers 0.42.1, `schedulers/`.

mod config;
mod ddim;
mod dpmpp;
mod dpmpp_update;
mod euler;
mod euler_a;
mod flow_euler;
mod heun;
mod lcm;
mod pndm;
mod schedule;
mod sigmas;
mod tcd;

use burn::tensor::Tensor;

pub use config::SchedulerConfig;

use crate::kernels::Blend;
use crate::{Error, Result};

/// Names that [`from_config`] knows.
pub const NAMES: [&str; SAMPLERS.len()] = {
    let mut names = [""; SAMPLERS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = SAMPLERS[index].name;
        index += 1;
    }
    names
};

/// One way to denoise.
struct Entry {
    name: &'static str,
    /// diffusers' class of that name in `scheduler_config.json`.
    class_name: &'static str,
    build: fn(&SchedulerConfig, usize) -> Result<Box<dyn Sampler>>,
}

/// Where a class has several names, the first is the one that takes the configuration as it is.
const SAMPLERS: [Entry; 11] = [
    Entry { name: "ddim", class_name: "DDIMScheduler", build: ddim::build },
    Entry { name: "pndm", class_name: "PNDMScheduler", build: pndm::build },
    Entry { name: "euler", class_name: "EulerDiscreteScheduler", build: euler::build },
    Entry { name: "euler_a", class_name: "EulerAncestralDiscreteScheduler", build: euler_a::build },
    Entry { name: "dpmpp_2m", class_name: "DPMSolverMultistepScheduler", build: dpmpp::build },
    Entry { name: "dpmpp_2m_karras", class_name: "DPMSolverMultistepScheduler", build: dpmpp::build_karras },
    Entry { name: "dpmpp_sde", class_name: "DPMSolverMultistepScheduler", build: dpmpp::build_sde },
    Entry { name: "heun", class_name: "HeunDiscreteScheduler", build: heun::build },
    Entry { name: "lcm", class_name: "LCMScheduler", build: lcm::build },
    Entry { name: "tcd", class_name: "TCDScheduler", build: tcd::build },
    Entry { name: "flow_euler", class_name: "FlowMatchEulerDiscreteScheduler", build: flow_euler::build },
];

/// Draws one tensor ~ N(0, 1) of the sample's shape, from the stream that made the initial latents.
pub type DrawNoise<'a> = dyn FnMut() -> Tensor<4> + 'a;

/// What one step gives.
#[derive(Debug, Clone)]
pub struct Stepped {
    /// The less noisy sample, input of the next step. `[1, C, h, w]`
    pub prev_sample: Blend,
    /// The sampler's present estimate of the noise-free sample, for previews. `[1, C, h, w]`
    pub pred_original_sample: Blend,
}

/// A denoising schedule of a given number of steps.
///
/// ```text
/// sample = N(0, 1) · init_noise_sigma
/// for index in 0..timesteps.len():
///     model_output = unet(scale_model_input(sample, index), timesteps[index])
///     sample = step(model_output, index, sample).prev_sample
/// ```
pub trait Sampler {
    /// The time that the model is told at each step. Its length is the number of model evaluations, which for some
    /// samplers is not the number of steps asked for.
    fn timesteps(&self) -> &[f64];

    /// Standard deviation of the initial sample; 1 unless a sampler counts in σ.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// The sample as the model wants to see it at step `index`: as it is, unless a sampler counts in σ. Shape unchanged.
    ///
    /// # Panics
    /// Where `index` is not below `timesteps().len()`.
    fn scale_model_input(&self, sample: Tensor<4>, _index: usize) -> Tensor<4> {
        sample
    }

    /// The noise-free sample with as much of the noise as there is before step `index`. Shapes are one, and unchanged.
    ///
    /// # Panics
    /// Where `index` is not below `timesteps().len()`.
    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, index: usize) -> Tensor<4>;

    /// Leaves out the first `skipped` steps of the schedule; gives the index of [`Sampler::timesteps`] at which the run
    /// begins instead of 0. Samplers that look back have nothing to look back at there.
    ///
    /// # Errors
    /// [`Error::Request`] where too few steps are left.
    fn begin_after(&mut self, skipped: usize) -> Result<usize> {
        Ok(skipped)
    }

    /// Takes step `index`, in order from where the run began. `model_output` and `sample` have one shape, `sample` is not scaled. `noise`
    /// is called exactly when diffusers draws noise, so that one stream of numbers serves a whole run.
    ///
    /// # Panics
    /// Where `index` is not below `timesteps().len()`.
    fn step(&mut self, model_output: Blend, index: usize, sample: Blend, noise: &mut DrawNoise<'_>) -> Stepped;
}

/// Steps to leave out of `steps`, so that `strength`, 0 to 1, of them are taken, and at least one.
///
/// Source: diffusers 0.42.1 `StableDiffusionImg2ImgPipeline.get_timesteps`, which may take none.
pub fn skipped_steps(steps: usize, strength: f64) -> usize {
    steps - ((steps as f64 * strength) as usize).clamp(1, steps.max(1))
}

/// Makes the sampler called `name`, or where there is no name the one of the pack's own configuration, for `steps`
/// steps. A name means what `Scheduler.from_config(the pack's scheduler config)` gives in diffusers: fields that the
/// file has and the class knows are taken over, all others have the class's default.
///
/// # Errors
/// [`Error::Request`] for an unknown name or a number of steps that the schedule cannot be divided into,
/// [`Error::Manifest`] for a configuration out of bounds or of a class that is not among [`NAMES`].
pub fn from_config(name: Option<&str>, config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let known = || NAMES.join(", ");
    let entry = match name {
        Some(name) => SAMPLERS.iter().find(|entry| entry.name == name).ok_or_else(|| {
            Error::request("sampler", format!("`{name}` is not a sampler; the samplers are {}", known()))
        })?,
        None => {
            let class_name = config.class_name().unwrap_or("none");
            SAMPLERS.iter().find(|entry| entry.class_name == class_name).ok_or_else(|| {
                let reason = format!("`{class_name}` is not supported; name a sampler instead: {}", known());
                Error::manifest("scheduler._class_name", reason)
            })?
        }
    };
    let num_train_timesteps = config.num_train_timesteps()?;
    if !(1..=num_train_timesteps).contains(&steps) {
        return Err(Error::request("steps", format!("{steps} is outside 1 to {num_train_timesteps}")));
    }
    (entry.build)(config, steps)
}

/// What the model's output stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prediction {
    /// The noise in the sample.
    Epsilon,
    /// The noise-free sample.
    Sample,
    /// `v_prediction`: √ᾱ·noise − √(1−ᾱ)·sample.
    Velocity,
}

impl Prediction {
    fn from_config(config: &SchedulerConfig) -> Result<Self> {
        let choices = [("epsilon", Self::Epsilon), ("sample", Self::Sample), ("v_prediction", Self::Velocity)];
        config.choice("prediction_type", "epsilon", &choices)
    }

    /// For classes that do not know `sample`.
    fn without_sample(config: &SchedulerConfig) -> Result<Self> {
        match Self::from_config(config)? {
            Self::Sample => Err(config::invalid("prediction_type", "this sampler does not know `sample`")),
            prediction => Ok(prediction),
        }
    }

    /// The noise-free sample that the model's output implies where `parts` of the sample are (signal, noise).
    fn original_sample(self, model_output: Blend, sample: Blend, parts: (f32, f32)) -> Blend {
        let (signal, noise) = parts;
        match self {
            Self::Epsilon => (sample - model_output.mul_scalar(noise)).div_scalar(signal),
            Self::Sample => model_output,
            Self::Velocity => sample.mul_scalar(signal) - model_output.mul_scalar(noise),
        }
    }

    /// The same for a sample that is the noise-free one plus `sigma` times noise.
    fn original_of_sigma(self, model_output: Blend, sample: Blend, sigma: f32) -> Blend {
        let variance = sigma * sigma + 1.0;
        match self {
            Self::Epsilon => sample - model_output.mul_scalar(sigma),
            Self::Sample => model_output,
            Self::Velocity => model_output.mul_scalar(-sigma / variance.sqrt()) + sample.div_scalar(variance),
        }
    }

    /// The noise that the model's output implies where `parts` of the sample are (signal, noise).
    fn noise(self, model_output: Blend, sample: Blend, parts: (f32, f32)) -> Blend {
        let (signal, noise) = parts;
        match self {
            Self::Epsilon => model_output,
            Self::Sample => (sample - model_output.mul_scalar(signal)).div_scalar(noise),
            Self::Velocity => model_output.mul_scalar(signal) + sample.mul_scalar(noise),
        }
    }
}

/// Signal and noise in a sample of which `alpha_prod` of the variance is signal.
fn roots(alpha_prod: f32) -> (f32, f32) {
    (alpha_prod.sqrt(), (1.0 - alpha_prod).sqrt())
}

/// A sample of which `parts` are (signal, noise); of one picture and several noises as many samples.
fn mix(original: Tensor<4>, noise: Tensor<4>, parts: (f32, f32)) -> Tensor<4> {
    let original = match noise.dims()[0] / original.dims()[0] {
        1 => original,
        times => original.repeat_dim(0, times),
    };
    (Blend::from(original).mul_scalar(parts.0) + Blend::from(noise).mul_scalar(parts.1)).compute()
}

/// Largest magnitude of the predicted noise-free sample, where the configuration clips it.
fn clip_range(config: &SchedulerConfig, clips_by_default: bool) -> Result<Option<f32>> {
    config.unsupported("thresholding", "dynamic thresholding is not for latent diffusion and not supported")?;
    let range = config.number("clip_sample_range", 1.0, 1e-3..=1e3)?;
    Ok(config.flag("clip_sample", clips_by_default)?.then_some(range as f32))
}

fn clip(sample: Blend, range: Option<f32>) -> Blend {
    match range {
        Some(range) => sample.clamp(-range, range),
        None => sample,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> SchedulerConfig {
        serde_json::from_value(json).unwrap()
    }

    fn error_of(name: Option<&str>, json: serde_json::Value, steps: usize) -> Error {
        match from_config(name, &config(json.clone()), steps) {
            Err(error) => error,
            Ok(_) => panic!("{name:?} {json} {steps} was accepted"),
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = error_of(Some("plms"), serde_json::json!({}), 10);
        assert!(
            matches!(&error, Error::Request { field, reason } if field == "sampler" && reason.contains("flow_euler"))
        );
        for class in [serde_json::json!({}), serde_json::json!({"_class_name": "DPMSolverSDEScheduler"})] {
            let error = error_of(None, class, 10);
            assert!(matches!(&error, Error::Manifest { field, .. } if field == "scheduler._class_name"), "{error:?}");
        }
    }

    #[test]
    fn steps_stay_inside_the_training_schedule() {
        for name in NAMES {
            for steps in [0, 1001, usize::MAX] {
                let error = error_of(Some(name), serde_json::json!({}), steps);
                assert!(
                    matches!(&error, Error::Request { field, .. } if field == "steps"),
                    "{name} {steps}: {error:?}"
                );
            }
            let sampler = from_config(Some(name), &SchedulerConfig::default(), 4).unwrap();
            let evaluations = match name {
                "pndm" => 13,
                "heun" => 7,
                _ => 4,
            };
            assert_eq!(sampler.timesteps().len(), evaluations, "{name}");
        }
        let divided = serde_json::json!({"original_inference_steps": 50});
        let leading = serde_json::json!({"timestep_spacing": "leading"});
        for (name, json, steps) in
            [("lcm", &divided, 51), ("tcd", &divided, 51), ("pndm", &leading, 3), ("dpmpp_2m", &leading, 1000)]
        {
            let error = error_of(Some(name), json.clone(), steps);
            assert!(matches!(&error, Error::Request { field, .. } if field == "steps"), "{name}: {error:?}");
        }
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let cases = [
            ("ddim", "num_train_timesteps", serde_json::json!(0)),
            ("ddim", "num_train_timesteps", serde_json::json!(4_000_000_000_u64)),
            ("ddim", "num_train_timesteps", serde_json::json!(-1)),
            ("ddim", "num_train_timesteps", serde_json::json!(1000.5)),
            ("ddim", "beta_start", serde_json::json!(0.0)),
            ("ddim", "beta_end", serde_json::json!(1.0)),
            ("ddim", "beta_end", serde_json::json!("0.02")),
            ("ddim", "beta_schedule", serde_json::json!("sigmoid")),
            ("ddim", "trained_betas", serde_json::json!([0.1, 0.2])),
            ("ddim", "trained_betas", serde_json::json!(vec![2.0; 1000])),
            ("ddim", "prediction_type", serde_json::json!("flow")),
            ("ddim", "timestep_spacing", serde_json::json!(7)),
            ("ddim", "steps_offset", serde_json::json!(900)),
            ("ddim", "clip_sample_range", serde_json::json!(-1.0)),
            ("ddim", "clip_sample", serde_json::json!("yes")),
            ("ddim", "thresholding", serde_json::json!(true)),
            ("euler", "use_beta_sigmas", serde_json::json!(true)),
            ("euler", "interpolation_type", serde_json::json!("cubic")),
            ("euler", "sigma_max", serde_json::json!(1e300)),
            ("lcm", "original_inference_steps", serde_json::json!(1001)),
            ("lcm", "timestep_scaling", serde_json::json!(0.0)),
            ("pndm", "prediction_type", serde_json::json!("sample")),
            ("pndm", "steps_offset", serde_json::json!(900)),
            ("euler_a", "prediction_type", serde_json::json!("sample")),
            ("heun", "use_beta_sigmas", serde_json::json!(true)),
            ("heun", "beta_schedule", serde_json::json!("exp")),
            ("dpmpp_2m", "prediction_type", serde_json::json!("flow_prediction")),
            ("dpmpp_2m", "algorithm_type", serde_json::json!("unipc")),
            ("dpmpp_2m", "solver_type", serde_json::json!("bogus")),
            ("dpmpp_2m", "solver_order", serde_json::json!(4)),
            ("dpmpp_2m", "thresholding", serde_json::json!(true)),
            ("dpmpp_2m", "use_flow_sigmas", serde_json::json!(true)),
            ("dpmpp_2m", "use_dynamic_shifting", serde_json::json!(true)),
            ("dpmpp_2m", "variance_type", serde_json::json!("learned")),
            ("dpmpp_2m", "lambda_min_clipped", serde_json::json!(100.0)),
            ("dpmpp_sde", "final_sigmas_type", serde_json::json!("none")),
            ("tcd", "original_inference_steps", serde_json::json!(0)),
            ("flow_euler", "shift", serde_json::json!(0.0)),
            ("flow_euler", "shift_terminal", serde_json::json!(1.0)),
            ("flow_euler", "use_dynamic_shifting", serde_json::json!(true)),
        ];
        for (name, field, value) in cases {
            let error = error_of(Some(name), serde_json::json!({ field: value }), 4);
            let expected = format!("scheduler.{field}");
            assert!(matches!(&error, Error::Manifest { field, .. } if *field == expected), "{name} {field}: {error:?}");
        }
        // Two fields that exclude each other; one of them is named.
        let cases = [
            ("dpmpp_2m", serde_json::json!({"algorithm_type": "dpmsolver"}), "scheduler.final_sigmas_type"),
            ("dpmpp_2m_karras", serde_json::json!({"use_exponential_sigmas": true}), "scheduler.use_karras_sigmas"),
        ];
        for (name, json, expected) in cases {
            let error = error_of(Some(name), json, 4);
            assert!(matches!(&error, Error::Manifest { field, .. } if field == expected), "{name}: {error:?}");
        }
        // As diffusers writes it for a model that has one kind of output.
        let json = serde_json::json!({"variance_type": null, "lambda_min_clipped": null});
        assert!(from_config(Some("dpmpp_2m"), &config(json), 4).is_ok());
    }
}
