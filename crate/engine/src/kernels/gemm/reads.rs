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
    /// Something is added.
    plus: bool,
}

impl Reads {
    /// From the part of a kernel's key that follows the variant.
    pub fn new(key: &[u32]) -> Self {
        let conv = (key[3] > 0).then_some(key[3]);
        Self {
            scheme: Scheme::ALL[key[0] as usize],
            bias: key[1] != 0,
            whole: key[2] != 0,
            conv,
            f16: key[4] != 0,
            plus: key[5] != 0,
        }
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
    /// K rounded up to such), unscaled; `scale(n, block)`; both also in two steps, `packed_` as they are stored and
    /// `unpacked_`; `base(p)`, where position `p` starts; then for a linear layer `activation4(base, k)`, its four
    /// activations from `k`, and for a convolution `offset(k)`, how far from the base its input `k` lies.
    pub fn declarations(&self) -> String {
        // A linear layer whose rows are whole vectors reads them as such.
        let vector_rows = self.conv.is_none() && self.whole;
        let mut buffers = vec![("x", if vector_rows { "vec4<f32>" } else { "f32" })];
        buffers.extend(self.weight_buffers());
        if self.bias {
            buffers.push(("bias", "f32"));
        }
        if self.plus {
            buffers.push(("plus", "f32"));
        }
        buffers.push(("y", "f32"));
        [prelude(&buffers, &INFO), self.weight_functions(), self.activation_functions()].concat()
    }

    /// As [`Self::declarations`], of the weights alone.
    pub fn weight_declarations(&self) -> String {
        let mut buffers = self.weight_buffers();
        buffers.push(("y", "f32"));
        prelude(&buffers, &INFO) + &self.weight_functions()
    }

    fn weight_buffers(&self) -> Vec<(&'static str, &'static str)> {
        let mut buffers = vec![("w", self.buffer())];
        if self.scheme.is_quantized() {
            buffers.push(("s", self.packed_scale()));
        }
        buffers
    }

    /// Element of the buffer of weights.
    fn buffer(&self) -> &'static str {
        match self.scheme {
            Scheme::F32 | Scheme::F16 if !self.whole => "u32",
            Scheme::F32 => "vec4<f32>",
            Scheme::F16 if self.f16 => "vec4<f16>",
            Scheme::F16 => "vec2<u32>",
            Scheme::Q8 | Scheme::Q4 => "u32",
        }
    }

