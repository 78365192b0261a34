//! The matrix product behind every linear and convolution layer: quantized weights times activations.
//!
//! `y[n, p] = bias[n] + Σ_k w[n, k] · x(k, p)`, where `x(k, p)` is a row of the input for a linear layer and an
//! implicit im2col of a padded image for a convolution. Blocks of 32 along `k` share a scale. How the work is spread over
//! invocations is the [`Variant`]'s business: [`registers`] for software adapters, [`tiles`] for real GPUs; the device's
//! [`Tuning`] says which.

mod costs;
mod reads;
mod registers;
pub(super) mod split;
mod tiles;
mod winograd;

use burn::tensor::{Tensor, module, ops::ConvOptions};
use burn_cubecl::tensor::CubeTensor;
use serde::{Deserialize, Serialize};

use super::cpu;
use super::launch::{Unit, Wgsl, has_f16, launch, on_gpu, words_on_gpu};
use super::pad::{Border, Padding, pad};
use super::tuning::Tuning;
use crate::limits::piece_bytes;
use crate::weights::{Weight, WeightPart};
pub use costs::{Costs, TileCost};
pub(super) use costs::{Size, Way};
use reads::{Depth, Reads};
use tiles::Results;
pub use tiles::{Stage, Tile};
use winograd::Tiled;
pub(super) use winograd::shared_text as shared_winograd_text;

/// How a product is spread over invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Each invocation reads the inputs of its own tile of 8 or 16 outputs at 8 positions: no barriers, which cost software
    /// adapters most. 3x3 convolutions by Winograd's tiles where that is less work.
    Registers,
    /// A workgroup of 64 computes 32x32 from inputs in shared memory.
    Tiles32,
    /// A workgroup of 128 computes 64x64, 8x4 each: for GPUs with registers for no more.
    Narrow64,
    /// A workgroup of 64 computes 64x64, 8x8 each.
    Tiles64,
    /// A workgroup of 256 computes 128x128, 8x8 each, which reads least.
    Tiles128,
    /// A tile that no calibration tries, and the invocations for which its sum is cut; for benchmarks.
    #[serde(skip)]
    Other(Tile, u32),
}

impl Variant {
    /// The tiles that a calibration measures: what is compiled soonest, then what suits most GPUs.
    pub const TILES: [Self; 4] = [Self::Tiles32, Self::Tiles64, Self::Tiles128, Self::Narrow64];
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Registers, Self::Tiles32, Self::Narrow64, Self::Tiles64, Self::Tiles128];

    /// The tile in shared memory, and the invocations for which the sum is cut; `None` for register tiles.
    pub(super) fn tile(self) -> Option<(Tile, u32)> {
        let square = |side, each, depth| Tile {
            n: side,
            p: side,
            each_n: each,
            each_p: each,
            depth,
            stage: Stage::Ahead,
            unroll: each == 8,
            half: false,
        };
        match self {
            Self::Registers => None,
            Self::Tiles32 => Some((square(32, 4, 32), 0)),
            Self::Narrow64 => Some((Tile { each_p: 4, unroll: false, ..square(64, 8, 16) }, 0)),
            Self::Tiles64 => Some((square(64, 8, 16), 0)),
            Self::Tiles128 => Some((square(128, 8, 16), 0)),
            Self::Other(tile, wanted) => Some((tile, wanted)),
        }
    }

    /// Whether workgroups of so many invocations and bytes of shared memory have room for it.
    pub fn fits(self, invocations: u32, shared_bytes: usize) -> bool {
        self.tile()
            .is_none_or(|(tile, _)| tile.invocations() <= invocations && tile.shared_bytes() as usize <= shared_bytes)
    }
}

/// Kernel size and geometry of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dShape {
    /// Side of the square kernel, 1 or 3.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// Padding: (top and left, bottom and right).
    pub padding: (usize, usize),
    /// Whole factor by which the input is first enlarged, by nearest neighbour.
    pub enlarge: usize,
}

impl Conv2dShape {
    /// 3x3, stride 1, "same" padding.
    pub const SAME: Self = Self { kernel: 3, stride: 1, padding: (1, 1), enlarge: 1 };
    /// As [`Self::SAME`], of the input at twice its size.
    pub const DOUBLE: Self = Self { enlarge: 2, ..Self::SAME };
    /// 1x1.
    pub const POINTWISE: Self = Self { kernel: 1, padding: (0, 0), ..Self::SAME };

