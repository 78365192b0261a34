//! The samplers against diffusers' schedulers; goldens by `tests/parity/make_sampler.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where a golden is malformed")]
#![allow(clippy::print_stdout, reason = "the differences measured, for who asks with --nocapture")]

use burn::tensor::{Device, Tensor, TensorData};
use fraise_engine::sampler::{self, SchedulerConfig};
use safetensors::SafeTensors;

/// Largest difference accepted, relative to the largest magnitude in the compared tensor. Runs go on from their own
/// results, so this holds for a whole run's accumulated rounding, not for one step's.
const TOLERANCE: f64 = 1e-5;

/// Shape of the goldens' samples.
const SHAPE: [usize; 4] = [1, 1, 2, 4];

#[derive(serde::Deserialize)]
struct About {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    sampler: Option<String>,
    config: SchedulerConfig,
    steps: usize,
    init_noise_sigma: f64,
}

struct Golden<'a> {
    tensors: SafeTensors<'a>,
    case: &'a str,
}

impl Golden<'_> {
    fn numbers(&self, key: &str) -> Vec<f64> {
        let Ok(view) = self.tensors.tensor(&format!("{}.{key}", self.case)) else { return Vec::new() };
        let data = view.data();
        match view.dtype() {
            safetensors::Dtype::F32 => {
                data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            safetensors::Dtype::F64 => {
                data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
            }
            other => panic!("{key} is {other:?}"),
        }
    }

    /// A list of tensors of the sample's shape.
    fn tensors(&self, key: &str) -> Vec<Tensor<4>> {
        let device = Device::flex();
        let numbers: Vec<f32> = self.numbers(key).into_iter().map(|number| number as f32).collect();
        let tensor = |chunk: &[f32]| Tensor::from_data(TensorData::new(chunk.to_vec(), SHAPE), &device);
        numbers.chunks_exact(SHAPE.iter().product()).map(tensor).collect()
    }
}

fn numbers(tensor: &Tensor<4>) -> Vec<f64> {
    tensor.clone().into_data().try_into_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// Largest difference beyond what one rounding of the initial sample explains, relative to the largest magnitude.
/// Initial samples reach 10⁴ with zero terminal SNR, and their rounding stays while the rest of them is subtracted.
fn difference(found: &[f64], expected: &[f64], rounding: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()), "{found:?}");
    let largest = expected.iter().fold(1e-30, |max: f64, value| max.max(value.abs()));
    let distance = |(found, expected): (&f64, &f64)| (found - expected).abs() - rounding;
    found.iter().zip(expected).map(distance).fold(0.0, f64::max) / largest
}

/// Runs a case on its own results and gives the largest difference seen, with its place.
fn compare(case: &Case, golden: &Golden) -> (f64, String) {
    let mut sampler = sampler::from_config(case.sampler.as_deref(), &case.config, case.steps).unwrap();
    let timesteps = golden.numbers("timesteps");
    assert_eq!(sampler.timesteps().len(), timesteps.len(), "{}", case.name);
    let mut worst = (0.0, String::from("nowhere"));
    let mut sample = golden.tensors("sample").remove(0);
    let rounding =
        f64::from(f32::EPSILON) * numbers(&sample).into_iter().fold(0.0, |max: f64, value| max.max(value.abs()));
    let mut note = |found: &[f64], expected: &[f64], place: String| {
        let difference = difference(found, expected, rounding);
        if difference > worst.0 {
            worst = (difference, place);
        }
    };
    note(sampler.timesteps(), &timesteps, "timesteps".into());
    note(&[sampler.init_noise_sigma()], &[case.init_noise_sigma], "init_noise_sigma".into());
    let (scaled, outputs) = (golden.tensors("scaled"), golden.tensors("model_outputs"));
    let (prevs, originals) = (golden.tensors("prev_samples"), golden.tensors("pred_original_samples"));
    let noise = golden.tensors("noise");
    let mut draws = noise.iter();
    for (index, output) in outputs.into_iter().enumerate() {
        note(
            &numbers(&sampler.scale_model_input(sample.clone(), index)),
            &numbers(&scaled[index]),
            format!("scaled {index}"),
        );
        let mut draw = || draws.next().expect("more noise than diffusers draws").clone();
        let stepped = sampler.step(output.into(), index, sample.into(), &mut draw);
        sample = stepped.prev_sample.compute();
        note(&numbers(&sample), &numbers(&prevs[index]), format!("prev_sample {index}"));
        let original = stepped.pred_original_sample.compute();
        note(&numbers(&original), &numbers(&originals[index]), format!("original {index}"));
    }
    assert_eq!(draws.len(), 0, "{}: less noise than diffusers draws", case.name);
    worst
}

