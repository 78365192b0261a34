//! Winograd's minimal filtering F(m x m, 3 x 3): 3x3 convolutions of stride 1 with four ninths (m = 2) or a quarter (m = 4)
//! of the multiplications.
//!
//! A tile of m x m outputs comes from n x n inputs, n = m + 2. Both these and the 3x3 weights are taken to n² points, at
//! each of which channels are multiplied and summed as in any product; what comes of it is taken back. Eight tiles, or
//! four rows of weights for two channels, are transformed at once, in the lanes.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, whose matrices these are.

use std::ops::Range;

use crate::lanes::{LANES, Lanes};
use crate::panels::Image;
use crate::product::{Output, ROWS, multiply};
use crate::weights::Rows;

/// Numbers of inputs at their points that are kept at once, unless those of eight tiles are more.
const PACKED: usize = 1 << 18;
/// Channels whose weights are unpacked at once: a multiple of the blocks of 32 weights, and even.
const CHANNELS: usize = 32;
/// Weights of a channel.
const AREA: usize = 9;
/// Channels between two points: the numbers of one channel at all points should not fall into one set of the cache.
const APART: usize = 2;
/// Fewest channels, in or out, that are worth the transforms.
pub const FEWEST: usize = 16;

/// Sizes of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tiles {
    /// F(2 x 2, 3 x 3).
    Two,
    /// F(4 x 4, 3 x 3).
    Four,
}

impl Tiles {
    /// The tiles by which a convolution to `rows` channels at `positions` is computed fastest; `None` where it is the
    /// plain product.
    pub(crate) fn best(image: &Image, rows: usize, positions: usize) -> Option<Self> {
        let [height, width] = image.output();
        let few = image.channels.min(rows) < FEWEST || !image.channels.is_multiple_of(2);
        if image.kernel != 3 || image.stride != 1 || few {
            return None;
        }
        // Steps of eight lanes for each weight; transforming a weight costs nearly as much as one at every point, and
        // those of inputs and outputs add a tenth.
        let plain = (AREA * positions.div_ceil(LANES)) as f64;
        let cost = |m: usize| {
            let steps = (positions / (m * m)).div_ceil(LANES) as f64 + 0.8;
            1.1 * ((m + 2) * (m + 2)) as f64 * steps
        };
        [(Self::Two, 2), (Self::Four, 4)]
            .into_iter()
            .filter(|(_, m)| height.is_multiple_of(*m) && width.is_multiple_of(*m) && cost(*m) < plain)
            .min_by(|(_, one), (_, other)| cost(*one).total_cmp(&cost(*other)))
            .map(|(tiles, _)| tiles)
    }

    /// As [`crate::product`], for the image `x`.
    pub(crate) fn convolve(
        self,
        weights: (Rows, Range<usize>),
        input: (&[f32], &Image, usize),
        bias: Option<&[f32]>,
        output: &mut Output,
    ) {
        match self {
            Self::Two => convolve::<Two, 2, 4>(weights, input, bias, output),
            Self::Four => convolve::<Four, 4, 6>(weights, input, bias, output),
        }
    }
}

/// The three transforms of F(M x M, 3 x 3) along one axis.
trait Filtering<const M: usize, const N: usize> {
    fn inputs(d: [Lanes; N]) -> [Lanes; N];
    fn weights(g: [Lanes; 3]) -> [Lanes; N];
    fn outputs(m: [Lanes; N]) -> [Lanes; M];
}

struct Two;

impl Filtering<2, 4> for Two {
    #[inline(always)]
    fn inputs([d0, d1, d2, d3]: [Lanes; 4]) -> [Lanes; 4] {
        [d0 - d2, d1 + d2, d2 - d1, d1 - d3]
    }

    #[inline(always)]
    fn weights([g0, g1, g2]: [Lanes; 3]) -> [Lanes; 4] {
        let half = Lanes::splat(0.5);
        let (outer, inner) = ((g0 + g2) * half, g1 * half);
        [g0, outer + inner, outer - inner, g2]
    }