    /// Side of the output for a padded input's.
    fn output(&self, padded: usize) -> usize {
        (padded - self.kernel) / self.stride + 1
    }
}

/// `x · wᵀ + bias`.
///
/// # Shapes
/// `x` [.., K], `weight` [N, K], `bias` [N] → [.., N].
pub fn linear<const D: usize>(x: Tensor<D>, weight: &Weight, bias: Option<&Tensor<1>>) -> Tensor<D> {
    linear_plus(x, weight, bias, None)
}

/// As [`linear`], plus a tensor of the result's shape: by tiles in the same pass.
pub fn linear_plus<const D: usize>(
    x: Tensor<D>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    plus: Option<Tensor<D>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let k = dims[D - 1];
    let rows = dims.iter().product::<usize>() / k;
    dims[D - 1] = weight.rows;
    let plus = plus.map(|plus| plus.reshape([rows, weight.rows]));
    let product = Product { plus, ..Product::new(weight, bias, rows) };
    product.compute(x.reshape([rows, k]), [rows, weight.rows], linear_reference).reshape(dims)
}

/// As [`linear`], of the channels of every pixel, which become rows.
///
/// # Shapes
/// `x` [B, K, H, W], `weight` [N, K], `bias` [N] → [B, H·W, N].
pub fn linear_of_pixels(x: Tensor<4>, weight: &Weight, bias: Option<&Tensor<1>>) -> Tensor<3> {
    let [batch, _, height, width] = x.dims();
    let (pixels, input) = (height * width, Some(Image::of(x.dims(), Conv2dShape::POINTWISE)));
    let product = Product { input, ..Product::new(weight, bias, batch * pixels) };
    product.compute(x, [batch, pixels, weight.rows], |x, weight, bias| {
        linear_reference(rows_of_pixels(x), weight, bias).reshape([batch, pixels, weight.rows])
    })
}

/// The channels of every pixel: [B, K, H, W] → [B·H·W, K].
fn rows_of_pixels(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    let pixels = height * width;
    x.reshape([batch, channels, pixels]).swap_dims(1, 2).reshape([batch * pixels, channels])
}

/// Several linear layers of the same rows as one product, of their weights one below the other ([`Weight::joined`]).
///
/// # Shapes
/// `x` [B, P, K], `weight` [R·N, K], `bias` [R·N] → [B, P, N], R times.
pub fn linears<const R: usize>(x: Tensor<3>, weight: &Weight, bias: Option<&Tensor<1>>) -> [Tensor<3>; R] {
    let [batch, rows, columns] = x.dims();
    if are_large(&x, batch * rows, weight) {
        return one_by_one(weight, bias, |weight, bias| linear(x.clone(), weight, bias));
    }
    let x = x.reshape([batch * rows, columns]);
    let product = Product { results: R, ..Product::new(weight, bias, batch * rows) };
    product.compute_apart(x, [batch, rows], linear_reference)
}

/// Whether the results of all layers together are larger than a piece may be.
fn are_large<const D: usize>(x: &Tensor<D>, positions: usize, weight: &Weight) -> bool {
    positions * weight.rows * size_of::<f32>() > piece_bytes(x)
}

/// Of each of the joined layers what `layer` makes.
fn one_by_one<const R: usize>(
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    layer: impl Fn(&Weight, Option<&Tensor<1>>) -> Tensor<3>,
) -> [Tensor<3>; R] {
    let each = weight.rows / R;
    core::array::from_fn(|index| {
        let bias = bias.map(|bias| bias.clone().narrow(0, index * each, each));
        layer(&weight.one_of(index, R), bias.as_ref())
    })
}

/// As [`linears`], of the channels of every pixel, which become rows.
///
/// # Shapes
/// `x` [B, K, H, W], `weight` [R·N, K], `bias` [R·N] → [B, H·W, N], R times.
pub fn linears_of_pixels<const R: usize>(x: Tensor<4>, weight: &Weight, bias: Option<&Tensor<1>>) -> [Tensor<3>; R] {
    let [batch, _, height, width] = x.dims();
    if are_large(&x, batch * height * width, weight) {
        return one_by_one(weight, bias, |weight, bias| linear_of_pixels(x.clone(), weight, bias));
    }
    let (positions, input) = (batch * height * width, Some(Image::of(x.dims(), Conv2dShape::POINTWISE)));
    let product = Product { input, results: R, ..Product::new(weight, bias, positions) };
    let reference = |x, weight: &Weight, bias: Option<&Tensor<1>>| linear_reference(rows_of_pixels(x), weight, bias);
    product.compute_apart(x, [batch, height * width], reference)
}

