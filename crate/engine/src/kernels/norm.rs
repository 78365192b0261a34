//! Group norm (with SiLU fused) and layer norm.
//!
//! Both compute mean and variance in two passes over the data, as PyTorch's accuracy asks for; group norm splits a
//! group into slices and combines their moments.
//!
//! Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).

use burn::tensor::{Tensor, activation};

use super::launch::{ENTRY, Wgsl, launch, on_gpu, prelude};

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
    let key = [batch * groups, members, slices].map(|c| c as u32).to_vec();
    let moments: Tensor<1> = launch(
        Wgsl { key: ("moments", key), text: moments_text },
        batch * groups * slices,
        &[&gx],
        [batch * groups * slices * 2],
    );
    let Some(gm) = on_gpu(&moments) else { return x };
    let mut key = [batch, channels, pixels, groups, members, slices, usize::from(silu)].map(|c| c as u32).to_vec();
    key.push((norm.eps as f32).to_bits());
    let runs = batch * channels * pixels.div_ceil(RUN);
    launch(Wgsl { key: ("group_norm", key), text: group_norm_text }, runs, &[&gx, &gm, &gw, &gb], dims)
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
    let key = vec![rows as u32, columns as u32, (eps as f32).to_bits()];
    launch(Wgsl { key: ("layer_norm", key), text: layer_norm_text }, rows, &[&gx, &gw, &gb], dims)
}

/// Plain-tensor twin of [`layer_norm`].
pub fn layer_norm_reference<const D: usize>(x: Tensor<D>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f64) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = (centred.clone() * centred.clone()).mean_dim(D - 1);
    centred / (variance + eps).sqrt() * weight.clone().unsqueeze::<D>() + bias.clone().unsqueeze::<D>()
}

/// First pass of group norm: (mean, sum of squared differences) of each slice of each group.
fn moments_text(key: &[u32]) -> String {
    let [groups, members, slices] = *key else { return String::new() };
    let slice = members.div_ceil(slices);
    prelude(&[("x", "f32"), ("y", "f32")])
        + ENTRY
        + &format!(
            "let i = invocation(id); if (i >= {total}u) {{ return; }}\n\
             let start = (i % {slices}u) * {slice}u; let end = min(start + {slice}u, {members}u);\n\
             let base = (i / {slices}u) * {members}u;\n\
             var sum = 0.0;\n\
             for (var e = start; e < end; e++) {{ sum += x[base + e]; }}\n\
             let mean = sum / f32(max(end, start + 1u) - start);\n\
             var squares = 0.0;\n\
             for (var e = start; e < end; e++) {{ let d = x[base + e] - mean; squares += d * d; }}\n\
             y[i * 2u] = mean; y[i * 2u + 1u] = squares;\n}}\n",
            total = groups * slices,
        )
}

/// Second pass: combine the slices' moments, normalize, scale, shift and activate a run of one channel.
fn group_norm_text(key: &[u32]) -> String {
    let [batch, channels, pixels, groups, members, slices, silu, eps] = *key else { return String::new() };
    let slice = members.div_ceil(slices);
    let runs = pixels.div_ceil(RUN as u32);
    let store = if silu == 1 { "y[e] = v / (1.0 + exp(-v));" } else { "y[e] = v;" };
    prelude(&[("x", "f32"), ("m", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")])
        + ENTRY
        + &format!(
            "let i = invocation(id); if (i >= {total}u) {{ return; }}\n\
             let row = i / {runs}u; let channel = row % {channels}u;\n\
             let group = (row / {channels}u) * {groups}u + channel / {per_group}u;\n\
             var mean = 0.0; var squares = 0.0; var count = 0.0;\n\
             for (var j = 0u; j < {slices}u; j++) {{\n\
             let n = f32(min((j + 1u) * {slice}u, {members}u)) - f32(min(j * {slice}u, {members}u));\n\
             if (n > 0.0) {{\n\
             let d = m[(group * {slices}u + j) * 2u] - mean; let next = count + n;\n\
             squares += m[(group * {slices}u + j) * 2u + 1u] + d * d * count * n / next;\n\
             mean += d * n / next; count = next; }} }}\n\
             let scale = w[channel] * inverseSqrt(squares / count + {eps:?});\n\
             let shift = b[channel] - mean * scale;\n\
             let start = row * {pixels}u + (i % {runs}u) * {RUN}u;\n\
             let end = min(start + {RUN}u, (row + 1u) * {pixels}u);\n\
             for (var e = start; e < end; e++) {{ let v = x[e] * scale + shift; {store} }}\n}}\n",
            total = batch * channels * runs,
            per_group = channels / groups,
            eps = f32::from_bits(eps),
        )
}

fn layer_norm_text(key: &[u32]) -> String {
    let [rows, columns, eps] = *key else { return String::new() };
    prelude(&[("x", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")])
        + ENTRY
        + &format!(
            "let i = invocation(id); if (i >= {rows}u) {{ return; }}\n\
             let start = i * {columns}u;\n\
             var sum = 0.0;\n\
             for (var e = 0u; e < {columns}u; e++) {{ sum += x[start + e]; }}\n\
             let mean = sum / {columns}.0;\n\
             var squares = 0.0;\n\
             for (var e = 0u; e < {columns}u; e++) {{ let d = x[start + e] - mean; squares += d * d; }}\n\
             let scale = inverseSqrt(squares / {columns}.0 + {eps:?});\n\
             for (var e = 0u; e < {columns}u; e++) {{ y[start + e] = (x[start + e] - mean) * scale * w[e] + b[e]; }}\n}}\n",
            eps = f32::from_bits(eps),
        )
}
