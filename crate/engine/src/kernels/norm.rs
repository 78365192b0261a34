//! Group norm (with SiLU fused) and layer norm.
//!
//! Both compute mean and variance in two passes over the data, as PyTorch's accuracy asks for. Group norm splits a group
//! into slices and combines their moments, so that the slices may also lie in different tensors.
//!
//! Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).

use burn::tensor::{Tensor, activation};

use super::cpu;
use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// Elements a slice of a group holds at least; more slices mean more parallel work.
const SLICE: usize = 256;
/// Most slices per group that [`normalize`] is given, because each of its invocations combines them all.
const FEW_SLICES: usize = 16;
/// Elements of a slice from which on it pays to take more slices and to combine them in a launch of its own.
const LONG_SLICE: usize = 4096;
/// Most slices per group.
const MAX_SLICES: usize = 512;
/// Elements of one channel that an invocation of [`normalize`] writes at most.
const RUN: usize = 64;

/// What a group norm applies.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    /// Scale per channel, [C].
    pub weight: Tensor<1>,
    /// Shift per channel, [C].
    pub bias: Tensor<1>,
    /// Number of groups; divides C.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
}

/// Mean, sum of squared differences from it, and number of elements, for each slice of each group: [B·groups, S, 3].
#[derive(Debug, Clone)]
pub struct Moments(Tensor<3>);

/// Group normalization over channels, then SiLU if `silu`.
///
/// # Shapes
/// `x` [B, C, H, W] → [B, C, H, W].
pub fn group_norm(x: Tensor<4>, norm: &GroupNorm, silu: bool) -> Tensor<4> {
    let moments = moments(&x, norm.groups);
    normalize(x, &moments, norm, silu)
}

/// The moments of each group of `x` [B, C, H, W].
pub fn moments(x: &Tensor<4>, groups: usize) -> Moments {
    let [batch, channels, height, width] = x.dims();
    let Some(gx) = on_gpu(x) else {
        return cpu::moments(x, groups).map_or_else(|| moments_reference(x, groups), Moments);
    };
    let members = channels / groups * height * width;
    let slices = members.div_ceil(SLICE).min(FEW_SLICES).max(members.div_ceil(LONG_SLICE).min(MAX_SLICES));
    let count = batch * groups * slices;
    let info = [count, members, slices].map(|value| value as u32).to_vec();
    let kernel = Wgsl::new(("moments", Vec::new()), moments_text, info);
    few(launch(kernel, count, &[&gx], [batch * groups, slices, 3]))
}

/// Plain-tensor twin of [`moments`].
pub fn moments_reference(x: &Tensor<4>, groups: usize) -> Moments {
    let [batch, channels, height, width] = x.dims();
    let members = channels / groups * height * width;
    let x = x.clone().reshape([batch * groups, 1, members]);
    let mean = x.clone().mean_dim(2);
    let centred = x - mean.clone();
    let squares = (centred.clone() * centred).mean_dim(2) * members as f64;
    Moments(Tensor::cat(vec![mean, squares.clone(), squares.zeros_like() + members as f64], 2))
}

/// The moments of a tensor that is kept in several, from the moments of each.
pub fn combine(parts: Vec<Moments>) -> Moments {
    few(Tensor::cat(parts.into_iter().map(|part| part.0).collect(), 1))
}

/// Combines slices until few are left.
fn few(moments: Tensor<3>) -> Moments {
    let [rows, slices, _] = moments.dims();
    if slices <= FEW_SLICES {
        return Moments(moments);
    }
    let Some(gm) = on_gpu(&moments) else { return Moments(combine_reference(moments)) };
    let (each, count) = (slices.div_ceil(FEW_SLICES), rows * FEW_SLICES);
    let info = [count, slices, FEW_SLICES, each].map(|value| value as u32).to_vec();
    let kernel = Wgsl::new(("combine", Vec::new()), combine_text, info);
    Moments(launch(kernel, count, &[&gm], [rows, FEW_SLICES, 3]))
}