/// As [`linear`], whose rows become the pixels of a map, plus `map`.
///
/// # Shapes
/// `x` [B, H·W, K], `weight` [N, K], `bias` [N], `map` [B, N, H, W] → [B, N, H, W].
pub fn linear_to_pixels(x: Tensor<3>, weight: &Weight, bias: Option<&Tensor<1>>, map: Tensor<4>) -> Tensor<4> {
    let ([batch, pixels, k], dims) = (x.dims(), map.dims());
    let product = Product { plus: Some(map), pixels: Some(pixels), ..Product::new(weight, bias, batch * pixels) };
    product.compute(x.reshape([batch * pixels, k]), dims, |x, weight, bias| {
        let rows = linear_reference(x, weight, bias).reshape([batch, pixels, weight.rows]);
        rows.swap_dims(1, 2).reshape(dims)
    })
}

/// Plain-tensor twin of [`linear`] on [rows, K].
pub fn linear_reference(x: Tensor<2>, weight: &Weight, bias: Option<&Tensor<1>>) -> Tensor<2> {
    let dense = weight.dequantize::<2>([weight.rows, weight.columns], &x.device());
    module::linear(x, dense.transpose(), bias.cloned())
}

/// 2-D convolution, cross-correlation as in PyTorch.
///
/// # Shapes
/// `x` [B, Cin, H, W], `weight` [Cout, Cin·k·k] in the order (Cin, ky, kx), `bias` [Cout] → [B, Cout, H', W'].
pub fn conv2d(
    x: Tensor<4>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    shape: Conv2dShape,
    border: Border,
) -> Tensor<4> {
    conv2d_padded(pad(x, shape.enlarge, Padding::square(shape.padding), border), weight, bias, shape)
}

/// As [`conv2d`], of an input that is already enlarged and padded.
pub fn conv2d_padded(x: Tensor<4>, weight: &Weight, bias: Option<&Tensor<1>>, shape: Conv2dShape) -> Tensor<4> {
    conv2d_plus(x, weight, bias, shape, None)
}

/// As [`conv2d_padded`], plus a tensor of the result's shape: by tiles in the same pass.
pub fn conv2d_plus(
    x: Tensor<4>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    shape: Conv2dShape,
    plus: Option<Tensor<4>>,
) -> Tensor<4> {
    let [batch, _, padded_h, padded_w] = x.dims();
    let [out_h, out_w] = [shape.output(padded_h), shape.output(padded_w)];
    let (pixels, input) = (out_h * out_w, Some(Image::of(x.dims(), shape)));
    let product = Product { plus, input, pixels: Some(pixels), ..Product::new(weight, bias, batch * pixels) };
    let dims = [batch, weight.rows, out_h, out_w];
    product.compute(x, dims, |x, weight, bias| conv2d_reference(x, weight, bias, shape))
}

/// Plain-tensor twin of [`conv2d_padded`].
pub fn conv2d_reference(x: Tensor<4>, weight: &Weight, bias: Option<&Tensor<1>>, shape: Conv2dShape) -> Tensor<4> {
    let channels = x.dims()[1];
    let dense = weight.dequantize::<4>([weight.rows, channels, shape.kernel, shape.kernel], &x.device());
    module::conv2d(x, dense, bias.cloned(), ConvOptions::new([shape.stride; 2], [0, 0], [1, 1], 1))
}

/// One product to be computed, whose result has `D` dimensions.
pub(super) struct Product<'a, const D: usize> {
    pub weight: &'a Weight,
    pub bias: Option<&'a Tensor<1>>,
    /// What is added, of the result's shape.
    pub plus: Option<Tensor<D>>,
    pub positions: usize,
    /// The image that inputs are patches of; `None` where they are rows.
    pub input: Option<Image>,
    /// Pixels of one image where the result is a map, [B, N, ..]; `None` where it is rows, [.., N].
    pub pixels: Option<usize>,
    /// Results of rows that outputs are dealt out to, one after the other and equally many to each.
    pub results: usize,
}

