//! Group norm (with SiLU fused) and layer norm.
//!
//! Both compute mean and variance in two passes over the data, as PyTorch's accuracy asks for; group norm splits a
//! group into slices and combines their moments.
//!
//! Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).

use burn::tensor::{Tensor, activation};

use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// Elements a slice of a group holds at least; more slices mean more parallel work.
const SLICE: usize = 256;
/// Most slices per group, because each reader combines them all.
const MAX_SLICES: usize = 16;
/// Elements of one channel that an invocation of the second pass writes.
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

/// Group normalization over channels, then SiLU if `silu`.
///
/// # Shapes
/// `x` [B, C, H, W] → [B, C, H, W].
pub fn group_norm(x: Tensor<4>, norm: &GroupNorm, silu: bool) -> Tensor<4> {
    let dims @ [batch, channels, height, width] = x.dims();
    let groups = norm.groups;
    let (Some(gx), Some(gw), Some(gb)) = (on_gpu(&x), on_gpu(&norm.weight), on_gpu(&norm.bias)) else {
        return group_norm_reference(x, norm, silu);
    };
    let (pixels, members) = (height * width, channels / groups * height * width);
    let slices = members.div_ceil(SLICE).min(MAX_SLICES);
    let count = batch * groups * slices;
    let info = [count, members, slices, members.div_ceil(slices)].map(|value| value as u32).to_vec();
    let kernel = Wgsl { key: ("moments", Vec::new()), text: moments_text, info };
    let moments: Tensor<1> = launch(kernel, count, &[&gx], [count * 2]);
    let Some(gm) = on_gpu(&moments) else { return x };
    let runs = pixels.div_ceil(RUN);
    let count = batch * channels * runs;
    let info = [count, channels, pixels, groups, members, slices, members.div_ceil(slices), runs];
    let mut info = info.map(|value| value as u32).to_vec();
    info.push((norm.eps as f32).to_bits());
    let kernel = Wgsl { key: ("group_norm", vec![u32::from(silu)]), text: group_norm_text, info };
    launch(kernel, count, &[&gx, &gm, &gw, &gb], dims)
}

/// Plain-tensor twin of [`group_norm`].
pub fn group_norm_reference(x: Tensor<4>, norm: &GroupNorm, silu: bool) -> Tensor<4> {
    let dims @ [batch, channels, height, width] = x.dims();
    let groups = norm.groups;
    let x = x.reshape([batch, groups, channels / groups * height * width]);
    let centred = x.clone() - x.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    let affine = |t: &Tensor<1>| t.clone().reshape([1, channels, 1, 1]);
    let y = (centred / (variance + norm.eps).sqrt()).reshape(dims) * affine(&norm.weight) + affine(&norm.bias);
    if silu { activation::silu(y) } else { y }
}

/// Layer normalization over the last dimension.
///
/// # Shapes
/// `x` [.., C], `weight` and `bias` [C] → [.., C].
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f64) -> Tensor<D> {
    let dims = x.dims();
    let (Some(gx), Some(gw), Some(gb)) = (on_gpu(&x), on_gpu(weight), on_gpu(bias)) else {
        return layer_norm_reference(x, weight, bias, eps);
    };
    let columns = dims[D - 1];
    let rows = dims.iter().product::<usize>() / columns;
    let info = vec![rows as u32, columns as u32, (eps as f32).to_bits()];
    let kernel = Wgsl { key: ("layer_norm", Vec::new()), text: layer_norm_text, info };
    launch(kernel, rows, &[&gx, &gw, &gb], dims)
}

/// Plain-tensor twin of [`layer_norm`].
pub fn layer_norm_reference<const D: usize>(x: Tensor<D>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f64) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = (centred.clone() * centred.clone()).mean_dim(D - 1);
    centred / (variance + eps).sqrt() * weight.clone().unsqueeze::<D>() + bias.clone().unsqueeze::<D>()
}

/// First pass of group norm: (mean, sum of squared differences) of each slice of each group.
fn moments_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "members", "slices", "slice"])
        + &entry("info.count")
        + "let start = (i % info.slices) * info.slice; let end = min(start + info.slice, info.members);\n\
           let base = (i / info.slices) * info.members;\n\
           var sum = 0.0;\n\
           for (var e = start; e < end; e++) { sum += x[base + e]; }\n\
           let mean = sum / f32(max(end, start + 1u) - start);\n\
           var squares = 0.0;\n\
           for (var e = start; e < end; e++) { let d = x[base + e] - mean; squares += d * d; }\n\
           y[i * 2u] = mean; y[i * 2u + 1u] = squares;\n}\n"
}

/// Second pass: combine the slices' moments, normalize, scale, shift and activate a run of one channel.
fn group_norm_text(key: &[u32]) -> String {
    let store = if key == [1] { "y[e] = v / (1.0 + exp(-v));" } else { "y[e] = v;" };
    let fields = ["count", "channels", "pixels", "groups", "members", "slices", "slice", "runs", "eps"];
    prelude(&[("x", "f32"), ("m", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")], &fields)
        + &entry("info.count")
        + &format!(
            "let row = i / info.runs; let channel = row % info.channels;\n\
             let group = (row / info.channels) * info.groups + channel / (info.channels / info.groups);\n\
             var mean = 0.0; var squares = 0.0; var count = 0.0;\n\
             for (var j = 0u; j < info.slices; j++) {{\n\
             let n = f32(min((j + 1u) * info.slice, info.members)) - f32(min(j * info.slice, info.members));\n\
             if (n > 0.0) {{\n\
             let at = (group * info.slices + j) * 2u; let d = m[at] - mean; let next = count + n;\n\
             squares += m[at + 1u] + d * d * count * n / next;\n\
             mean += d * n / next; count = next; }} }}\n\
             let scale = w[channel] * inverseSqrt(squares / count + bitcast<f32>(info.eps));\n\
             let shift = b[channel] - mean * scale;\n\
             let start = row * info.pixels + (i % info.runs) * {RUN}u;\n\
             let end = min(start + {RUN}u, (row + 1u) * info.pixels);\n\
             for (var e = start; e < end; e++) {{ let v = x[e] * scale + shift; {store} }}\n}}\n"
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
