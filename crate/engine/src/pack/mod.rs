//! The pack: a folder that any static host can serve.
//!
//! `manifest.json` ([`manifest`]) lists components; each is one ordinary safetensors file cut into pieces named by their
//! SHA-256. [`header`] reads such a file as its bytes stream by; [`quantize`] holds the block formats; [`layout`] and
//! [`mixed`] choose among them; [`writer`] makes packs. Everything read here is untrusted: numbers are checked before
//! anything is fetched or allocated by them.

mod cutter;
pub mod header;
pub mod layout;
pub mod manifest;
pub mod mixed;
pub mod quantize;
pub mod streams;
pub mod writer;

pub use header::{Header, HeaderReader, TensorInfo, TensorSink, TensorStream};
pub use layout::Quantization;
pub use manifest::{Component, Examples, MAX_MANIFEST_BYTES, Manifest, Piece, Recommended};
