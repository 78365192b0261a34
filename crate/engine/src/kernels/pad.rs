//! Preparing a convolution's input: nearest-neighbour enlargement and padding in one pass.

use burn::tensor::{Tensor, module, ops::InterpolateMode, ops::InterpolateOptions, ops::PadMode};
use serde::{Deserialize, Serialize};

use super::activation::{SILU, silu};
use super::cpu;
use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// What a convolution finds beyond the edges of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Border {
    /// Zeros, as models are trained.
    #[default]
    Zeros,
    /// The opposite edge, as `padding_mode="circular"` in PyTorch: opposite edges of the result fit together.
    Circular,
}

/// Rows (above, below) and columns (left, right) to add; negative ones are cut off instead.
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

    /// The shape of a map [B, C, H, W] with this around it.
    pub fn around(self, [batch, channels, height, width]: [usize; 4]) -> [usize; 4] {
        let side = |length: usize, (before, after): (isize, isize)| length.saturating_add_signed(before + after);
        [batch, channels, side(height, self.rows), side(width, self.columns)]
    }
}

/// Enlarges `x` by a whole factor, then surrounds it with what lies beyond its border.
///
/// # Shapes
/// [B, C, H, W] → [B, C, H·enlarge + rows, W·enlarge + columns].
pub fn pad(x: Tensor<4>, enlarge: usize, padding: Padding, border: Border) -> Tensor<4> {
    if enlarge == 1 && padding == Padding::default() {
        return x;
    }
    let [batch, channels, height, width] = x.dims();
    let [_, _, out_h, out_w] = padding.around([batch, channels, height * enlarge, width * enlarge]);
    launched(&x, enlarge, padding, [border as u32, 0]).unwrap_or_else(|| {
        let zeros = (border == Border::Zeros).then(|| cpu::pad(&x, enlarge, padding, [out_h, out_w])).flatten();
        zeros.unwrap_or_else(|| pad_reference(x, enlarge, padding, border))
    })
}

/// The SiLU of `x`, padded.
///
/// # Shapes
/// As [`pad`], which enlarges nothing.
pub fn silu_padded(x: Tensor<4>, padding: Padding, border: Border) -> Tensor<4> {
    launched(&x, 1, padding, [border as u32, 1]).unwrap_or_else(|| pad(silu(x), 1, padding, border))
}

/// Either on the GPU, or `None` elsewhere; `key` as [`text`] has it.
fn launched(x: &Tensor<4>, enlarge: usize, padding: Padding, key: [u32; 2]) -> Option<Tensor<4>> {
    let input = on_gpu(x)?;
    let [batch, channels, height, width] = x.dims();
    let dims @ [_, _, out_h, out_w] = padding.around([batch, channels, height * enlarge, width * enlarge]);
    let count = batch * channels * out_h * out_w;
    let mut info = [count, height, width, out_h, out_w, enlarge].map(|value| value as u32).to_vec();
    // Two's complement, as the kernel's arithmetic wraps.
    info.extend([padding.rows.0 as u32, padding.columns.0 as u32]);
    Some(launch(Wgsl::new(("pad", key.to_vec()), text, info), count, &[&input], dims))
}

/// Plain-tensor twin of [`pad`].
pub fn pad_reference(x: Tensor<4>, enlarge: usize, padding: Padding, border: Border) -> Tensor<4> {
    let Padding { rows, columns } = padding;
    let [batch, channels, height, width] = x.dims();
    let [height, width] = [height * enlarge, width * enlarge];
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height, width]);
    let x = if enlarge == 1 { x } else { module::interpolate(x, options) };
    let added = |(begin, end): (isize, isize)| (begin.max(0) as usize, end.max(0) as usize);
    let cut = |count: isize| count.min(0).unsigned_abs();
    let x = x.slice([0..batch, 0..channels, cut(rows.0)..height - cut(rows.1), cut(columns.0)..width - cut(columns.1)]);
    match border {
        Border::Zeros => x.pad([added(rows), added(columns)], PadMode::Constant(0.0)),
        Border::Circular => wrap(wrap(x, 2, added(rows)), 3, added(columns)),
    }
}

/// Continues `x` along a dimension by (before, after) values of its other end.
fn wrap(x: Tensor<4>, dim: usize, (before, after): (usize, usize)) -> Tensor<4> {
    let length = x.dims()[dim];
    let mut parts = vec![x.clone()];
    if before > 0 {
        parts.insert(0, x.clone().narrow(dim, length - before, before));
    }
    if after > 0 {
        parts.push(x.narrow(dim, 0, after));
    }
    Tensor::cat(parts, dim)
}

/// `key`: the border, and whether the SiLU of each number is taken.
fn text(key: &[u32]) -> String {
    let position = match key[0] == Border::Circular as u32 {
        // As many rows as there are may lie beyond an edge.
        true => {
            "let tall = info.height * info.enlarge; let wide = info.width * info.enlarge;\n\
             let px = (i % info.out_w + wide - info.left) % wide;\n\
             let py = (row % info.out_h + tall - info.top) % tall; let inside = true;\n"
        }
        // Left of or above the image these wrap around to huge numbers, which are outside as well.
        false => {
            "let px = i % info.out_w - info.left; let py = row % info.out_h - info.top;\n\
             let inside = px < info.width * info.enlarge && py < info.height * info.enlarge;\n"
        }
    };
    let value = if key[1] == 1 { SILU } else { "v" };
    let fields = ["count", "height", "width", "out_h", "out_w", "enlarge", "top", "left"];
    prelude(&[("x", "f32"), ("y", "f32")], &fields)
        + &entry("info.count")
        + "let row = i / info.out_w;\n"
        + position
        + "let line = (row / info.out_h) * info.height + select(0u, py / info.enlarge, inside);\n\
           let v = x[line * info.width + select(0u, px / info.enlarge, inside)];\n"
        + &format!("y[i] = select(0.0, {value}, inside);\n}}\n")
}
