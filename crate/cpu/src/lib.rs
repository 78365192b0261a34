//! The arithmetic of a diffusion model on one thread of the processor: plain functions on slices, without a tensor type.
//!
//! Everything is made of one product ([`product`]): a tile of four rows of weights by eight positions, whose sums stay in
//! registers. Weights are unpacked a few rows at a time into the cache; inputs are copied once into [`panels`], from
//! where the tile reads them in order. Attention's two products run on the same tile, and most 3x3 convolutions on fewer of
//! them (Winograd's).
//!
//! Vectors are 128 bits wide ([`lanes`]): WebAssembly's own, and arrays that the compiler makes vectors of elsewhere. Relaxed
//! SIMD's fused multiply-add is faster, but a module that names it does not load in browsers without it: it is a feature,
//! `relaxed-simd`, of which build.sh makes a second module.
//!
//! Slices of the wrong length are a caller's mistake and end in a panic; the engine checks shapes before.

mod attention;
mod lanes;
mod math;
mod norm;
mod pad;
mod panels;
mod product;
mod weights;
mod winograd;

pub use attention::{Attention, attention};
pub use lanes::LANES;
pub use math::{geglu, gelu, quick_gelu, silu};
pub use norm::{group_moments, layer_norm, normalize_groups};
pub use pad::{Frame, pad};
pub use panels::{Image, Input};
pub use product::{Output, ROWS, product};
pub use weights::Rows;
pub use winograd::FEWEST as FEWEST_ROWS;
