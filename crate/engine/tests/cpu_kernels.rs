//! Each of the processor's kernels against its plain-tensor twin, over random and deliberately odd shapes.
//!
//! Tolerance: 1e-5 of the output's largest magnitude, as for the GPU's (`kernels.rs`).

mod common;

use burn::tensor::{Device, Tensor, activation};
use common::{Random, StoredWeight, difference, read, tensor};
use fraise_engine::kernels::{
    self, AttentionShape, Border, Conv2dShape, Finish, GroupNorm, Padding, activation::geglu_reference,
    attention::attention_reference, embedding::embedding_reference, gemm::conv2d_reference, gemm::linear_reference,
    norm::layer_norm_reference, norm::moments_reference, norm::normalize_reference, pad::pad_reference,
};
use fraise_engine::weights::{Scheme, Weight};

const TOLERANCE: f32 = 1e-5;
/// Of a convolution by Winograd's tiles of four, whose transforms multiply by up to 8: they lose another two bits.
const WINOGRAD: f32 = 4.0 * TOLERANCE;

fn compare<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>) {
    compare_within(TOLERANCE, what, found, expected);
}

fn compare_within<const D: usize>(tolerance: f32, what: &str, found: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (error, scale) = difference(&read(found), &read(expected));
    assert!(error <= tolerance * scale.max(1e-3), "{what}: error {error:e} where the scale is {scale:e}");
}

fn random<const D: usize>(random: &mut Random, shape: [usize; D]) -> Tensor<D> {
    tensor(&random.values(shape.iter().product()), shape, &Device::flex())
}

fn inputs(scheme: Scheme, random: &mut Random, most: usize) -> usize {
    if scheme.is_quantized() { 32 * random.between(1, most / 32) } else { random.between(1, most) }
}

#[test]
fn linear_equals_its_twin() {
    let mut numbers = Random::new(21);
    for scheme in Scheme::ALL {
        for round in 0..16 {
            // Around the tile's sizes, and deeper than one block of inputs.
            let (rows, outputs) = (numbers.between(1, 40), numbers.between(1, 150));
            let columns = inputs(scheme, &mut numbers, 700);
            let stored = StoredWeight::random(scheme, &[outputs, columns], &mut numbers);
            let (x, bias) = (random(&mut numbers, [rows, columns]), random(&mut numbers, [outputs]));
            let (weight, bias) = (stored.load(&Device::flex()), (round % 3 != 0).then_some(&bias));
            let expected = linear_reference(x.clone(), &weight, bias);
            compare(
                &format!("linear {scheme:?} {rows} x {columns} -> {outputs}"),
                kernels::linear(x, &weight, bias),
                expected,
            );
        }
    }
}

#[test]
fn linear_takes_views_and_weights_in_parts() {
    let mut numbers = Random::new(22);
    let stored = StoredWeight::random(Scheme::Q8, &[24, 64], &mut numbers);
    let weight = stored.load_within(64 * 8, &Device::flex());
    assert_eq!(weight.parts.len(), 3);
    let x = random(&mut numbers, [64, 9]).transpose().narrow(0, 2, 6);
    compare("linear of a view", kernels::linear(x.clone(), &weight, None), linear_reference(x, &weight, None));
}

#[test]
fn conv2d_equals_its_twin() {
    let mut numbers = Random::new(23);
    let geometries = [
        Conv2dShape::SAME,
        Conv2dShape::POINTWISE,
        Conv2dShape { stride: 2, ..Conv2dShape::SAME },
        Conv2dShape { padding: (0, 0), ..Conv2dShape::SAME },
    ];
    for scheme in Scheme::ALL {
        for (round, shape) in geometries.iter().cycle().take(16).enumerate() {
            let (batch, height, width) = (numbers.between(1, 3), numbers.between(3, 18), numbers.between(3, 18));
            let (channels, outputs) = (inputs(scheme, &mut numbers, 96), numbers.between(1, 70));
            let stored = StoredWeight::random(scheme, &[outputs, channels, shape.kernel, shape.kernel], &mut numbers);
            let x = random(&mut numbers, [batch, channels, height, width]);
            let bias = random(&mut numbers, [outputs]);
            let (weight, bias) = (stored.load(&Device::flex()), (round % 3 != 0).then_some(&bias));
            let expected = conv2d_reference(x.clone(), &weight, bias, *shape);
            let what = format!("conv2d {scheme:?} {shape:?} [{batch}, {channels}, {height}, {width}] -> {outputs}");
            compare(&what, kernels::conv2d_padded(x, &weight, bias, *shape), expected);
        }
    }
}

