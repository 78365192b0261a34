//! Activation functions, and the gate of a transformer's feed-forward.

use burn::tensor::{Tensor, activation};

use super::cpu;
use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// x·sigmoid(x) of every element.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    cpu::map(x, fraise_cpu::silu, activation::silu)
}

/// x·Φ(x) of every element: GELU, not its approximation by tanh.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    cpu::map(x, fraise_cpu::gelu, activation::gelu)
}

/// x·sigmoid(1.702·x) of every element.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    cpu::map(x, fraise_cpu::quick_gelu, |x| x.clone() * activation::sigmoid(x * 1.702))
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

/// Source of the error function: Abramowitz and Stegun, "Handbook of mathematical functions" (1964), 7.1.26; its error of
/// 1.5e-7 is that of single precision.
fn geglu_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "inner"])
        + &entry("info.count")
        + "let e = (i / info.inner) * 2u * info.inner + i % info.inner; let gate = x[e + info.inner];\n\
           let z = abs(gate) * 0.70710678; let t = 1.0 / (1.0 + 0.3275911 * z);\n\
           let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));\n\
           let erf = sign(gate) * (1.0 - series * exp(-z * z));\n\
           y[i] = x[e] * 0.5 * gate * (1.0 + erf);\n}\n"
}
