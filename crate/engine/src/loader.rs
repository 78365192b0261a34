//! From a pack's address to weights on the device: fetch what is missing, verify it, store it, then stream it up.
//!
//! One path for every host. [`download`] leaves a complete pack in the store, [`load_component`] reads it from there;
//! memory holds a few pieces at a time, whatever the model's size.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use futures::stream::{self, StreamExt};
use serde::Serialize;

use crate::pack::{Component, Header, HeaderReader, Manifest, Piece, TensorInfo, TensorSink, TensorStream};
use crate::store::{Completion, Digest, Source, Store, hex};
use crate::weights::{Weights, WeightsBuilder};
use crate::{Error, Result};

/// Pieces on their way at once.
pub const PARALLEL_DOWNLOADS: usize = 4;
/// Largest component that [`load_files`] reads into memory, in bytes.
const MAX_FILES_BYTES: u64 = 64 << 20;

/// What loading is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Reading the manifest; bytes are not known yet.
    Manifest,
    /// Fetching pieces into the store.
    Download,
    /// Moving stored pieces to the device.
    Upload,
    /// Having the GPU's driver compile what painting needs; "bytes" count modules.
    Compile,
}

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What loading is busy with.
    pub phase: Phase,
    /// Bytes done in this phase, those of earlier visits included. Falls back where a corrupt piece is fetched again.
    pub loaded_bytes: u64,
    /// Bytes of this phase in all.
    pub total_bytes: u64,
}

