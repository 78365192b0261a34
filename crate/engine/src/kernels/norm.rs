//! Group norm (with SiLU and padding in the same pass) and layer norm.
//!
//! Both compute mean and variance in two passes over the data, as PyTorch's accuracy asks for. Group norm splits a group
//! into slices and combines their moments, so that the slices may also lie in different tensors. On GPUs that share memory
//! well, a slice or a row is a workgroup's, and a small group as a whole, in one pass; elsewhere an invocation's.
//!
//! Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).

use burn::tensor::{Tensor, activation};

use super::activation::SILU;
use super::cpu;
use super::launch::{Unit, Wgsl, entry, entry_of_workgroup, launch, on_gpu, prelude};
use super::pad::{Border, Padding, pad_reference};
use super::reduce::{LONG, SHORT, reductions};
use super::tuning::Tuning;

/// Elements a slice of a group holds at least; more slices mean more parallel work.
const SLICE: usize = 256;
/// Most slices per group that [`normalize`] is given, because each of its invocations combines them all.
const FEW_SLICES: usize = 16;
/// Elements of a slice from which on it pays to take more slices and to combine them in a launch of its own.
const LONG_SLICE: usize = 4096;
/// Elements of a workgroup's slice.
const SHARED_SLICE: usize = 32 * LONG as usize;
/// Most elements of a group that one workgroup normalizes by itself: more would leave a big GPU idle for longer than a second
/// pass takes.
const SMALL_GROUP: usize = 16 * LONG as usize;
/// Most slices per group.
const MAX_SLICES: usize = 512;
/// Elements of a row that an invocation of [`normalize`] writes at most.
const RUN: usize = 64;
/// The same on GPUs, which need many invocations.
const SHORT_RUN: usize = 8;

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

/// What a map's groups are normalized by: mean, sum of squared differences from it, and number of elements, for each slice of
/// each group, [B·groups, S, 3].
#[derive(Debug, Clone)]
pub enum Moments {
    /// Taken.
    Known(Tensor<3>),
    /// To be taken of the map's small groups, by whoever normalizes them; in the same pass, where that is all of the map.
    Awaited {
        /// [B, C, H, W].
        map: Tensor<4>,
        /// Number of groups.
        groups: usize,
    },
}

impl Moments {
    /// The numbers themselves.
    fn known(&self) -> Tensor<3> {
        match self {
            Self::Known(moments) => moments.clone(),
            Self::Awaited { map, groups } => taken(map, *groups),
        }
    }
}

/// What follows a norm in the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Finish {
    /// SiLU.
    pub silu: bool,
    /// Then what lies around the map.
    pub padding: Padding,
    /// And what is there.
    pub border: Border,
}

impl Finish {
    /// SiLU alone, or nothing.
    pub fn silu(silu: bool) -> Self {
        Self { silu, ..Self::default() }
    }
}

/// Group normalization over channels, then SiLU if `silu`.
///
/// # Shapes
/// `x` [B, C, H, W] → [B, C, H, W].
pub fn group_norm(x: Tensor<4>, norm: &GroupNorm, silu: bool) -> Tensor<4> {
    let moments = moments(&x, norm.groups);
    normalize(x, &moments, norm, Finish::silu(silu))
}

/// The moments of each group of `x` [B, C, H, W].
pub fn moments(x: &Tensor<4>, groups: usize) -> Moments {
    let [_, channels, height, width] = x.dims();
    let is_small = channels / groups * height * width <= SMALL_GROUP;
    match on_gpu(x).filter(|gx| is_small && Tuning::of(&gx.device).is_shared()) {
        Some(_) => Moments::Awaited { map: x.clone(), groups },
        None => Moments::Known(taken(x, groups)),
    }
}

fn taken(x: &Tensor<4>, groups: usize) -> Tensor<3> {
    let [batch, channels, height, width] = x.dims();
    let Some(gx) = on_gpu(x) else {
        return cpu::moments(x, groups).unwrap_or_else(|| moments_reference(x, groups).known());
    };
    let members = channels / groups * height * width;
    let is_shared = Tuning::of(&gx.device).is_shared();
    let slices = match is_shared {
        true => members.div_ceil(SHARED_SLICE).min(MAX_SLICES),
        false => members.div_ceil(SLICE).min(FEW_SLICES).max(members.div_ceil(LONG_SLICE).min(MAX_SLICES)),
    };
    let count = batch * groups * slices;
    let info = [count, members, slices].map(|value| value as u32).to_vec();
    let kernel = Wgsl::new(("moments", Vec::new()), moments_text, info);
    let kernel = match is_shared {
        true => kernel.by_workgroups("moments shared", shared_moments_text, LONG),
        false => kernel,
    };
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
    Moments::Known(Tensor::cat(vec![mean, squares.clone(), squares.zeros_like() + members as f64], 2))
}

/// The moments of a tensor that is kept in several, from the moments of each.
pub fn combine(parts: Vec<Moments>) -> Moments {
    Moments::Known(few(Tensor::cat(parts.iter().map(Moments::known).collect(), 1)))
}

