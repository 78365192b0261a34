//! How fast the product behind every layer, and attention, are on this machine's GPU, by each way of computing them.
//!
//! `cargo run --locked -p fraise-engine --example kernels [-- --quick --seconds N --only TEXT]` prints the Vulkan adapter, its peak of
//! 32-bit multiply-adds and its copy bandwidth; then, for shapes of large models and of the small default one, each
//! variant's ms for one product (wall, of many launched in a row), µs on the device alone where it has timestamps,
//! GFLOP/s, their share of the peak, and its largest difference from register tiles, relative to the largest output.
//! `--quick` computes tiny shapes, for software adapters; `--only` those whose name contains the text. Stops on the way where it takes longer than N seconds (48).

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may panic")]

mod cases;
mod peaks;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, Tensor};
use burn_wgpu::Wgpu;
use cases::{Case, Inputs, Shape};
use fraise_engine::kernels::{Level, Precision, Stage, Tile, Tuning, Variant, calibrate, has_half_precision};
use fraise_engine::weights::Scheme;

/// What a measurement lasts, in s.
const LONG: f64 = 0.04;
/// Most launches of one measurement.
const MOST_RUNS: u32 = 2000;
/// How many times slower than the best a variant's first product may be for it to be timed again.
const HOPELESS: f64 = 3.0;
/// Seconds up to which a product is never hopeless: hearing of its end takes as long.
const SHORT: f64 = 0.002;
/// Single launches that are timed on the device.
const WINDOWS: usize = 4;

fn main() {
    let started = Instant::now();
    let options: Vec<String> = std::env::args().skip(1).collect();
    let quick = options.iter().any(|option| option == "--quick");
    let value = |name: &str| options.iter().skip_while(|option| *option != name).nth(1);
    let seconds: f64 = value("--seconds").map_or(48.0, |seconds| seconds.parse().unwrap());
    let peaks = peaks::measure(quick);
    println!("{}\nFMA peak {:.0} GFLOP/s, copies {:.0} GB/s", peaks.adapter, peaks.gflops, peaks.copy_gb_s);
    let device = Device::wgpu_options().graphics_api(WgpuBackend::Vulkan).init().unwrap();
    let mut bench = Bench { device, peak: peaks.gflops, deadline: Instant::now(), started };
    let chosen = bench.calibration(quick);
    bench.deadline = started + Duration::from_secs_f64(seconds);
    let mut products: Vec<(String, Tuning)> =
        Variant::ALL.into_iter().map(|variant| (format!("{variant:?}"), variant.into())).collect();
    products.push(("as calibrated".into(), chosen));
    let attentions = [("by invocations", Variant::Registers), ("by tiles", Variant::Tiles64)];
    let attentions = attentions.map(|(name, variant)| (name.to_owned(), variant.into()));
    let others = others(has_half_precision(&bench.device));
    // In the order of their worth.
    type Round<'a> = (fn() -> Vec<Shape>, Scheme, &'a [(String, Tuning)]);
    let rounds: &[Round<'_>] = &[
        (cases::large, Scheme::Q8, &products),
        (cases::attentions, Scheme::F32, &attentions),
        (cases::small, Scheme::Q8, &products),
        (cases::large, Scheme::Q8, &others),
        (cases::large, Scheme::F32, &products),
        (cases::small, Scheme::Q8, &others),
        (cases::large, Scheme::Q4, &products),
    ];
    let quick_rounds: &[Round<'_>] = &[
        (cases::quick, Scheme::Q8, &products),
        (cases::quick, Scheme::F32, &products),
        (cases::quick, Scheme::Q8, &others),
    ];
    for (shapes, scheme, variants) in if quick { quick_rounds } else { rounds } {
        for shape in shapes() {
            if value("--only").is_none_or(|text| shape.name.contains(text.as_str())) {
                bench.shape(&shape, *scheme, variants);
            }
        }
    }
    println!("\n{:.1} s", started.elapsed().as_secs_f64());
}

/// Tiles that no calibration tries: what one of their parameters is worth. With `half`, some at 16 bits too.
fn others(half: bool) -> Vec<(String, Tuning)> {
    let tile = |[n, p]: [u32; 2], [each_n, each_p]: [u32; 2], depth, stage| Tile {
        n,
        p,
        each_n,
        each_p,
        depth,
        stage,
        unroll: false,
        half: false,
    };
    let unrolled = |tile| Tile { unroll: true, ..tile };
    let at_16_bits = |tile| Tile { half: true, ..unrolled(tile) };
    let tiles = [
        tile([128, 128], [8, 8], 16, Stage::After),
        tile([128, 128], [8, 8], 16, Stage::Ahead),
        tile([128, 64], [8, 8], 16, Stage::Ahead),
        tile([64, 128], [8, 8], 16, Stage::Ahead),
        tile([64, 64], [8, 8], 16, Stage::After),
        tile([64, 64], [8, 8], 16, Stage::Ahead),
        unrolled(tile([64, 64], [8, 4], 16, Stage::Ahead)),
        tile([64, 64], [8, 8], 16, Stage::Double),
        tile([64, 64], [4, 4], 32, Stage::Ahead),
    ];
    let halves = [
        at_16_bits(tile([128, 128], [8, 8], 16, Stage::Ahead)),
        at_16_bits(tile([128, 128], [8, 8], 32, Stage::Ahead)),
        at_16_bits(tile([64, 64], [8, 4], 16, Stage::Ahead)),
        at_16_bits(tile([64, 64], [8, 4], 32, Stage::Ahead)),
    ];
    let tiles = tiles.into_iter().chain(halves.into_iter().filter(|_| half));
    let split = [
        (tile([64, 64], [4, 4], 32, Stage::Ahead), 1 << 16),
        (tile([128, 64], [8, 8], 16, Stage::Ahead), 1 << 16),
        (tile([32, 32], [4, 4], 32, Stage::Ahead), 1 << 15),
        (tile([64, 64], [8, 8], 16, Stage::Ahead), 1 << 15),
        (tile([128, 128], [8, 8], 16, Stage::Ahead), 1 << 17),
    ];
    let mut variants = vec![("Registers".to_owned(), Tuning::default())];
    variants.extend(tiles.map(|tile| (tile, 0)).chain(split).map(|(tile, wanted)| {
        let Tile { n, p, each_n, each_p, depth, stage, unroll, half } = tile;
        let cut = if wanted > 0 { format!(" to {wanted}") } else { String::new() };
        let unrolled = if unroll { " unrolled" } else { "" };
        let bits = if half { " 16 bits" } else { "" };
        (
            format!("{n}x{p}/{each_n}x{each_p} k{depth} {stage:?}{bits}{unrolled}{cut}"),
            Variant::Other(tile, wanted).into(),
        )
    }));
    variants
}

