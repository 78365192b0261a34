//! Pieces and completion records in the browser's IndexedDB.
//!
//! Database `fraise`, schema version 1: object store `pieces` (key: SHA-256, value: `Uint8Array`) and `packs` (key: the
//! manifest's address, value: `{manifestSha256, manifest: Uint8Array, isPartial?}`, the latter true until the last piece is
//! there; the journals of unfinished conversions, see [`crate::library`]; and what was measured of this machine, see
//! [`crate::calibration`]).

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use fraise_engine::pack::Manifest;
use fraise_engine::store::{Completion, Store};
use fraise_engine::{Error, Result};
use indexed_db_futures::database::Database;
use indexed_db_futures::error::{DomException, Error as IdbError, OpenDbError, UnexpectedDataError};
use indexed_db_futures::internals::SystemRepr;
use indexed_db_futures::prelude::*;
use indexed_db_futures::transaction::{Transaction, TransactionMode};
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Event, IdbDatabase, StorageEstimate, WorkerGlobalScope};

use crate::error::{name, reason, set};

const DATABASE: &str = "fraise";
const SCHEMA_VERSION: u8 = 1;
pub(crate) const PIECES: &str = "pieces";
pub(crate) const PACKS: &str = "packs";

/// A store that outlives the visit.
pub struct IndexedDbStore {
    scope: WorkerGlobalScope,
    /// Empty until first used, and again after the browser closed the connection.
    database: RefCell<Option<Database>>,
    /// Whether another tab's newer version of the page has changed the database.
    is_outdated: Cell<bool>,
    /// Closes a connection that keeps a newer version from changing the database.
    give_way: Closure<dyn Fn(Event)>,
}

impl IndexedDbStore {
    /// A store for this origin; the database is opened when first used.
    pub fn new(scope: WorkerGlobalScope) -> Self {
        let give_way = Closure::new(|event: Event| {
            if let Some(database) = event.target() {
                database.unchecked_into::<IdbDatabase>().close();
            }
        });
        Self { scope, database: RefCell::new(None), is_outdated: Cell::new(false), give_way }
    }

    /// Whether this version of the page can no longer use the database, and has to be reloaded.
    pub fn is_outdated(&self) -> bool {
        self.is_outdated.get()
    }

    /// Does `work` with the database, and once more on a new connection where the browser had closed the old one.
    pub(crate) async fn with_database<T>(
        &self,
        operation: &str,
        needed_bytes: usize,
        work: impl AsyncFn(&Database) -> std::result::Result<T, IdbError>,
    ) -> Result<T> {
        let database = self.database().await?;
        let outcome = match work(&database).await {
            Err(IdbError::DomException(DomException::InvalidStateError(_))) => {
                self.database.take();
                work(&self.database().await?).await
            }
            outcome => outcome,
        };
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => Err(self.explain(operation, needed_bytes as u64, &error).await),
        }
    }

    async fn database(&self) -> Result<Database> {
        if let Some(database) = self.database.borrow().as_ref() {
            return Ok(database.clone());
        }
        let opened = Database::open(DATABASE).with_version(SCHEMA_VERSION).with_on_upgrade_needed(|event, database| {
            if event.old_version() < 1.0 {
                database.create_object_store(PIECES).build()?;
                database.create_object_store(PACKS).build()?;
            }
            Ok(())
        });
        let database = opened.await.map_err(|error| {
            let reason = match &error {
                OpenDbError::Base(IdbError::DomException(exception)) => {
                    self.is_outdated.set(name(exception.as_ref()).as_deref() == Some("VersionError"));
                    reason(exception.as_ref())
                }
                other => other.to_string(),
            };
            let reason = match self.is_outdated.get() {
                true => "a newer version of this page, in another tab, has changed it; reload this page".to_owned(),
                false => reason,
            };
            Error::Storage { operation: "opening the database".to_owned(), reason }
        })?;
        database.as_sys().set_onversionchange(Some(self.give_way.as_ref().unchecked_ref()));
        self.database.replace(Some(database.clone()));
        Ok(database)
    }

    /// An IndexedDB error in the engine's words; asks the browser for its free space where that is the reason.
    async fn explain(&self, operation: &str, needed_bytes: u64, error: &IdbError) -> Error {
        let (is_quota, reason) = match error {
            IdbError::DomException(exception) => {
                (name(exception.as_ref()).as_deref() == Some("QuotaExceededError"), reason(exception.as_ref()))
            }
            other => (false, other.to_string()),
        };
        // Not every browser says why it undid a write.
        let may_be_quota = is_quota || matches!(error, IdbError::MissingData(UnexpectedDataError::TransactionAborted));
        if may_be_quota && needed_bytes > 0 {
            let available_bytes = self.available_bytes().await.unwrap_or(0);
            if is_quota || available_bytes < needed_bytes {
                return Error::Quota { needed_bytes, available_bytes };
            }
        }
        Error::Storage { operation: operation.to_owned(), reason }
    }

    /// Bytes that the browser would still grant, or `None` where it does not say.
    pub async fn available_bytes(&self) -> Option<u64> {
        let estimate = JsFuture::from(self.scope.navigator().storage().estimate().ok()?).await.ok()?;
        let estimate: StorageEstimate = estimate.unchecked_into();
        Some((estimate.get_quota()? - estimate.get_usage()?).max(0.0) as u64)
    }

    pub(crate) async fn read(&self, store: &str, key: &str) -> Result<Option<JsValue>> {
        self.with_database(&format!("reading from the store of {store}"), 0, async |database| {
            let transaction = database.transaction(store).build()?;
            let value: Option<JsValue> = transaction.object_store(store)?.get(key.to_owned()).await?;
            Ok(value)
        })
        .await
    }

    /// What is filed under a manifest's address, and whether pieces of it may still be missing.
    pub(crate) async fn filed(&self, address: &str) -> Result<Option<(Completion, bool)>> {
        let Some(record) = self.read(PACKS, address).await? else { return Ok(None) };
        let field = |name: &str| Reflect::get(&record, &name.into()).ok();
        let manifest_sha256 = field("manifestSha256").and_then(|value| value.as_string());
        let manifest = field("manifest").and_then(|value| value.dyn_into::<Uint8Array>().ok());
        let is_partial = field("isPartial").is_some_and(|value| value.is_truthy());
        // A record that is not ours to read counts as absent: the pack is then checked and filed again.
        Ok(manifest_sha256.zip(manifest).map(|(manifest_sha256, manifest)| {
            (Completion { manifest_sha256, manifest: manifest.to_vec() }, is_partial)
        }))
    }

    /// Stores a piece that is JavaScript's already; errors as [`Store::put`].
    pub(crate) async fn put_array(&self, sha256: &str, bytes: &Uint8Array) -> Result<()> {
        self.write(PIECES, sha256, bytes, bytes.length() as usize).await
    }

    /// Removes a piece; no error where it is not there.
    ///
    /// # Errors
    /// [`Error::Storage`] where the store fails.
    pub(crate) async fn remove(&self, sha256: &str) -> Result<()> {
        self.with_database("removing a piece from the store", 0, async |database| {
            let transaction = database.transaction(PIECES).with_mode(TransactionMode::Readwrite).build()?;
            transaction.object_store(PIECES)?.delete(sha256.to_owned()).await?;
            commit(transaction).await
        })
        .await
    }

    pub(crate) async fn write(&self, store: &str, key: &str, value: &JsValue, bytes: usize) -> Result<()> {
        self.with_database(&format!("writing to the store of {store}"), bytes, async |database| {
            let transaction = database.transaction(store).with_mode(TransactionMode::Readwrite).build()?;
            transaction.object_store(store)?.put(value.clone()).with_key(key.to_owned()).await?;
            commit(transaction).await
        })
        .await
    }
}

