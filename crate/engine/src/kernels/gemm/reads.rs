//! The WGSL functions by which every variant of the product reads weights and activations.

use super::INFO;
use crate::kernels::launch::prelude;
use crate::weights::Scheme;

/// What the reading functions depend on.
pub struct Reads {
    scheme: Scheme,
    bias: bool,
    /// What K is a multiple of.
    depth: Depth,
    /// Side of a convolution's kernel; `None` for a linear layer.
    conv: Option<u32>,
    /// The adapter has 16-bit floats: scales, and GPUs' weights, are read as such, not unpacked from words. Sums stay at 32 bits.
    f16: bool,
    /// Something is added.
    plus: bool,
    /// Numbers along `k` that are read together, of weights and of activations: 2 or 4.
    together: [u32; 2],
    /// Bytes of words are shifted out, as GPUs do fast. Software adapters multiply faster than they shift vectors.
    shifts: bool,
}

/// What K is a multiple of: how much is read at once without looking whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Nothing.
    Any,
    /// Of vectors.
    Vectors,
    /// Of 32: of every tile's slabs, and of blocks of weights, which quantized ones always have.
    Blocks,
}

impl Depth {
    const ALL: [Self; 3] = [Self::Any, Self::Vectors, Self::Blocks];

    /// That of so many places.
    pub fn of(k: usize) -> Self {
        match k {
            k if k.is_multiple_of(32) => Self::Blocks,
            k if k.is_multiple_of(4) => Self::Vectors,
            _ => Self::Any,
        }
    }
}

impl Reads {
    /// From the part of a kernel's key that follows the variant.
    pub fn new(key: &[u32]) -> Self {
        let conv = (key[3] > 0).then_some(key[3]);
        Self {
            scheme: Scheme::ALL[key[0] as usize],
            bias: key[1] != 0,
            depth: Depth::ALL[key[2] as usize],
            conv,
            f16: key[4] != 0,
            plus: key[5] != 0,
            together: [4, 4],
            shifts: false,
        }
    }

    /// Those for GPUs, which read so many weights and activations along `k` together, 2 or 4.
    pub fn for_gpus(self, together: [u32; 2]) -> Self {
        Self { together, shifts: true, ..self }
    }

    /// Whether activations are an image's.
    pub fn is_conv(&self) -> bool {
        self.conv.is_some()
    }

    /// Whether blocks of weights share a scale.
    pub fn is_quantized(&self) -> bool {
        self.scheme.is_quantized()
    }

    /// Whether rows of weights and activations are read as vectors.
    fn has_vectors(&self) -> bool {
        self.depth >= Depth::Vectors
    }

    /// Whether there are vectors up to some place within a tile's slab; otherwise slabs are whole, or read number by number.
    pub fn ends_within_slabs(&self) -> bool {
        self.depth == Depth::Vectors
    }

    /// Whether something is added to the sums.
    pub fn has_plus(&self) -> bool {
        self.plus
    }

    /// What the sum of output `n` (an expression) starts from.
    pub fn start(&self, n: &str) -> String {
        if self.bias { format!("bias[{n}]") } else { "0.0".into() }
    }

    /// The buffers, of which results and what is added have elements of `result`, and the functions that read them: `row(n)`, where
    /// the weights of output `n` begin; `packed_weights(e, k)`, some as they are stored from `k` on, which is a multiple of
    /// their number and below K rounded up to such, and which is `e` from the beginning of all; `unpacked_weights(v, e)`,
    /// these as numbers, unscaled; `weights(e, k)`, both in one; `packed_scale(e)`, `unpacked_scale(v, e)` and `scale(e)` likewise;
    /// `base(p)`, where position `p` starts; then for a linear layer `activations(base, k)`, those from `k`, and for a
    /// convolution `offset(k)`, how far from the base its input `k` lies.
    pub fn declarations(&self, result: &'static str) -> String {
        // A linear layer whose rows are whole vectors reads them as such.
        let vector_rows = self.conv.is_none() && self.has_vectors();
        let mut buffers = vec![("x", if vector_rows { floats(self.together[1]) } else { "f32" })];
        buffers.extend(self.weight_buffers());
        if self.bias {
            buffers.push(("bias", "f32"));
        }
        if self.plus {
            buffers.push(("plus", result));
        }
        buffers.push(("y", result));
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
        match (self.scheme, self.together[0]) {
            (Scheme::F32 | Scheme::F16, _) if !self.has_vectors() => "u32",
            (Scheme::F32, count) => floats(count),
            (Scheme::F16, 2) if self.has_halves() => "vec2<f16>",
            (Scheme::F16, _) if self.has_halves() => "vec4<f16>",
            (Scheme::F16, 4) => "vec2<u32>",
            (Scheme::F16 | Scheme::Q8 | Scheme::Q4, _) => "u32",
        }
    }

