//! Cuts a stream of bytes into pieces, and takes up an interrupted run where it stopped.

use sha2::{Digest, Sha256};

use super::manifest::Piece;
use super::streams::PieceSink;
use crate::Result;
use crate::store::hex;

/// Makes the pieces of one component.
pub(super) struct Cutter<'a, S> {
    component: &'a str,
    piece_bytes: usize,
    /// What an interrupted run kept; believed once the first of them has been made again.
    kept: Vec<Piece>,
    /// End of the believed pieces.
    kept_end: u64,
    /// Bytes of the stream so far.
    position: u64,
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    sink: &'a mut S,
}

impl<'a, S: PieceSink> Cutter<'a, S> {
    /// Starts a component of `total_bytes`.
    pub fn new(component: &'a str, piece_bytes: u64, total_bytes: u64, sink: &'a mut S) -> Self {
        let mut kept = sink.kept(component);
        let kept_bytes: u64 = kept.iter().map(|piece| piece.bytes).sum();
        let is_whole = kept.iter().all(|piece| piece.bytes == piece_bytes) && kept_bytes <= total_bytes;
        let is_finished = kept.split_last().is_some_and(|(_, all_but_last)| {
            kept_bytes == total_bytes && all_but_last.iter().all(|piece| piece.bytes == piece_bytes)
        });
        if !is_whole && !is_finished {
            kept.clear();
        }
        let piece_bytes = piece_bytes as usize;
        Self { component, piece_bytes, kept, kept_end: 0, position: 0, buffer: Vec::new(), pieces: Vec::new(), sink }
    }

    /// Passes over the next `bytes` of the stream if kept pieces hold all of them; whether it did.
    pub fn skip(&mut self, bytes: u64) -> bool {
        let is_kept = self.position + bytes <= self.kept_end;
        if is_kept {
            self.position += bytes;
        }
        is_kept
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The sink's.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let kept = self.kept_end.saturating_sub(self.position).min(bytes.len() as u64) as usize;
            let room = self.piece_bytes - self.buffer.len();
            let (taken, rest) = bytes.split_at(if kept > 0 { kept } else { bytes.len().min(room) });
            self.position += taken.len() as u64;
            bytes = rest;
            if kept > 0 {
                continue;
            }
            self.buffer.extend_from_slice(taken);
            if self.buffer.len() == self.piece_bytes {
                self.cut().await?;
            }
        }
        Ok(())
    }

    async fn cut(&mut self) -> Result<()> {
        let piece = Piece { sha256: hex(&Sha256::digest(&self.buffer).into()), bytes: self.buffer.len() as u64 };
        if self.pieces.is_empty() && self.kept.first() == Some(&piece) {
            self.kept_end = self.kept.iter().map(|piece| piece.bytes).sum();
            self.pieces = std::mem::take(&mut self.kept);
        } else {
            self.sink.put(self.component, &piece, &self.buffer).await?;
            self.pieces.push(piece);
        }
        self.buffer.clear();
        Ok(())
    }

    /// The pieces in order, the last cut where the stream ends.
    ///
    /// # Errors
    /// The sink's.
    pub async fn finish(mut self) -> Result<Vec<Piece>> {
        if !self.buffer.is_empty() {
            self.cut().await?;
        }
        Ok(self.pieces)
    }
}