#[test]
fn equals_diffusers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/parity/goldens/sampler_steps.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let About { cases } = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["golden"]).unwrap();
    // A case is called after its sampler; where several names fit, after the longest.
    let sampler_of = |case: &Case| {
        let fitting = sampler::NAMES.into_iter().filter(|name| case.name.starts_with(name));
        fitting.max_by_key(|name| name.len()).unwrap_or_default()
    };
    for name in sampler::NAMES {
        assert!(cases.iter().filter(|case| sampler_of(case) == name).count() >= 5, "few cases of {name}");
    }
    let mut failures = Vec::new();
    let mut worst: std::collections::BTreeMap<&str, f64> = std::collections::BTreeMap::new();
    for case in &cases {
        let golden = Golden { tensors: SafeTensors::deserialize(&bytes).unwrap(), case: &case.name };
        let (difference, place) = compare(case, &golden);
        let entry = worst.entry(sampler_of(case)).or_default();
        *entry = entry.max(difference);
        if difference > TOLERANCE {
            failures.push(format!("{}: {difference:.2e} at {place}", case.name));
        }
    }
    worst.iter().for_each(|(name, difference)| println!("{name}: at most {difference:.1e}"));
    assert!(failures.is_empty(), "{} of {} runs differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// A model that knows the noise exactly leads back to the picture, wherever a run begins.
#[test]
fn a_perfect_model_leads_every_start_back_to_the_picture() {
    let device = Device::flex();
    let of = |values: [f32; 8]| Tensor::<4>::from_data(TensorData::new(values.to_vec(), SHAPE), &device);
    let original = of([0.3, -1.2, 0.8, 2.0, -0.4, 0.0, 1.1, -0.9]);
    let noise = of([1.0, 0.2, -0.7, 0.4, -1.5, 0.9, 0.1, -0.3]);
    let config = serde_json::json!({"set_alpha_to_one": true, "clip_sample": false, "skip_prk_steps": true});
    let config: SchedulerConfig = serde_json::from_value(config).unwrap();
    for name in ["ddim", "pndm", "euler", "heun", "dpmpp_2m", "dpmpp_2m_karras", "flow_euler"] {
        for skipped in 0..8 {
            let mut sampler = sampler::from_config(Some(name), &config, 8).unwrap();
            let begin = sampler.begin_after(skipped).unwrap();
            let mut sample = sampler.add_noise(original.clone(), noise.clone(), begin);
            for index in begin..sampler.timesteps().len() {
                let output = if name == "flow_euler" { noise.clone() - original.clone() } else { noise.clone() };
                let mut noise = || unreachable!("{name} draws no noise");
                sample = sampler.step(output.into(), index, sample.into(), &mut noise).prev_sample.compute();
            }
            let difference = difference(&numbers(&sample), &numbers(&original), 0.0);
            assert!(difference < 1e-4, "{name} without {skipped} steps: {difference:e}");
        }
    }
    assert_eq!([0.0, 0.3, 0.6, 1.0].map(|strength| sampler::skipped_steps(5, strength)), [4, 4, 2, 0]);
}
