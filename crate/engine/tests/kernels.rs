//! Each GPU kernel against its plain-tensor twin on the CPU, over random and deliberately odd shapes.
//!
//! Tolerance: 1e-5 of the output's largest magnitude, for single-precision sums of up to some 2000 terms in another
//! order. Needs a Vulkan adapter (`common::gpu` says what to install) and says so where there is none.

#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use common::{Random, StoredWeight, difference, gpu, half_gpu, own_gpu, read, tensor};
use fraise_engine::kernels::{
    self, AttentionShape, Blend, Border, Conv2dShape, Costs, Finish, GroupNorm, Level, Padding, Precision, Stage, Tile,
    TileCost, Tuning, Variant, at_half_precision, attention, gemm::conv2d_reference,
};
use fraise_engine::weights::{Scheme, Weight};

const TOLERANCE: f32 = 1e-5;
/// Of a convolution by Winograd's tiles of four, whose transforms multiply by up to 8: they lose another two bits.
const WINOGRAD: f32 = 4.0 * TOLERANCE;

/// Runs `op` on both devices, each with its own copy of everything, and compares.
fn check(what: &str, op: impl Fn(&Device) -> Vec<f32>) {
    check_within(TOLERANCE, what, op);
}

fn check_within(tolerance: f32, what: &str, op: impl Fn(&Device) -> Vec<f32>) {
    let Some(gpu) = gpu() else { return };
    let (error, scale) = difference(&op(&gpu), &op(&Device::flex()));
    println!("{what}: {:.1e}", error / scale);
    assert!(error <= tolerance * scale, "{what}: error {error:e} where the scale is {scale:e}");
}

/// As [`check`], by register tiles and by some tile in shared memory, and cut into dispatches as for a slow device. Cases take
/// turns in the tiles and in whether costs choose as well: compiling each kernel for all would take minutes.
fn check_variants(what: &str, op: impl Fn(&Device) -> Vec<f32>) {
    let turn = what.bytes().map(usize::from).sum::<usize>();
    let mut tunings = [Variant::Registers, Variant::TILES[turn % Variant::TILES.len()]].map(Tuning::from).to_vec();
    tunings.extend((turn % 3 == 0).then(by_costs));
    check_each(&tunings, what, op);
}

fn check_each(tunings: &[impl Into<Tuning> + Copy], what: &str, op: impl Fn(&Device) -> Vec<f32>) {
    check_each_within(TOLERANCE, tunings, what, op);
}

fn check_each_within(
    tolerance: f32,
    tunings: &[impl Into<Tuning> + Copy],
    what: &str,
    op: impl Fn(&Device) -> Vec<f32>,
) {
    let Some(gpu) = own_gpu() else { return };
    let expected = op(&Device::flex());
    for &tuning in tunings {
        for submit in [u64::MAX, 9_000] {
            let tuning = Tuning { submit, ..tuning.into() };
            tuning.set_for(&gpu);
            let (error, scale) = difference(&op(&gpu), &expected);
            let way = if tuning.costs.is_some() { "costs".into() } else { format!("{:?}", tuning.variant) };
            println!("{what} by {way}, {submit} at once: {:.1e}", error / scale);
            assert!(error <= tolerance * scale, "{what} by {way}: error {error:e} where the scale is {scale:e}");
        }
    }
}

/// Of operations that have one kernel for GPUs that share memory and one for others: a variant of the product of each kind.
const KINDS: [Variant; 2] = [Variant::Registers, Variant::Tiles32];

/// As a GPU that has much of everything would have it: Winograd's tiles in shared memory wherever they save multiplications.
fn by_costs() -> Tuning {
    let costs = [(Variant::Tiles64, 1.0, 100.0), (Variant::Tiles128, 2.0, 50.0), (Variant::Tiles32, 1.0, 200.0)];
    let mut tiles = [None; Variant::TILES.len()];
    for (tile, (variant, alone_us, at_once)) in tiles.iter_mut().zip(costs) {
        *tile = Some(TileCost { variant, alone_us, at_once });
    }
    Tuning { costs: Some(Costs { tiles, launch_us: 0.1, numbers_per_us: 1e9 }), ..Tuning::default() }
}

/// A multiple of 32 for quantized weights, any number for others.
fn inputs(scheme: Scheme, random: &mut Random, most: usize) -> usize {
    if scheme.is_quantized() { 32 * random.between(1, most / 32) } else { random.between(1, most) }
}

/// Outputs: in odd rounds a multiple of 16 as nearly all layers have, for which register tiles are wider.
fn outputs(round: usize, random: &mut Random, most: usize) -> usize {
    if round % 2 == 1 { 16 * random.between(1, most / 16) } else { random.between(1, most) }
}