    #[inline(always)]
    fn outputs([m0, m1, m2, m3]: [Lanes; 4]) -> [Lanes; 2] {
        [m0 + m1 + m2, m1 - m2 - m3]
    }
}

struct Four;

impl Filtering<4, 6> for Four {
    #[inline(always)]
    fn inputs([d0, d1, d2, d3, d4, d5]: [Lanes; 6]) -> [Lanes; 6] {
        let [two, four, five] = [2.0, 4.0, 5.0].map(Lanes::splat);
        let (a, b) = (d4 - d2 * four, d3 - d1 * four);
        let (c, e) = (d4 - d2, (d3 - d1) * two);
        [d0 * four - d2 * five + d4, a + b, a - b, c + e, c - e, d1 * four - d3 * five + d5]
    }

    #[inline(always)]
    fn weights([g0, g1, g2]: [Lanes; 3]) -> [Lanes; 6] {
        let [quarter, sixth, twelfth, part] = [1.0 / 4.0, -1.0 / 6.0, 1.0 / 12.0, 1.0 / 24.0].map(Lanes::splat);
        let (outer, inner) = ((g0 + g2) * sixth, g1 * sixth);
        let (far, near) = (g0 * part - g2 * sixth, g1 * twelfth);
        [g0 * quarter, outer + inner, outer - inner, far + near, far - near, g2]
    }

    #[inline(always)]
    fn outputs([m0, m1, m2, m3, m4, m5]: [Lanes; 6]) -> [Lanes; 4] {
        let [two, four, eight] = [2.0, 4.0, 8.0].map(Lanes::splat);
        let (p, q, r, s) = (m1 + m2, m1 - m2, m3 + m4, m3 - m4);
        [m0 + p + r, q + s * two, p + r * four, q + s * eight + m5]
    }
}

/// A transform along both axes, of what `load` gives for each row and column; `store` gets the result.
#[inline(always)]
fn both<const A: usize, const B: usize>(
    load: impl Fn(usize, usize) -> Lanes,
    transform: impl Fn([Lanes; A]) -> [Lanes; B],
    mut store: impl FnMut(usize, usize, Lanes),
) {
    let mut rows = [[[0.0; LANES]; A]; B];
    for column in 0..A {
        let transformed = transform(std::array::from_fn(|row| load(row, column)));
        transformed.into_iter().zip(&mut rows).for_each(|(lanes, row)| lanes.store(&mut row[column]));
    }
    for (row, values) in rows.iter().enumerate() {
        let transformed = transform(values.each_ref().map(Lanes::load));
        transformed.into_iter().enumerate().for_each(|(column, lanes)| store(row, column, lanes));
    }
}

/// Where the tiles of a convolution lie, all images' in a row.
struct Grid<'a> {
    image: &'a Image,
    /// Outputs along a tile's side.
    side: usize,
    /// Tiles of an image, down and across.
    tiles: [usize; 2],
    /// Tiles of all images.
    count: usize,
}

/// Eight tiles that are computed side by side; of the last ones, some may be none.
struct Panel {
    /// Where each begins in the first of an image's planes ([`Grid::planes`]), the image included.
    inputs: [usize; LANES],
    /// Where its outputs begin in the result's first row, the image included.
    outputs: [usize; LANES],
    /// How many there are.
    count: usize,
}

