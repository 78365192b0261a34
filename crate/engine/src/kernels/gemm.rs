//! The matrix product behind every linear and convolution layer: quantized weights times activations.
//!
//! `y[n, p] = bias[n] + Σ_k w[n, k] · x(k, p)`, where `x(k, p)` is a row of the input for a linear layer and an
//! implicit im2col of a padded image for a convolution. An invocation computes a register tile of [`TILE_P`] positions
//! by [`TILE_N`] outputs; a weight is unpacked once and used for every position of the tile. Blocks of 32 along `k`
//! share a scale.

use burn::tensor::{Tensor, module, ops::ConvOptions, ops::PadMode};

use super::launch::{ENTRY, Wgsl, launch, on_gpu, prelude, words_on_gpu};
use crate::weights::{Scheme, Weight};

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
    /// Zero padding: (top and left, bottom and right).
    pub padding: (usize, usize),
}

impl Conv2dShape {
    /// 3x3, stride 1, "same" padding.
    pub const SAME: Self = Self { kernel: 3, stride: 1, padding: (1, 1) };
    /// 1x1.
    pub const POINTWISE: Self = Self { kernel: 1, stride: 1, padding: (0, 0) };

    fn output(&self, side: usize) -> usize {
        (side + self.padding.0 + self.padding.1 - self.kernel) / self.stride + 1
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
    let y = match (on_gpu(&x), words_on_gpu(&weight.words)) {
        (Some(input), Some(words)) => {
            let key = Key { scheme: weight.scheme, bias: bias.is_some(), n: weight.rows, k, p: rows, conv: None };
            let bias = bias.and_then(on_gpu);
            let scales = weight.scales.as_ref().and_then(words_on_gpu);
            let mut inputs = vec![&input, &words];
            inputs.extend(scales.as_ref());
            inputs.extend(bias.as_ref());
            launch(key.kernel(), key.invocations(), &inputs, [rows, weight.rows])
        }
        _ => linear_reference(x, weight, bias),
    };
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
pub fn conv2d(x: Tensor<4>, weight: &Weight, bias: Option<&Tensor<1>>, shape: Conv2dShape) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let (begin, end) = shape.padding;
    let x = match shape.padding {
        (0, 0) => x,
        _ => x.pad([(begin, end), (begin, end)], PadMode::Constant(0.0)),
    };
    let (Some(input), Some(words)) = (on_gpu(&x), words_on_gpu(&weight.words)) else {
        return conv2d_reference(x, weight, bias, shape);
    };
    let [out_h, out_w] = [shape.output(height), shape.output(width)];
    let [_, _, padded_h, padded_w] = x.dims();
    let key = Key {
        scheme: weight.scheme,
        bias: bias.is_some(),
        n: weight.rows,
        k: weight.columns,
        p: batch * out_h * out_w,
        conv: Some(ConvKey { channels, padded_h, padded_w, out_h, out_w, kernel: shape.kernel, stride: shape.stride }),
    };
    let bias = bias.and_then(on_gpu);
    let scales = weight.scales.as_ref().and_then(words_on_gpu);
    let mut inputs = vec![&input, &words];
    inputs.extend(scales.as_ref());
    inputs.extend(bias.as_ref());
    launch(key.kernel(), key.invocations(), &inputs, [batch, weight.rows, out_h, out_w])
}

/// Plain-tensor twin of [`conv2d`] on an input that is already padded.
pub fn conv2d_reference(x: Tensor<4>, weight: &Weight, bias: Option<&Tensor<1>>, shape: Conv2dShape) -> Tensor<4> {
    let channels = x.dims()[1];
    let dense = weight.dequantize::<4>([weight.rows, channels, shape.kernel, shape.kernel], &x.device());
    module::conv2d(x, dense, bias.cloned(), ConvOptions::new([shape.stride; 2], [0, 0], [1, 1], 1))
}

/// Every constant in the kernel's text.
#[derive(Clone, Copy)]
struct Key {
    scheme: Scheme,
    bias: bool,
    n: usize,
    k: usize,
    p: usize,
    conv: Option<ConvKey>,
}

#[derive(Clone, Copy)]
struct ConvKey {
    channels: usize,
    padded_h: usize,
    padded_w: usize,
    out_h: usize,
    out_w: usize,
    kernel: usize,
    stride: usize,
}

impl Key {
    fn invocations(&self) -> usize {
        self.p.div_ceil(TILE_P as usize) * self.n.div_ceil(TILE_N as usize)
    }

