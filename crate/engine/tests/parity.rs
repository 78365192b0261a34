//! The engine against diffusers: every golden of `tests/parity`, on the CPU and on the GPU.
//!
//! `fraise_engine::parity` holds the comparisons and their tolerances; this brings the files. Each case prints its
//! error, also when it passes (`cargo test --test parity -- --nocapture`).

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use std::fs;
use std::path::Path;
use std::rc::Rc;

use burn::tensor::Device;
use fraise_engine::kernels::Border;
use fraise_engine::pack::Quantization;
use fraise_engine::parity::{self, Case, Comparison, Files, Kind, Packed, Subject};
use fraise_engine::pipeline::{MemoryReport, Pipeline};
use fraise_engine::store::Sha2Digest;
use fraise_engine::weights::Scheme;
use futures::TryStreamExt;

fn read_files(case: &Case) -> Files {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens");
    let read =
        |file: String| (file.clone(), fs::read(goldens.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}")));
    case.files().into_iter().map(read).collect()
}

/// Prints every comparison; gives the lines of those that failed.
fn failed(comparisons: &[Comparison]) -> Vec<String> {
    let mut failed = Vec::new();
    for comparison in comparisons {
        let verdict = if comparison.passes() { "ok" } else { "FAILED" };
        let (name, relative, tolerance) = (&comparison.name, comparison.relative(), comparison.tolerance);
        let line = format!("{name:36} {relative:.1e} of {tolerance:.0e} {verdict}");
        println!("{line}");
        if !comparison.passes() {
            failed.push(line);
        }
    }
    failed
}

/// Runs the cases that `wanted` picks, prints every error, and only then fails.
fn check(device: &Device, wanted: impl Fn(&Case) -> bool) {
    let mut failures = Vec::new();
    let cases: Vec<Case> = parity::cases().unwrap().into_iter().filter(wanted).collect();
    assert!(!cases.is_empty());
    for case in cases {
        match pollster::block_on(parity::run_case(&case.name, &read_files(&case), device)) {
            Ok(comparisons) => failures.extend(failed(&comparisons)),
            Err(error) => failures.push(format!("{}: error[{}]: {error}", case.name, error.code())),
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn stored_weights_stand_for_their_numbers() {
    for device in [Some(Device::flex()), common::gpu()].into_iter().flatten() {
        let comparisons = pollster::block_on(parity::compare_schemes(&device)).unwrap();
        assert_eq!(failed(&comparisons), Vec::<String>::new());
    }
}

fn is(kinds: &'static [Kind]) -> impl Fn(&Case) -> bool {
    move |case| kinds.contains(&case.kind)
}

/// One test per kind on each device.
macro_rules! parity {
    ($($name:ident: $kinds:expr;)*) => {
        mod cpu {
            use super::*;
            $(#[test] fn $name() { check(&Device::flex(), is(&$kinds)); })*
        }
        mod gpu {
            use super::*;
            $(#[test] fn $name() {
                if let Some(gpu) = common::gpu() {
                    check(&gpu, is(&$kinds));
                }
            })*
        }
    };
}

parity! {
    text_encoder: [Kind::ClipText, Kind::ClipTextWithProjection];
    conditioning: [Kind::Conditioning];
    unet: [Kind::Unet];
    autoencoders: [Kind::TinyDecoder, Kind::TinyEncoder, Kind::KlDecoder, Kind::KlEncoder, Kind::PatchDecoder, Kind::PatchEncoder];
    upscalers: [Kind::Upscaler];
    scorers: [Kind::Scorer];
    runs: [Kind::Run];
}

/// Paints a run's request from a pack made as asked: the final latents, the picture, and what the pack weighs.
fn paint(case: &Case, quantization: impl Into<Quantization>, device: &Device) -> (Vec<f32>, Vec<f32>, MemoryReport) {
    let Subject::Model(model) = &case.subject else { panic!("{} is not a run", case.name) };
    pollster::block_on(async {
        let Packed { manifest, store } = parity::pack_model(model, &read_files(case), quantization).await.unwrap();
        let pipeline = Rc::new(Pipeline::load(&manifest, &store, &Sha2Digest, device, &mut |_| ()).await.unwrap());
        let request = pipeline.resolve(&model.request).unwrap();
        let steps: Vec<_> = pipeline.generate(request).try_collect().await.unwrap();
        let latents = steps.last().unwrap().latents.clone();
        (common::read(latents.clone()), common::read(pipeline.decode(latents, Border::Zeros)), pipeline.memory())
    })
}

/// Peak signal-to-noise ratio in dB of pictures whose values lie in [0, 1].
fn psnr(found: &[f32], expected: &[f32]) -> f64 {
    let squares: f64 = found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    -10.0 * (squares / found.len() as f64).log10()
}

fn run_named(name: &str) -> Case {
    parity::cases().unwrap().into_iter().find(|case| case.name == name).unwrap()
}

#[test]
fn quantized_packs_paint_the_same_on_both_devices() {
    let Some(gpu) = common::gpu() else { return };
    let case = run_named("run_flow");
    for quantization in [Scheme::Q8.into(), Scheme::Q4.into(), Quantization::Mixed] {
        let (on_gpu, ..) = paint(&case, quantization, &gpu);
        let (on_cpu, ..) = paint(&case, quantization, &Device::flex());
        let (error, scale) = common::difference(&on_gpu, &on_cpu);
        println!("{quantization:?}: GPU and CPU differ by {:.1e} of the largest latent", error / scale);
        // The bound of whole runs, here against the largest latent, some three deviations.
        assert!(error <= 3e-4 * scale, "{quantization:?}: {error} where the scale is {scale}");
    }
}

/// Random weights are the hardest to quantize and tiny widths average least, so the bounds are far below what a
/// trained model reaches; a mistake in the layout gives 10 dB or so.
#[test]
fn quantized_packs_paint_nearly_the_same_picture() {
    for (name, least_db) in [("run_flow", [45.0, 38.0, 28.0]), ("run_ddim", [45.0, 34.0, 24.0])] {
        let case = run_named(name);
        let (_, exact, full) = paint(&case, Scheme::F16, &Device::flex());
        let mut most_bytes = full.device_bytes;
        let quantizations = [Scheme::Q8.into(), Quantization::Mixed, Scheme::Q4.into()];
        for (quantization, least_db) in quantizations.into_iter().zip(least_db) {
            let (_, picture, memory) = paint(&case, quantization, &Device::flex());
            let db = psnr(&picture, &exact);
            let bytes = memory.device_bytes;
            println!("{name} {quantization:?}: {db:.1} dB; {bytes} of {} bytes on the device", full.device_bytes);
            assert!(db >= least_db, "{name} {quantization:?}: {db} dB");
            assert!(bytes < most_bytes, "{name} {quantization:?} is no smaller");
            assert!(bytes <= memory.pack_bytes, "weights were unpacked on the way to the device");
            most_bytes = bytes;
        }
    }
}