fn optional_bias(bias: &[f32], device: &Device) -> Option<Tensor<1>> {
    (!bias.is_empty()).then(|| tensor(bias, [bias.len()], device))
}

#[test]
fn stored_weights_mean_the_numbers_they_were_made_from() {
    let mut random = Random::new(1);
    for scheme in Scheme::ALL {
        for shape in [vec![1, 32], vec![7, 96], vec![5, 32, 3, 3]] {
            let stored = StoredWeight::random(scheme, &shape, &mut random);
            let weight = stored.load(&Device::flex());
            let dense = weight.dequantize::<1>([stored.values.len()], &Device::flex());
            assert_eq!(read(dense), stored.values, "{scheme:?} {shape:?}");
        }
    }
}

#[test]
fn linear_equals_its_twin() {
    let mut random = Random::new(2);
    for scheme in Scheme::ALL {
        for round in 0..12 {
            let (rows, outputs) = (random.between(1, 150), outputs(round, &mut random, 150));
            // From 256 on, sums are cut into spans.
            let columns = inputs(scheme, &mut random, 480);
            let x = random.values(rows * columns);
            let bias = if round % 3 == 0 { Vec::new() } else { random.values(outputs) };
            let stored = StoredWeight::random(scheme, &[outputs, columns], &mut random);
            check_variants(&format!("linear {scheme:?} [{rows}, {columns}] -> {outputs}"), |device| {
                let x = tensor(&x, [rows, columns], device);
                read(kernels::linear(x, &stored.load(device), optional_bias(&bias, device).as_ref()))
            });
        }
    }
}

#[test]
fn each_tile_equals_its_twin() {
    let mut random = Random::new(11);
    let mut variants = Vec::new();
    for ([n, p], [each_n, each_p], depth) in [
        ([128, 128], [8, 8], 16),
        ([128, 64], [8, 8], 16),
        ([64, 128], [8, 8], 16),
        ([64, 64], [8, 4], 16),
        ([64, 64], [4, 4], 32),
        ([32, 32], [4, 4], 32),
    ] {
        for stage in [Stage::After, Stage::Ahead, Stage::Double] {
            let tile = Tile { n, p, each_n, each_p, depth, stage, unroll: stage == Stage::Double, half: false };
            let variant = Variant::Other(tile, 1 << 16);
            // What every adapter has room for.
            if variant.fits(256, 16 << 10) {
                variants.push(variant);
            }
        }
    }
    assert!(variants.len() > 12, "{variants:?}");
    for scheme in [Scheme::F32, Scheme::Q8] {
        let (rows, columns, outputs) =
            (random.between(65, 150), inputs(scheme, &mut random, 480), random.between(65, 150));
        let (x, bias) = (random.values(rows * columns), random.values(outputs));
        let stored = StoredWeight::random(scheme, &[outputs, columns], &mut random);
        check_each(&variants, &format!("linear {scheme:?} [{rows}, {columns}] -> {outputs}"), |device| {
            let x = tensor(&x, [rows, columns], device);
            read(kernels::linear(x, &stored.load(device), optional_bias(&bias, device).as_ref()))
        });
        let (channels, side) = (inputs(scheme, &mut random, 64), random.between(9, 13));
        let x = random.values(channels * side * side);
        let stored = StoredWeight::random(scheme, &[outputs, channels, 3, 3], &mut random);
        check_each(&variants, &format!("conv2d {scheme:?} [{channels}, {side}, {side}] -> {outputs}"), |device| {
            let x = tensor(&x, [1, channels, side, side], device);
            let bias = optional_bias(&bias, device);
            read(kernels::conv2d(x, &stored.load(device), bias.as_ref(), Conv2dShape::SAME, Border::Zeros))
        });
    }
}

/// Of products at 16 bits: both factors lose 2^-12 of themselves on average, and so does each of a slab's 16 or 32 sums; that
/// is random, so that it does not grow with the number of slabs against their sum.
const HALF: f32 = 2e-3;