    /// Type of four packed weights.
    fn packed(&self) -> &'static str {
        if self.whole || self.scheme.is_quantized() { self.buffer() } else { "vec4<f32>" }
    }

    /// Type of a packed scale.
    fn packed_scale(&self) -> &'static str {
        if self.f16 { "f16" } else { "u32" }
    }

    /// The functions of weights and scales.
    fn weight_functions(&self) -> String {
        let element = |body: &str| {
            format!(
                "fn weight1(n: u32, k: u32) -> f32 {{ if (k >= info.k) {{ return 0.0; }} let e = n * info.k + k; {body} }}\n\
                 fn packed_weight4(n: u32, k: u32) -> vec4<f32> {{ \
                 return vec4<f32>(weight1(n, k), weight1(n, k + 1u), weight1(n, k + 2u), weight1(n, k + 3u)); }}\n"
            )
        };
        let packed = self.packed();
        let vector = |per_element: u32| {
            format!(
                "fn packed_weight4(n: u32, k: u32) -> {packed} {{ return w[(n * info.k + k) / {per_element}u]; }}\n"
            )
        };
        let (mut text, unpacked) = match self.scheme {
            Scheme::F32 if !self.whole => (element("return bitcast<f32>(w[e]);"), "v"),
            Scheme::F16 if !self.whole => (element("return unpack2x16float(w[e >> 1u])[e & 1u];"), "v"),
            Scheme::F32 => (vector(4), "v"),
            Scheme::F16 if self.f16 => (vector(4), "vec4<f32>(v)"),
            Scheme::F16 => (vector(4), "vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y))"),
            // unpack4x8snorm divides by 127; the scale multiplies it back.
            Scheme::Q8 => (vector(4), "unpack4x8snorm(v)"),
            Scheme::Q4 => (
                vector(8),
                "vec4<f32>((vec4<u32>(v >> ((k & 4u) * 4u)) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u)) \
                 - vec4<f32>(8.0)",
            ),
        };
        text += &format!(
            "fn unpacked_weight4(v: {packed}, k: u32) -> vec4<f32> {{ return {unpacked}; }}\n\
             fn weight4(n: u32, k: u32) -> vec4<f32> {{ return unpacked_weight4(packed_weight4(n, k), k); }}\n"
        );
        if self.scheme.is_quantized() {
            let factor = if self.scheme == Scheme::Q8 { "127.0" } else { "1.0" };
            let element = "n * (info.k / 32u) + block";
            let (at, stored) = match self.f16 {
                true => (element.to_owned(), "f32(v)".to_owned()),
                false => (format!("({element}) >> 1u"), format!("unpack2x16float(v)[({element}) & 1u]")),
            };
            let packed = self.packed_scale();
            text += &format!(
                "fn packed_scale(n: u32, block: u32) -> {packed} {{ return s[{at}]; }}\n\
                 fn unpacked_scale(v: {packed}, n: u32, block: u32) -> f32 {{ return {stored} * {factor}; }}\n\
                 fn scale(n: u32, block: u32) -> f32 {{ return unpacked_scale(packed_scale(n, block), n, block); }}\n"
            );
        }
        text
    }

    /// Declares variables for four packed weights that are known by `name`.
    pub fn packed_variables(&self, name: &str) -> String {
        let mut text = format!("var w{name} = {}();\n", self.packed());
        if self.is_quantized() {
            text += &format!("var s{name} = {}();\n", self.packed_scale());
        }
        text
    }

    /// For each pair of a name and an output (a variable), reads four weights from `k` into the variables of that name;
    /// zeros, unless `inside`. Both are variables.
    pub fn fetch(&self, outputs: &[(String, String)]) -> String {
        let (mut text, mut read) = (String::new(), String::new());
        for (name, n) in outputs {
            text += &format!("w{name} = {}();\n", self.packed());
            read += &format!("w{name} = packed_weight4({n}, k);\n");
            if self.is_quantized() {
                text += &format!("s{name} = {}();\n", self.packed_scale());
                read += &format!("s{name} = packed_scale({n}, k / 32u);\n");
            }
        }
        text + &format!("if (inside) {{\n{read}}}\n")
    }

    /// What [`Self::fetch`] read, as numbers.
    pub fn unpacked(&self, name: &str, n: &str) -> String {
        let scale = match self.is_quantized() {
            true => format!(" * unpacked_scale(s{name}, {n}, k / 32u)"),
            false => String::new(),
        };
        format!("unpacked_weight4(w{name}, k){scale}")
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

    /// Stores the sums of position `p` (an expression) for the outputs `n0 + step`, given as pairs of step and value; beyond
    /// the edges nothing is stored. Where the sum is cut into spans, `split` (a variable) is the span's number: each has a
    /// result of its own, and the first one has what is added.
    pub fn stores(&self, p: &str, split: Option<&str>, values: &[(u32, String)]) -> String {
        let first = split.map_or(String::new(), |split| format!("{split} * info.n * info.p + "));
        let mut text = format!(
            "if ({p} < info.p) {{ let q = {p}; let place = ((q / info.to) * info.n + n0) * info.to + q % info.to; let o = {first}place;\n"
        );
        for (j, value) in values {
            let added = match (self.plus, split) {
                (false, _) => String::new(),
                (true, None) => format!(" + plus[place + {j}u * info.to]"),
                (true, Some(split)) => format!(" + select(0.0, plus[place + {j}u * info.to], {split} == 0u)"),
            };
            text += &format!("if (n0 + {j}u < info.n) {{ y[o + {j}u * info.to] = {value}{added}; }}\n");
        }
        text + "}\n"
    }
}
