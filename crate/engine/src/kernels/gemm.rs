//! The matrix product behind every linear and convolution layer: quantized weights times activations.
//!
//! `y[n, p] = bias[n] + Σ_k w[n, k] · x(k, p)`, where `x(k, p)` is a row of the input for a linear layer and an
//! implicit im2col of a padded image for a convolution. An invocation computes a register tile of [`TILE_P`] positions
//! by [`TILE_N`] outputs; a weight is unpacked once and used for every position of the tile. Blocks of 32 along `k`
//! share a scale.

use burn::tensor::{Tensor, module, ops::ConvOptions};
use burn_cubecl::tensor::CubeTensor;

use super::cpu;
use super::launch::{Wgsl, entry, has_f16, launch, on_gpu, prelude, words_on_gpu};
use super::pad::{Border, Padding, pad};
use crate::weights::{Scheme, Weight, WeightPart};

/// Positions (rows of a linear layer, output pixels of a convolution) per invocation.
const TILE_P: u32 = 8;
/// Outputs per invocation.
const TILE_N: u32 = 8;

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
        let invocations = self.p.div_ceil(TILE_P as usize) * part.rows.div_ceil(TILE_N as usize);
        Some(launch(self.kernel(part.rows, has_f16(input)), invocations, &inputs, shape))
    }

    /// The kernel for `n` outputs, reading weights and scales as 16-bit floats where `f16`.
    fn kernel(&self, n: usize, f16: bool) -> Wgsl {
        let k = self.weight.columns;
        let kernel = self.image.as_ref().map_or(0, |image| image.kernel);
        let key = vec![
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
        Wgsl { key: ("gemm", key), text: |key| Text::new(key).build(), info }
    }
}

/// Builds the WGSL text from the key.
struct Text {
    scheme: Scheme,
    bias: bool,
    /// K is a multiple of 4.
    whole: bool,
    /// Side of a convolution's kernel; `None` for a linear layer.
    conv: Option<u32>,
    /// The adapter has 16-bit floats: weights and scales are read as such, not unpacked from words. Sums stay at 32 bits.
    f16: bool,
}

impl Text {
    fn new(key: &[u32]) -> Self {
        let conv = (key[3] > 0).then_some(key[3]);
        Self { scheme: Scheme::ALL[key[0] as usize], bias: key[1] != 0, whole: key[2] != 0, conv, f16: key[4] != 0 }
    }

    fn build(&self) -> String {
        // A linear layer whose rows are whole vectors reads them as such.
        let vector_rows = self.conv.is_none() && self.whole;
        let weights = if self.reads_f16_weights() { "vec4<f16>" } else { "u32" };
        let mut buffers = vec![("x", if vector_rows { "vec4<f32>" } else { "f32" }), ("w", weights)];
        if self.scheme.is_quantized() {
            buffers.push(("s", if self.f16 { "f16" } else { "u32" }));
        }
        if self.bias {
            buffers.push(("bias", "f32"));
        }
        buffers.push(("y", "f32"));
        let tiles = format!("((info.n + {}u) / {TILE_N}u) * ((info.p + {}u) / {TILE_P}u)", TILE_N - 1, TILE_P - 1);
        [
            prelude(&buffers, &INFO),
            self.weight_functions(),
            self.activation_functions(),
            entry(&tiles),
            self.body(),
            "}\n".into(),
        ]
        .concat()
    }

    /// Whether four weights are one vector of the buffer.
    fn reads_f16_weights(&self) -> bool {
        self.f16 && self.whole && self.scheme == Scheme::F16
    }

    /// `weight4(n, k)`: four weights from `k` (a multiple of 4), unscaled; `scale(n, block)`.
    fn weight_functions(&self) -> String {
        let element = |body: &str| {
            format!(
                "fn weight1(n: u32, k: u32) -> f32 {{ if (k >= info.k) {{ return 0.0; }} let e = n * info.k + k; {body} }}\n\
                 fn weight4(n: u32, k: u32) -> vec4<f32> {{ \
                 return vec4<f32>(weight1(n, k), weight1(n, k + 1u), weight1(n, k + 2u), weight1(n, k + 3u)); }}\n"
            )
        };
        let vector =
            |body: &str| format!("fn weight4(n: u32, k: u32) -> vec4<f32> {{ let e = n * info.k + k; {body} }}\n");
        let mut text = match self.scheme {
            Scheme::F32 => element("return bitcast<f32>(w[e]);"),
            Scheme::F16 if self.reads_f16_weights() => vector("return vec4<f32>(w[e >> 2u]);"),
            Scheme::F16 if self.whole => {
                vector("return vec4<f32>(unpack2x16float(w[e >> 1u]), unpack2x16float(w[(e >> 1u) + 1u]));")
            }
            Scheme::F16 => element("return unpack2x16float(w[e >> 1u])[e & 1u];"),
            // unpack4x8snorm divides by 127; scale() multiplies it back.
            Scheme::Q8 => vector("return unpack4x8snorm(w[e >> 2u]);"),
            Scheme::Q4 => vector(
                "let h = w[e >> 3u] >> ((e & 4u) * 4u); \
                 return vec4<f32>(vec4<u32>(h, h >> 4u, h >> 8u, h >> 12u) & vec4<u32>(15u)) - vec4<f32>(8.0);",
            ),
        };
        if self.scheme.is_quantized() {
            let factor = if self.scheme == Scheme::Q8 { "127.0" } else { "1.0" };
            let stored = if self.f16 { "f32(s[e])" } else { "unpack2x16float(s[e >> 1u])[e & 1u]" };
            text += &format!(
                "fn scale(n: u32, block: u32) -> f32 {{ let e = n * (info.k / 32u) + block; \
                 return {stored} * {factor}; }}\n"
            );
        }
        text
    }