/// Brings a pack into the store and returns its manifest.
///
/// A pack that is complete in the store needs no network at all, so a publisher gives a changed pack another address.
/// Otherwise the pieces that are missing are fetched,
/// [`PARALLEL_DOWNLOADS`] at a time, checked, and stored one by one; the completion record comes last. Dropping the
/// future, or an error, leaves the pieces stored so far for the next attempt. Optional components stay away.
///
/// # Errors
/// [`Error::Manifest`] before any piece is fetched; [`Error::CorruptPiece`] for a piece that was wrong twice; what
/// the source and the store report.
pub async fn download(
    source: &impl Source,
    store: &impl Store,
    digest: &impl Digest,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Manifest> {
    download_if(&|_| Ok(()), source, store, digest, on_progress).await
}

/// As [`download`], once `accept` has seen the manifest and before any piece is fetched: the place to refuse a pack
/// that does not fit the device ([`crate::requirements`]).
///
/// # Errors
/// What `accept` returns; otherwise as [`download`].
pub async fn download_if(
    accept: &dyn Fn(&Manifest) -> Result<()>,
    source: &impl Source,
    store: &impl Store,
    digest: &impl Digest,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Manifest> {
    on_progress(Progress { phase: Phase::Manifest, loaded_bytes: 0, total_bytes: 0 });
    let present = store.present().await?;
    if let Some(manifest) = stored_manifest(source.address(), store, digest, &present).await? {
        accept(&manifest)?;
        let total_bytes = manifest.required_pieces().iter().map(|piece| piece.bytes).sum();
        on_progress(Progress { phase: Phase::Download, loaded_bytes: total_bytes, total_bytes });
        return Ok(manifest);
    }
    let bytes = source.manifest().await?;
    let manifest = Manifest::parse(&bytes)?;
    accept(&manifest)?;
    let completion = Completion { manifest_sha256: hex(&digest.sha256(&bytes).await?), manifest: bytes };
    store.announce(source.address(), &completion).await?;
    fetch_missing(&manifest.required_pieces(), &present, (source, store, digest), on_progress).await?;
    store.complete(source.address(), completion).await?;
    Ok(manifest)
}

/// Brings components that did not come with their pack into the store, but for the pieces that are there.
///
/// # Errors
/// [`Error::Manifest`] where the pack lacks one of them; otherwise as [`download`].
pub async fn download_components(
    names: &[&str],
    manifest: &Manifest,
    host: (&impl Source, &impl Store, &impl Digest),
    on_progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let components = names.iter().map(|name| manifest.component(name)).collect::<Result<Vec<&Component>>>()?;
    let pieces: Vec<&Piece> = components.iter().flat_map(|component| &component.pieces).collect();
    let present = host.1.present().await?;
    fetch_missing(&pieces, &present, host, on_progress).await
}

/// A pack's manifest alone: the stored one of a complete pack, else the source's. No piece is fetched.
///
/// # Errors
/// [`Error::Manifest`] for a manifest that breaks a rule; what the source and the store report.
pub async fn read_manifest(source: &impl Source, store: &impl Store, digest: &impl Digest) -> Result<Manifest> {
    let present = store.present().await?;
    match stored_manifest(source.address(), store, digest, &present).await? {
        Some(manifest) => Ok(manifest),
        None => Manifest::parse(&source.manifest().await?),
    }
}

/// The manifest of a pack that the store holds completely; a damaged record counts as none.
async fn stored_manifest(
    address: &str,
    store: &impl Store,
    digest: &impl Digest,
    present: &BTreeSet<String>,
) -> Result<Option<Manifest>> {
    let Some(record) = store.completion(address).await? else { return Ok(None) };
    if hex(&digest.sha256(&record.manifest).await?) != record.manifest_sha256 {
        return Ok(None);
    }
    let Ok(manifest) = Manifest::parse(&record.manifest) else { return Ok(None) };
    let complete = manifest.required_pieces().iter().all(|piece| present.contains(&piece.sha256));
    Ok(complete.then_some(manifest))
}

async fn fetch_missing(
    pieces: &[&Piece],
    present: &BTreeSet<String>,
    (source, store, digest): (&impl Source, &impl Store, &impl Digest),
    on_progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let (stored, missing): (Vec<&Piece>, Vec<&Piece>) =
        pieces.iter().partition(|piece| present.contains(&piece.sha256));
    let meter = Meter {
        loaded_bytes: Cell::new(stored.iter().map(|piece| piece.bytes).sum()),
        total_bytes: pieces.iter().map(|piece| piece.bytes).sum(),
        on_progress: RefCell::new(on_progress),
    };
    meter.report();
    let meter = &meter;
    let mut fetches = stream::iter(missing)
        .map(|piece| async move {
            let bytes = fetch(piece, source, digest, meter).await?;
            store.put(&piece.sha256, bytes).await
        })
        .buffer_unordered(PARALLEL_DOWNLOADS);
    while let Some(result) = fetches.next().await {
        result?;
    }
    Ok(())
}

/// One piece, verified; fetched a second time where the first was wrong.
async fn fetch(piece: &Piece, source: &impl Source, digest: &impl Digest, meter: &Meter<'_>) -> Result<Vec<u8>> {
    for _ in 0..2 {
        let mut counted = 0;
        let mut on_bytes = |received: u64| {
            let received = received.min(piece.bytes);
            meter.replace(counted, received);
            counted = received;
        };
        let bytes = source.piece(&piece.sha256, piece.bytes, &mut on_bytes).await?;
        if is_intact(piece, &bytes, digest).await? {
            meter.replace(counted, piece.bytes);
            return Ok(bytes);
        }
        meter.replace(counted, 0);
    }
    Err(corrupt(piece, "network"))
}

async fn is_intact(piece: &Piece, bytes: &[u8], digest: &impl Digest) -> Result<bool> {
    Ok(bytes.len() as u64 == piece.bytes && hex(&digest.sha256(bytes).await?) == piece.sha256)
}

/// Adds up the bytes of downloads that run at the same time.
struct Meter<'a> {
    loaded_bytes: Cell<u64>,
    total_bytes: u64,
    on_progress: RefCell<&'a mut dyn FnMut(Progress)>,
}

impl Meter<'_> {
    fn replace(&self, counted: u64, received: u64) {
        if counted != received {
            self.loaded_bytes.set(self.loaded_bytes.get() - counted + received);
            self.report();
        }
    }

    fn report(&self) {
        let (loaded_bytes, total_bytes) = (self.loaded_bytes.get(), self.total_bytes);
        (self.on_progress.borrow_mut())(Progress { phase: Phase::Download, loaded_bytes, total_bytes });
    }
}

/// Streams a stored component to the device.
///
/// # Errors
/// [`Error::CorruptPiece`] for a piece that is gone or does not have its hash; it is removed, so that the next
/// [`download`] fetches it again. [`Error::Manifest`] where the component itself is wrong.
pub async fn load_component(
    manifest: &Manifest,
    name: &str,
    store: &impl Store,
    digest: &impl Digest,
    device: &Device,
) -> Result<Weights> {
    let field = format!("components.{name}");
    let open = |header: &Header| Ok(WeightsBuilder::new(name, &header.schemes(&field)?, device));
    read_component(manifest.component(name)?, &field, (store, digest), open).await?.finish()
}

