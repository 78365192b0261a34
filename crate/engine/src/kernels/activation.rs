//! Activation functions, and the gate of a transformer's feed-forward.

use burn::tensor::{Tensor, activation};

use super::cpu;
use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// The SiLU of `v` in WGSL. What `exp` makes infinite divides to zero.
pub(super) const SILU: &str = "v / (1.0 + exp(-v))";

/// What becomes of every element on the GPU, in one pass.
#[derive(Debug, Clone, Copy)]
enum Map {
    Silu,
    Gelu,
    QuickGelu,
    Unit,
}

impl Map {
    const ALL: [Self; 4] = [Self::Silu, Self::Gelu, Self::QuickGelu, Self::Unit];

    /// Of `v`, numbers of the type `of`.
    fn expression(self, of: &str) -> String {
        match self {
            Self::Silu => SILU.into(),
            Self::QuickGelu => "v / (1.0 + exp(-1.702 * v))".into(),
            Self::Gelu => "gelu(v)".into(),
            Self::Unit => format!("clamp(v * 0.5 + 0.5, {of}(0.0), {of}(1.0))"),
        }
    }

    fn launch<const D: usize>(self, x: &Tensor<D>) -> Option<Tensor<D>> {
        let gx = on_gpu(x)?;
        let count = x.dims().iter().product::<usize>();
        let width = if count.is_multiple_of(4) { 4 } else { 1 };
        let kernel = Wgsl::new(("map", vec![self as u32, width as u32]), map_text, vec![(count / width) as u32]);
        Some(launch(kernel, count / width, &[&gx], x.dims()))
    }
}

fn map_text(key: &[u32]) -> String {
    let of = if key[1] == 4 { "vec4<f32>" } else { "f32" };
    prelude(&[("x", of), ("y", of)], &["count"])
        + &gelu_text(of)
        + &entry("info.count")
        + &format!("let v = x[i]; y[i] = {};\n}}\n", Map::ALL[key[0] as usize].expression(of))
}

/// x·sigmoid(x) of every element.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Map::Silu.launch(&x).unwrap_or_else(|| cpu::map(x, fraise_cpu::silu, activation::silu))
}

/// x·Φ(x) of every element: GELU, not its approximation by tanh.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Map::Gelu.launch(&x).unwrap_or_else(|| cpu::map(x, fraise_cpu::gelu, activation::gelu))
}

/// x·sigmoid(1.702·x) of every element.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let twin = |x: Tensor<D>| x.clone() * activation::sigmoid(x * 1.702);
    Map::QuickGelu.launch(&x).unwrap_or_else(|| cpu::map(x, fraise_cpu::quick_gelu, twin))
}

/// From [−1, 1] to [0, 1], and what is beyond to its ends.
pub fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Map::Unit.launch(&x).unwrap_or_else(|| (x / 2.0 + 0.5).clamp(0.0, 1.0))
}

/// The first half of each row times the GELU of the second: GEGLU.
///
/// # Shapes
/// `x` [N, 2·inner] → [N, inner].
pub fn geglu(x: Tensor<2>) -> Tensor<2> {
    let Some(gx) = on_gpu(&x) else { return cpu::geglu(&x).unwrap_or_else(|| geglu_reference(x)) };
    let [rows, inner] = [x.dims()[0], x.dims()[1] / 2];
    let info = [rows * inner, inner].map(|value| value as u32).to_vec();
    launch(Wgsl::new(("geglu", Vec::new()), geglu_text, info), rows * inner, &[&gx], [rows, inner])
}

/// Plain-tensor twin of [`geglu`].
pub fn geglu_reference(x: Tensor<2>) -> Tensor<2> {
    let inner = x.dims()[1] / 2;
    let gate = activation::gelu(x.clone().narrow(1, inner, inner));
    x.narrow(1, 0, inner) * gate
}

fn geglu_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "inner"])
        + &gelu_text("f32")
        + &entry("info.count")
        + "let e = (i / info.inner) * 2u * info.inner + i % info.inner;\n\
           y[i] = x[e] * gelu(x[e + info.inner]);\n}\n"
}

/// `gelu` of numbers of the type `of`.
///
/// Source of the error function: Abramowitz and Stegun, "Handbook of mathematical functions" (1964), 7.1.26; its error of
/// 1.5e-7 is that of single precision.
fn gelu_text(of: &str) -> String {
    format!(
        "fn gelu(v: {of}) -> {of} {{\n\
         let z = abs(v) * 0.70710678; let t = 1.0 / (1.0 + 0.3275911 * z);\n\
         let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));\n\
         let erf = sign(v) * (1.0 - series * exp(-z * z));\n\
         return 0.5 * v * (1.0 + erf);\n}}\n"
    )
}