/// Combines slices until few are left.
fn few(moments: Tensor<3>) -> Tensor<3> {
    let [rows, slices, _] = moments.dims();
    if slices <= FEW_SLICES {
        return moments;
    }
    let Some(gm) = on_gpu(&moments) else { return combine_reference(moments) };
    let (each, count) = (slices.div_ceil(FEW_SLICES), rows * FEW_SLICES);
    let info = [count, slices, FEW_SLICES, each].map(|value| value as u32).to_vec();
    let kernel = Wgsl::new(("combine", Vec::new()), combine_text, info);
    launch(kernel, count, &[&gm], [rows, FEW_SLICES, 3])
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

/// Normalizes `x`, or any rows of it, by moments that were taken over all of it.
///
/// # Shapes
/// `x` [B, C, H, W] → the same, padded as `finish` says.
pub fn normalize(x: Tensor<4>, moments: &Moments, norm: &GroupNorm, finish: Finish) -> Tensor<4> {
    let Finish { silu, padding, border } = finish;
    let [batch, channels, height, width] = x.dims();
    let dims @ [_, _, out_h, out_w] = padding.around(x.dims());
    // Two's complement, as the kernels' arithmetic wraps.
    let last = [padding.rows.0 as u32, padding.columns.0 as u32, (norm.eps as f32).to_bits()];
    let (key, affine) = (vec![u32::from(silu), border as u32], (on_gpu(&norm.weight), on_gpu(&norm.bias)));
    if let (Moments::Awaited { map, .. }, Some(gx), (Some(gw), Some(gb))) = (moments, on_gpu(&x), &affine)
        && map.dims() == x.dims()
    {
        let count = batch * norm.groups;
        let sizes = [count, channels, norm.groups, height, width, out_h, out_w];
        let info = sizes.map(|size| size as u32).into_iter().chain(last).collect();
        let kernel = Wgsl { unit: Unit::Workgroup(LONG), ..Wgsl::new(("group_norm whole", key), whole_text, info) };
        return launch(kernel, count, &[&gx, gw, gb], dims);
    }
    let moments = moments.known();
    let (Some(gx), Some(gm), (Some(gw), Some(gb))) = (on_gpu(&x), on_gpu(&moments), affine) else {
        let y = cpu::normalize(&x, &moments, norm, finish);
        return y.unwrap_or_else(|| normalize_reference(x, &Moments::Known(moments), norm, finish));
    };
    // What is not padded is one long row.
    let is_padded = padding != Padding::default();
    let sizes = if is_padded { [height, width, out_h, out_w] } else { [1, height * width, 1, height * width] };
    let runs = sizes[3].div_ceil(if Tuning::of(&gx.device).is_shared() { SHORT_RUN } else { RUN });
    let count = batch * channels * sizes[2] * runs;
    let mut info = [count, channels, norm.groups, moments.dims()[1], runs].map(|value| value as u32).to_vec();
    info.extend(sizes.map(|size| size as u32));
    info.extend(last);
    launch(Wgsl::new(("group_norm", key), normalize_text, info), count, &[&gx, &gm, &gw, &gb], dims)
}

/// Plain-tensor twin of [`normalize`].
pub fn normalize_reference(x: Tensor<4>, moments: &Moments, norm: &GroupNorm, finish: Finish) -> Tensor<4> {
    let [batch, channels, _, _] = x.dims();
    let (groups, members) = (norm.groups, channels / norm.groups);
    let moments = combine_reference(moments.known()); // [B·groups, 1, 3]
    let part = |index| moments.clone().narrow(2, index, 1).reshape([batch, groups, 1]);
    let affine = |t: &Tensor<1>| t.clone().reshape([1, groups, members]);
    let scale = affine(&norm.weight) / (part(1) / part(2) + norm.eps).sqrt(); // [B, groups, members]
    let shift = affine(&norm.bias) - part(0) * scale.clone();
    let y = x * scale.reshape([batch, channels, 1, 1]) + shift.reshape([batch, channels, 1, 1]);
    pad_reference(if finish.silu { activation::silu(y) } else { y }, 1, finish.padding, finish.border)
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
    let kernel = match Tuning::of(&gx.device).is_shared() {
        true => kernel.by_workgroups("layer_norm shared", shared_layer_norm_text, SHORT),
        false => kernel,
    };
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

/// As [`moments_text`], by a workgroup for each slice, of which the last may be short or empty.
fn shared_moments_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "members", "slices"])
        + &reductions(LONG)
        + &entry_of_workgroup(LONG, "info.count")
        + &format!(
            "let each = (info.members + info.slices - 1u) / info.slices; let first = (i % info.slices) * each;\n\
             let last = min(first + each, info.members); let n = f32(max(last, first) - first);\n\
             let base = (i / info.slices) * info.members;\n\
             var sum = 0.0;\n\
             for (var e = first + lane; e < last; e += {LONG}u) {{ sum += x[base + e]; }}\n\
             let mean = total(sum, lane) / max(n, 1.0);\n\
             var squares = 0.0;\n\
             for (var e = first + lane; e < last; e += {LONG}u) {{ let d = x[base + e] - mean; squares += d * d; }}\n\
             squares = total(squares, lane);\n\
             if (lane == 0u) {{ y[i * 3u] = mean; y[i * 3u + 1u] = squares; y[i * 3u + 2u] = n; }}\n}}\n"
        )
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

