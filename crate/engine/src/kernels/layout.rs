//! Numbers in another order. A copy of a permuted tensor has a shader for each size class, which would be compiled while a
//! first large picture is painted; these have one for all.

use burn::tensor::{Int, Tensor};
use burn_cubecl::tensor::CubeTensor;
use burn_wgpu::Wgpu;

use super::launch::{Wgsl, are_one, entry, launch, on_gpu, prelude, words_on_gpu};
use crate::limits;

/// The channels of one map, then those of another, in one pass.
///
/// # Shapes
/// `x` [B, C, H, W], `y` [B, D, H, W] → [B, C + D, H, W].
pub fn cat_channels(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    let ([batch, channels, height, width], [_, more, _, _]) = (x.dims(), y.dims());
    let sizes = [channels, more].map(|channels| channels * height * width);
    match (on_gpu(&x), on_gpu(&y)) {
        (Some(gx), Some(gy)) if sizes.iter().all(|size| size.is_multiple_of(4)) && !are_one(&gx, &gy) => {
            side_by_side([&gx, &gy], (batch, sizes), [batch, channels + more, height, width])
        }
        _ => Tensor::cat(vec![x, y], 1),
    }
}

/// Words one after the other on the GPU; `None` where they are elsewhere, no whole vectors, or too many for one binding.
pub fn cat_words(parts: &[&Tensor<1, Int>]) -> Option<Tensor<1, Int>> {
    let parts = parts.iter().map(|part| words_on_gpu(part)).collect::<Option<Vec<_>>>()?;
    Some(Tensor::from_primitive::<Wgpu>(one_after_the_other(&parts)?))
}

/// As [`cat_words`], of numbers.
pub fn cat_vectors(parts: &[&Tensor<1>]) -> Option<Tensor<1>> {
    let parts = parts.iter().map(|part| on_gpu(part)).collect::<Option<Vec<_>>>()?;
    Some(Tensor::from_primitive::<Wgpu>(one_after_the_other(&parts)?))
}

fn one_after_the_other(parts: &[CubeTensor]) -> Option<CubeTensor> {
    let (first, others) = parts.split_first()?;
    let length = |part: &CubeTensor| part.meta.shape().iter().product::<usize>();
    let total: usize = parts.iter().map(length).sum();
    let fits = (total * size_of::<u32>()) as u64 <= limits::binding_bytes_of(first);
    if !fits || !parts.iter().all(|part| length(part).is_multiple_of(4)) {
        return None;
    }
    others.iter().try_fold(first.clone(), |all, part| {
        let sizes = [length(&all), length(part)];
        let both = on_gpu(&side_by_side([&all, part], (1, sizes), [sizes[0] + sizes[1]]))?;
        Some(CubeTensor { dtype: all.dtype, ..both })
    })
}

/// Of each of `rows`, so many words of the one tensor and so many of the other.
fn side_by_side<const D: usize>(
    parts: [&CubeTensor; 2],
    (rows, sizes): (usize, [usize; 2]),
    shape: [usize; D],
) -> Tensor<D> {
    let [first, second] = sizes.map(|size| size / 4);
    let count = rows * (first + second);
    let info = [count, first, second].map(|value| value as u32).to_vec();
    launch(Wgsl::new(("side by side", Vec::new()), side_by_side_text, info), count, &parts, shape)
}

/// As words, which no adapter takes for numbers that it may round.
fn side_by_side_text(_: &[u32]) -> String {
    prelude(&[("a", "vec4<u32>"), ("b", "vec4<u32>"), ("y", "vec4<u32>")], &["count", "of_a", "of_b"])
        + &entry("info.count")
        + "let row = i / (info.of_a + info.of_b); let at = i % (info.of_a + info.of_b);\n\
           if (at < info.of_a) { y[i] = a[row * info.of_a + at]; } \
           else { y[i] = b[row * info.of_b + at - info.of_a]; }\n}\n"
}

/// Each group of `scale`² channels becomes one, `scale` times as wide and high, as PyTorch's `pixel_shuffle` arranges them.
///
/// # Shapes
/// [B, C·scale², H, W] → [B, C, H·scale, W·scale].
pub fn pixel_shuffle(x: Tensor<4>, scale: usize) -> Tensor<4> {
    let Some(input) = on_gpu(&x) else { return pixel_shuffle_reference(x, scale) };
    let [batch, channels, height, width] = x.dims();
    let shape = [batch, channels / (scale * scale), height * scale, width * scale];
    let count = shape.iter().product::<usize>();
    let info = [count, height, width, scale].map(|value| value as u32).to_vec();
    launch(Wgsl::new(("pixel shuffle", Vec::new()), pixel_shuffle_text, info), count, &[&input], shape)
}

/// Plain-tensor twin of [`pixel_shuffle`].
pub fn pixel_shuffle_reference(x: Tensor<4>, scale: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let channels = channels / (scale * scale);
    let x = x.reshape([batch, channels, scale, scale, height, width]).permute([0, 1, 4, 2, 5, 3]);
    x.reshape([batch, channels, height * scale, width * scale])
}

fn pixel_shuffle_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "height", "width", "scale"])
        + &entry("info.count")
        + "let s = info.scale; let w = info.width * s; let h = info.height * s;\n\
           let column = i % w; let row = (i / w) % h; let map = i / (w * h);\n\
           let channel = (map * s + row % s) * s + column % s;\n\
           y[i] = x[(channel * info.height + row / s) * info.width + column / s];\n}\n"
}
