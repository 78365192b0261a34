//! Which packs this browser keeps, and the downloads and conversions that are not finished.
//!
//! An unfinished conversion has a journal in the store of packs, under a key that no address equals: which checkpoint it
//! reads, and the pieces made so far. A piece and its entry in the journal are written together or not at all, so no
//! cancelled or cut-off conversion leaves pieces that nobody knows of.

use std::collections::{BTreeMap, BTreeSet};

use fraise_engine::pack::streams::PieceSink;
use fraise_engine::pack::{Manifest, Piece};
use fraise_engine::store::{Completion, Store};
use fraise_engine::{Error, Result};
use indexed_db_futures::prelude::*;
use indexed_db_futures::transaction::TransactionMode;
use js_sys::Uint8Array;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

use crate::fetch::LocalSource;
use crate::indexed_db::{IndexedDbStore, PACKS, PIECES, commit, completion_record};

/// In front of a journal's address in its key. Addresses are URLs, whose schemes hold no space.
const UNFINISHED: &str = "unfinished conversion ";

/// An unfinished conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The checkpoint's fingerprint, and whatever else the pieces depend on.
    pub source: String,
    /// The model's name.
    pub name: String,
    /// How its weights are stored.
    pub quant: String,
    /// The pieces made so far, in order, by component.
    pub pieces: BTreeMap<String, Vec<Piece>>,
}

impl Journal {
    /// Bytes of the pieces made so far.
    pub fn done_bytes(&self) -> u64 {
        self.pieces.values().flatten().map(|piece| piece.bytes).sum()
    }

    fn piece_names(&self) -> BTreeSet<String> {
        self.pieces.values().flatten().map(|piece| piece.sha256.clone()).collect()
    }
}

/// A pack, an unfinished download or an unfinished conversion, for people to choose from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredModel {
    address: String,
    name: String,
    /// Bytes of its pieces that are stored.
    bytes: u64,
    is_complete: bool,
    /// `None` of an unfinished conversion, and of a pack that says nothing.
    license: Option<String>,
    license_restrictions: Option<String>,
}

/// The address of the converted model of that name.
pub fn local_address(name: &str) -> String {
    format!("{}{}", LocalSource::SCHEME, String::from(js_sys::encode_uri_component(name)))
}

impl IndexedDbStore {
    /// All packs, and all that is not finished. Records that cannot be read are left out.
    ///
    /// # Errors
    /// [`Error::Storage`] where the store fails.
    pub async fn models(&self) -> Result<Vec<StoredModel>> {
        let (mut models, present) = (Vec::new(), self.present().await?);
        for address in self.keys().await? {
            let Some((manifest, is_partial)) = self.pack(&address).await? else { continue };
            // Parts that are fetched when first needed may be absent; packs may share pieces, and parts of one too.
            let pieces = manifest.components.values().flat_map(|component| &component.pieces);
            let stored: BTreeMap<&str, u64> = pieces.map(|piece| (piece.sha256.as_str(), piece.bytes)).collect();
            let bytes = stored.iter().filter(|(name, _)| present.contains(**name)).map(|(_, bytes)| bytes).sum();
            let unless_empty = |text: String| Some(text).filter(|text| !text.is_empty());
            models.push(StoredModel {
                address,
                bytes,
                name: manifest.name,
                is_complete: !is_partial,
                license: unless_empty(manifest.license),
                license_restrictions: unless_empty(manifest.license_restrictions),
            });
        }
        for (address, journal) in self.journals().await? {
            let bytes = journal.done_bytes();
            let (license, license_restrictions) = (None, None);
            let name = journal.name;
            models.push(StoredModel { address, name, bytes, is_complete: false, license, license_restrictions });
        }
        Ok(models)
    }

    /// Removes a pack and an unfinished conversion of that address, with the pieces that no other one needs.
    ///
    /// # Errors
    /// [`Error::Storage`] where the store fails.
    pub async fn forget(&self, address: &str) -> Result<()> {
        // Pieces go first: should this be cut off, what is left is a record that anyone finds incomplete.
        let pieces = self.pieces_of(address).await?;
        self.sweep(pieces, &[address.to_owned(), journal_key(address)]).await?;
        self.delete_records(&[address.to_owned(), journal_key(address)]).await
    }