/// Where a convolution finds its inputs; sizes in values.
pub(super) struct Image {
    pub shape: Conv2dShape,
    pub channels: usize,
    /// Padded height and width.
    pub size: [usize; 2],
    /// Height and width of what comes of it.
    pub output: [usize; 2],
}

impl Image {
    fn of([_, channels, height, width]: [usize; 4], shape: Conv2dShape) -> Self {
        Self { shape, channels, size: [height, width], output: [height, width].map(|side| shape.output(side)) }
    }

    /// From one input image, channel and row to the next.
    fn strides(&self) -> [usize; 3] {
        let [height, width] = self.size;
        [self.channels * height * width, height * width, width]
    }

    /// Output pixels of one image.
    fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }
}

/// Fields of the kernel's `info`. `span`: places of `k` that one workgroup sums up. `out`: output pixels of one image that is
/// read; `to`: of one that is stored, which is 1 where the results are rows; `part`: outputs of one result.
const INFO: [&str; 12] = ["n", "k", "p", "span", "values", "plane", "row", "out", "out_row", "stride", "to", "part"];

impl Product<'_, 4> {
    /// Results of rows, each of images of so many; `reference` makes them side by side, of [positions, inputs].
    fn compute_apart<const X: usize, const R: usize>(
        self,
        x: Tensor<X>,
        [images, rows]: [usize; 2],
        reference: impl FnOnce(Tensor<X>, &Weight, Option<&Tensor<1>>) -> Tensor<2>,
    ) -> [Tensor<3>; R] {
        let each = self.weight.rows / R;
        let y = self.compute(x, [R, images, rows, each], |x, weight, bias| {
            reference(x, weight, bias).reshape([images, rows, R, each]).permute([2, 0, 1, 3])
        });
        core::array::from_fn(|result| y.clone().narrow(0, result, 1).reshape([images, rows, each]))
    }
}

impl<'a, const D: usize> Product<'a, D> {
    /// Of rows, to rows, with nothing added.
    fn new(weight: &'a Weight, bias: Option<&'a Tensor<1>>, positions: usize) -> Self {
        Self { weight, bias, plus: None, positions, input: None, pixels: None, results: 1 }
    }

    /// The product of `shape`, wherever the tensors live; `reference` makes it without what is added.
    fn compute<const X: usize>(
        self,
        x: Tensor<X>,
        shape: [usize; D],
        reference: impl FnOnce(Tensor<X>, &Weight, Option<&Tensor<1>>) -> Tensor<D>,
    ) -> Tensor<D> {
        let y = self.launch(&x, shape).or_else(|| cpu::product(&x, &self, shape));
        y.unwrap_or_else(|| {
            let y = reference(x, self.weight, self.bias);
            match self.plus {
                Some(plus) => y + plus,
                None => y,
            }
        })
    }

    /// The product on the GPU, or `None` where the tensors live on the CPU.
    fn launch<const X: usize>(&self, x: &Tensor<X>, shape: [usize; D]) -> Option<Tensor<D>> {
        let along = if self.pixels.is_some() { 1 } else { D - 1 };
        let input = on_gpu(x)?;
        let mut start = 0;
        let mut parts = Vec::new();
        for part in &self.weight.parts {
            let bias = self.bias.map(|bias| bias.clone().narrow(0, start, part.rows));
            let plus = self.plus.as_ref().map(|plus| plus.clone().narrow(along, start, part.rows));
            let mut shape = shape;
            shape[along] = part.rows / self.results;
            parts.push(self.launch_part(&input, part, (bias.as_ref(), plus.as_ref()), shape)?);
            start += part.rows;
        }
        if parts.len() == 1 { parts.pop() } else { Some(Tensor::cat(parts, along)) }
    }