#[test]
fn products_at_16_bits_are_near_their_twins() {
    let Some(gpu) = half_gpu() else { return };
    let check = |what: &str, variant: Variant, op: &dyn Fn(&Device) -> Vec<f32>| {
        let expected = op(&Device::flex());
        Tuning { variant, half: true, ..Tuning::default() }.set_for(&gpu);
        let [exact, near] = [op(&gpu), at_half_precision(|| op(&gpu))].map(|found| {
            let (error, scale) = difference(&found, &expected);
            error / scale
        });
        println!("{what} by {variant:?}: {exact:.1e}, {near:.1e}");
        assert!(exact <= TOLERANCE, "{what} by {variant:?}, to which nobody allowed 16 bits: {exact:e}");
        assert!(near <= HALF, "{what} by {variant:?}: {near:e}");
        assert!(near > TOLERANCE, "{what} by {variant:?} was not computed at 16 bits: {near:e}");
    };
    let mut random = Random::new(12);
    let tiled = Variant::ALL.into_iter().filter(|variant| *variant != Variant::Registers);
    for (variant, scheme) in tiled.zip(Scheme::ALL.into_iter().cycle()) {
        let (rows, columns, outputs) =
            (random.between(1, 150), inputs(scheme, &mut random, 2000), random.between(1, 150));
        let (x, bias) = (random.values(rows * columns), random.values(outputs));
        let stored = StoredWeight::random(scheme, &[outputs, columns], &mut random);
        check(&format!("linear {scheme:?} [{rows}, {columns}] -> {outputs}"), variant, &|device| {
            let x = tensor(&x, [rows, columns], device);
            read(kernels::linear(x, &stored.load(device), optional_bias(&bias, device).as_ref()))
        });
        let (channels, side) = (inputs(scheme, &mut random, 200), random.between(5, 13));
        let x = random.values(channels * side * side);
        let stored = StoredWeight::random(scheme, &[outputs, channels, 3, 3], &mut random);
        check(&format!("conv2d {scheme:?} [{channels}, {side}, {side}] -> {outputs}"), variant, &|device| {
            let (x, bias) = (tensor(&x, [1, channels, side, side], device), optional_bias(&bias, device));
            read(kernels::conv2d(x, &stored.load(device), bias.as_ref(), Conv2dShape::SAME, Border::Zeros))
        });
    }
    Tuning::default().set_for(&gpu);
}

#[test]
fn what_16_bits_cannot_hold_is_their_greatest() {
    let Some(gpu) = half_gpu() else { return };
    let (rows, columns) = (33, 64);
    let mut random = Random::new(13);
    let x: Vec<f32> = random.values(rows * columns).iter().map(|value| value * 1e6).collect();
    let held: Vec<f32> = x.iter().map(|value| value.clamp(-65504.0, 65504.0)).collect();
    // Their sums would be beyond it, were they not divided before.
    let weights: Vec<f32> = random.values(columns * columns).iter().map(|value| value / 2.0).collect();
    let product = |x: &[f32], device: &Device| {
        let weight = Weight::of(tensor(&weights, [columns, columns], device));
        read(kernels::linear(tensor(x, [rows, columns], device), &weight, None))
    };
    let expected = product(&held, &Device::flex());
    for variant in [Variant::Tiles32, Variant::Tiles64] {
        Tuning { variant, half: true, ..Tuning::default() }.set_for(&gpu);
        let (error, scale) = difference(&at_half_precision(|| product(&x, &gpu)), &expected);
        assert!(error <= HALF * scale, "{variant:?}: {error:e} of {scale:e}");
    }
    Tuning::default().set_for(&gpu);
}

/// Activations as large as 16 bits hold, with their weights' signs: slabs sum up to a million, more than the default model's can.
#[test]
fn sums_beyond_16_bits_are_finite() {
    let Some(gpu) = half_gpu() else { return };
    let (rows, columns) = (33, 640);
    let weights = Random::new(25).values(columns);
    let slabs = weights.chunks(32).map(|slab| slab.iter().map(|weight| weight.abs()).sum::<f32>());
    assert!(slabs.fold(0.0, f32::max) > 17.0, "no slab's weights are as large as the default model's");
    let x: Vec<f32> = weights.iter().map(|weight| 65504f32.copysign(*weight)).collect();
    let product = |device: &Device| {
        let weight = Weight::of(tensor(&weights, [1, columns], device));
        read(kernels::linear(tensor(&x.repeat(rows), [rows, columns], device), &weight, None))
    };
    let expected = product(&Device::flex());
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::Registers) {
        Tuning { variant, half: true, ..Tuning::default() }.set_for(&gpu);
        let (error, scale) = difference(&at_half_precision(|| product(&gpu)), &expected);
        println!("{variant:?}: {:.1e}", error / scale);
        assert!(error <= HALF * scale, "{variant:?}: {error:e} of {scale:e}");
    }
    Tuning::default().set_for(&gpu);
}

#[test]
fn calibration_tries_what_every_adapter_has_room_for() {
    for variant in Variant::TILES {
        assert!(variant.fits(256, 16 << 10), "{variant:?} is beyond WebGPU's default limits");
        assert!(Variant::ALL.contains(&variant), "{variant:?} is not tested");
    }
    assert!(!Variant::Tiles128.fits(128, 16 << 10) && !Variant::Tiles128.fits(256, 8 << 10));
}