impl Grid<'_> {
    /// Numbers of one plane.
    fn plane(&self) -> usize {
        (self.tiles[0] + 1) * (self.tiles[1] + 1)
    }

    /// Channels, in pairs, from one point to the next.
    fn stride(&self) -> usize {
        self.image.channels / 2 + APART
    }

    /// The tiles from `first` on, for a result of so many `rows`.
    fn panel(&self, first: usize, rows: usize) -> Panel {
        let [down, across] = self.tiles;
        let place = |lane: usize| {
            let tile = (first + lane).min(self.count - 1);
            (tile / (down * across), tile / across % down, tile % across)
        };
        let planes = self.image.channels * self.side * self.side * self.plane();
        Panel {
            inputs: std::array::from_fn(|lane| {
                let (image, y, x) = place(lane);
                image * planes + y * (across + 1) + x
            }),
            outputs: std::array::from_fn(|lane| {
                let (image, y, x) = place(lane);
                ((image * rows * down + y) * self.side * across + x) * self.side
            }),
            count: LANES.min(self.count - first),
        }
    }

    /// The images with what has the same place in every tile side by side: [B, C, side, side, down + 1, across + 1].
    fn planes(&self, x: &[f32]) -> Vec<f32> {
        let [height, width] = self.image.size;
        let (side, across, plane) = (self.side, self.tiles[1] + 1, self.plane());
        let mut planes = vec![0.0; x.len() / (height * width) * side * side * plane];
        for (x, planes) in x.chunks_exact(height * width).zip(planes.chunks_exact_mut(side * side * plane)) {
            for (row, line) in x.chunks_exact(width).enumerate() {
                for (column, plane) in planes[row % side * side * plane..].chunks_mut(plane).take(side).enumerate() {
                    let values = line[column..].iter().step_by(side);
                    plane[row / side * across..].iter_mut().zip(values).for_each(|(to, value)| *to = *value);
                }
            }
        }
        planes
    }
}

/// Inputs of two channels for eight tiles.
type Pair = [[f32; LANES]; 2];

fn convolve<F: Filtering<M, N>, const M: usize, const N: usize>(
    (weights, rows): (Rows, Range<usize>),
    (x, image, positions): (&[f32], &Image, usize),
    bias: Option<&[f32]>,
    output: &mut Output,
) {
    let grid = Grid { image, side: M, tiles: image.output().map(|side| side / M), count: positions / (M * M) };
    let (stride, pairs) = (grid.stride(), image.channels / 2);
    let planes = grid.planes(x);
    let most = (PACKED / (2 * LANES * N * N * stride)).clamp(1, grid.count.div_ceil(LANES));
    let mut inputs = vec![[[0.0; LANES]; 2]; most * N * N * stride]; // [panels, points, channels / 2]
    let mut points = vec![[0.0; 2 * ROWS]; N * N * stride]; // [points, channels / 2], of four rows of weights
    for first in (0..grid.count).step_by(most * LANES) {
        let panels: Vec<_> =
            (first..grid.count).step_by(LANES).take(most).map(|first| grid.panel(first, output.rows)).collect();
        for (panel, inputs) in panels.iter().zip(inputs.chunks_exact_mut(N * N * stride)) {
            transform_inputs::<F, M, N>((&planes, &grid), panel.inputs, inputs);
        }
        for row in (0..rows.len()).step_by(ROWS) {
            let of_weights = row..rows.len().min(row + ROWS);
            transform_weights::<F, M, N>((&weights, of_weights.clone()), &grid, &mut points);
            for (panel, inputs) in panels.iter().zip(inputs.chunks_exact(N * N * stride)) {
                let mut products = [[[[0.0; LANES]; ROWS]; N]; N];
                let products_of_points = products.iter_mut().flatten();
                let operands = points.chunks_exact(stride).zip(inputs.chunks_exact(stride));
                for (product, (weights, inputs)) in products_of_points.zip(operands) {
                    multiply_pairs(&weights[..pairs], &inputs[..pairs], product);
                }
                let outputs = rows.start + row..rows.start + of_weights.end;
                write::<F, M, N>(&products, (outputs, bias), (&grid, panel), output);
            }
        }
    }
}

