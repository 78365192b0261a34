//! The engine's own kernels. Each file holds one operation: the GPU kernel, its plain-tensor twin, and the function
//! that the model files call, which picks the GPU kernel or the processor's ([`fraise_cpu`]), and the twin elsewhere.
//!
//! Weights stay as the pack stores them ([`crate::weights::Weight`]); a kernel dequantizes what it reads in registers.
//! All run within WebGPU's default limits, and none needs 16-bit floats; where the adapter has them, scales and, by tiles in
//! shared memory, weights are read as such. Arithmetic is at 32 bits, unless a caller allows a UNet 16 ([`Precision`]). Barriers cost software adapters most and save real GPUs most, so the product
//! has variants with and without ([`gemm`]), of which [`calibration`] chooses by measurement; norms, softmax and attention go
//! with it ([`Tuning::is_shared`]).

pub mod activation;
pub mod attention;
pub mod blend;
pub mod calibration;
pub mod crew;
pub mod embedding;
pub mod gemm;
pub mod layout;
pub mod norm;
pub mod pad;
pub mod texts;
pub mod tuning;

mod cpu;
mod launch;
mod reduce;

pub use activation::{geglu, gelu, quick_gelu, silu, unit};
pub use attention::{AttentionShape, attention};
pub use blend::Blend;
pub use calibration::{Calibration, Level, calibrate, cpu_rate};
pub use embedding::embedding;
pub use gemm::{Conv2dShape, Costs, Stage, Tile, TileCost, Variant};
pub use gemm::{conv2d, conv2d_padded, conv2d_plus};
pub use gemm::{linear, linear_of_pixels, linear_plus, linear_to_pixels, linears, linears_of_pixels};
pub use launch::compiling;
pub use layout::{cat_channels, cat_vectors, cat_words, pixel_shuffle};
pub use norm::{Finish, GroupNorm, Moments, combine, group_norm, layer_norm, moments, normalize};
pub use pad::{Border, Padding, pad, silu_padded};
pub use tuning::{Precision, Tuning, at_half_precision, has_half_precision};