#[test]
fn linear_takes_views_of_tensors() {
    let mut random = Random::new(3);
    let stored = StoredWeight::random(Scheme::Q8, &[24, 64], &mut random);
    let x = random.values(4 * 64 * 6);
    let forward = |x: Tensor<3>, weight: &Weight| read(kernels::linear(x, weight, None));
    check("linear of a slice", |device| {
        let x = tensor(&x, [4, 6, 64], device).slice([1..3, 1..6, 0..64]);
        forward(x, &stored.load(device))
    });
    check("linear of a transposed tensor", |device| {
        let x = tensor(&x, [4, 64, 6], device).swap_dims(1, 2);
        forward(x, &stored.load(device))
    });
    check("linear of the second half of a batch", |device| {
        let x = tensor(&x, [4, 6, 64], device).chunk(2, 0).remove(1);
        forward(x, &stored.load(device))
    });
}

#[test]
fn conv2d_equals_its_twin() {
    let mut random = Random::new(4);
    let geometries = [
        Conv2dShape::SAME,
        Conv2dShape::POINTWISE,
        Conv2dShape::DOUBLE,
        Conv2dShape { stride: 2, ..Conv2dShape::SAME },
        Conv2dShape { stride: 2, padding: (0, 1), ..Conv2dShape::SAME },
        Conv2dShape { padding: (0, 0), ..Conv2dShape::SAME },
    ];
    for scheme in Scheme::ALL {
        for (round, geometry) in geometries.iter().cycle().take(18).enumerate() {
            let (batch, height, width) = (random.between(1, 3), random.between(3, 13), random.between(3, 13));
            let (channels, outputs) = (inputs(scheme, &mut random, 64), outputs(round, &mut random, 48));
            let x = random.values(batch * channels * height * width);
            let bias = if round % 3 == 0 { Vec::new() } else { random.values(outputs) };
            let stored =
                StoredWeight::random(scheme, &[outputs, channels, geometry.kernel, geometry.kernel], &mut random);
            let border = if round % 2 == 0 { Border::Zeros } else { Border::Circular };
            let what = format!(
                "conv2d {scheme:?} {geometry:?} {border:?} [{batch}, {channels}, {height}, {width}] -> {outputs}"
            );
            check_variants(&what, |device| {
                let x = tensor(&x, [batch, channels, height, width], device);
                read(kernels::conv2d(x, &stored.load(device), optional_bias(&bias, device).as_ref(), *geometry, border))
            });
        }
    }
}

#[test]
fn conv2d_by_winograd_equals_its_twin() {
    let mut random = Random::new(12);
    for scheme in Scheme::ALL {
        for round in 0..8 {
            // Whole tiles of two or four, and channels that make whole vectors of weights and of outputs.
            let side = [2, 4][round % 2];
            let (batch, height, width) =
                (random.between(1, 3), side * random.between(2, 9), side * random.between(2, 9));
            // Tiles in shared memory take 16 of them at once.
            let channels = match scheme.is_quantized() {
                true => 32 * random.between(1, 3),
                false => [4, 16][round / 4] * random.between(1, 6),
            };
            let outputs = 16 * random.between(1, 9);
            let x = random.values(batch * channels * height * width);
            let bias = if round % 3 == 0 { Vec::new() } else { random.values(outputs) };
            let stored = StoredWeight::random(scheme, &[outputs, channels, 3, 3], &mut random);
            let what = format!("conv2d {scheme:?} [{batch}, {channels}, {height}, {width}] -> {outputs}");
            check_each_within(WINOGRAD, &[Tuning::default(), by_costs()], &what, |device| {
                let x = tensor(&x, [batch, channels, height, width], device);
                let (weight, bias) = (stored.load_within(1 << 17, device), optional_bias(&bias, device));
                let padded = kernels::pad(x, 1, Padding::square((1, 1)), Border::Zeros);
                read(match device == &Device::flex() {
                    true => conv2d_reference(padded, &weight, bias.as_ref(), Conv2dShape::SAME),
                    false => kernels::conv2d_padded(padded, &weight, bias.as_ref(), Conv2dShape::SAME),
                })
            });
        }
    }
}

/// One of each kind: the others differ in sizes alone.
fn some() -> [Tuning; 3] {
    [Variant::Registers.into(), Variant::Tiles32.into(), by_costs()]
}