impl Store for IndexedDbStore {
    async fn get(&self, sha256: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read(PIECES, sha256).await?.map(bytes_of))
    }

    async fn put(&self, sha256: &str, bytes: Vec<u8>) -> Result<()> {
        let array = Uint8Array::from(bytes.as_slice());
        drop(bytes); // before waiting: only JavaScript's copy is needed
        self.put_array(sha256, &array).await
    }

    async fn present(&self) -> Result<BTreeSet<String>> {
        self.with_database("listing the stored pieces", 0, async |database| {
            let transaction = database.transaction(PIECES).build()?;
            let keys = transaction.object_store(PIECES)?.get_all_keys::<String>().await?;
            keys.collect::<std::result::Result<_, _>>()
        })
        .await
    }

    async fn discard(&self, sha256: &str, damaged: &[u8]) -> Result<()> {
        self.with_database("removing a damaged piece from the store", 0, async |database| {
            let transaction = database.transaction(PIECES).with_mode(TransactionMode::Readwrite).build()?;
            let pieces = transaction.object_store(PIECES)?;
            let stored: Option<JsValue> = pieces.get(sha256.to_owned()).await?;
            if stored.map(bytes_of).as_deref() == Some(damaged) {
                pieces.delete(sha256.to_owned()).await?;
            }
            commit(transaction).await
        })
        .await
    }

    async fn completion(&self, address: &str) -> Result<Option<Completion>> {
        let filed = self.filed(address).await?;
        Ok(filed.filter(|(_, is_partial)| !is_partial).map(|(completion, _)| completion))
    }

    async fn announce(&self, address: &str, coming: &Completion) -> Result<()> {
        if let Ok(manifest) = Manifest::parse(&coming.manifest) {
            self.make_way(address, &manifest).await?;
        }
        let record = completion_record(coming);
        set(&record, "isPartial", &true.into());
        self.write(PACKS, address, &record, coming.manifest.len()).await
    }

    async fn complete(&self, address: &str, completion: Completion) -> Result<()> {
        self.write(PACKS, address, &completion_record(&completion), completion.manifest.len()).await
    }
}

/// A stored piece's bytes; what is no bytes, and so not ours, counts as an empty piece.
fn bytes_of(value: JsValue) -> Vec<u8> {
    value.dyn_into::<Uint8Array>().map(|bytes| bytes.to_vec()).unwrap_or_default()
}

/// Commits. A write that does not fit may fail only here, and says why only in a property that the crate does not read.
pub(crate) async fn commit(transaction: Transaction<'_>) -> std::result::Result<(), IdbError> {
    let raw = JsValue::from(transaction.as_sys().clone());
    match transaction.commit().await {
        Err(IdbError::MissingData(UnexpectedDataError::TransactionAborted)) => {
            let cause = Reflect::get(&raw, &"error".into()).ok().and_then(|cause| cause.dyn_into().ok());
            Err(cause.map_or(UnexpectedDataError::TransactionAborted.into(), |cause: web_sys::DomException| {
                IdbError::DomException(DomException::from(cause))
            }))
        }
        outcome => outcome,
    }
}

/// A completion as it is stored.
pub(crate) fn completion_record(completion: &Completion) -> Object {
    let record = Object::new();
    set(&record, "manifestSha256", &completion.manifest_sha256.as_str().into());
    set(&record, "manifest", &Uint8Array::from(completion.manifest.as_slice()));
    record
}