#[test]
fn conv2d_by_winograd_equals_its_twin() {
    let mut numbers = Random::new(27);
    for scheme in Scheme::ALL {
        for round in 0..12 {
            // Whole tiles of two or four, more than are transformed at once, and rows that fill no tile of weights.
            let side = [2, 4][round % 2];
            let (batch, most) = (numbers.between(1, 3), if round == 0 { 64 } else { 12 });
            let [height, width] = [0; 2].map(|_| side * numbers.between(2, most));
            let channels =
                32 * numbers.between(1, 5) - if scheme.is_quantized() { 0 } else { 2 * numbers.between(0, 7) };
            let outputs = numbers.between(16, 90);
            let stored = StoredWeight::random(scheme, &[outputs, channels, 3, 3], &mut numbers);
            let weight = stored.load_within(1 << 17, &Device::flex());
            let x = random(&mut numbers, [batch, channels, height + 2, width + 2]);
            let bias = random(&mut numbers, [outputs]);
            let bias = (round % 3 != 0).then_some(&bias);
            let expected = conv2d_reference(x.clone(), &weight, bias, Conv2dShape::SAME);
            let what = format!("conv2d {scheme:?} [{batch}, {channels}, {height}, {width}] -> {outputs}");
            compare_within(WINOGRAD, &what, kernels::conv2d_padded(x, &weight, bias, Conv2dShape::SAME), expected);
        }
    }
}

#[test]
fn sums_in_the_same_pass_equal_their_twins() {
    let mut numbers = Random::new(28);
    for scheme in Scheme::ALL {
        for _ in 0..8 {
            let (batch, height, width) = (numbers.between(1, 3), numbers.between(2, 12), numbers.between(2, 12));
            let (channels, outputs) = (inputs(scheme, &mut numbers, 96).max(2), numbers.between(3, 70));
            let weight = StoredWeight::random(scheme, &[outputs, channels, 3, 3], &mut numbers);
            let weight = weight.load_within(1 << 15, &Device::flex());
            let x = random(&mut numbers, [batch, channels, height + 2, width + 2]);
            let (bias, map) = (random(&mut numbers, [outputs]), random(&mut numbers, [batch, outputs, height, width]));
            let expected = conv2d_reference(x.clone(), &weight, Some(&bias), Conv2dShape::SAME) + map.clone();
            let what = format!("{scheme:?} [{batch}, {channels}, {height}, {width}] -> {outputs}");
            let found = kernels::conv2d_plus(x, &weight, Some(&bias), Conv2dShape::SAME, Some(map.clone()));
            compare_within(WINOGRAD, &what, found, expected);

            let weight = StoredWeight::random(scheme, &[outputs, channels], &mut numbers).load(&Device::flex());
            let x = random(&mut numbers, [batch * height * width, channels]);
            let expected = linear_reference(x.clone(), &weight, Some(&bias));
            let rows = x.reshape([batch, height * width, channels]);
            let product = expected.reshape([batch, height * width, outputs]);
            let tokens = random(&mut numbers, [batch, height * width, outputs]);
            let sum = kernels::linear_plus(rows.clone(), &weight, Some(&bias), Some(tokens.clone()));
            compare(&what, sum, product.clone() + tokens);
            let as_map = product.clone().swap_dims(1, 2).reshape([batch, outputs, height, width]);
            compare(&what, kernels::linear_to_pixels(rows.clone(), &weight, Some(&bias), map.clone()), as_map + map);
            let pixels = rows.swap_dims(1, 2).reshape([batch, channels, height, width]);
            compare(&what, kernels::linear_of_pixels(pixels, &weight, Some(&bias)), product);
        }
    }
}

#[test]
fn joined_layers_equal_their_twins() {
    let mut numbers = Random::new(29);
    for scheme in Scheme::ALL {
        for round in 0..6 {
            let (batch, rows) = (numbers.between(1, 3), numbers.between(1, 90));
            let (columns, outputs) = (inputs(scheme, &mut numbers, 96), 16 * numbers.between(1, 5));
            let stored: [_; 3] =
                core::array::from_fn(|_| StoredWeight::random(scheme, &[outputs, columns], &mut numbers));
            // In parts, of which each layer has several.
            let bytes = if round % 2 == 0 { 1 << 20 } else { 1 << 12 };
            let weights = stored.map(|stored| stored.load_within(bytes, &Device::flex()));
            let joined = Weight::joined(&weights.each_ref()).unwrap();
            let bias = random(&mut numbers, [3 * outputs]);
            let x = random(&mut numbers, [batch, rows, columns]);
            let found: [Tensor<3>; 3] = kernels::linears(x.clone(), &joined, Some(&bias));
            for (index, (found, weight)) in found.into_iter().zip(&weights).enumerate() {
                let bias = bias.clone().narrow(0, index * outputs, outputs);
                let twin = linear_reference(x.clone().reshape([batch * rows, columns]), weight, Some(&bias));
                let what = format!("{index} of three {scheme:?} [{batch}, {rows}, {columns}] -> {outputs}");
                compare(&what, found, twin.reshape([batch, rows, outputs]));
            }
        }
    }
}