    /// Removes the unfinished conversion of that address, with the pieces that no other one needs.
    ///
    /// # Errors
    /// [`Error::Storage`] where the store fails.
    pub async fn forget_conversion(&self, address: &str) -> Result<()> {
        let Some(journal) = self.journal(address).await? else { return Ok(()) };
        self.sweep(journal.piece_names(), &[journal_key(address)]).await?;
        self.delete_records(&[journal_key(address)]).await
    }

    /// The unfinished conversions by address.
    ///
    /// # Errors
    /// [`Error::Storage`] where the store fails.
    pub async fn journals(&self) -> Result<Vec<(String, Journal)>> {
        let mut journals = Vec::new();
        for key in self.keys().await? {
            let Some(address) = key.strip_prefix(UNFINISHED) else { continue };
            if let Some(journal) = self.journal(address).await? {
                journals.push((address.to_owned(), journal));
            }
        }
        Ok(journals)
    }

    async fn journal(&self, address: &str) -> Result<Option<Journal>> {
        let record = self.read(PACKS, &journal_key(address)).await?.and_then(|record| record.as_string());
        Ok(record.and_then(|json| serde_json::from_str(&json).ok()))
    }

    /// Files a finished conversion in place of its journal and of an older pack of that address.
    ///
    /// # Errors
    /// [`Error::Quota`] or [`Error::Storage`].
    pub async fn finish_conversion(&self, address: &str, manifest: &Manifest, completion: Completion) -> Result<()> {
        self.make_way(address, manifest).await?;
        let record = JsValue::from(completion_record(&completion));
        self.with_database("filing the converted model", completion.manifest.len(), async |database| {
            let transaction = database.transaction(PACKS).with_mode(TransactionMode::Readwrite).build()?;
            let packs = transaction.object_store(PACKS)?;
            packs.put(record.clone()).with_key(address.to_owned()).await?;
            packs.delete(journal_key(address)).await?;
            commit(transaction).await
        })
        .await
    }

    /// Removes the pieces of what is filed under that address, unless the pack to be filed there, or another, needs them.
    pub(crate) async fn make_way(&self, address: &str, manifest: &Manifest) -> Result<()> {
        let mut obsolete = self.pieces_of(address).await?;
        let needed = piece_names(manifest);
        obsolete.retain(|piece| !needed.contains(piece));
        self.sweep(obsolete, &[address.to_owned(), journal_key(address)]).await
    }

    /// Stores a converted piece together with the journal that names it.
    async fn put_converted(&self, piece: &Piece, bytes: &[u8], address: &str, journal: &Journal) -> Result<()> {
        let array = JsValue::from(Uint8Array::from(bytes));
        let json = serde_json::to_string(journal).map(JsValue::from).map_err(|error| Error::Storage {
            operation: "writing down a conversion".to_owned(),
            reason: error.to_string(),
        })?;
        self.with_database("storing a converted piece", bytes.len(), async |database| {
            let transaction = database.transaction([PIECES, PACKS]).with_mode(TransactionMode::Readwrite).build()?;
            transaction.object_store(PIECES)?.put(array.clone()).with_key(piece.sha256.clone()).await?;
            transaction.object_store(PACKS)?.put(json.clone()).with_key(journal_key(address)).await?;
            commit(transaction).await
        })
        .await
    }

    /// Removes those of the pieces that no record but the given ones names.
    async fn sweep(&self, mut pieces: BTreeSet<String>, except: &[String]) -> Result<()> {
        let mut needed = BTreeSet::new();
        for key in self.keys().await?.iter().filter(|key| !except.contains(key)) {
            needed.append(
                &mut match key.strip_prefix(UNFINISHED) {
                    Some(address) => self.journal(address).await?.map(|journal| journal.piece_names()),
                    None => self.pack(key).await?.map(|(manifest, _)| piece_names(&manifest)),
                }
                .unwrap_or_default(),
            );
        }
        pieces.retain(|piece| !needed.contains(piece));
        for piece in &pieces {
            self.remove(piece).await?;
        }
        Ok(())
    }

