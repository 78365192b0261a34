//! The WGSL functions by which every variant of the product reads weights and activations.

use super::INFO;
use crate::kernels::launch::prelude;
use crate::weights::Scheme;

/// What the reading functions depend on.
pub struct Reads {
    scheme: Scheme,
    bias: bool,
    /// K is a multiple of 4.
    whole: bool,
    /// Side of a convolution's kernel; `None` for a linear layer.
    conv: Option<u32>,
    /// The adapter has 16-bit floats: weights and scales are read as such, not unpacked from words. Sums stay at 32 bits.
    f16: bool,
}

impl Reads {
    /// From the part of a kernel's key that follows the variant.
    pub fn new(key: &[u32]) -> Self {
        let conv = (key[3] > 0).then_some(key[3]);
        Self { scheme: Scheme::ALL[key[0] as usize], bias: key[1] != 0, whole: key[2] != 0, conv, f16: key[4] != 0 }
    }

    /// Whether activations are an image's.
    pub fn is_conv(&self) -> bool {
        self.conv.is_some()
    }

    /// Whether blocks of weights share a scale.
    pub fn is_quantized(&self) -> bool {
        self.scheme.is_quantized()
    }

    /// What the sum of output `n` (an expression) starts from.
    pub fn start(&self, n: &str) -> String {
        if self.bias { format!("bias[{n}]") } else { "0.0".into() }
    }

    /// The buffers, and the functions that read them: `weight4(n, k)`, four weights from `k` (a multiple of 4, and below
    /// K rounded up to such), unscaled; `scale(n, block)`; `base(p)`, where position `p` starts; then for a linear layer
    /// `activation4(base, k)`, its four activations from `k`, and for a convolution `offset(k)`, how far from the base its
    /// input `k` lies.
    pub fn declarations(&self) -> String {
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
        [prelude(&buffers, &INFO), self.weight_functions(), self.activation_functions()].concat()
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

    /// Stores the sums of position `p` (a variable) for the outputs `n0 + step`, given as pairs of step and value; beyond the
    /// edges nothing is stored.
    pub fn stores(&self, p: &str, values: &[(u32, String)]) -> String {
        let (start, step) = match self.conv {
            Some(_) => ("(q / info.out) * info.n * info.out + q % info.out + n0 * info.out", " * info.out"),
            None => ("q * info.n + n0", ""),
        };
        let mut text = format!("if ({p} < info.p) {{ let q = {p}; let o = {start};\n");
        for (j, value) in values {
            text += &format!("if (n0 + {j}u < info.n) {{ y[o + {j}u{step}] = {value}; }}\n");
        }
        text + "}\n"
    }
}
