//! What the packer reads from and writes to: the seams that hosts fill, and the portions it reads in.

use std::ops::Range;

use super::header::TensorInfo;
use super::manifest::Piece;
use crate::Result;

/// Numbers converted at once; a multiple of the block size.
const CHUNK_ELEMENTS: usize = 1 << 18;

/// Reads the tensors that are to be packed.
#[expect(async_fn_in_trait, reason = "hosts are single-threaded; futures need not be Send")]
pub trait TensorSource {
    /// Bytes `range` of tensor `index` of the list given to [`super::writer::write_component`].
    ///
    /// # Errors
    /// Where the file cannot be read.
    async fn read(&mut self, index: usize, range: Range<usize>) -> Result<Vec<u8>>;
}

/// Keeps the pieces that come out.
#[expect(async_fn_in_trait, reason = "hosts are single-threaded; futures need not be Send")]
pub trait PieceSink {
    /// Keeps the next piece of `component` under its name.
    ///
    /// # Errors
    /// Where there is no room for it.
    async fn put(&mut self, component: &str, piece: &Piece, bytes: &[u8]) -> Result<()>;

    /// The pieces of `component` that an interrupted run of the same conversion has already kept, in order. Nothing
    /// that falls wholly inside them is read or converted again. Pieces that do not fit the component are disregarded.
    fn kept(&self, component: &str) -> Vec<Piece> {
        let _ = component;
        Vec::new()
    }
}

/// Byte ranges of a tensor, each a whole number of blocks but the last.
pub(super) fn chunks(tensor: &TensorInfo) -> impl Iterator<Item = Range<usize>> {
    let step = CHUNK_ELEMENTS * (tensor.dtype.bitsize() / 8).max(1);
    let bytes = tensor.bytes;
    (0..bytes).step_by(step).map(move |start| start..(start + step).min(bytes))
}
