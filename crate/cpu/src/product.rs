//! The matrix product behind every linear and convolution layer.
//!
//! Three loops around the tile keep what it reads near: some positions' inputs, packed whole, stay in the last cache;
//! [`DEPTH`] of their indices in the second; and so many of four rows' weights, unpacked, in the first.

use std::ops::Range;

use crate::lanes::{LANES, Lanes};
use crate::panels::Input;
use crate::weights::Rows;
use crate::winograd::Tiles;

/// Rows of weights in a tile.
pub const ROWS: usize = 4;
/// Indices of a tile's inputs before the next tile has its turn; a multiple of the weights' blocks.
const DEPTH: usize = 256;
/// Rows of weights whose sums are kept before they are written out.
const ROW_GROUP: usize = 64;
/// Inputs that are packed at once, for at least so many positions: the more, the less often weights are unpacked.
const PACKED: usize = 1 << 17;
const FEWEST: usize = 64;
/// So many positions are worth a tile, most of whose lanes then have nothing to do.
const FEW: usize = 4;

/// Where `y(n, p)` goes: to `y[image · rows · out + n · out + p]` for the pixels p < out of each image, or, where `out`
/// is `None`, to `y[p · rows + n]`.
#[derive(Debug)]
pub struct Output<'a> {
    /// The results.
    pub y: &'a mut [f32],
    /// Rows of all the weights together.
    pub rows: usize,
    /// Output pixels of one image.
    pub out: Option<usize>,
}

/// `y(n, p) = bias[n] + Σ_k weights[n, k] · input(p, k)` for `rows` of the outputs, to which `weights` [rows, depth]
/// belong, and all `positions`.
pub fn product(
    (weights, rows, depth): (Rows, Range<usize>, usize),
    (input, positions): (Input, usize),
    bias: Option<&[f32]>,
    mut output: Output,
) {
    if let Input::Image(x, image) = &input
        && let Some(tiles) = Tiles::best(image, output.rows, positions)
    {
        return tiles.convolve((weights, rows), (x, image, positions), bias, &mut output);
    }
    let most = (PACKED / depth).max(FEWEST).min(positions).next_multiple_of(LANES);
    let mut panels = vec![[0.0; LANES]; most / LANES * depth];
    let mut sums = vec![[0.0; LANES]; most / LANES * ROW_GROUP];
    for first in (0..positions).step_by(most) {
        let block = first..positions.min(first + most);
        let count = block.len().div_ceil(LANES);
        let (panels, sums) = (&mut panels[..count * depth], &mut sums[..count * ROW_GROUP]);
        input.pack(block.clone(), depth, panels);
        for group in (0..rows.len()).step_by(ROW_GROUP) {
            let group = group..rows.len().min(group + ROW_GROUP);
            let outputs = rows.start + group.start..rows.start + group.end;
            for sums in sums.chunks_exact_mut(ROW_GROUP) {
                for (sum, n) in sums.iter_mut().zip(outputs.clone()) {
                    *sum = [bias.map_or(0.0, |bias| bias[n]); LANES];
                }
            }
            match positions < FEW {
                true => add_few(&weights, group, panels, positions, sums),
                false => add(&weights, group, (panels, depth, depth), (sums, ROW_GROUP)),
            }
            output.write(outputs, block.clone(), sums);
        }
    }
}

/// Adds the products of some rows of `weights` [.., depth] to their sums, for all panels: [panels, stride] each, of which
/// the inputs' first `depth` are used. The sums' stride has room for whole tiles.
#[cfg_attr(all(feature = "relaxed-simd", target_arch = "wasm32"), target_feature(enable = "relaxed-simd"))]
pub(crate) fn add(
    weights: &Rows,
    group: Range<usize>,
    (panels, depth, stride): (&[[f32; LANES]], usize, usize),
    (sums, sums_stride): (&mut [[f32; LANES]], usize),
) {
    let mut buffers = [[0.0; DEPTH]; ROWS];
    for k in (0..depth).step_by(DEPTH) {
        let indices = k..depth.min(k + DEPTH);
        for first in group.clone().step_by(ROWS) {
            // What lies beyond the last row is computed from it again, and never read.
            let mut row = first..;
            let rows = buffers.each_mut().map(|buffer| {
                let row = row.next().unwrap_or(first).min(group.end - 1);
                weights.unpack(row * depth + k, &mut buffer[..indices.len()])
            });
            for (panel, sums) in panels.chunks_exact(stride).zip(sums.chunks_exact_mut(sums_stride)) {
                let (tiles, _) = sums.as_chunks_mut::<ROWS>();
                tile(rows, &panel[indices.clone()], &mut tiles[(first - group.start) / ROWS]);
            }
        }
    }
}

