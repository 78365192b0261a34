//! The inputs of a product, copied to where the tile reads them in order: panels of eight positions.

use std::ops::Range;

use crate::lanes::LANES;

/// Where a product finds its inputs: `input(p, k)` for position `p` and index `k`.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// `x` [P, K].
    Rows(&'a [f32]),
    /// The patches of padded images.
    Image(&'a [f32], Image),
}

/// A convolution over padded images [B, C, height, width]: position p is a pixel of the output, and k = (channel, ky, kx).
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// Channels.
    pub channels: usize,
    /// Padded height and width.
    pub size: [usize; 2],
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
}

impl Image {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.size.map(|side| (side - self.kernel) / self.stride + 1)
    }

    /// Where the patch of an output pixel starts.
    fn start(&self, position: usize) -> usize {
        let ([height, width], [out_h, out_w]) = (self.size, self.output());
        let (image, y, x) = (position / (out_h * out_w), position / out_w % out_h, position % out_w);
        ((image * self.channels * height) + y * self.stride) * width + x * self.stride
    }
}

impl Input<'_> {
    /// Positions `positions` of inputs of `depth`, as `panels` [panels, depth]; the last one is filled up with
    /// the last position.
    pub(crate) fn pack(&self, positions: Range<usize>, depth: usize, panels: &mut [[f32; LANES]]) {
        for (panel, rows) in panels.chunks_exact_mut(depth).enumerate() {
            let position = |lane: usize| (positions.start + panel * LANES + lane).min(positions.end - 1);
            match self {
                Self::Rows(x) => {
                    let rows_of_x = std::array::from_fn(|lane| &x[position(lane) * depth..][..depth]);
                    transpose(rows_of_x, rows);
                }
                Self::Image(x, image) => {
                    patches(x, image, std::array::from_fn(|lane| image.start(position(lane))), rows)
                }
            }
        }
    }
}

fn transpose(x: [&[f32]; LANES], rows: &mut [[f32; LANES]]) {
    let (blocks, rest) = rows.as_chunks_mut::<LANES>();
    let whole = x.map(|x| x.as_chunks::<LANES>().0);
    for (index, block) in blocks.iter_mut().enumerate() {
        let columns = whole.map(|blocks| blocks[index]);
        *block = std::array::from_fn(|k| columns.map(|column| column[k]));
    }
    let last = x[0].len() - rest.len();
    for (k, row) in rest.iter_mut().enumerate() {
        *row = x.map(|x| x[last + k]);
    }
}

/// The patches that start at `starts`, one in each lane.
fn patches(x: &[f32], image: &Image, starts: [usize; LANES], rows: &mut [[f32; LANES]]) {
    let [height, width] = image.size;
    let side_by_side = (1..LANES).all(|lane| starts[lane] == starts[0] + lane);
    let mut rows = rows.iter_mut();
    for channel in 0..image.channels {
        for ky in 0..image.kernel {
            let line = &x[(channel * height + ky) * width..];
            for (kx, row) in rows.by_ref().take(image.kernel).enumerate() {
                *row = match side_by_side {
                    true => line[starts[0] + kx..].first_chunk().copied().unwrap_or_default(),
                    false => starts.map(|start| line[start + kx]),
                };
            }
        }
    }
}