#[test]
fn padding_equals_its_twin() {
    let mut numbers = Random::new(24);
    for _ in 0..40 {
        let shape = [numbers.between(1, 2), numbers.between(1, 3), numbers.between(3, 9), numbers.between(3, 9)];
        let mut side = || numbers.between(0, 4) as isize - 2;
        let padding = Padding { rows: (side(), side()), columns: (side(), side()) };
        let enlarge = numbers.between(1, 3).max(2 - usize::from(shape[2].min(shape[3]) > 4));
        let x = random(&mut numbers, shape);
        let expected = pad_reference(x.clone(), enlarge, padding, Border::Zeros);
        compare(
            &format!("{shape:?} x{enlarge} {padding:?}"),
            kernels::pad(x, enlarge, padding, Border::Zeros),
            expected,
        );
    }
}

#[test]
fn attention_equals_its_twin() {
    let mut numbers = Random::new(25);
    for round in 0..16 {
        let causal = round % 3 == 0;
        let (batch, heads, size) = (numbers.between(1, 2), numbers.between(1, 4), numbers.between(1, 80));
        let queries = numbers.between(1, 300);
        let keys = if causal { queries } else { numbers.between(1, 1200) };
        let q = random(&mut numbers, [batch, queries, heads * size]) * 12.0;
        let [k, v] = [0; 2].map(|_| random(&mut numbers, [batch, keys, heads * size]));
        let shape = AttentionShape { heads, causal };
        let expected = attention_reference(q.clone(), k.clone(), v.clone(), (shape, usize::MAX));
        let what = format!("attention [{batch}, {queries}, {keys}] {heads} heads of {size}, causal {causal}");
        compare(&what, kernels::attention(q, k, v, shape), expected);
    }
}

#[test]
fn norms_equal_their_twins() {
    let mut numbers = Random::new(26);
    for round in 0..12 {
        let (batch, groups) = (numbers.between(1, 2), numbers.between(1, 9));
        let channels = groups * numbers.between(1, 6);
        let shape = [batch, channels, numbers.between(3, 33), numbers.between(3, 33)];
        let (offset, tolerance) = if round % 2 == 0 { (300.0, 1e-3) } else { (0.0, TOLERANCE) };
        let x = random(&mut numbers, shape) + offset;
        let (weight, bias) = (random(&mut numbers, [channels]), random(&mut numbers, [channels]));
        let norm = GroupNorm { weight: weight.clone(), bias: bias.clone(), groups, eps: 1e-5 };
        let mut side = || (numbers.between(0, 2) as isize - 1, numbers.between(0, 2) as isize);
        let padding = if round % 4 == 0 { Padding::default() } else { Padding { rows: side(), columns: side() } };
        let finish = Finish { silu: round % 3 == 0, padding, border: Border::Zeros };
        let moments = kernels::moments(&x, groups);
        let found = kernels::normalize(x.clone(), &moments, &norm, finish);
        let expected = normalize_reference(x.clone(), &moments_reference(&x, groups), &norm, finish);
        compare_within(tolerance, &format!("{shape:?} in {groups}, {finish:?}"), found, expected);

        let x = x.swap_dims(1, 3);
        let expected = layer_norm_reference(x.clone(), &weight, &bias, 1e-5);
        compare_within(
            tolerance,
            &format!("layer norm {shape:?}"),
            kernels::layer_norm(x, &weight, &bias, 1e-5),
            expected,
        );
    }
}

#[test]
fn activations_equal_their_twins() {
    let mut numbers = Random::new(27);
    let x = random(&mut numbers, [7, 2 * 61]) * 9.0;
    compare("silu", kernels::silu(x.clone()), activation::silu(x.clone()));
    compare("gelu", kernels::gelu(x.clone()), activation::gelu(x.clone()));
    compare("quick gelu", kernels::quick_gelu(x.clone()), x.clone() * activation::sigmoid(x.clone() * 1.702));
    compare("geglu", kernels::geglu(x.clone()), geglu_reference(x.clone()));
    // A view must not be written through to what it is a view of.
    let before = read(x.clone());
    let part = x.clone().narrow(0, 2, 3);
    compare("silu of a view", kernels::silu(part.clone()), activation::silu(part));
    assert_eq!(read(x), before);
}

#[test]
fn embedding_equals_its_twin() {
    let mut numbers = Random::new(28);
    for scheme in [Scheme::F32, Scheme::F16] {
        let stored = StoredWeight::random(scheme, &[40, 33], &mut numbers);
        let ids: Vec<u32> = (0..12).map(|_| numbers.between(0, 39) as u32).collect();
        for binding_bytes in [u64::MAX, 33 * 4 * 16] {
            let table = stored.load_within(binding_bytes, &Device::flex());
            let what = format!("embedding {scheme:?} in {} parts", table.parts.len());
            compare(&what, kernels::embedding(&table, &ids), embedding_reference(&table, &ids));
        }
    }
}