/// As [`add`], for the first lanes of one panel: every sum on its own, with the weights side by side in the lanes.
#[cfg_attr(all(feature = "relaxed-simd", target_arch = "wasm32"), target_feature(enable = "relaxed-simd"))]
fn add_few(weights: &Rows, group: Range<usize>, panel: &[[f32; LANES]], count: usize, sums: &mut [[f32; LANES]]) {
    let depth = panel.len();
    let inputs: Vec<f32> = (0..count).flat_map(|lane| panel.iter().map(move |row| row[lane])).collect(); // [P, K]
    let mut buffer = [0.0; DEPTH];
    for (row, sums) in group.zip(sums) {
        for k in (0..depth).step_by(DEPTH) {
            let indices = k..depth.min(k + DEPTH);
            let weights = weights.unpack(row * depth + k, &mut buffer[..indices.len()]);
            for (sum, x) in sums.iter_mut().zip(inputs.chunks_exact(depth)) {
                *sum += dot(weights, &x[indices.clone()]);
            }
        }
    }
}

#[cfg_attr(all(feature = "relaxed-simd", target_arch = "wasm32"), target_feature(enable = "relaxed-simd"))]
#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<{ 2 * LANES }>(), b.as_chunks::<{ 2 * LANES }>());
    let mut sums = [Lanes::splat(0.0); 2];
    for (a, b) in a.iter().zip(b) {
        let ((a, _), (b, _)) = (a.as_chunks(), b.as_chunks());
        sums[0] = Lanes::load(&a[0]).multiply_add(Lanes::load(&b[0]), sums[0]);
        sums[1] = Lanes::load(&a[1]).multiply_add(Lanes::load(&b[1]), sums[1]);
    }
    let rest: f32 = last_a.iter().zip(last_b).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]).sum() + rest
}

/// `sums[r] += Σ_k rows[r][k] · panel[k]`.
#[cfg_attr(all(feature = "relaxed-simd", target_arch = "wasm32"), target_feature(enable = "relaxed-simd"))]
#[inline]
fn tile([a, b, c, d]: [&[f32]; ROWS], panel: &[[f32; LANES]], sums: &mut [[f32; LANES]; ROWS]) {
    let columns = a.iter().zip(b).zip(c).zip(d).map(|(((a, b), c), d)| [*a, *b, *c, *d]);
    multiply(columns, panel, sums);
}

/// `sums[r] += Σ_k columns[k][r] · panel[k]`.
#[cfg_attr(all(feature = "relaxed-simd", target_arch = "wasm32"), target_feature(enable = "relaxed-simd"))]
#[inline]
pub(crate) fn multiply(
    columns: impl Iterator<Item = [f32; ROWS]>,
    panel: &[[f32; LANES]],
    sums: &mut [[f32; LANES]; ROWS],
) {
    let [mut a, mut b, mut c, mut d] = sums.each_ref().map(Lanes::load);
    for (x, column) in panel.iter().zip(columns) {
        let (x, [wa, wb, wc, wd]) = (Lanes::load(x), column.map(Lanes::splat));
        a = x.multiply_add(wa, a);
        b = x.multiply_add(wb, b);
        c = x.multiply_add(wc, c);
        d = x.multiply_add(wd, d);
    }
    for (sum, lanes) in sums.iter_mut().zip([a, b, c, d]) {
        lanes.store(sum);
    }
}

impl Output<'_> {
    fn write(&mut self, outputs: Range<usize>, positions: Range<usize>, sums: &[[f32; LANES]]) {
        for (panel, sums) in sums.chunks_exact(ROW_GROUP).enumerate() {
            let first = positions.start + panel * LANES;
            let count = LANES.min(positions.end - first);
            match self.out {
                None => {
                    for (lane, y) in self.y[first * self.rows..].chunks_exact_mut(self.rows).take(count).enumerate() {
                        y[outputs.clone()].iter_mut().zip(sums).for_each(|(y, sum)| *y = sum[lane % LANES]);
                    }
                }
                Some(out) => {
                    let start = |p: usize| p / out * self.rows * out + p % out;
                    let in_one_image = first / out == (first + count - 1) / out;
                    for (n, sum) in outputs.clone().zip(sums) {
                        match in_one_image {
                            true => self.y[start(first) + n * out..][..count].copy_from_slice(&sum[..count]),
                            false => (0..count).for_each(|lane| self.y[start(first + lane) + n * out] = sum[lane]),
                        }
                    }
                }
            }
        }
    }
}
