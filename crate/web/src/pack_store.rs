//! Where the pieces of packs are: in IndexedDB, and in memory where the browser keeps nothing (more) for this origin.
//!
//! A private window may have no IndexedDB, and a disk may be full. A pack then runs from memory for this visit; the next
//! one fetches what is missing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fraise_engine::pack::{Manifest, Piece};
use fraise_engine::store::{Completion, Store};
use fraise_engine::{Error, Result};
use js_sys::Uint8Array;

use crate::indexed_db::IndexedDbStore;

/// Largest pack that is run from memory, in bytes of what the store lacks.
const MAX_MEMORY_BYTES: u64 = 2 << 30;

/// IndexedDB with memory to fall back on. Pieces in memory are JavaScript's, so that WebAssembly's does not grow with them.
pub struct PackStore {
    kept: Rc<IndexedDbStore>,
    /// Whether nothing is written to IndexedDB for now.
    is_memory_only: Cell<bool>,
    pieces: RefCell<BTreeMap<String, Uint8Array>>,
    completions: RefCell<BTreeMap<String, Completion>>,
}

/// What is known before a download.
pub struct Room {
    present: BTreeSet<String>,
    available_bytes: Option<u64>,
}

impl PackStore {
    /// A store on top of `kept`.
    pub fn new(kept: Rc<IndexedDbStore>) -> Self {
        Self { kept, is_memory_only: Cell::new(false), pieces: RefCell::default(), completions: RefCell::default() }
    }

    /// Whether what was loaded last is kept beyond this visit.
    pub fn is_kept(&self) -> bool {
        !self.is_memory_only.get() && self.pieces.borrow().is_empty()
    }

    /// Lets go of what is in memory, before a load: IndexedDB may have room again. Asks the browser how much.
    pub async fn begin(&self) -> Room {
        self.is_memory_only.set(false);
        self.pieces.take();
        self.completions.take();
        Room { present: self.present().await.unwrap_or_default(), available_bytes: self.kept.available_bytes().await }
    }

    /// Decides where the missing pieces of a pack go; the browser's disk is never filled to the brim in vain.
    ///
    /// # Errors
    /// [`Error::Quota`] where neither the browser's storage nor memory has room for them.
    pub fn plan(&self, manifest: &Manifest, room: &Room) -> Result<()> {
        let missing = |piece: &&&Piece| !room.present.contains(&piece.sha256);
        let needed_bytes = manifest.required_pieces().iter().filter(missing).map(|piece| piece.bytes).sum();
        let available_bytes = room.available_bytes.unwrap_or(u64::MAX);
        if needed_bytes > available_bytes {
            self.is_memory_only.set(true);
        }
        match self.is_memory_only.get() && needed_bytes > MAX_MEMORY_BYTES {
            true => Err(Error::Quota { needed_bytes, available_bytes: room.available_bytes.unwrap_or(0) }),
            false => Ok(()),
        }
    }

    /// `outcome`, or memory's from now on where IndexedDB cannot be used.
    fn or_memory<T: Default>(&self, outcome: Result<T>) -> Result<T> {
        match outcome {
            // Of an outdated page the visitor has to know: what is stored is of no use to it.
            Err(Error::Storage { .. } | Error::Quota { .. }) if !self.kept.is_outdated() => {
                self.is_memory_only.set(true);
                Ok(T::default())
            }
            outcome => outcome,
        }
    }
}

impl Store for PackStore {
    async fn get(&self, sha256: &str) -> Result<Option<Vec<u8>>> {
        let piece = self.pieces.borrow().get(sha256).map(Uint8Array::to_vec);
        match piece {
            Some(bytes) => Ok(Some(bytes)),
            None => self.kept.get(sha256).await,
        }
    }

    async fn put(&self, sha256: &str, bytes: Vec<u8>) -> Result<()> {
        let array = Uint8Array::from(bytes.as_slice());
        drop(bytes); // before waiting: only JavaScript's copy is needed
        if !self.is_memory_only.get() {
            self.or_memory(self.kept.put_array(sha256, &array).await)?;
        }
        if self.is_memory_only.get() {
            self.pieces.borrow_mut().insert(sha256.to_owned(), array);
        }
        Ok(())
    }

    async fn present(&self) -> Result<BTreeSet<String>> {
        let mut present = self.or_memory(self.kept.present().await)?;
        present.extend(self.pieces.borrow().keys().cloned());
        Ok(present)
    }

    async fn discard(&self, sha256: &str, damaged: &[u8]) -> Result<()> {
        self.pieces.borrow_mut().remove(sha256);
        self.or_memory(self.kept.discard(sha256, damaged).await)
    }

    async fn completion(&self, address: &str) -> Result<Option<Completion>> {
        let completion = self.completions.borrow().get(address).cloned();
        match completion {
            Some(completion) => Ok(Some(completion)),
            None => self.or_memory(self.kept.completion(address).await),
        }
    }

    async fn announce(&self, address: &str, coming: &Completion) -> Result<()> {
        match self.is_memory_only.get() {
            true => Ok(()),
            false => self.or_memory(self.kept.announce(address, coming).await),
        }
    }

    async fn complete(&self, address: &str, completion: Completion) -> Result<()> {
        if !self.is_memory_only.get() {
            self.or_memory(self.kept.complete(address, completion.clone()).await)?;
        }
        if self.is_memory_only.get() {
            self.completions.borrow_mut().insert(address.to_owned(), completion);
        }
        Ok(())
    }
}