    fn kernel(&self) -> Wgsl {
        let mut key = vec![self.scheme as u32, u32::from(self.bias), self.n as u32, self.k as u32, self.p as u32];
        if let Some(c) = self.conv {
            let constants = [c.channels, c.padded_h, c.padded_w, c.out_h, c.out_w, c.kernel, c.stride];
            key.extend(constants.map(|constant| constant as u32));
        }
        Wgsl { key: ("gemm", key), text: |key| Text::new(key).build() }
    }
}

/// Builds the WGSL text from the flattened key.
struct Text<'a> {
    scheme: Scheme,
    bias: bool,
    n: u32,
    k: u32,
    p: u32,
    conv: Option<&'a [u32]>,
}

impl<'a> Text<'a> {
    fn new(key: &'a [u32]) -> Self {
        let scheme = Scheme::ALL[key[0] as usize];
        let conv = (key.len() > 5).then(|| &key[5..]);
        Self { scheme, bias: key[1] != 0, n: key[2], k: key[3], p: key[4], conv }
    }

    fn build(&self) -> String {
        let mut bindings = vec![("x", self.activation_element()), ("w", "u32")];
        if self.scheme.is_quantized() {
            bindings.push(("s", "u32"));
        }
        if self.bias {
            bindings.push(("bias", "f32"));
        }
        bindings.push(("y", "f32"));
        let mut text = prelude(&bindings);
        text += &self.weight_functions();
        text += &self.activation_functions();
        text += ENTRY;
        text += &self.body();
        text += "}\n";
        text
    }

    /// A linear layer whose K is a multiple of 4 reads its rows as vectors.
    fn vector_rows(&self) -> bool {
        self.conv.is_none() && self.k.is_multiple_of(4)
    }