/// All slices of [rows, S, 3] as one, [rows, 1, 3].
fn combine_reference(moments: Tensor<3>) -> Tensor<3> {
    let part = |index| moments.clone().narrow(2, index, 1); // [rows, S, 1]
    let (mean, squares, count) = (part(0), part(1), part(2));
    let total = count.clone().sum_dim(1);
    let overall = (mean.clone() * count.clone()).sum_dim(1) / total.clone();
    let offset = mean - overall.clone();
    let squares = (squares + offset.clone() * offset * count).sum_dim(1);
    Tensor::cat(vec![overall, squares, total], 2)
}

/// Normalizes `x` [B, C, H, W], or any rows of it, by moments that were taken over all of it; then SiLU if `silu`.
pub fn normalize(x: Tensor<4>, moments: &Moments, norm: &GroupNorm, silu: bool) -> Tensor<4> {
    let dims @ [batch, channels, height, width] = x.dims();
    let gpu = (on_gpu(&x), on_gpu(&moments.0), on_gpu(&norm.weight), on_gpu(&norm.bias));
    let (Some(gx), Some(gm), Some(gw), Some(gb)) = gpu else {
        let y = cpu::normalize(&x, &moments.0, norm, silu);
        return y.unwrap_or_else(|| normalize_reference(x, moments, norm, silu));
    };
    let (pixels, slices) = (height * width, moments.0.dims()[1]);
    let runs = pixels.div_ceil(RUN);
    let count = batch * channels * runs;
    let mut info = [count, channels, pixels, norm.groups, slices, runs].map(|value| value as u32).to_vec();
    info.push((norm.eps as f32).to_bits());
    let kernel = Wgsl::new(("group_norm", vec![u32::from(silu)]), normalize_text, info);
    launch(kernel, count, &[&gx, &gm, &gw, &gb], dims)
}

/// Plain-tensor twin of [`normalize`].
pub fn normalize_reference(x: Tensor<4>, moments: &Moments, norm: &GroupNorm, silu: bool) -> Tensor<4> {
    let [batch, channels, _, _] = x.dims();
    let (groups, members) = (norm.groups, channels / norm.groups);
    let moments = combine_reference(moments.0.clone()); // [B·groups, 1, 3]
    let part = |index| moments.clone().narrow(2, index, 1).reshape([batch, groups, 1]);
    let affine = |t: &Tensor<1>| t.clone().reshape([1, groups, members]);
    let scale = affine(&norm.weight) / (part(1) / part(2) + norm.eps).sqrt(); // [B, groups, members]
    let shift = affine(&norm.bias) - part(0) * scale.clone();
    let y = x * scale.reshape([batch, channels, 1, 1]) + shift.reshape([batch, channels, 1, 1]);
    if silu { activation::silu(y) } else { y }
}

/// Layer normalization over the last dimension.
///
/// # Shapes
/// `x` [.., C], `weight` and `bias` [C] → [.., C].
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f64) -> Tensor<D> {
    let dims = x.dims();
    let (Some(gx), Some(gw), Some(gb)) = (on_gpu(&x), on_gpu(weight), on_gpu(bias)) else {
        return cpu::layer_norm(&x, weight, bias, eps).unwrap_or_else(|| layer_norm_reference(x, weight, bias, eps));
    };
    let columns = dims[D - 1];
    let rows = dims.iter().product::<usize>() / columns;
    let info = vec![rows as u32, columns as u32, (eps as f32).to_bits()];
    let kernel = Wgsl::new(("layer_norm", Vec::new()), layer_norm_text, info);
    launch(kernel, rows, &[&gx, &gw, &gb], dims)
}

/// Plain-tensor twin of [`layer_norm`].
pub fn layer_norm_reference<const D: usize>(x: Tensor<D>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f64) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = (centred.clone() * centred.clone()).mean_dim(D - 1);
    centred / (variance + eps).sqrt() * weight.clone().unsqueeze::<D>() + bias.clone().unsqueeze::<D>()
}

