//! The matrix product behind every linear and convolution layer: quantized weights times activations.
//!
//! `y[n, p] = bias[n] + Σ_k w[n, k] · x(k, p)`, where `x(k, p)` is a row of the input for a linear layer and an
//! implicit im2col of a padded image for a convolution. Blocks of 32 along `k` share a scale. How the work is spread over
//! invocations is the [`Variant`]'s business: [`registers`] for software adapters, [`tiles`] for real GPUs; the device's
//! [`Tuning`] says which.

mod reads;
mod registers;
mod tiles;

use burn::tensor::{Tensor, module, ops::ConvOptions};
use burn_cubecl::tensor::CubeTensor;
use serde::{Deserialize, Serialize};

use super::cpu;
use super::launch::{Unit, Wgsl, has_f16, launch, on_gpu, words_on_gpu};
use super::pad::{Border, Padding, pad};
use super::tuning::Tuning;
use crate::weights::{Weight, WeightPart};
use reads::Reads;

/// How a product is spread over invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Each invocation reads its own 8x8 tile's inputs: no barriers, which cost software adapters most.
    Registers,
    /// A workgroup computes 32x32 from inputs in shared memory.
    Tiles32,
    /// A workgroup computes 64x64 from inputs in shared memory, which reads least.
    Tiles64,
}

impl Variant {
    /// All of them, the one that suits every device first.
    pub const ALL: [Self; 3] = [Self::Registers, Self::Tiles32, Self::Tiles64];

    /// Side of the tile that a unit of work computes: an invocation, or a workgroup.
    fn side(self) -> u32 {
        match self {
            Self::Registers => registers::SIDE,
            Self::Tiles32 => 32,
            Self::Tiles64 => 64,
        }
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

/// Fields of the kernel's `info`; a linear layer uses the first three.
const INFO: [&str; 9] = ["n", "k", "p", "values", "plane", "row", "out", "out_row", "stride"];

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
        let mut inputs = vec![input, &words];
        inputs.extend(scales.as_ref());
        inputs.extend(bias.as_ref());
        let variant = Tuning::of(&input.device).variant(part.rows * self.p);
        let side = variant.side() as usize;
        let units = self.p.div_ceil(side) * part.rows.div_ceil(side);
        let kernel = self.kernel(variant, part.rows, has_f16(input));
        Some(launch(kernel, units, &inputs, shape))
    }

    /// The kernel for `n` outputs, reading weights and scales as 16-bit floats where `f16`.
    fn kernel(&self, variant: Variant, n: usize, f16: bool) -> Wgsl {
        let k = self.weight.columns;
        let kernel = self.image.as_ref().map_or(0, |image| image.kernel);
        let key = vec![
            variant as u32,
            self.weight.scheme as u32,
            u32::from(self.bias.is_some()),
            u32::from(k.is_multiple_of(4)),
            kernel as u32,
            u32::from(f16),
        ];
        let mut info = vec![n, k, self.p];
        if let Some(i) = &self.image {
            info.extend([i.values, i.plane, i.row, i.out, i.out_row, i.stride]);
        }
        info.resize(INFO.len(), 0);
        let info = info.into_iter().map(|value| value as u32).collect();
        let unit = if variant == Variant::Registers { Unit::Invocation } else { Unit::Workgroup(tiles::WORKGROUP) };
        Wgsl { key: ("gemm", key), text, info, unit, multiplications: (n * k * self.p) as u64 }
    }
}

fn text(key: &[u32]) -> String {
    let [variant, reads @ ..] = key else { return String::new() };
    match Variant::ALL[*variant as usize] {
        Variant::Registers => registers::text(&Reads::new(reads)),
        tiled => tiles::text(&Reads::new(reads), tiled.side()),
    }
}