    /// Whether 16-bit weights are read as such. Software adapters read a vector's numbers one by one: words are half as many.
    fn has_halves(&self) -> bool {
        self.f16 && self.shifts
    }

    /// Type of weights that are read together, packed.
    fn packed(&self) -> &'static str {
        match self.has_vectors() || self.scheme.is_quantized() {
            true => self.buffer(),
            false => floats(self.together[0]),
        }
    }

    /// Type of a packed scale.
    fn packed_scale(&self) -> &'static str {
        if self.f16 { "f16" } else { "u32" }
    }

    /// The functions of weights and scales.
    fn weight_functions(&self) -> String {
        let (packed, count) = (self.packed(), self.together[0]);
        let vector = floats(count);
        let per_element = match self.scheme {
            Scheme::F32 | Scheme::F16 => count,
            Scheme::Q8 => 4,
            Scheme::Q4 => 8,
        };
        let mut text = "fn row(n: u32) -> u32 { return n * info.k; }\n".to_owned();
        text += &match self.has_vectors() || self.is_quantized() {
            true => format!("fn packed_weights(e: u32, k: u32) -> {packed} {{ return w[e / {per_element}u]; }}\n"),
            false => {
                let value = if self.scheme == Scheme::F32 {
                    "bitcast<f32>(w[e])"
                } else {
                    "unpack2x16float(w[e >> 1u])[e & 1u]"
                };
                let values: Vec<_> = (0..count).map(|at| format!("weight(e + {at}u, k + {at}u)")).collect();
                format!(
                    "fn weight(e: u32, k: u32) -> f32 {{ if (k >= info.k) {{ return 0.0; }} return {value}; }}\n\
                     fn packed_weights(e: u32, k: u32) -> {packed} {{ return {vector}({}); }}\n",
                    values.join(", ")
                )
            }
        };
        text += &format!(
            "fn unpacked_weights(v: {packed}, e: u32) -> {vector} {{ return {}; }}\n\
             fn weights(e: u32, k: u32) -> {vector} {{ return unpacked_weights(packed_weights(e, k), e); }}\n",
            self.unpacking()
        );
        if self.is_quantized() {
            let (packed, at, stored) = match self.f16 {
                true => ("f16", "e / 32u", "f32(v)"),
                false => ("u32", "e / 64u", "unpack2x16float(v)[(e / 32u) & 1u]"),
            };
            // 2^-24 where bytes stay at a word's upper end.
            let factor = if self.scheme == Scheme::Q8 && !self.shifts { " * 5.9604644775390625e-8" } else { "" };
            text += &format!(
                "fn packed_scale(e: u32) -> {packed} {{ return s[{at}]; }}\n\
                 fn unpacked_scale(v: {packed}, e: u32) -> f32 {{ return {stored}{factor}; }}\n\
                 fn scale(e: u32) -> f32 {{ return unpacked_scale(packed_scale(e), e); }}\n"
            );
        }
        text
    }

    /// Packed weights `v`, which are `e` from the beginning, as numbers.
    fn unpacking(&self) -> String {
        let count = self.together[0];
        let (vector, words, integers) = match count {
            2 => ("vec2<f32>", "vec2<u32>", "vec2<i32>"),
            _ => ("vec4<f32>", "vec4<u32>", "vec4<i32>"),
        };
        let each = |of: fn(u32) -> u32| {
            let each: Vec<_> = (0..count).map(|at| format!("{}u", of(at))).collect();
            format!("{words}({})", each.join(", "))
        };
        match self.scheme {
            Scheme::F32 => "v".into(),
            Scheme::F16 if !self.has_vectors() => "v".into(),
            Scheme::F16 if self.has_halves() => format!("{vector}(v)"),
            Scheme::F16 if count == 2 => "unpack2x16float(v)".into(),
            Scheme::F16 => "vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y))".into(),
            // Each byte is multiplied to a word's upper end and stays there; the scale brings it back. (To unpack them as
            // fractions would be as fast, but SwiftShader's are 1e-3 off where a browser does not compute them itself.)
            Scheme::Q8 if !self.shifts => {
                let up = each(|at| 1 << (24 - 8 * at));
                format!("{vector}({integers}(({words}(v) * {up}) & {words}(0xff000000u)))")
            }
            // Each byte is brought to a word's upper end, and back with its sign.
            Scheme::Q8 => {
                let word = if count == 2 { "(v >> ((e & 2u) * 8u))" } else { "v" };
                let (up, down) = (each(|at| 24 - 8 * at), format!("{words}(24u)"));
                format!("{vector}({integers}({words}({word}) << {up}) >> {down})")
            }
            Scheme::Q4 => {
                let part = if count == 2 { "6u" } else { "4u" };
                let apart = each(|at| 4 * at);
                format!("{vector}(({words}(v >> ((e & {part}) * 4u)) >> {apart}) & {words}(15u)) - {vector}(8.0)")
            }
        }
    }

    /// `base(p)`: where position `p` starts; then for a linear layer `activations(base, k)`, those from `k`, and for a
    /// convolution `offset(k)`, how far from the base its input `k` lies.
    fn activation_functions(&self) -> String {
        let count = self.together[1];
        let vector = floats(count);
        match self.conv {
            None if self.has_vectors() => format!(
                "fn base(p: u32) -> u32 {{ return p * (info.k / {count}u); }}\n\
                 fn activations(b: u32, k: u32) -> {vector} {{ return x[b + k / {count}u]; }}\n"
            ),
            None => {
                let values: Vec<_> = (0..count).map(|at| format!("activation(b, k + {at}u)")).collect();
                format!(
                    "fn base(p: u32) -> u32 {{ return p * info.k; }}\n\
                     fn activation(b: u32, k: u32) -> f32 {{ return x[b + min(k, info.k - 1u)]; }}\n\
                     fn activations(b: u32, k: u32) -> {vector} {{ return {vector}({}); }}\n",
                    values.join(", ")
                )
            }
            Some(side) => format!(
                "fn base(p: u32) -> u32 {{ let q = p % info.out; return (p / info.out) * info.values \
                 + (q / info.out_row) * info.stride * info.row + (q % info.out_row) * info.stride; }}\n\
                 fn offset(k: u32) -> u32 {{ let e = {at}; let t = e % {area}u; \
                 return (e / {area}u) * info.plane + (t / {side}u) * info.row + t % {side}u; }}\n",
                at = if self.depth == Depth::Blocks { "k" } else { "min(k, info.k - 1u)" },
                area = side * side
            ),
        }
    }

    /// Declares variables for packed weights that are known by `name`.
    pub fn packed_variables(&self, name: &str) -> String {
        let mut text = format!("var w{name} = {}();\n", self.packed());
        if self.is_quantized() {
            text += &format!("var s{name} = {}();\n", self.packed_scale());
        }
        text
    }

    /// Reads the weights from `k` (a variable) on into the variables of that name; `e` as in [`Self::declarations`].
    pub fn fetch(&self, name: &str, e: &str) -> String {
        let mut text = format!("w{name} = packed_weights({e}, k);\n");
        if self.is_quantized() {
            text += &format!("s{name} = packed_scale({e});\n");
        }
        text
    }

    /// What [`Self::fetch`] read, as numbers.
    pub fn unpacked(&self, name: &str, e: &str) -> String {
        let scale = if self.is_quantized() { format!(" * unpacked_scale(s{name}, {e})") } else { String::new() };
        format!("unpacked_weights(w{name}, {e}){scale}")
    }

    /// Stores the sums of position `p` (an expression) for the outputs `n0 + step`, given as pairs of step and value; beyond
    /// the edges nothing is stored. Where the sum is cut into spans, `split` (a variable) is the span's number: each has a
    /// result of its own, and the first one has what is added.
    pub fn stores(&self, p: &str, split: Option<&str>, values: &[(u32, String)]) -> String {
        let first = split.map_or(String::new(), |split| format!("{split} * info.n * info.p + "));
        let mut text = format!(
            "if ({p} < info.p) {{ let q = {p};\n\
             let group = (n0 / info.part) * (info.p / info.to) + q / info.to;\n\
             let place = (group * info.part + n0 % info.part) * info.to + q % info.to; let o = {first}place;\n"
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

/// The type of so many floats.
fn floats(count: u32) -> &'static str {
    if count == 2 { "vec2<f32>" } else { "vec4<f32>" }
}