/// The moments of each slice of each group. Slices are interleaved, so that neighbouring invocations read neighbours.
fn moments_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "members", "slices"])
        + &entry("info.count")
        + "let start = i % info.slices; let base = (i / info.slices) * info.members;\n\
           let n = f32((info.members - start + info.slices - 1u) / info.slices);\n\
           var sum = 0.0;\n\
           for (var e = start; e < info.members; e += info.slices) { sum += x[base + e]; }\n\
           let mean = sum / n;\n\
           var squares = 0.0;\n\
           for (var e = start; e < info.members; e += info.slices) { let d = x[base + e] - mean; squares += d * d; }\n\
           y[i * 3u] = mean; y[i * 3u + 1u] = squares; y[i * 3u + 2u] = n;\n}\n"
}

/// Combines the moments at `first` to `last` (expressions) of `m`, which is [.., 3], into `mean`, `squares`, `count`.
fn combined(first: &str, last: &str) -> String {
    format!(
        "var mean = 0.0; var squares = 0.0; var count = 0.0;\n\
         for (var j = {first}; j < {last}; j++) {{\n\
         let n = m[j * 3u + 2u];\n\
         if (n > 0.0) {{\n\
         let d = m[j * 3u] - mean; let next = count + n;\n\
         squares += m[j * 3u + 1u] + d * d * count * n / next;\n\
         mean += d * n / next; count = next; }} }}\n"
    )
}

/// `each` slices of a group become one.
fn combine_text(_: &[u32]) -> String {
    prelude(&[("m", "f32"), ("y", "f32")], &["count", "slices", "few", "each"])
        + &entry("info.count")
        + "let base = (i / info.few) * info.slices;\n\
           let first = min((i % info.few) * info.each, info.slices);\n\
           let last = min(first + info.each, info.slices);\n"
        + &combined("base + first", "base + last")
        + "y[i * 3u] = mean; y[i * 3u + 1u] = squares; y[i * 3u + 2u] = count;\n}\n"
}

/// Combine the slices' moments, normalize, scale, shift and activate a run of one channel; runs are interleaved too.
fn normalize_text(key: &[u32]) -> String {
    let store = if key == [1] { "y[e] = v / (1.0 + exp(-v));" } else { "y[e] = v;" };
    let fields = ["count", "channels", "pixels", "groups", "slices", "runs", "eps"];
    prelude(&[("x", "f32"), ("m", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")], &fields)
        + &entry("info.count")
        + "let row = i / info.runs; let channel = row % info.channels;\n\
           let group = (row / info.channels) * info.groups + channel / (info.channels / info.groups);\n"
        + &combined("group * info.slices", "(group + 1u) * info.slices")
        + &format!(
            "let scale = w[channel] * inverseSqrt(squares / count + bitcast<f32>(info.eps));\n\
             let shift = b[channel] - mean * scale;\n\
             let end = (row + 1u) * info.pixels;\n\
             for (var e = row * info.pixels + i % info.runs; e < end; e += info.runs) {{ let v = x[e] * scale + shift; {store} }}\n}}\n"
        )
}

fn layer_norm_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")], &["count", "columns", "eps"])
        + &entry("info.count")
        + "let start = i * info.columns; let n = f32(info.columns);\n\
           var sum = 0.0;\n\
           for (var e = 0u; e < info.columns; e++) { sum += x[start + e]; }\n\
           let mean = sum / n;\n\
           var squares = 0.0;\n\
           for (var e = 0u; e < info.columns; e++) { let d = x[start + e] - mean; squares += d * d; }\n\
           let scale = inverseSqrt(squares / n + bitcast<f32>(info.eps));\n\
           for (var e = 0u; e < info.columns; e++) { y[start + e] = (x[start + e] - mean) * scale * w[e] + b[e]; }\n}\n"
}
