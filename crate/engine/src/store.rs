//! Where a pack's pieces come from and where they are kept: the seams that hosts fill.
//!
//! A [`Source`] brings bytes (a static web host, a folder), a [`Store`] keeps them between visits (IndexedDB, a folder,
//! memory), a [`Digest`] hashes them (WebCrypto, `sha2`). The traits are asynchronous and need not be `Send`: a browser
//! has one thread. Every method takes `&self`, so that several pieces can be on their way at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::Result;

/// Brings a pack's manifest and pieces.
#[expect(async_fn_in_trait, reason = "hosts are single-threaded; futures need not be Send")]
pub trait Source {
    /// The manifest's address: what the completion record is filed under, e.g. an absolute URL.
    fn address(&self) -> &str;

    /// The manifest's bytes, as they are. At most [`crate::pack::MAX_MANIFEST_BYTES`] need be read.
    ///
    /// # Errors
    /// [`crate::Error::Network`] where it cannot be had.
    async fn manifest(&self) -> Result<Vec<u8>>;

    /// The bytes of the piece `<sha256>.bin`, which should be `bytes` long; the caller checks length and hash.
    ///
    /// `on_bytes` is told how many bytes of this piece have arrived so far. An implementation stops reading once more
    /// than `bytes` have arrived.
    ///
    /// # Errors
    /// [`crate::Error::Network`] where it cannot be had.
    async fn piece(&self, sha256: &str, bytes: u64, on_bytes: &mut dyn FnMut(u64)) -> Result<Vec<u8>>;
}

/// Says that a pack is completely stored. Written after the last piece, never before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// SHA-256 of `manifest`, 64 lower-case hexadecimal digits.
    pub manifest_sha256: String,
    /// The manifest's bytes, so that a later visit needs no network.
    pub manifest: Vec<u8>,
}

/// Keeps pieces by the name of their content, and completion records by the manifest's address.
#[expect(async_fn_in_trait, reason = "hosts are single-threaded; futures need not be Send")]
pub trait Store {
    /// The stored bytes of a piece, or `None`.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where the store itself fails.
    async fn get(&self, sha256: &str) -> Result<Option<Vec<u8>>>;

    /// Stores a piece whose hash has been checked; replaces what was there.
    ///
    /// # Errors
    /// [`crate::Error::Quota`] where there is no room, [`crate::Error::Storage`] where the store fails.
    async fn put(&self, sha256: &str, bytes: Vec<u8>) -> Result<()>;

    /// Names of all stored pieces, of whichever pack.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where the store fails.
    async fn present(&self) -> Result<BTreeSet<String>>;

    /// Removes a piece where its bytes are still these, which are not what its name says; another tab or program may have
    /// stored it anew since they were read. No error where it is not there.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where the store fails.
    async fn discard(&self, sha256: &str, damaged: &[u8]) -> Result<()>;

    /// The completion record filed under a manifest's address, or `None`.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where the store fails.
    async fn completion(&self, address: &str) -> Result<Option<Completion>>;

    /// Writes down that a pack's pieces are about to come, so that they can be found and removed should it never be
    /// complete; replaces what was filed under that address. It counts as no completion record. A store whose pieces nobody
    /// looks after need not write it.
    ///
    /// # Errors
    /// [`crate::Error::Quota`] or [`crate::Error::Storage`].
    async fn announce(&self, _address: &str, _coming: &Completion) -> Result<()> {
        Ok(())
    }

    /// Files a completion record; replaces an older one, and what was announced.
    ///
    /// # Errors
    /// [`crate::Error::Quota`] or [`crate::Error::Storage`].
    async fn complete(&self, address: &str, completion: Completion) -> Result<()>;
}

/// Hashes bytes.
#[expect(async_fn_in_trait, reason = "hosts are single-threaded; futures need not be Send")]
pub trait Digest {
    /// SHA-256 of `bytes`.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where the host's hashing fails.
    async fn sha256(&self, bytes: &[u8]) -> Result<[u8; 32]>;
}

/// SHA-256 by the `sha2` crate, for hosts without one of their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sha2Digest;

impl Digest for Sha2Digest {
    async fn sha256(&self, bytes: &[u8]) -> Result<[u8; 32]> {
        Ok(sha2::Sha256::digest(bytes).into())
    }
}

/// 64 lower-case hexadecimal digits of a hash.
pub fn hex(hash: &[u8; 32]) -> String {
    hash.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
        .collect()
}

/// A store in memory: for tests, for private windows, and for hosts that keep nothing.
#[derive(Debug, Default)]
pub struct MemoryStore {
    pieces: RefCell<BTreeMap<String, Vec<u8>>>,
    completions: RefCell<BTreeMap<String, Completion>>,
}

impl Store for MemoryStore {
    async fn get(&self, sha256: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.pieces.borrow().get(sha256).cloned())
    }

    async fn put(&self, sha256: &str, bytes: Vec<u8>) -> Result<()> {
        self.pieces.borrow_mut().insert(sha256.to_owned(), bytes);
        Ok(())
    }

    async fn present(&self) -> Result<BTreeSet<String>> {
        Ok(self.pieces.borrow().keys().cloned().collect())
    }

    async fn discard(&self, sha256: &str, damaged: &[u8]) -> Result<()> {
        self.pieces.borrow_mut().retain(|name, bytes| name != sha256 || bytes != damaged);
        Ok(())
    }

    async fn completion(&self, address: &str) -> Result<Option<Completion>> {
        Ok(self.completions.borrow().get(address).cloned())
    }

    async fn complete(&self, address: &str, completion: Completion) -> Result<()> {
        self.completions.borrow_mut().insert(address.to_owned(), completion);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_everyone_does() {
        let hash = pollster::block_on(Sha2Digest.sha256(b"abc")).unwrap();
        assert_eq!(hex(&hash), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
