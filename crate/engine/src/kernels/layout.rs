//! Numbers in another order. A copy of a permuted tensor has a shader for each size class, which would be compiled while a
//! first large picture is painted; these have one for all.

use burn::tensor::Tensor;

use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

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
