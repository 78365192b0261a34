//! Activation functions, and the gate of a transformer's feed-forward.

use burn::tensor::{Tensor, activation};

use super::cpu;

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
    cpu::geglu(&x).unwrap_or_else(|| geglu_reference(x))
}

/// Plain-tensor twin of [`geglu`].
pub fn geglu_reference(x: Tensor<2>) -> Tensor<2> {
    let inner = x.dims()[1] / 2;
    let gate = activation::gelu(x.clone().narrow(1, inner, inner));
    x.narrow(1, 0, inner) * gate
}