    /// `base(p)`: where position `p` starts; then for a linear layer `activation4(base, k)`, its four activations from
    /// `k`, and for a convolution `offset(k)`, how far from the base its input `k` lies.
    fn activation_functions(&self) -> String {
        match self.conv {
            None if self.whole => "fn base(p: u32) -> u32 { return p * (info.k / 4u); }\n\
                 fn activation4(b: u32, k: u32) -> vec4<f32> { return x[b + (k >> 2u)]; }\n"
                .into(),
            None => "fn base(p: u32) -> u32 { return p * info.k; }\n\
                 fn activation1(b: u32, k: u32) -> f32 { return x[b + min(k, info.k - 1u)]; }\n\
                 fn activation4(b: u32, k: u32) -> vec4<f32> { return vec4<f32>(activation1(b, k), \
                 activation1(b, k + 1u), activation1(b, k + 2u), activation1(b, k + 3u)); }\n"
                .into(),
            Some(side) => format!(
                "fn base(p: u32) -> u32 {{ let q = p % info.out; return (p / info.out) * info.values \
                 + (q / info.out_row) * info.stride * info.row + (q % info.out_row) * info.stride; }}\n\
                 fn offset(k: u32) -> u32 {{ let e = min(k, info.k - 1u); let t = e % {area}u; \
                 return (e / {area}u) * info.plane + (t / {side}u) * info.row + t % {side}u; }}\n",
                area = side * side
            ),
        }
    }

    fn body(&self) -> String {
        let mut text = format!(
            "let columns = (info.n + {}u) / {TILE_N}u;\n\
             let n0 = (i % columns) * {TILE_N}u; let p0 = (i / columns) * {TILE_P}u;\n",
            TILE_N - 1
        );
        for j in 0..TILE_N {
            text += &format!("let n{j}_ = min(n0 + {j}u, info.n - 1u);\n");
        }
        for i in 0..TILE_P {
            text += &format!("let b{i} = base(min(p0 + {i}u, info.p - 1u));\n");
        }
        for i in 0..TILE_P {
            for j in 0..TILE_N {
                let start = if self.bias { format!("bias[n{j}_]") } else { "0.0".into() };
                text += &format!("var a{i}_{j} = {start};\n");
            }
        }
        text += "for (var block = 0u; block * 32u < info.k; block++) {\n";
        if self.scheme.is_quantized() {
            for j in 0..TILE_N {
                text += &format!("let s{j} = scale(n{j}_, block);\n");
            }
        }
        text += "for (var k = block * 32u; k < min(block * 32u + 32u, info.k); k += 4u) {\n";
        text += &self.inner();
        text += "}\n}\n";
        text += &self.stores();
        text
    }

    /// One step of four along `k`: load the tile's activations and weights, multiply and add.
    fn inner(&self) -> String {
        let mut text = String::new();
        if self.conv.is_some() {
            text += "let o0 = offset(k); let o1 = offset(k + 1u); let o2 = offset(k + 2u); let o3 = offset(k + 3u);\n";
        }
        for i in 0..TILE_P {
            text += &match self.conv {
                Some(_) => format!("let x{i} = vec4<f32>(x[b{i} + o0], x[b{i} + o1], x[b{i} + o2], x[b{i} + o3]);\n"),
                None => format!("let x{i} = activation4(b{i}, k);\n"),
            };
        }
        for j in 0..TILE_N {
            let scale = if self.scheme.is_quantized() { format!(" * s{j}") } else { String::new() };
            text += &format!("let w{j} = weight4(n{j}_, k){scale};\n");
            for i in 0..TILE_P {
                text += &format!(
                    "a{i}_{j} = fma(x{i}.x, w{j}.x, fma(x{i}.y, w{j}.y, fma(x{i}.z, w{j}.z, fma(x{i}.w, w{j}.w, a{i}_{j}))));\n"
                );
            }
        }
        text
    }

    fn stores(&self) -> String {
        let (start, step) = match self.conv {
            Some(_) => ("(q / info.out) * info.n * info.out + q % info.out + n0 * info.out", " * info.out"),
            None => ("q * info.n + n0", ""),
        };
        let mut text = String::new();
        for i in 0..TILE_P {
            text += &format!("if (p0 + {i}u < info.p) {{ let q = p0 + {i}u; let o = {start};\n");
            for j in 0..TILE_N {
                text += &format!("if (n0 + {j}u < info.n) {{ y[o + {j}u{step}] = a{i}_{j}; }}\n");
            }
            text += "}\n";
        }
        text
    }
}