    fn launch_part(
        &self,
        input: &CubeTensor,
        part: &WeightPart,
        (bias, plus): (Option<&Tensor<1>>, Option<&Tensor<D>>),
        shape: [usize; D],
    ) -> Option<Tensor<D>> {
        let words = words_on_gpu(&part.words)?;
        let scales = part.scales.as_ref().and_then(words_on_gpu);
        let bias = bias.and_then(on_gpu);
        let (n, k) = (part.rows, self.weight.columns);
        let (tuning, f16) = (Tuning::of(&input.device), has_f16(input));
        let weights: Vec<_> = [Some(&words), scales.as_ref()].into_iter().flatten().collect();
        let size = Size { n, p: self.positions, k };
        let Some(way) = tuning.way(size) else {
            // What is added is so in a pass of its own: software adapters take a second to compile one more such kernel.
            let mut reads = self.reads_key(f16, false);
            // One kernel for both: a software adapter takes a second to compile another.
            reads[2] = reads[2].min(Depth::Vectors as u32);
            let y = match self.input.as_ref().and_then(|image| Tiled::best(image, [n, self.positions], input)) {
                Some(tiled) => tiled.launch((input, bias.as_ref(), None), (part, &weights, &reads), shape)?,
                None => {
                    let inputs = [&[input], &weights[..], &Vec::from_iter(&bias)].concat();
                    let key = ("gemm", [&[registers::width(n)], &reads[..]].concat());
                    let kernel = self.kernel(key, registers_text, Unit::Invocation, [n, k]);
                    launch(kernel, registers::invocations(n, self.positions), &inputs, shape)
                }
            };
            return Some(match plus {
                Some(plus) => y + plus.clone(),
                None => y,
            });
        };
        let plus = plus.and_then(on_gpu);
        let image = self.input.as_ref();
        let fastest = |costs: &Costs| Tiled::faster(image?, [n, self.positions], input, (costs, way.us));
        if let Some(tiled) = tuning.costs.as_ref().and_then(fastest) {
            let reads = self.reads_key(f16, false);
            return tiled.launch((input, bias.as_ref(), plus.as_ref()), (part, &weights, &reads), shape);
        }
        let tile = if f16 && tuning.is_half() { way.tile.at_16_bits() } else { way.tile };
        let span = split::span(way.spans, k);
        let reads = self.reads_key(f16, plus.is_some());
        let inputs = [&[input], &weights[..], &Vec::from_iter(&bias), &Vec::from_iter(&plus)].concat();
        let tiles = tile.workgroups([n, self.positions]);
        let results = Results::of(n / self.results, self.pixels);
        let key = ("gemm tiles", [&tile.key()[..], &[results as u32], &reads].concat());
        let kernel = self.kernel(key, tiles_text, Unit::Workgroup(tile.invocations()), [n, span]);
        match k.div_ceil(span) {
            1 => Some(launch(kernel, tiles, &inputs, shape)),
            spans => split::sum(&launch(kernel, tiles * spans, &inputs, [spans * n * self.positions]), spans, shape),
        }
    }

    /// What the reading and storing functions depend on.
    fn reads_key(&self, f16: bool, plus: bool) -> Vec<u32> {
        let kernel = self.input.as_ref().map_or(0, |image| image.shape.kernel);
        vec![
            self.weight.scheme as u32,
            u32::from(self.bias.is_some()),
            Depth::of(self.weight.columns) as u32,
            kernel as u32,
            u32::from(f16),
            u32::from(plus),
        ]
    }

    /// The kernel for `n` outputs and spans of so many places.
    fn kernel(
        &self,
        key: (&'static str, Vec<u32>),
        text: fn(&[u32]) -> String,
        unit: Unit,
        [n, span]: [usize; 2],
    ) -> Wgsl {
        let k = self.weight.columns;
        let ([values, plane, row], out_row, stride) = match &self.input {
            Some(image) => (image.strides(), image.output[1], image.shape.stride),
            None => ([0; 3], 0, 0),
        };
        let (out, to) = (self.input.as_ref().map_or(0, Image::pixels), self.pixels.unwrap_or(1));
        let info = [n, k, self.positions, span, values, plane, row, out, out_row, stride, to, n / self.results];
        let info = info.into_iter().map(|value| value as u32).collect();
        Wgsl { key, text, info, unit, multiplications: (n * k * self.positions) as u64 }
    }
}

fn registers_text(key: &[u32]) -> String {
    registers::text(key[0], &Reads::new(&key[1..]))
}

/// By a tile: the numbers of [`Tile::key`], how results lie, and the numbers of [`Product::reads_key`].
pub(super) fn tiles_text(key: &[u32]) -> String {
    let (tile, rest) = key.split_at(Tile::KEY);
    Tile::from_key(tile).text(Reads::new(&rest[1..]), Results::from_key(rest[0]))
}