/// Small weights are transformed once, until a map of another size wants other tiles.
#[test]
fn kept_weights_suit_every_size() {
    let mut random = Random::new(37);
    let stored = StoredWeight::random(Scheme::Q8, &[48, 64, 3, 3], &mut random);
    // By tiles of two, of four, and by none.
    let maps = [8, 8, 16, 16, 8, 5].map(|side| (side, random.values(64 * side * side)));
    check_within(WINOGRAD, "the same weights at sizes in turn", |device| {
        let weight = stored.load(device);
        let convolved = maps.each_ref().map(|(side, x)| {
            let x = tensor(x, [1, 64, *side, *side], device);
            read(kernels::conv2d(x, &weight, None, Conv2dShape::SAME, Border::Zeros))
        });
        convolved.concat()
    });
}

#[test]
fn sums_in_the_same_pass_equal_their_twins() {
    let mut random = Random::new(14);
    for scheme in Scheme::ALL {
        for round in 0..4 {
            // By Winograd's tiles in half of the rounds, where registers are used; in parts in some.
            let (batch, height, width) = (random.between(1, 3), 2 * random.between(2, 6), 2 * random.between(2, 6));
            let channels = if scheme.is_quantized() { 32 * random.between(1, 2) } else { 4 * random.between(4, 16) };
            let outputs =
                if (round + scheme as usize) % 4 < 2 { 16 * random.between(2, 4) } else { random.between(3, 50) };
            let binding_bytes = if round % 3 == 0 { 1 << 14 } else { 1 << 20 };
            let x = random.values(batch * channels * height * width);
            let (bias, added) = (random.values(outputs), random.values(batch * outputs * height * width));
            let stored = StoredWeight::random(scheme, &[outputs, channels, 3, 3], &mut random);
            let shape = [batch, outputs, height, width];
            let what = format!("conv2d {scheme:?} [{batch}, {channels}, {height}, {width}] -> {outputs}, plus {round}");
            check_each_within(WINOGRAD, &some(), &what, |device| {
                let padded = kernels::pad(
                    tensor(&x, [batch, channels, height, width], device),
                    1,
                    Padding::square((1, 1)),
                    Border::Zeros,
                );
                let (weight, bias) = (stored.load_within(binding_bytes, device), optional_bias(&bias, device));
                let plus = (round % 4 != 0).then(|| tensor(&added, shape, device));
                read(kernels::conv2d_plus(padded, &weight, bias.as_ref(), Conv2dShape::SAME, plus))
            });
            let stored = StoredWeight::random(scheme, &[outputs, channels], &mut random);
            let pixels = height * width;
            check_each(&some(), &format!("{what}: pixels"), |device| {
                let (weight, bias) = (stored.load_within(binding_bytes, device), optional_bias(&bias, device));
                let map = tensor(&x, [batch, channels, height, width], device);
                let rows = tensor(&x, [batch, pixels, channels], device);
                let of_pixels = kernels::linear_of_pixels(map, &weight, bias.as_ref());
                let plus = tensor(&added, [batch, pixels, outputs], device);
                let sum = kernels::linear_plus(rows.clone(), &weight, bias.as_ref(), Some(plus));
                let to_pixels = kernels::linear_to_pixels(rows, &weight, bias.as_ref(), tensor(&added, shape, device));
                [read(of_pixels), read(sum), read(to_pixels)].concat()
            });
        }
    }
}

#[test]
fn joined_layers_are_each_by_itself() {
    let mut random = Random::new(34);
    for scheme in Scheme::ALL {
        for round in 0..4 {
            let (batch, height, width) = (random.between(1, 2), random.between(1, 9), random.between(1, 9));
            // Some are more than a tile of each variant, and some sums are cut.
            let (channels, outputs) = (32 * random.between(1, 12), 16 * random.between(1, 9));
            let stored: [_; 3] =
                core::array::from_fn(|_| StoredWeight::random(scheme, &[outputs, channels], &mut random));
            let x = random.values(batch * channels * height * width);
            let biases: [_; 3] = core::array::from_fn(|_| random.values(if round % 2 == 0 { outputs } else { 0 }));
            let what = format!("three of {scheme:?} [{batch}, {height}·{width}, {channels}] -> {outputs}");
            check_variants(&what, |device| {
                let weights = stored.each_ref().map(|stored| stored.load(device));
                let (map, rows) = (
                    tensor(&x, [batch, channels, height, width], device),
                    tensor(&x, [batch, height * width, channels], device),
                );
                let results: [[Tensor<3>; 3]; 2] = if *device == Device::flex() {
                    let layers = || weights.iter().zip(biases.each_ref().map(|bias| optional_bias(bias, device)));
                    let of_rows = layers().map(|(weight, bias)| kernels::linear(rows.clone(), weight, bias.as_ref()));
                    let of_pixels =
                        layers().map(|(weight, bias)| kernels::linear_of_pixels(map.clone(), weight, bias.as_ref()));
                    [of_rows.collect::<Vec<_>>(), of_pixels.collect()].map(|results| results.try_into().unwrap())
                } else {
                    let joined = Weight::joined(&weights.each_ref()).unwrap();
                    assert_eq!(joined.parts.len(), 1);
                    let bias = optional_bias(&biases.concat(), device);
                    [
                        kernels::linears(rows, &joined, bias.as_ref()),
                        kernels::linears_of_pixels(map, &joined, bias.as_ref()),
                    ]
                };
                results.into_iter().flatten().flat_map(read).collect()
            });
        }
    }
}