    /// The pieces that the pack and the unfinished conversion of that address name.
    async fn pieces_of(&self, address: &str) -> Result<BTreeSet<String>> {
        let mut pieces = self.journal(address).await?.map(|journal| journal.piece_names()).unwrap_or_default();
        pieces.extend(self.pack(address).await?.map(|(manifest, _)| piece_names(&manifest)).unwrap_or_default());
        Ok(pieces)
    }

    /// The manifest filed under an address, and whether pieces of it may still be missing.
    async fn pack(&self, address: &str) -> Result<Option<(Manifest, bool)>> {
        let filed = self.filed(address).await?;
        Ok(filed.and_then(|(record, is_partial)| Some((Manifest::parse(&record.manifest).ok()?, is_partial))))
    }

    async fn keys(&self) -> Result<Vec<String>> {
        self.with_database("listing the stored models", 0, async |database| {
            let transaction = database.transaction(PACKS).build()?;
            let keys = transaction.object_store(PACKS)?.get_all_keys::<String>().await?;
            keys.collect::<std::result::Result<_, _>>()
        })
        .await
    }

    async fn delete_records(&self, keys: &[String]) -> Result<()> {
        self.with_database("removing a model", 0, async |database| {
            let transaction = database.transaction(PACKS).with_mode(TransactionMode::Readwrite).build()?;
            for key in keys {
                transaction.object_store(PACKS)?.delete(key.clone()).await?;
            }
            commit(transaction).await
        })
        .await
    }
}

/// Where a conversion's pieces go: into the store, each with its entry in the journal.
pub struct JournalSink<'a> {
    store: &'a IndexedDbStore,
    address: String,
    journal: Journal,
    /// What an earlier run had made.
    kept: BTreeMap<String, Vec<Piece>>,
    made: u32,
}

impl<'a> JournalSink<'a> {
    /// Goes on with the conversion to `address` where `fresh`, a journal without pieces, is of the same checkpoint;
    /// otherwise an unfinished conversion to that address gives way.
    ///
    /// # Errors
    /// [`Error::Storage`] where the store fails.
    pub async fn open(store: &'a IndexedDbStore, address: String, fresh: Journal) -> Result<Self> {
        let mut journal = match store.journal(&address).await? {
            Some(journal) if journal.source == fresh.source && journal.quant == fresh.quant => journal,
            Some(_) => {
                store.forget_conversion(&address).await?;
                fresh
            }
            None => fresh,
        };
        let present = store.present().await?;
        for pieces in journal.pieces.values_mut() {
            let stored = pieces.iter().take_while(|piece| present.contains(&piece.sha256)).count();
            pieces.truncate(stored);
        }
        let kept = journal.pieces.clone();
        Ok(Self { store, address, journal, kept, made: 0 })
    }

    /// Bytes that an earlier run had made.
    pub fn kept_bytes(&self) -> u64 {
        self.kept.values().flatten().map(|piece| piece.bytes).sum()
    }

    /// Pieces made by this run.
    pub fn made(&self) -> u32 {
        self.made
    }
}

impl PieceSink for JournalSink<'_> {
    async fn put(&mut self, component: &str, piece: &Piece, bytes: &[u8]) -> Result<()> {
        self.journal.pieces.entry(component.to_owned()).or_default().push(piece.clone());
        self.store.put_converted(piece, bytes, &self.address, &self.journal).await?;
        self.made += 1;
        Ok(())
    }

    fn kept(&self, component: &str) -> Vec<Piece> {
        self.kept.get(component).cloned().unwrap_or_default()
    }
}

fn journal_key(address: &str) -> String {
    format!("{UNFINISHED}{address}")
}

fn piece_names(manifest: &Manifest) -> BTreeSet<String> {
    manifest.components.values().flat_map(|component| &component.pieces).map(|piece| piece.sha256.clone()).collect()
}