/// The files that a component carries as U8 tensors, by name: a tokenizer's `vocab.json` and `merges.txt`.
///
/// # Errors
/// As [`load_component`]; [`Error::Manifest`] also where the component is larger than 64 MiB.
pub async fn load_files(
    manifest: &Manifest,
    name: &str,
    store: &impl Store,
    digest: &impl Digest,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let bytes = manifest.component(name)?.bytes;
    if bytes > MAX_FILES_BYTES {
        let reason = format!("{bytes} is beyond {MAX_FILES_BYTES} for a component of files");
        return Err(Error::manifest(format!("components.{name}.bytes"), reason));
    }
    let (component, field) = (manifest.component(name)?, format!("components.{name}"));
    Ok(read_component(component, &field, (store, digest), |_| Ok(Files::default())).await?.complete)
}

/// A component's safetensors header, from as many of its pieces as it takes.
///
/// # Errors
/// As [`load_component`].
pub async fn load_header(manifest: &Manifest, name: &str, store: &impl Store, digest: &impl Digest) -> Result<Header> {
    let component = manifest.component(name)?;
    let mut reader = HeaderReader::new(format!("components.{name}"), component.bytes);
    for piece in &component.pieces {
        let bytes = stored_piece(piece, store, digest).await?;
        if let Some(header) = reader.feed(&mut bytes.as_slice())? {
            return Ok(header);
        }
    }
    Err(Error::manifest(format!("components.{name}"), "ends within its header"))
}

/// Hashes every stored piece of every component, optional ones too, and reads every header.
///
/// # Errors
/// [`Error::CorruptPiece`] for the first piece that is gone or wrong, which is removed; [`Error::Manifest`] where a
/// component is not what its header says.
pub async fn verify(
    manifest: &Manifest,
    store: &impl Store,
    digest: &impl Digest,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<()> {
    for (name, component) in &manifest.components {
        for piece in &component.pieces {
            stored_piece(piece, store, digest).await?;
            on_bytes(piece.bytes);
        }
        let header = load_header(manifest, name, store, digest).await?;
        header.schemes(&format!("components.{name}"))?;
    }
    Ok(())
}

/// Feeds a component to the sink that `open` makes for its header.
async fn read_component<K: TensorSink>(
    component: &Component,
    field: &str,
    (store, digest): (&impl Store, &impl Digest),
    open: impl FnOnce(&Header) -> Result<K>,
) -> Result<K> {
    let mut reader = HeaderReader::new(field, component.bytes);
    let mut open = Some(open);
    let mut reading = None;
    for piece in &component.pieces {
        let bytes = stored_piece(piece, store, digest).await?;
        let mut rest = bytes.as_slice();
        if let Some(open_sink) = open.take() {
            match reader.feed(&mut rest)? {
                Some(header) => reading = Some((open_sink(&header)?, TensorStream::new(field, header))),
                None => open = Some(open_sink),
            }
        }
        if let Some((sink, stream)) = &mut reading {
            stream.feed(rest, sink)?;
        }
    }
    let (sink, stream) = reading.ok_or_else(|| Error::manifest(field, "ends within its header"))?;
    stream.finish()?;
    Ok(sink)
}

/// A stored piece, checked; one that is wrong is removed.
async fn stored_piece(piece: &Piece, store: &impl Store, digest: &impl Digest) -> Result<Vec<u8>> {
    let Some(bytes) = store.get(&piece.sha256).await? else {
        return Err(corrupt(piece, "store, where it is missing,"));
    };
    if !is_intact(piece, &bytes, digest).await? {
        store.discard(&piece.sha256, &bytes).await?;
        return Err(corrupt(piece, "store"));
    }
    Ok(bytes)
}

fn corrupt(piece: &Piece, origin: &str) -> Error {
    Error::CorruptPiece { sha256: piece.sha256.clone(), origin: origin.to_owned() }
}

/// Collects whole tensors as bytes.
#[derive(Default)]
struct Files {
    open: Option<(String, Vec<u8>)>,
    complete: BTreeMap<String, Vec<u8>>,
}

impl TensorSink for Files {
    fn begin(&mut self, info: &TensorInfo) -> Result<()> {
        self.open = Some((info.name.clone(), Vec::new()));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((_, content)) = &mut self.open {
            content.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.complete.extend(self.open.take());
        Ok(())
    }
}