#[test]
fn joined_layers_come_apart_again() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(35);
    for scheme in Scheme::ALL {
        let stored = [0; 3].map(|_| StoredWeight::random(scheme, &[48, 96], &mut random));
        for device in [gpu.clone(), Device::flex()] {
            let weights = stored.each_ref().map(|stored| stored.load(&device));
            let joined = Weight::joined(&weights.each_ref()).unwrap();
            assert_eq!((joined.rows, joined.columns), (144, 96));
            for (index, stored) in stored.iter().enumerate() {
                let one = joined.one_of(index, 3);
                let dense = one.dequantize::<1>([stored.values.len()], &Device::flex());
                assert_eq!(read(dense), stored.values, "{scheme:?} {index}");
            }
        }
        // Others than these are not joined.
        let [one, other] = [[48, 96], [32, 96]].map(|shape| StoredWeight::random(scheme, &shape, &mut random));
        assert!(Weight::joined(&[&one.load(&gpu), &other.load(&gpu)]).is_none());
        let odd = StoredWeight::random(scheme, &[20, 96], &mut random);
        assert!(Weight::joined(&[&odd.load(&gpu), &odd.load(&gpu)]).is_none());
    }
}

#[test]
fn channels_are_put_side_by_side() {
    let mut random = Random::new(36);
    for _ in 0..12 {
        let (batch, side) = (random.between(1, 3), random.between(1, 9));
        let counts = [random.between(1, 40), random.between(1, 40)];
        let maps = counts.map(|channels| random.values(batch * channels * side * side));
        check_within(0.0, &format!("{counts:?} channels of {batch} maps, {side}x{side}"), |device| {
            let [x, y] = [0, 1].map(|index| tensor(&maps[index], [batch, counts[index], side, side], device));
            read(kernels::cat_channels(x, y))
        });
    }
    let map = random.values(2 * 8 * 9);
    check_within(0.0, "a map beside itself", |device| {
        let map = tensor(&map, [2, 8, 3, 3], device);
        read(kernels::cat_channels(map.clone(), map))
    });
}

#[test]
fn conv2d_takes_views_of_tensors() {
    let mut random = Random::new(5);
    let stored = StoredWeight::random(Scheme::Q4, &[20, 32, 1, 1], &mut random);
    let x = random.values(3 * 32 * 5 * 7);
    check("1x1 conv2d of a transposed slice", |device| {
        let x = tensor(&x, [3, 7, 5, 32], device).slice([1..3, 0..7, 1..4, 0..32]).permute([0, 3, 2, 1]);
        read(kernels::conv2d(x, &stored.load(device), None, Conv2dShape::POINTWISE, Border::Zeros))
    });
}

#[test]
fn activations_equal_their_twins() {
    let mut random = Random::new(26);
    type Map = fn(Tensor<3>) -> Tensor<3>;
    let maps: [(&str, Map); 4] = [
        ("silu", kernels::silu),
        ("gelu", kernels::gelu),
        ("quick gelu", kernels::quick_gelu),
        ("unit", kernels::unit),
    ];
    // Whole vectors, and not; and numbers whose exponentials are infinite.
    let few = random.values(3 * 40 * 7).iter().map(|value| 4.0 * value).collect();
    let odd = random.values(3 * 41 * 7).iter().map(|value| 4.0 * value).collect();
    for (x, dims) in [(few, [3, 40, 7]), (odd, [3, 41, 7]), (vec![-1e4, -120.0, -90.0, 0.0, 120.0], [1, 1, 5])] {
        for (name, map) in maps {
            check(&format!("{name} {dims:?}"), |device| read(map(tensor(&x, dims, device))));
        }
    }
    for border in [Border::Zeros, Border::Circular] {
        let x = random.values(2 * 3 * 5 * 7);
        check(&format!("silu, padded by {border:?}"), |device| {
            let padding = Padding { rows: (1, 2), columns: (0, 1) };
            read(kernels::silu_padded(tensor(&x, [2, 3, 5, 7], device), padding, border))
        });
    }
}

