//! Bad input and bad networks, each with its error code and what it leaves behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod small_pack;

use std::collections::BTreeMap;
use std::task::{Context, Waker};

use burn::tensor::Device;
use fraise_engine::loader::{self, PARALLEL_DOWNLOADS, Phase, Progress, download, load_component};
use fraise_engine::pack::{Manifest, TensorInfo, TensorSink};
use fraise_engine::store::{MemoryStore, Sha2Digest, Source, Store};
use fraise_engine::weights::{Scheme, WeightsBuilder};
use fraise_engine::{Error, Result};
use pollster::block_on;
use safetensors::Dtype;
use serde_json::{Value, json};
use small_pack::{Fault, SmallPack, TestSource, small_pack};

fn load(source: &TestSource, store: &MemoryStore) -> Result<Manifest> {
    block_on(download(source, store, &Sha2Digest, &mut |_| ()))
}

/// A pack, a store that holds it, and its source with nothing fetched yet.
fn loaded() -> (SmallPack, MemoryStore, TestSource) {
    let pack = small_pack(Scheme::Q8);
    let (store, source) = (MemoryStore::default(), TestSource::new(&pack));
    load(&source, &store).unwrap();
    source.fetched.borrow_mut().clear();
    (pack, store, source)
}

fn piece(pack: &SmallPack, component: &str, index: usize) -> String {
    pack.manifest.components[component].pieces[index].sha256.clone()
}

#[test]
fn a_second_visit_needs_no_network() {
    let (pack, store, source) = loaded();
    source.is_offline.set(true);
    assert_eq!(load(&source, &store).unwrap(), pack.manifest);
    assert!(source.fetched.borrow().is_empty());
}

#[test]
fn pieces_come_a_few_at_a_time_and_optional_ones_stay_away() {
    let pack = small_pack(Scheme::Q8);
    let (store, source) = (MemoryStore::default(), TestSource::new(&pack));
    let mut reports: Vec<Progress> = Vec::new();
    block_on(download(&source, &store, &Sha2Digest, &mut |progress| reports.push(progress))).unwrap();
    assert_eq!(source.most_in_flight.get(), PARALLEL_DOWNLOADS);
    let required: u64 = pack.manifest.required_pieces().iter().map(|piece| piece.bytes).sum();
    assert_eq!(required, pack.manifest.total_bytes - pack.manifest.components["vae_encoder"].bytes);
    let last = reports.last().unwrap();
    assert_eq!((last.phase, last.loaded_bytes, last.total_bytes), (Phase::Download, required, required));
    assert!(reports.windows(2).all(|pair| pair[0].loaded_bytes <= pair[1].loaded_bytes));
    let present = block_on(store.present()).unwrap();
    assert!(!present.contains(&piece(&pack, "vae_encoder", 0)));
}

#[test]
fn an_interrupted_load_is_never_complete_and_resumes_with_the_missing_pieces() {
    let pack = small_pack(Scheme::Q8);
    let wanted = pack.manifest.required_pieces().len();
    for (failing, required) in pack.manifest.required_pieces().into_iter().enumerate() {
        let store = MemoryStore::default();
        let source = TestSource::new(&pack).with_faults(&required.sha256, &[Fault::Fail]);
        assert_eq!(load(&source, &store).unwrap_err().code(), "Network");
        assert_eq!(block_on(store.completion(source.address())).unwrap(), None, "piece {failing}");
        let kept = block_on(store.present()).unwrap();
        source.fetched.borrow_mut().clear();
        load(&source, &store).unwrap();
        let fetched = source.fetched.borrow();
        assert_eq!(fetched.len(), wanted - kept.len());
        assert!(fetched.iter().all(|sha256| !kept.contains(sha256)));
    }
}

#[test]
fn a_load_dropped_at_any_moment_is_never_complete() {
    let pack = small_pack(Scheme::Q8);
    for polls in 0..30 {
        let (store, source) = (MemoryStore::default(), TestSource::new(&pack));
        let mut on_progress = |_| ();
        let mut loading = Box::pin(download(&source, &store, &Sha2Digest, &mut on_progress));
        let mut context = Context::from_waker(Waker::noop());
        let finished = (0..polls).any(|_| loading.as_mut().poll(&mut context).is_ready());
        drop(loading);
        let present = block_on(store.present()).unwrap();
        let all = pack.manifest.required_pieces().iter().all(|piece| present.contains(&piece.sha256));
        let completed = block_on(store.completion(source.address())).unwrap().is_some();
        assert_eq!(completed, finished, "after {polls} polls");
        assert!(!completed || all, "complete with pieces missing after {polls} polls");
    }
}

