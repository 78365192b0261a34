//! Preparing a convolution's input: nearest-neighbour enlargement and zero padding in one pass.

use burn::tensor::{Tensor, module, ops::InterpolateMode, ops::InterpolateOptions, ops::PadMode};

use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// Enlarges `x` by a whole factor, then surrounds it with zeros: `begin` above and left, `end` below and right.
///
/// # Shapes
/// [B, C, H, W] → [B, C, H·enlarge + begin + end, W·enlarge + begin + end].
pub fn pad(x: Tensor<4>, enlarge: usize, (begin, end): (usize, usize)) -> Tensor<4> {
    if enlarge == 1 && begin + end == 0 {
        return x;
    }
    let [batch, channels, height, width] = x.dims();
    let Some(input) = on_gpu(&x) else { return pad_reference(x, enlarge, (begin, end)) };
    let [out_h, out_w] = [height, width].map(|side| side * enlarge + begin + end);
    let count = batch * channels * out_h * out_w;
    let info = [count, height, width, out_h, out_w, enlarge, begin].map(|value| value as u32).to_vec();
    launch(Wgsl { key: ("pad", Vec::new()), text, info }, count, &[&input], [batch, channels, out_h, out_w])
}

/// Plain-tensor twin of [`pad`].
pub fn pad_reference(x: Tensor<4>, enlarge: usize, (begin, end): (usize, usize)) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let options =
        InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height * enlarge, width * enlarge]);
    let x = if enlarge == 1 { x } else { module::interpolate(x, options) };
    x.pad([(begin, end), (begin, end)], PadMode::Constant(0.0))
}

fn text(_: &[u32]) -> String {
    let fields = ["count", "height", "width", "out_h", "out_w", "enlarge", "begin"];
    prelude(&[("x", "f32"), ("y", "f32")], &fields)
        + &entry("info.count")
        + "let row = i / info.out_w;\n\
           // Left of or above the image these wrap around to huge numbers, which are outside as well.\n\
           let px = i % info.out_w - info.begin; let py = row % info.out_h - info.begin;\n\
           let inside = px < info.width * info.enlarge && py < info.height * info.enlarge;\n\
           let line = (row / info.out_h) * info.height + select(0u, py / info.enlarge, inside);\n\
           y[i] = select(0.0, x[line * info.width + select(0u, px / info.enlarge, inside)], inside);\n}\n"
}