#[test]
fn embedding_equals_its_twin() {
    let mut random = Random::new(6);
    for scheme in [Scheme::F32, Scheme::F16] {
        for columns in [1, 7, 32] {
            let rows = random.between(2, 90);
            let stored = StoredWeight::random(scheme, &[rows, columns], &mut random);
            let ids: Vec<u32> = (0..random.between(1, 20)).map(|_| random.between(0, rows - 1) as u32).collect();
            check(&format!("embedding {scheme:?} [{rows}, {columns}]"), |device| {
                read(kernels::embedding(&stored.load(device), &ids))
            });
        }
    }
}

#[test]
fn attention_equals_its_twin() {
    let mut random = Random::new(7);
    // Those of Stable Diffusion and others that tiles take, and any.
    let sizes = [4, 8, 20, 32, 40, 44, 48, 56, 60, 64, 72, 80, 96, 112, 128, 160].map(Some);
    for (round, size) in sizes.into_iter().chain([None; 10]).enumerate() {
        let causal = size.is_none() && round % 3 == 0;
        let size =
            size.unwrap_or_else(|| if round % 2 == 0 { 4 * random.between(1, 20) } else { random.between(1, 80) });
        let (batch, heads) = (random.between(1, 2), random.between(1, 5));
        let queries = random.between(1, 150);
        let keys = if causal { queries } else { random.between(1, 90) };
        let channels = heads * size;
        // Scores of up to ±20 or so, so that a softmax without its maximum taken off would overflow or lose digits.
        let q: Vec<f32> = random.values(batch * queries * channels).iter().map(|value| 12.0 * value).collect();
        let [k, v] = [0; 2].map(|_| random.values(batch * keys * channels));
        let what = format!("attention [{batch}, {queries}, {keys}] {heads} heads of {size}, causal {causal}");
        check_each(&KINDS, &what, |device| {
            let q = tensor(&q, [batch, queries, channels], device);
            let [k, v] = [&k, &v].map(|values| tensor(values, [batch, keys, channels], device));
            read(kernels::attention(q, k, v, AttentionShape { heads, causal }))
        });
    }
}

#[test]
fn group_norm_equals_its_twin() {
    let mut random = Random::new(8);
    for round in 0..12 {
        let (batch, groups) = (random.between(1, 2), random.between(1, 9));
        let channels = groups * random.between(1, 6);
        // The last round's groups are more than one slice of a workgroup.
        let most = if round == 11 { 129 } else { 33 };
        let (height, width) = (random.between(2, most).max(most - 31), random.between(3, most));
        // A mean far from zero costs digits of x itself, 1e-4 of the spread; mean(x²) - mean(x)² would cost 1e-2.
        let (offset, tolerance) = if round % 2 == 0 { (300.0, 1e-3) } else { (0.0, TOLERANCE) };
        let x: Vec<f32> = random.values(batch * channels * height * width).iter().map(|v| v + offset).collect();
        let (weight, bias) = (random.values(channels), random.values(channels));
        let mut side = || (random.between(0, 2) as isize, random.between(0, 2) as isize);
        let padding = if round % 4 == 0 { Padding::default() } else { Padding { rows: side(), columns: side() } };
        let border = if round % 4 == 3 { Border::Circular } else { Border::Zeros };
        let finish = Finish { silu: round % 3 == 0, padding, border };
        let what = format!("group_norm [{batch}, {channels}/{groups}, {height}, {width}] {finish:?} offset {offset}");
        check_each_within(tolerance, &KINDS, &what, |device| {
            let (weight, bias) = (tensor(&weight, [channels], device), tensor(&bias, [channels], device));
            let norm = GroupNorm { weight, bias, groups, eps: 1e-5 };
            let x = tensor(&x, [batch, channels, height, width], device);
            let moments = kernels::moments(&x, groups);
            let rows = kernels::normalize(x.clone().narrow(2, 1, height - 1), &moments, &norm, finish);
            [read(kernels::normalize(x, &moments, &norm, finish)), read(rows)].concat()
        });
    }
}

#[test]
fn layer_norm_equals_its_twin() {
    let mut random = Random::new(9);
    for _ in 0..8 {
        let (rows, columns) = (random.between(1, 80), random.between(2, 330));
        let x: Vec<f32> = random.values(rows * columns).iter().map(|v| v + 3.0).collect();
        let (weight, bias) = (random.values(columns), random.values(columns));
        check_each(&KINDS, &format!("layer_norm [{rows}, {columns}]"), |device| {
            let (weight, bias) = (tensor(&weight, [columns], device), tensor(&bias, [columns], device));
            read(kernels::layer_norm(tensor(&x, [1, rows, columns], device), &weight, &bias, 1e-5))
        });
    }
}