#[test]
fn a_wrong_piece_is_fetched_once_more_and_then_named() {
    let pack = small_pack(Scheme::Q8);
    let sha256 = piece(&pack, "unet", 1);
    for fault in [Fault::Flip, Fault::Truncate, Fault::Extend] {
        let store = MemoryStore::default();
        let source = TestSource::new(&pack).with_faults(&sha256, &[fault]);
        load(&source, &store).unwrap();
        assert_eq!(source.fetched.borrow().iter().filter(|name| **name == sha256).count(), 2, "{fault:?}");

        let store = MemoryStore::default();
        let source = TestSource::new(&pack).with_faults(&sha256, &[fault, fault]);
        let expected = Error::CorruptPiece { sha256: sha256.clone(), origin: "network".into() };
        assert_eq!(load(&source, &store), Err(expected), "{fault:?}");
        assert!(!block_on(store.present()).unwrap().contains(&sha256));
        assert_eq!(block_on(store.completion(source.address())).unwrap(), None);
    }
}

#[test]
fn a_damaged_completion_record_counts_as_none() {
    let (_, store, source) = loaded();
    let mut record = block_on(store.completion(source.address())).unwrap().unwrap();
    record.manifest[40] ^= 1;
    block_on(store.complete(source.address(), record)).unwrap();
    source.is_offline.set(true);
    assert_eq!(load(&source, &store).unwrap_err().code(), "Network");
    source.is_offline.set(false);
    load(&source, &store).unwrap();
    assert!(source.fetched.borrow().is_empty(), "the pieces are still there");
}

