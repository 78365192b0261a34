//! The Fraise engine: a prompt becomes a picture.
//!
//! Start at [`pipeline`]: request → tokens → text embeddings → denoising steps → picture. Everything else is what
//! that file calls. The crate names no JavaScript, no file system and no clock; hosts bring a [`store::Store`], a
//! [`store::Source`] and a Burn device.

pub mod autoencoder;
pub mod bands;
pub mod blocks;
pub mod conditioning;
pub mod convert;
pub mod decoder;
pub mod encoder;
pub mod error;
pub mod kernels;
pub mod layers;
pub mod limits;
pub mod loader;
pub mod noise;
pub mod pack;
#[cfg(feature = "parity")]
pub mod parity;
pub mod picture;
pub mod pipeline;
pub mod prompt;
pub mod request;
pub mod requirements;
pub mod sampler;
pub mod scorer;
pub mod store;
pub mod text_encoder;
pub mod tiles;
pub mod tokenizer;
pub mod unet;
pub mod upscaler;
pub mod weights;
pub mod work;

pub use error::{Error, Result};