    fn activation_element(&self) -> &'static str {
        if self.vector_rows() { "vec4<f32>" } else { "f32" }
    }

    /// `weight4(n, k)`: four weights from `k` (a multiple of 4), unscaled; `scale(n, block)`.
    fn weight_functions(&self) -> String {
        let k = self.k;
        let element = |body: &str| {
            format!(
                "fn weight1(n: u32, k: u32) -> f32 {{ if (k >= {k}u) {{ return 0.0; }} let e = n * {k}u + k; {body} }}\n\
                 fn weight4(n: u32, k: u32) -> vec4<f32> {{ return vec4<f32>(weight1(n, k), weight1(n, k + 1u), weight1(n, k + 2u), weight1(n, k + 3u)); }}\n"
            )
        };
        let mut text = match self.scheme {
            Scheme::F32 => element("return bitcast<f32>(w[e]);"),
            Scheme::F16 if k.is_multiple_of(4) => format!(
                "fn weight4(n: u32, k: u32) -> vec4<f32> {{ let e = (n * {k}u + k) >> 1u; \
                 return vec4<f32>(unpack2x16float(w[e]), unpack2x16float(w[e + 1u])); }}\n"
            ),
            Scheme::F16 => element("return unpack2x16float(w[e >> 1u])[e & 1u];"),
            // unpack4x8snorm divides by 127; scale() multiplies it back.
            Scheme::Q8 => {
                format!("fn weight4(n: u32, k: u32) -> vec4<f32> {{ return unpack4x8snorm(w[(n * {k}u + k) >> 2u]); }}\n")
            }
            Scheme::Q4 => format!(
                "fn weight4(n: u32, k: u32) -> vec4<f32> {{ let e = n * {k}u + k; \
                 let h = w[e >> 3u] >> ((e & 4u) * 4u); \
                 return vec4<f32>(vec4<u32>(h, h >> 4u, h >> 8u, h >> 12u) & vec4<u32>(15u)) - vec4<f32>(8.0); }}\n"
            ),
        };
        if self.scheme.is_quantized() {
            let factor = if self.scheme == Scheme::Q8 { "127.0" } else { "1.0" };
            text += &format!(
                "fn scale(n: u32, block: u32) -> f32 {{ let e = n * {}u + block; \
                 return unpack2x16float(s[e >> 1u])[e & 1u] * {factor}; }}\n",
                k / 32
            );
        }
        text
    }

    /// `base(p)`: where position `p` starts; `activation4(base, k)`: its four activations from `k`.
    fn activation_functions(&self) -> String {
        let (k, last) = (self.k, self.k - 1);
        let Some(&[channels, padded_h, padded_w, out_h, out_w, kernel, stride]) = self.conv else {
            return if self.vector_rows() {
                format!(
                    "fn base(p: u32) -> u32 {{ return p * {}u; }}\n\
                     fn activation4(b: u32, k: u32) -> vec4<f32> {{ return x[b + (k >> 2u)]; }}\n",
                    k / 4
                )
            } else {
                format!(
                    "fn base(p: u32) -> u32 {{ return p * {k}u; }}\n\
                     fn activation4(b: u32, k: u32) -> vec4<f32> {{ return vec4<f32>(x[b + k], x[b + min(k + 1u, {last}u)], \
                     x[b + min(k + 2u, {last}u)], x[b + min(k + 3u, {last}u)]); }}\n"
                )
            };
        };
        let plane = padded_h * padded_w;
        let area = kernel * kernel;
        format!(
            "fn base(p: u32) -> u32 {{ let b = p / {out}u; let q = p % {out}u; \
             return b * {image}u + (q / {out_w}u) * {row}u + (q % {out_w}u) * {stride}u; }}\n\
             fn offset(k: u32) -> u32 {{ let c = min(k, {last}u); let t = c % {area}u; \
             return (c / {area}u) * {plane}u + (t / {kernel}u) * {padded_w}u + t % {kernel}u; }}\n",
            out = out_h * out_w,
            image = channels * plane,
            row = stride * padded_w,
        )
    }

    fn body(&self) -> String {
        let Self { n, k, p, .. } = *self;
        let columns = n.div_ceil(TILE_N);
        let mut text = format!(
            "let i = invocation(id); if (i >= {total}u) {{ return; }}\n\
             let n0 = (i % {columns}u) * {TILE_N}u; let p0 = (i / {columns}u) * {TILE_P}u;\n",
            total = columns * p.div_ceil(TILE_P)
        );
        for j in 0..TILE_N {
            text += &format!("let n{j}_ = min(n0 + {j}u, {}u);\n", n - 1);
        }
        for i in 0..TILE_P {
            text += &format!("let b{i} = base(min(p0 + {i}u, {}u));\n", p - 1);
        }
        for i in 0..TILE_P {
            for j in 0..TILE_N {
                let start = if self.bias { format!("bias[n{j}_]") } else { "0.0".into() };
                text += &format!("var a{i}_{j} = {start};\n");
            }
        }
        text += &format!("for (var block = 0u; block < {}u; block++) {{\n", k.div_ceil(32));
        if self.scheme.is_quantized() {
            for j in 0..TILE_N {
                text += &format!("let s{j} = scale(n{j}_, block);\n");
            }
        }
        text += &format!("for (var k = block * 32u; k < min(block * 32u + 32u, {k}u); k += 4u) {{\n");
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
        let Self { n, p, .. } = *self;
        let mut text = String::new();
        for i in 0..TILE_P {
            text += &format!("if (p0 + {i}u < {p}u) {{\n");
            match self.conv {
                Some(c) => {
                    let out = c[3] * c[4];
                    text += &format!("let q = p0 + {i}u; let o = (q / {out}u) * {}u + q % {out}u;\n", n * out);
                    for j in 0..TILE_N {
                        text += &format!("if (n0 + {j}u < {n}u) {{ y[o + (n0 + {j}u) * {out}u] = a{i}_{j}; }}\n");
                    }
                }
                None => {
                    text += &format!("let o = (p0 + {i}u) * {n}u + n0;\n");
                    for j in 0..TILE_N {
                        text += &format!("if (n0 + {j}u < {n}u) {{ y[o + {j}u] = a{i}_{j}; }}\n");
                    }
                }
            }
            text += "}\n";
        }
        text
    }
}
