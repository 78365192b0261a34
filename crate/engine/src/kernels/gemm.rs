//! The matrix product behind every linear and convolution layer: quantized weights times activations.
//!
//! `y[n, p] = bias[n] + Σ_k w[n, k] · x(k, p)`, where `x(k, p)` is a row of the input for a linear layer and an
//! implicit im2col of a padded image for a convolution. Blocks of 32 along `k` share a scale. How the work is spread over
//! invocations is the [`Variant`]'s business: [`registers`] for software adapters, [`tiles`] for real GPUs; the device's
//! [`Tuning`] says which.

mod reads;
mod registers;
mod split;
mod tiles;
mod winograd;

use burn::tensor::{Tensor, module, ops::ConvOptions};
use burn_cubecl::tensor::CubeTensor;
use serde::{Deserialize, Serialize};

use super::cpu;
use super::launch::{Unit, Wgsl, has_f16, launch, on_gpu, words_on_gpu};
use super::pad::{Border, Padding, pad};
use super::tuning::Tuning;
use crate::weights::{Weight, WeightPart};
use reads::Reads;
pub use tiles::{Stage, Tile};
use winograd::Tiled;

/// How a product is spread over invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Each invocation reads the inputs of its own tile of 8 or 16 outputs at 8 positions: no barriers, which cost software
    /// adapters most. 3x3 convolutions by Winograd's tiles where that is less work.
    Registers,
    /// A workgroup of 64 computes 32x32 from inputs in shared memory.
    Tiles32,
    /// A workgroup of 64 computes 64x64, 8x8 each.
    Tiles64,
    /// A workgroup of 256 computes 128x128, 8x8 each, which reads least.
    Tiles128,
    /// As [`Self::Tiles32`], the sum cut into spans until the GPU is full.
    Split32,
    /// As [`Self::Tiles64`], cut as well.
    Split64,
    /// As [`Self::Tiles128`], cut as well.
    Split128,
    /// A tile that no calibration tries, and the invocations for which its sum is cut; for benchmarks.
    #[serde(skip)]
    Other(Tile, u32),
}

/// Invocations that fill a big GPU: about 512 for each of 132 multiprocessors.
pub const FULL: u32 = 1 << 16;

impl Variant {
    /// Those that products of many outputs are best computed by, the one that suits every device first.
    pub const LARGE: [Self; 5] = [Self::Registers, Self::Tiles64, Self::Tiles128, Self::Split64, Self::Split128];
    /// Those for products of few outputs.
    pub const SMALL: [Self; 5] = [Self::Registers, Self::Tiles32, Self::Split32, Self::Tiles64, Self::Split64];
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Registers, Self::Tiles32, Self::Tiles64, Self::Tiles128, Self::Split32, Self::Split64, Self::Split128];

    /// The tile in shared memory, and the invocations for which the sum is cut; `None` for register tiles.
    fn tile(self) -> Option<(Tile, u32)> {
        let square = |side, each, depth| Tile {
            n: side,
            p: side,
            each_n: each,
            each_p: each,
            depth,
            stage: Stage::Ahead,
            unroll: false,
        };
        match self {
            Self::Registers => None,
            Self::Tiles32 => Some((square(32, 4, 32), 0)),
            Self::Tiles64 => Some((square(64, 8, 16), 0)),
            Self::Tiles128 => Some((square(128, 8, 16), 0)),
            Self::Split32 => Some((square(32, 4, 32), FULL)),
            Self::Split64 => Some((square(64, 8, 16), FULL)),
            Self::Split128 => Some((square(128, 8, 16), FULL)),
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
    let mut dims = x.dims();
    let k = dims[D - 1];
    let rows = dims.iter().product::<usize>() / k;
    dims[D - 1] = weight.rows;
    let x = x.reshape([rows, k]);
    let problem = Problem { weight, bias, p: rows, image: None };
    let y = problem.launch(&x, [rows, weight.rows]).or_else(|| cpu::linear(&x, weight, bias));
    let y = y.unwrap_or_else(|| linear_reference(x, weight, bias));
    y.reshape(dims)
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
    let [batch, channels, padded_h, padded_w] = x.dims();
    let [out_h, out_w] = [shape.output(padded_h), shape.output(padded_w)];
    let image = Image {
        kernel: shape.kernel,
        stride: shape.stride,
        values: channels * padded_h * padded_w,
        plane: padded_h * padded_w,
        row: padded_w,
        out: out_h * out_w,
        out_row: out_w,
    };
    let problem = Problem { weight, bias, p: batch * out_h * out_w, image: Some(image) };
    let y = problem.launch(&x, [batch, weight.rows, out_h, out_w]).or_else(|| cpu::conv2d(&x, weight, bias, shape));
    y.unwrap_or_else(|| conv2d_reference(x, weight, bias, shape))
}

/// Plain-tensor twin of [`conv2d_padded`].
pub fn conv2d_reference(x: Tensor<4>, weight: &Weight, bias: Option<&Tensor<1>>, shape: Conv2dShape) -> Tensor<4> {
    let channels = x.dims()[1];
    let dense = weight.dequantize::<4>([weight.rows, channels, shape.kernel, shape.kernel], &x.device());
    module::conv2d(x, dense, bias.cloned(), ConvOptions::new([shape.stride; 2], [0, 0], [1, 1], 1))
}

/// One product to be computed.
struct Problem<'a> {
    weight: &'a Weight,
    bias: Option<&'a Tensor<1>>,
    /// Positions.
    p: usize,
    image: Option<Image>,
}