/// Damages stored piece 1 of the UNet, then loads: the piece is named, purged, and alone fetched again.
fn damaged_store(pack: &SmallPack, store: &MemoryStore, source: &TestSource, index: usize, bytes: Option<Vec<u8>>) {
    let sha256 = piece(pack, "unet", index);
    match bytes {
        Some(bytes) => block_on(store.put(&sha256, bytes)).unwrap(),
        None => block_on(store.discard(&sha256, &pack.pieces[&sha256])).unwrap(),
    }
    match block_on(load_component(&pack.manifest, "unet", store, &Sha2Digest, &Device::flex())).map(|_| ()) {
        Err(Error::CorruptPiece { sha256: found, origin }) => {
            assert!(found == sha256 && origin.starts_with("store"), "{origin}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!block_on(store.present()).unwrap().contains(&sha256));
    load(source, store).unwrap();
    assert_eq!(*source.fetched.borrow(), [sha256]);
    source.fetched.borrow_mut().clear();
    block_on(load_component(&pack.manifest, "unet", store, &Sha2Digest, &Device::flex())).map(|_| ()).unwrap();
}

#[test]
fn a_stored_piece_that_changed_is_purged_and_fetched_again() {
    let (pack, store, source) = loaded();
    let content = pack.pieces[&piece(&pack, "unet", 1)].clone();
    damaged_store(&pack, &store, &source, 1, Some(content[..content.len() - 1].to_vec()));
    damaged_store(&pack, &store, &source, 1, Some([&content[..], &[0]].concat()));
    damaged_store(&pack, &store, &source, 1, Some(Vec::new()));
    damaged_store(&pack, &store, &source, 1, None);
    for position in [0, content.len() / 2, content.len() - 1] {
        let mut flipped = content.clone();
        flipped[position] ^= 1;
        damaged_store(&pack, &store, &source, 1, Some(flipped));
    }
    let header = pack.pieces[&piece(&pack, "unet", 0)].clone();
    for position in [0, 3, 9, 60] {
        let mut flipped = header.clone();
        flipped[position] ^= 0x80;
        damaged_store(&pack, &store, &source, 0, Some(flipped));
    }
}

#[test]
fn verifying_finds_a_flipped_bit_anywhere() {
    let (pack, store, _) = loaded();
    for sha256 in &pack.manifest.components["vae_encoder"].pieces {
        block_on(store.put(&sha256.sha256, pack.pieces[&sha256.sha256].clone())).unwrap();
    }
    let verify = || block_on(loader::verify(&pack.manifest, &store, &Sha2Digest, &mut |_| ()));
    verify().unwrap();
    for (sha256, content) in &pack.pieces {
        let mut flipped = content.clone();
        *flipped.last_mut().unwrap() ^= 4;
        block_on(store.put(sha256, flipped)).unwrap();
        assert_eq!(verify(), Err(Error::CorruptPiece { sha256: sha256.clone(), origin: "store".into() }));
        block_on(store.put(sha256, content.clone())).unwrap();
    }
}

#[test]
fn missing_unexpected_and_misshapen_tensors_are_named() {
    let (pack, store, _) = loaded();
    let weights = || block_on(load_component(&pack.manifest, "unet", &store, &Sha2Digest, &Device::flex())).unwrap();
    let name = |error: Error| (error.code(), serde_json::to_value(error).unwrap()["details"]["name"].clone());
    let missing = weights().root().weight("conv_in.weights", &[32, 4, 3, 3]).unwrap_err();
    assert_eq!(name(missing), ("MissingTensor", json!("unet.conv_in.weights")));
    let misshapen = weights().root().weight("conv_in.weight", &[32, 9, 3, 3]).unwrap_err();
    assert_eq!(name(misshapen), ("ShapeMismatch", json!("unet.conv_in.weight")));
    let misshapen = weights().root().vector("conv_out.bias", 4).unwrap_err();
    assert_eq!(name(misshapen), ("ShapeMismatch", json!("unet.conv_out.bias")));
    let unexpected = weights().finish().unwrap_err();
    assert_eq!(unexpected.code(), "UnexpectedTensor");
}

#[test]
fn a_tensor_that_no_memory_holds_is_an_error() {
    let info = TensorInfo { name: "w".into(), dtype: Dtype::U8, shape: vec![2, 1 << 61], bytes: 1 << 62 };
    let begun = WeightsBuilder::new("unet", &BTreeMap::new(), &Device::flex()).begin(&info);
    assert_eq!(begun, Err(Error::OutOfMemory { needed_bytes: 1 << 62 }));
}

/// A change to the manifest's JSON, and the field that the error must name.
type Wrong = (&'static str, fn(&mut Value));

const WRONG_MANIFESTS: &[Wrong] = &[
    ("format", |m| m["format"] = json!(2)),
    ("format", |m| m["format"] = json!("1")),
    ("format", |m| drop(m.as_object_mut().unwrap().remove("format"))),
    ("name", |m| m["name"] = json!("")),
    ("name", |m| m["name"] = json!("two\nlines")),
    ("name", |m| m["name"] = json!("x".repeat(129))),
    ("license", |m| m["license"] = json!("")),
    ("pipeline", |m| m["pipeline"] = json!("../Pipeline")),
    ("scheduler", |m| m["scheduler"] = json!([])),
    ("scheduler.num_train_timesteps", |m| m["scheduler"]["num_train_timesteps"] = json!(1_000_000_000)),
    ("scheduler.num_train_timesteps", |m| m["scheduler"]["num_train_timesteps"] = json!(-1)),
    ("recommended.steps", |m| m["recommended"]["steps"] = json!(0)),
    ("recommended.steps", |m| m["recommended"]["steps"] = json!(151)),
    ("recommended.steps", |m| m["recommended"]["steps"] = json!(-4)),
    ("recommended.guidance", |m| m["recommended"]["guidance"] = json!(31)),
    ("recommended.width", |m| m["recommended"]["width"] = json!(4096)),
    ("recommended.height", |m| m["recommended"]["height"] = json!(0)),
    ("examples.en", |m| m["examples"]["en"] = json!(vec!["a"; 65])),
    ("examples.zh[0]", |m| m["examples"]["zh"] = json!(["草".repeat(400)])),
    ("negative_phrase", |m| m["negative_phrase"] = json!("")),
    ("negative_phrase", |m| m["negative_phrase"] = json!("   ")),
    ("negative_phrase", |m| m["negative_phrase"] = json!(" without\n")),
    ("negative_phrase", |m| m["negative_phrase"] = json!("x".repeat(65))),
    ("negative_phrase", |m| m["negative_phrase"] = json!([" without "])),
    ("total_bytes", |m| m["total_bytes"] = json!(1)),
    ("total_bytes", |m| m["total_bytes"] = json!(-1)),
    ("total_bytes", |m| m["total_bytes"] = json!(1e15)),
    ("components", |m| m["components"] = json!([])),
    ("components.unet", |m| drop(m["components"].as_object_mut().unwrap().remove("unet"))),
    ("components.../etc", |m| m["components"]["../etc"] = m["components"]["unet"].clone()),
    ("components.__proto__", |m| m["components"]["__proto__"] = m["components"]["unet"].clone()),
    ("components.UNet", |m| m["components"]["UNet"] = m["components"]["unet"].clone()),
    ("components", |m| {
        for index in 0..16 {
            m["components"][format!("part{index}")] = m["components"]["unet"].clone();
        }
    }),
    ("components.unet.config", |m| m["components"]["unet"]["config"] = json!(null)),
    ("components.unet.config.sample_size", |m| m["components"]["unet"]["config"]["sample_size"] = json!(1u64 << 53)),
    ("components.unet.config.a[1].b", |m| m["components"]["unet"]["config"]["a"] = json!([1, { "b": -2e9 }])),
    ("components.unet.bytes", |m| m["components"]["unet"]["bytes"] = json!(7)),
    ("components.unet.pieces", |m| m["components"]["unet"]["pieces"] = json!([])),
    ("components.unet.pieces", |m| {
        m["components"]["unet"]["pieces"] = json!(vec![m["components"]["unet"]["pieces"][0].clone(); 4097]);
    }),
    ("components.unet.pieces[0].sha256", |m| m["components"]["unet"]["pieces"][0]["sha256"] = json!("../../secret")),
    ("components.unet.pieces[1].sha256", |m| m["components"]["unet"]["pieces"][1]["sha256"] = json!("A".repeat(64))),
    ("components.unet.pieces[0].bytes", |m| m["components"]["unet"]["pieces"][0]["bytes"] = json!(0)),
    ("components.unet.pieces[0].bytes", |m| m["components"]["unet"]["pieces"][0]["bytes"] = json!(1u64 << 40)),
    ("components.unet.pieces[0].bytes", |m| m["components"]["unet"]["pieces"][0]["bytes"] = json!(-1)),
    ("components.unet.pieces[0].bytes", |m| m["components"]["unet"]["pieces"][0]["bytes"] = json!(u64::MAX)),
    ("components.unet.pieces[0].bytes", |m| m["components"]["unet"]["pieces"][0]["bytes"] = json!(4096.5)),
];

#[test]
fn every_wrong_manifest_is_refused_by_its_field_before_any_piece_is_fetched() {
    let pack = small_pack(Scheme::Q8);
    let good: Value = serde_json::from_slice(&pack.manifest.to_bytes().unwrap()).unwrap();
    for (index, (expected, spoil)) in WRONG_MANIFESTS.iter().enumerate() {
        let mut wrong = good.clone();
        spoil(&mut wrong);
        refused(&pack, serde_json::to_vec(&wrong).unwrap(), expected, index);
    }
}

#[test]
fn manifests_that_are_hardly_json_are_refused() {
    let pack = small_pack(Scheme::Q8);
    let good = String::from_utf8(pack.manifest.to_bytes().unwrap()).unwrap();
    let unet = serde_json::to_string(&pack.manifest.components["unet"]).unwrap();
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let cases = [
        ("manifest.json", String::new()),
        ("manifest.json", "<!doctype html><title>404</title>".to_owned()),
        ("manifest.json", good[..good.len() / 2].to_owned()),
        ("manifest.json", format!("{good}{good}")),
        ("manifest.json", "[".repeat(1 << 20)),
        ("manifest.json", " ".repeat((1 << 20) + 1)),
        ("components", good.replacen("\"components\": {", &format!("\"components\": {{\"unet\": {unet},"), 1)),
        (
            "scheduler.deep[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]",
            good.replacen("\"scheduler\": {", &format!("\"scheduler\": {{\"deep\": {deep},"), 1),
        ),
    ];
    for (index, (expected, text)) in cases.into_iter().enumerate() {
        refused(&pack, text.into_bytes(), expected, index);
    }
}

fn refused(pack: &SmallPack, manifest: Vec<u8>, expected: &str, index: usize) {
    let source = TestSource { manifest, ..TestSource::new(pack) };
    let store = MemoryStore::default();
    match load(&source, &store) {
        Err(Error::Manifest { field, reason }) => assert_eq!(field, expected, "case {index}: {reason}"),
        other => panic!("case {index}, {expected}: {other:?}"),
    }
    assert!(source.fetched.borrow().is_empty(), "case {index} fetched");
    assert!(block_on(store.present()).unwrap().is_empty(), "case {index} left something behind");
}