/// Heads as wide as the KL autoencoder's, whose scores are rows of a softmax.
#[test]
fn attention_of_wide_heads_equals_its_twin() {
    let mut random = Random::new(13);
    for tokens in [3, 300] {
        let channels = attention::MAX_OUTPUT_SIZE + 16;
        let [q, k, v] = [0; 3].map(|_| random.values(tokens * channels));
        check_each(&KINDS, &format!("attention of a head of {channels}, {tokens} tokens"), |device| {
            let [q, k, v] = [&q, &k, &v].map(|values| tensor(values, [1, tokens, channels], device));
            read(kernels::attention(q, k, v, AttentionShape { heads: 1, causal: false }))
        });
    }
}

#[test]
fn geglu_equals_its_twin() {
    let mut random = Random::new(10);
    for (rows, inner) in [(1, 1), (7, 33), (64, 128)] {
        // Gates from -6 to 6, where Φ has reached its ends.
        let x: Vec<f32> = random.values(rows * 2 * inner).iter().map(|value| 6.0 * value).collect();
        check(&format!("geglu [{rows}, {}]", 2 * inner), |device| {
            read(kernels::geglu(tensor(&x, [rows, 2 * inner], device)))
        });
    }
}

#[test]
fn a_blend_equals_its_twin() {
    let mut random = Random::new(14);
    // Twelve tensors are more than one pass reads.
    for (count, shape) in
        [(1, [1, 4, 3, 5]), (2, [2, 4, 8, 8]), (3, [3, 1, 1, 1]), (7, [1, 16, 5, 7]), (12, [2, 3, 9, 4])]
    {
        let values: Vec<_> = (0..count).map(|_| random.values(2 * shape.iter().product::<usize>())).collect();
        let weights = random.values(2 * count);
        let twice = [2 * shape[0], shape[1], shape[2], shape[3]];
        let blend = |device: &Device| {
            let terms = values.iter().zip(weights.chunks(2)).map(|(values, weights)| {
                let [first, second] = Blend::halves(tensor(values, twice, device));
                // Twice: it counts as one.
                first.clone().mul_scalar(weights[0]) - second.clone().div_scalar(1.5 + weights[1]) + first
            });
            terms.reduce(|sum, term| sum + term).unwrap()
        };
        check(&format!("blend of {count} {shape:?}"), |device| read(blend(device).compute()));
        let (error, scale) =
            difference(&read(blend(&Device::flex()).compute()), &read(blend(&Device::flex()).reference()));
        assert!(error <= TOLERANCE * scale, "on the processor: {error:e}");
    }
    let whole = tensor(&[1.0, -2.0], [1, 2, 1, 1], &Device::flex());
    assert_eq!(read(Blend::from(whole.clone()).compute()), [1.0, -2.0]);
    assert_eq!(read(Blend::from(whole).mul_scalar(3.0).clamp(-2.5, 2.5).compute()), [2.5, -2.5]);
}

#[test]
fn pixel_shuffle_equals_its_twin() {
    let mut random = Random::new(11);
    for (batch, channels, [height, width], scale) in [(1, 3, [5, 7], 1), (2, 3, [5, 3], 4), (1, 16, [16, 16], 2)] {
        let shape = [batch, channels * scale * scale, height, width];
        let x = random.values(shape.iter().product());
        check(&format!("pixel shuffle {shape:?} by {scale}"), |device| {
            read(kernels::pixel_shuffle(tensor(&x, shape, device), scale))
        });
    }
}

#[test]
fn calibration_measures_and_leaves_a_tuning() {
    let Some(gpu) = own_gpu() else { return };
    let started = Instant::now();
    let clock = || started.elapsed().as_secs_f64() * 1e3;
    let levels = [Level { channels: 64, sides: [16, 16] }, Level { channels: 96, sides: [4, 4] }];
    let calibration = pollster::block_on(kernels::calibrate(&gpu, levels, Precision::Float16, &clock)).unwrap();
    println!("{calibration:?} in {:.0} ms", clock());
    assert!(calibration.gpu_rate > 0.0 && calibration.cpu_rate > 0.0, "{calibration:?}");
    assert!(calibration.tuning.submit as f64 > calibration.gpu_rate, "250 ms are more than one: {calibration:?}");
    assert!(
        pollster::block_on(kernels::calibrate(&Device::flex(), levels, Precision::Float32, &clock)).is_err(),
        "the processor has no tuning"
    );
}