/// Where a convolution finds its inputs and puts its outputs; sizes in values.
struct Image {
    kernel: usize,
    stride: usize,
    /// One padded input image.
    values: usize,
    /// One padded input channel.
    plane: usize,
    /// One padded input row.
    row: usize,
    /// One output channel.
    out: usize,
    /// One output row.
    out_row: usize,
}

/// Fields of the kernel's `info`; a linear layer uses the first four. `span`: places of `k` that one workgroup sums up.
const INFO: [&str; 10] = ["n", "k", "p", "span", "values", "plane", "row", "out", "out_row", "stride"];

impl Problem<'_> {
    /// The product on the GPU, or `None` where the tensors live on the CPU.
    fn launch<const X: usize, const Y: usize>(&self, x: &Tensor<X>, shape: [usize; Y]) -> Option<Tensor<Y>> {
        // Outputs are along the channels of an image and along the last dimension of a row.
        let along = if self.image.is_some() { 1 } else { Y - 1 };
        let input = on_gpu(x)?;
        let mut start = 0;
        let mut parts = Vec::new();
        for part in &self.weight.parts {
            let bias = self.bias.map(|bias| bias.clone().narrow(0, start, part.rows));
            let mut shape = shape;
            shape[along] = part.rows;
            parts.push(self.launch_part(&input, part, bias.as_ref(), shape)?);
            start += part.rows;
        }
        if parts.len() == 1 { parts.pop() } else { Some(Tensor::cat(parts, along)) }
    }

    fn launch_part<const Y: usize>(
        &self,
        input: &CubeTensor,
        part: &WeightPart,
        bias: Option<&Tensor<1>>,
        shape: [usize; Y],
    ) -> Option<Tensor<Y>> {
        let words = words_on_gpu(&part.words)?;
        let scales = part.scales.as_ref().and_then(words_on_gpu);
        let bias = bias.and_then(on_gpu);
        let (n, k) = (part.rows, self.weight.columns);
        let reads = self.reads_key(has_f16(input));
        let variant = Tuning::of(&input.device).variant(n * self.p);
        let mut inputs = vec![input, &words];
        inputs.extend(scales.as_ref());
        if let (Variant::Registers, Some(image)) = (variant, &self.image)
            && let Some(tiled) = Tiled::best(image, [k / 9, n, self.p], input)
        {
            return tiled.launch((input, bias.as_ref()), (&inputs[1..], &reads), shape);
        }
        inputs.extend(bias.as_ref());
        let Some((tile, wanted)) = variant.tile() else {
            let key = ("gemm", [&[registers::width(n)], &reads[..]].concat());
            let kernel = self.kernel(key, registers_text, Unit::Invocation, [n, k]);
            return Some(launch(kernel, registers::invocations(n, self.p), &inputs, shape));
        };
        let tiles = self.p.div_ceil(tile.p as usize) * n.div_ceil(tile.n as usize);
        let span = split::span(tiles * tile.invocations() as usize, wanted as usize, k);
        let key = ("gemm tiles", [&tile.key()[..], &reads].concat());
        let kernel = self.kernel(key, tiles_text, Unit::Workgroup(tile.invocations()), [n, span]);
        match k.div_ceil(span) {
            1 => Some(launch(kernel, tiles, &inputs, shape)),
            spans => split::sum(&launch(kernel, tiles * spans, &inputs, [spans * n * self.p]), spans, shape),
        }
    }

    /// What the reading functions depend on.
    fn reads_key(&self, f16: bool) -> Vec<u32> {
        let kernel = self.image.as_ref().map_or(0, |image| image.kernel);
        vec![
            self.weight.scheme as u32,
            u32::from(self.bias.is_some()),
            u32::from(self.weight.columns.is_multiple_of(4)),
            kernel as u32,
            u32::from(f16),
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
        let mut info = vec![n, k, self.p, span];
        if let Some(i) = &self.image {
            info.extend([i.values, i.plane, i.row, i.out, i.out_row, i.stride]);
        }
        info.resize(INFO.len(), 0);
        let info = info.into_iter().map(|value| value as u32).collect();
        Wgsl { key, text, info, unit, multiplications: (n * k * self.p) as u64 }
    }
}

fn registers_text(key: &[u32]) -> String {
    registers::text(key[0], &Reads::new(&key[1..]))
}

fn tiles_text(key: &[u32]) -> String {
    let (tile, reads) = key.split_at(Tile::KEY);
    Tile::from_key(tile).text(&Reads::new(reads))
}
