//! Preparing a convolution's input: nearest-neighbour enlargement and zero padding in one pass.

use burn::tensor::{Tensor, module, ops::InterpolateMode, ops::InterpolateOptions, ops::PadMode};

use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// Rows (above, below) and columns (left, right) of zeros to add; negative ones are cut off instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Above and below.
    pub rows: (isize, isize),
    /// Left and right.
    pub columns: (isize, isize),
}

impl Padding {
    /// The same number above and left, and the same below and right.
    pub fn square((begin, end): (usize, usize)) -> Self {
        let both = (begin as isize, end as isize);
        Self { rows: both, columns: both }
    }
}

/// Enlarges `x` by a whole factor, then surrounds it with zeros.
///
/// # Shapes
/// [B, C, H, W] → [B, C, H·enlarge + rows, W·enlarge + columns].
pub fn pad(x: Tensor<4>, enlarge: usize, padding: Padding) -> Tensor<4> {
    if enlarge == 1 && padding == Padding::default() {
        return x;
    }
    let [batch, channels, height, width] = x.dims();
    let Some(input) = on_gpu(&x) else { return pad_reference(x, enlarge, padding) };
    let Padding { rows, columns } = padding;
    let out_h = (height * enlarge).saturating_add_signed(rows.0 + rows.1);
    let out_w = (width * enlarge).saturating_add_signed(columns.0 + columns.1);
    let count = batch * channels * out_h * out_w;
    let mut info = [count, height, width, out_h, out_w, enlarge].map(|value| value as u32).to_vec();
    info.extend([rows.0 as u32, columns.0 as u32]); // two's complement, as the kernel's arithmetic wraps
    launch(Wgsl { key: ("pad", Vec::new()), text, info }, count, &[&input], [batch, channels, out_h, out_w])
}

/// Plain-tensor twin of [`pad`].
pub fn pad_reference(x: Tensor<4>, enlarge: usize, Padding { rows, columns }: Padding) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let [height, width] = [height * enlarge, width * enlarge];
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height, width]);
    let x = if enlarge == 1 { x } else { module::interpolate(x, options) };
    let added = |(begin, end): (isize, isize)| (begin.max(0) as usize, end.max(0) as usize);
    let cut = |count: isize| count.min(0).unsigned_abs();
    let x = x.slice([0..batch, 0..channels, cut(rows.0)..height - cut(rows.1), cut(columns.0)..width - cut(columns.1)]);
    x.pad([added(rows), added(columns)], PadMode::Constant(0.0))
}

fn text(_: &[u32]) -> String {
    let fields = ["count", "height", "width", "out_h", "out_w", "enlarge", "top", "left"];
    prelude(&[("x", "f32"), ("y", "f32")], &fields)
        + &entry("info.count")
        + "let row = i / info.out_w;\n\
           // Left of or above the image these wrap around to huge numbers, which are outside as well.\n\
           let px = i % info.out_w - info.left; let py = row % info.out_h - info.top;\n\
           let inside = px < info.width * info.enlarge && py < info.height * info.enlarge;\n\
           let line = (row / info.out_h) * info.height + select(0u, py / info.enlarge, inside);\n\
           y[i] = select(0.0, x[line * info.width + select(0u, px / info.enlarge, inside)], inside);\n}\n"
}