struct Bench {
    device: Device,
    /// In GFLOP/s.
    peak: f64,
    /// From then on, nothing more is begun.
    deadline: Instant,
    started: Instant,
}

impl Bench {
    /// What the engine itself would choose for the default model.
    fn calibration(&self, quick: bool) -> Tuning {
        let side = if quick { 8 } else { 16 };
        let levels = [Level { channels: 128, sides: [side; 2] }, Level { channels: 256, sides: [side / 2; 2] }];
        let clock = || self.started.elapsed().as_secs_f64() * 1e3;
        let before = clock();
        let found = pollster::block_on(calibrate(&self.device, levels, Precision::Float16, &clock)).unwrap();
        println!("calibration in {:.0} ms: {found:?}", clock() - before);
        found.tuning
    }

    /// Every variant at one shape.
    fn shape(&self, shape: &Shape, scheme: Scheme, variants: &[(String, Tuning)]) {
        if Instant::now() > self.deadline {
            return;
        }
        println!("\n{} {scheme:?}, {:.3} GFLOP", shape.name, shape.flops() / 1e9);
        let case = Case { shape, inputs: Inputs::new(shape, scheme, &self.device) };
        let mut expected = None;
        let mut best = f64::INFINITY;
        for (name, tuning) in variants {
            if Instant::now() > self.deadline {
                break;
            }
            Tuning { submit: u64::MAX, ..*tuning }.set_for(&self.device);
            // A driver may refuse one variant and take the next.
            let measured = catch_unwind(AssertUnwindSafe(|| self.variant(&case, &mut expected, best)));
            match measured {
                Ok((line, first)) => {
                    println!("{name:34} {line}");
                    best = best.min(first);
                }
                Err(_) => println!("{name:34} failed"),
            }
        }
        Tuning::default().set_for(&self.device);
    }

    /// A line on the variant that is in force, and the seconds of its first product, where `best` is the least of others'.
    /// The first to be called says what is expected of the others.
    fn variant(&self, case: &Case<'_>, expected: &mut Option<Tensor<1>>, best: f64) -> (String, f64) {
        let found = case.run();
        let error = difference(&found, expected.get_or_insert_with(|| found.clone()));
        let first = self.time(case, 1);
        let runs = ((LONG / first) as u32).clamp(1, MOST_RUNS);
        let is_hopeless = first > (HOPELESS * best).max(SHORT);
        let time = if is_hopeless { first } else { self.time(case, runs).min(first) };
        let on_device = if is_hopeless { None } else { case.device_seconds(WINDOWS) };
        let rate = case.shape.flops() / on_device.unwrap_or(time).min(time) / 1e9;
        let line = format!(
            "{:9.4} ms {:>10} {rate:9.0} GFLOP/s {:5.1} %  error {error:.1e}{}",
            time * 1e3,
            on_device.map_or_else(|| "-".into(), |time| format!("{:.1} µs", time * 1e6)),
            100.0 * rate / self.peak,
            if is_hopeless { " (once)" } else { "" },
        );
        (line, first)
    }

    /// Seconds of one of so many launches.
    fn time(&self, case: &Case<'_>, runs: u32) -> f64 {
        let started = Instant::now();
        let mut last = case.run();
        for _ in 1..runs {
            last = case.run();
        }
        // Bytes are read when they are asked for.
        let _ = last.narrow(0, 0, 1).into_data().try_into_vec::<f32>().unwrap();
        started.elapsed().as_secs_f64() / f64::from(runs)
    }
}

/// Largest difference, relative to the largest magnitude expected; found on the device.
fn difference(found: &Tensor<1>, expected: &Tensor<1>) -> f32 {
    let largest = |values: Tensor<1>| values.abs().max().into_data().try_into_vec::<f32>().unwrap()[0];
    largest(found.clone() - expected.clone()) / largest(expected.clone())
}

impl Case<'_> {
    /// Least seconds of one launch by the device's own clock, or `None` where it has none.
    fn device_seconds(&self, windows: usize) -> Option<f64> {
        let client = self.run().try_into_primitive::<Wgpu>().ok()?.client;
        let mut best = None;
        for _ in 0..windows {
            let window = client.profile_start().ok()?;
            let _ = self.run();
            let ticks = pollster::block_on(client.profile_end(window).ok()?.resolve())?;
            let seconds = ticks.duration().as_secs_f64();
            best = Some(best.map_or(seconds, |best: f64| best.min(seconds)));
        }
        best.filter(|seconds| *seconds > 0.0)
    }
}
