//! The engine against diffusers: every golden of `tests/parity`, on the CPU and on the GPU.
//!
//! `fraise_engine::parity` holds the comparisons and their tolerances; this brings the files. Each case prints its
//! error, also when it passes (`cargo test --test parity -- --nocapture`).

mod common;

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use fraise_engine::parity::{self, Case, Files, Kind};

fn read_files(case: &Case) -> Files {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens");
    let read =
        |file: String| (file.clone(), fs::read(goldens.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}")));
    case.files().into_iter().map(read).collect()
}

/// Runs the cases that `wanted` picks, prints every error, and only then fails.
fn check(device: &Device, wanted: impl Fn(&Case) -> bool) {
    let mut failures = Vec::new();
    let cases: Vec<Case> = parity::cases().unwrap().into_iter().filter(wanted).collect();
    assert!(!cases.is_empty());
    for case in cases {
        match pollster::block_on(parity::run_case(&case.name, &read_files(&case), device)) {
            Ok(comparisons) => {
                for comparison in comparisons {
                    let verdict = if comparison.passes() { "ok" } else { "FAILED" };
                    let line = format!(
                        "{:36} {:.1e} of {:.0e} {verdict}",
                        comparison.name,
                        comparison.relative(),
                        comparison.tolerance
                    );
                    println!("{line}");
                    if !comparison.passes() {
                        failures.push(line);
                    }
                }
            }
            Err(error) => failures.push(format!("{}: error[{}]: {error}", case.name, error.code())),
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
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
    text_encoder: [Kind::ClipText];
    unet: [Kind::Unet];
    autoencoders: [Kind::TinyDecoder, Kind::TinyEncoder, Kind::KlDecoder];
    runs: [Kind::Run];
}