/// The inputs of eight tiles, which begin in the planes at `starts`, to all points.
fn transform_inputs<F: Filtering<M, N>, const M: usize, const N: usize>(
    (planes, grid): (&[f32], &Grid),
    starts: [usize; LANES],
    points: &mut [Pair],
) {
    let (plane, across, stride) = (grid.plane(), grid.tiles[1] + 1, grid.stride());
    let in_halves =
        [0, LANES / 2].iter().all(|half| (0..LANES / 2).all(|lane| starts[half + lane] == starts[*half] + lane));
    for channel in 0..grid.image.channels {
        let planes = &planes[channel * M * M * plane..];
        let load = |row: usize, column: usize| {
            let at = (row % M * M + column % M) * plane + row / M * across + column / M;
            let from = |lane: usize| &planes[starts[lane] + at..];
            match (in_halves, from(0).first_chunk(), from(LANES / 2).first_chunk()) {
                (true, Some(low), Some(high)) => Lanes::halves(low, high),
                _ => Lanes::load(&std::array::from_fn(|lane| from(lane)[0])),
            }
        };
        both(load, F::inputs, |row, column, value| {
            value.store(&mut points[(row * N + column) * stride + channel / 2][channel % 2]);
        });
    }
}

/// Up to four rows of weights to all points.
fn transform_weights<F: Filtering<M, N>, const M: usize, const N: usize>(
    (weights, rows): (&Rows, Range<usize>),
    grid: &Grid,
    points: &mut [[f32; 2 * ROWS]],
) {
    let (channels, stride) = (grid.image.channels, grid.stride());
    let mut buffers = [[0.0; CHANNELS * AREA]; ROWS];
    for first in (0..channels).step_by(CHANNELS) {
        let count = CHANNELS.min(channels - first);
        // What lies beyond the last row is computed from it again, and never written.
        let mut row = rows.clone();
        let unpacked = buffers.each_mut().map(|buffer| {
            let row = row.next().unwrap_or(rows.end - 1);
            let (pairs, _) = weights.unpack((row * channels + first) * AREA, &mut buffer[..count * AREA]).as_chunks();
            pairs
        });
        for pair in 0..count / 2 {
            let [a, b, c, d]: [&[f32; 2 * AREA]; ROWS] = unpacked.map(|pairs| &pairs[pair]);
            let value = |at: usize| {
                let next = AREA + at;
                Lanes::load(&[a[at], b[at], c[at], d[at], a[next], b[next], c[next], d[next]])
            };
            both(
                |y, x| value(3 * y + x),
                F::weights,
                |row, column, value| value.store(&mut points[(row * N + column) * stride + first / 2 + pair]),
            );
        }
    }
}

/// `sums[r] += Σ_c weights[c][r] · panel[c]`.
#[cfg_attr(all(feature = "relaxed-simd", target_arch = "wasm32"), target_feature(enable = "relaxed-simd"))]
#[inline]
fn multiply_pairs(weights: &[[f32; 2 * ROWS]], panel: &[Pair], sums: &mut [[f32; LANES]; ROWS]) {
    let (columns, _) = weights.as_flattened().as_chunks::<ROWS>();
    multiply(columns.iter().copied(), panel.as_flattened(), sums);
}

/// The outputs of some tiles in some rows, from their products at all points.
fn write<F: Filtering<M, N>, const M: usize, const N: usize>(
    products: &[[[[f32; LANES]; ROWS]; N]; N],
    (rows, bias): (Range<usize>, Option<&[f32]>),
    (grid, panel): (&Grid, &Panel),
    output: &mut Output,
) {
    let [height, width] = grid.tiles.map(|tiles| tiles * M);
    for (index, row) in rows.enumerate() {
        let bias = Lanes::splat(bias.map_or(0.0, |bias| bias[row]));
        let mut lines = [[[0.0; LANES]; M]; M];
        both(
            |y, x| Lanes::load(&products[y][x][index]),
            F::outputs,
            |y, x, value| (value + bias).store(&mut lines[y][x]),
        );
        for (line, lanes) in lines.iter().enumerate() {
            let y = &mut output.y[(row * height + line) * width..];
            for (lane, start) in panel.outputs.iter().enumerate().take(panel.count) {
                y[*start..start + M].copy_from_slice(&lanes.map(|lanes| lanes[lane]));
            }
        }
    }
}