/// What comes of `v` at the end, and where the row and the column of the map are for those of the result, in `key`'s terms.
fn finished(key: &[u32]) -> [&'static str; 3] {
    let value = if key[0] == 1 { SILU } else { "v" };
    // Left of or above the map, numbers wrap around to huge ones, which are outside as well.
    let (row, column) = match key[1] == Border::Circular as u32 {
        true => ("(out_row + info.height - info.top) % info.height", "(column + info.width - info.left) % info.width"),
        false => ("out_row - info.top", "column - info.left"),
    };
    [value, row, column]
}

/// Moments and norm of each group by a workgroup.
fn whole_text(key: &[u32]) -> String {
    let [value, row, column] = finished(key);
    let fields = ["count", "channels", "groups", "height", "width", "out_h", "out_w", "top", "left", "eps"];
    prelude(&[("x", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")], &fields)
        + &reductions(LONG)
        + &entry_of_workgroup(LONG, "info.count")
        + &format!(
            "let each = info.channels / info.groups; let plane = info.height * info.width; let members = each * plane;\n\
             let base = i * members; let n = f32(members);\n\
             var sum = 0.0;\n\
             for (var e = lane; e < members; e += {LONG}u) {{ sum += x[base + e]; }}\n\
             let mean = total(sum, lane) / n;\n\
             var squares = 0.0;\n\
             for (var e = lane; e < members; e += {LONG}u) {{ let d = x[base + e] - mean; squares += d * d; }}\n\
             let inverse = inverseSqrt(total(squares, lane) / n + bitcast<f32>(info.eps));\n\
             let out_plane = info.out_h * info.out_w; let count = each * out_plane;\n\
             for (var e = lane; e < count; e += {LONG}u) {{\n\
             let channel = e / out_plane; let out_row = e % out_plane / info.out_w; let column = e % info.out_w;\n\
             let row = {row}; let at = {column}; let inside = row < info.height && at < info.width;\n\
             let c = i % info.groups * each + channel; let scale = w[c] * inverse;\n\
             let from_ = base + channel * plane + select(0u, row * info.width + at, inside);\n\
             let v = (x[from_] - mean) * scale + b[c];\n\
             y[i * count + e] = select(0.0, {value}, inside); }}\n}}\n"
        )
}

/// Combine the slices' moments, then normalize, scale, shift and activate a run of one row of one channel; runs are
/// interleaved too. Rows and columns count what is around the map.
fn normalize_text(key: &[u32]) -> String {
    let [value, row, column] = finished(key);
    let fields =
        ["count", "channels", "groups", "slices", "runs", "height", "width", "out_h", "out_w", "top", "left", "eps"];
    prelude(&[("x", "f32"), ("m", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")], &fields)
        + &entry("info.count")
        + &format!(
            "let line = i / info.runs; let map = line / info.out_h; let out_row = line % info.out_h;\n\
             let to = line * info.out_w; let row = {row};\n\
             if (row >= info.height) {{\n\
             for (var column = i % info.runs; column < info.out_w; column += info.runs) {{ y[to + column] = 0.0; }}\n\
             return; }}\n\
             let channel = map % info.channels;\n\
             let group = (map / info.channels) * info.groups + channel / (info.channels / info.groups);\n"
        )
        + &combined("group * info.slices", "(group + 1u) * info.slices")
        + &format!(
            "let scale = w[channel] * inverseSqrt(squares / count + bitcast<f32>(info.eps));\n\
             let shift = b[channel] - mean * scale;\n\
             let first = (map * info.height + row) * info.width;\n\
             for (var column = i % info.runs; column < info.out_w; column += info.runs) {{\n\
             let at = {column}; let inside = at < info.width;\n\
             let v = x[first + select(0u, at, inside)] * scale + shift;\n\
             y[to + column] = select(0.0, {value}, inside); }}\n}}\n"
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

/// As [`layer_norm_text`], by a workgroup for each row.
fn shared_layer_norm_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("w", "f32"), ("b", "f32"), ("y", "f32")], &["count", "columns", "eps"])
        + &reductions(SHORT)
        + &entry_of_workgroup(SHORT, "info.count")
        + &format!(
            "let start = i * info.columns; let n = f32(info.columns);\n\
             var sum = 0.0;\n\
             for (var e = lane; e < info.columns; e += {SHORT}u) {{ sum += x[start + e]; }}\n\
             let mean = total(sum, lane) / n;\n\
             var squares = 0.0;\n\
             for (var e = lane; e < info.columns; e += {SHORT}u) {{ let d = x[start + e] - mean; squares += d * d; }}\n\
             let scale = inverseSqrt(total(squares, lane) / n + bitcast<f32>(info.eps));\n\
             for (var e = lane; e < info.columns; e += {SHORT}u) {{ y[start + e] = (x[start + e] - mean) * scale * w[e] + b[e]; }}\n}}\n"
        )
}
