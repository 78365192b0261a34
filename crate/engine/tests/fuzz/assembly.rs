//! Components whose pieces are of the wrong length, order, number or content.

use std::collections::BTreeMap;

use burn::tensor::Device;
use fraise_engine::loader::{load_component, load_files, load_header, verify};
use fraise_engine::pack::{Component, Manifest, Piece};
use fraise_engine::store::{Digest, MemoryStore, Sha2Digest, Store, hex};
use fraise_engine::weights::Scheme;
use pollster::block_on;
use safetensors::SafeTensors;

use crate::common::Random;
use crate::harness::{Input, accepted, fuzz, turn, within};
use crate::mutate::{one_in, pick};
use crate::small_pack::small_pack;

const CODES: [&str; 2] = ["CorruptPiece", "Manifest"];

/// The pieces that a manifest lists, and whether the store has another content for one of them.
#[derive(Debug)]
struct Pieces {
    listed: Vec<Input>,
    damaged: Option<usize>,
}

#[test]
fn pieces() {
    let _turn = turn();
    let pack = small_pack(Scheme::Q8);
    let whole = |name: &str| -> Vec<u8> {
        pack.manifest.components[name].pieces.iter().flat_map(|piece| pack.pieces[&piece.sha256].clone()).collect()
    };
    let files = [whole("tokenizer"), safetensors(&[("a", &[7; 100]), ("b", &[]), ("c", &[9; 33])]), safetensors(&[])];
    let next = |random: &mut Random| {
        let file: &Vec<u8> = pick(random, &files);
        let mut listed = cut(random, file);
        for _ in 0..random.between(0, 2) {
            edit(random, &mut listed);
        }
        let damaged = one_in(random, 6).then(|| random.between(0, listed.len() - 1));
        Pieces { listed: listed.into_iter().map(Input).collect(), damaged }
    };
    let corpus = files.iter().map(|file| Pieces { listed: vec![Input(file.clone())], damaged: None }).collect();
    let device = Device::flex();
    fuzz("assembly", corpus, next, |pieces| check(pieces, &pack.manifest, &device));
}

fn check(pieces: &Pieces, manifest: &Manifest, device: &Device) -> bool {
    let whole = pieces.listed.iter().flat_map(|Input(bytes)| bytes.clone()).collect::<Vec<u8>>();
    let (component, store) = stored(pieces, &whole);
    let manifest = Manifest { components: BTreeMap::from([("part".to_owned(), component)]), ..manifest.clone() };
    let limit = (64 << 10) + 64 * whole.len();
    let files = within(limit, || block_on(load_files(&manifest, "part", &store, &Sha2Digest)));
    let files = accepted(files, &CODES);
    // A wrong piece is removed, and so missing from then on.
    let removed = pieces.damaged.is_some() && files.is_none();
    let header = accepted(block_on(load_header(&manifest, "part", &store, &Sha2Digest)), &CODES);
    let weights = accepted(block_on(load_component(&manifest, "part", &store, &Sha2Digest, device)), &CODES);
    let verified = accepted(block_on(verify(&manifest, &store, &Sha2Digest, &mut |_| ())), &CODES);
    let Some(files) = files else {
        assert!(weights.is_none() && !(removed && verified.is_some()));
        return false;
    };
    assert_eq!(files.len(), header.unwrap().tensors.len());
    let expected = SafeTensors::deserialize(&whole).unwrap();
    assert_eq!(files.len(), expected.len());
    for (name, content) in &files {
        assert_eq!(content, expected.tensor(name).unwrap().data(), "{name}");
    }
    true
}

/// A component that lists the pieces, and a store that holds them.
fn stored(pieces: &Pieces, whole: &[u8]) -> (Component, MemoryStore) {
    let store = MemoryStore::default();
    let mut component =
        Component { config: serde_json::json!({}), pieces: Vec::new(), bytes: whole.len() as u64, optional: false };
    for Input(bytes) in &pieces.listed {
        let sha256 = hex(&block_on(Sha2Digest.sha256(bytes)).unwrap());
        block_on(store.put(&sha256, bytes.clone())).unwrap();
        component.pieces.push(Piece { sha256, bytes: bytes.len() as u64 });
    }
    if let Some(index) = pieces.damaged {
        let other = [&pieces.listed[index].0[..], &[0]].concat();
        block_on(store.put(&component.pieces[index].sha256, other)).unwrap();
    }
    (component, store)
}

/// The file in one to six pieces of random lengths.
fn cut(random: &mut Random, file: &[u8]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = (0..random.between(0, 5)).map(|_| random.between(1, file.len() - 1)).collect();
    cuts.extend([0, file.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| file[pair[0]..pair[1]].to_vec()).collect()
}

/// Does one thing wrong; a piece is left, at least.
fn edit(random: &mut Random, pieces: &mut Vec<Vec<u8>>) {
    let [at, other] = [0, 1].map(|_| random.between(0, pieces.len() - 1));
    match random.between(0, 6) {
        0 if pieces.len() > 1 => drop(pieces.remove(at)),
        1 => pieces.insert(other, pieces[at].clone()),
        2 => pieces.swap(at, other),
        3 => pieces[at].push(random.next() as u8),
        4 => drop(pieces[at].pop()),
        5 => pieces[at].resize(random.between(0, 9000), 0),
        _ => {
            if let Some(length) = pieces[at].len().checked_sub(1) {
                pieces[at][random.between(0, length)] ^= 1 << random.between(0, 7);
            }
        }
    }
}

/// A file of bytes by name.
fn safetensors(tensors: &[(&str, &[u8])]) -> Vec<u8> {
    let views = tensors.iter().map(|&(name, data)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![data.len()], data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}
