//! A pack of a few kilobytes, made in memory, and a source that serves it with faults.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part, and fails by panicking")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Range;
use std::task::Poll;

use fraise_engine::pack::streams::{PieceSink, TensorSource};
use fraise_engine::pack::writer::{PackOptions, Written, write_component};
use fraise_engine::pack::{Component, Examples, Manifest, Piece, Quantization, Recommended, TensorInfo};
use fraise_engine::store::Source;
use fraise_engine::{Error, Result};
use safetensors::Dtype;
use serde_json::json;

/// Pieces of the small pack, short so that every component but the tokenizer has several.
pub const PIECE_BYTES: u64 = 4096;

/// A manifest and its pieces by name.
pub struct SmallPack {
    pub manifest: Manifest,
    pub pieces: BTreeMap<String, Vec<u8>>,
}

/// The weights of a component: names and shapes as a UNet has them, an odd bias included.
pub fn weights() -> Vec<(TensorInfo, Vec<f32>)> {
    let shapes: [(&str, &[usize]); 7] = [
        ("conv_in.weight", &[32, 4, 3, 3]),
        ("conv_in.bias", &[32]),
        ("mid_block.resnets.0.conv1.weight", &[32, 32, 3, 3]),
        ("mid_block.attentions.0.proj_in.weight", &[64, 32]),
        ("mid_block.attentions.0.norm.weight", &[32]),
        ("conv_out.weight", &[3, 32, 3, 3]),
        ("conv_out.bias", &[3]),
    ];
    let tensor = |(index, (name, shape)): (usize, (&str, &[usize]))| {
        let len: usize = shape.iter().product();
        let values = (0..len).map(|i| ((i * 7 + index) as f32 * 0.613).sin() * 0.3).collect();
        let info = TensorInfo { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec(), bytes: len * 4 };
        (info, values)
    };
    shapes.into_iter().enumerate().map(tensor).collect()
}

/// Tensors in memory, and the pieces that were made of them.
#[derive(Default)]
pub struct Memory {
    pub contents: Vec<Vec<u8>>,
    pub pieces: BTreeMap<String, Vec<u8>>,
}

impl TensorSource for Memory {
    async fn read(&mut self, index: usize, range: Range<usize>) -> Result<Vec<u8>> {
        Ok(self.contents[index][range].to_vec())
    }
}

struct Pieces<'a>(&'a mut BTreeMap<String, Vec<u8>>);

impl PieceSink for Pieces<'_> {
    async fn put(&mut self, _component: &str, piece: &Piece, bytes: &[u8]) -> Result<()> {
        self.0.insert(piece.sha256.clone(), bytes.to_vec());
        Ok(())
    }
}

/// Writes tensors as a component and collects its pieces.
pub fn write(
    component: &str,
    quantization: impl Into<Quantization>,
    tensors: &[(TensorInfo, Vec<u8>)],
    pieces: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Written> {
    let (infos, contents): (Vec<_>, Vec<_>) = tensors.iter().cloned().unzip();
    let mut source = Memory { contents, ..Memory::default() };
    let options = PackOptions { quantization: quantization.into(), piece_bytes: PIECE_BYTES };
    pollster::block_on(write_component(component, options, &infos, &mut source, &mut Pieces(pieces)))
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A whole pack of such components.
pub fn small_pack(quantization: impl Into<Quantization> + Copy) -> SmallPack {
    let mut pieces = BTreeMap::new();
    let mut components = BTreeMap::new();
    let file = |name: &str, content: &[u8]| {
        let info = TensorInfo { name: name.into(), dtype: Dtype::U8, shape: vec![content.len()], bytes: content.len() };
        (info, content.to_vec())
    };
    for name in ["text_encoder", "tokenizer", "unet", "vae_decoder", "vae_encoder"] {
        let tensors: Vec<(TensorInfo, Vec<u8>)> = if name == "tokenizer" {
            vec![file("vocab.json", b"{\"a</w>\":0}"), file("merges.txt", b"#version: 0.2\n")]
        } else {
            // Components differ by a factor, so that they share no pieces.
            let factor = name.len() as f32 + if name == "vae_encoder" { 0.5 } else { 0.0 };
            let scaled = |values: Vec<f32>| values.iter().map(|value| value * factor).collect::<Vec<f32>>();
            weights().into_iter().map(|(info, values)| (info, bytes(&scaled(values)))).collect()
        };
        let written = write(name, quantization, &tensors, &mut pieces).unwrap();
        let component = Component {
            config: json!({ "sample_size": 8 }),
            pieces: written.pieces,
            bytes: written.bytes,
            optional: name == "vae_encoder",
        };
        components.insert(name.to_owned(), component);
    }
    let manifest = Manifest {
        format: 1,
        name: "small".into(),
        license: "CC0-1.0".into(),
        license_restrictions: String::new(),
        source: "made by a test".into(),
        pipeline: "StableDiffusionPipeline".into(),
        total_bytes: components.values().map(|component| component.bytes).sum(),
        components,
        scheduler: json!({ "_class_name": "DDIMScheduler", "num_train_timesteps": 1000 }),
        recommended: Recommended { steps: 4, guidance: 3.0, width: 64, height: 64, upscale: false },
        examples: Examples { en: vec!["a strawberry".into()], zh: vec!["草莓".into()] },
        negative_phrase: None,
    };
    SmallPack { manifest, pieces }
}

/// What a source does wrong with a piece, once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    Flip,
    Truncate,
    Extend,
    Fail,
}

/// Serves a pack, keeps a record of what was asked for, and misbehaves on demand.
pub struct TestSource {
    pub manifest: Vec<u8>,
    pub pieces: BTreeMap<String, Vec<u8>>,
    pub is_offline: Cell<bool>,
    pub faults: RefCell<Vec<(String, Fault)>>,
    pub fetched: RefCell<Vec<String>>,
    pub in_flight: Cell<usize>,
    pub most_in_flight: Cell<usize>,
}

impl TestSource {
    pub fn new(pack: &SmallPack) -> Self {
        Self {
            manifest: pack.manifest.to_bytes().unwrap(),
            pieces: pack.pieces.clone(),
            is_offline: Cell::new(false),
            faults: RefCell::default(),
            fetched: RefCell::default(),
            in_flight: Cell::new(0),
            most_in_flight: Cell::new(0),
        }
    }

    pub fn with_faults(self, sha256: &str, faults: &[Fault]) -> Self {
        self.faults.borrow_mut().extend(faults.iter().map(|fault| (sha256.to_owned(), *fault)));
        self
    }

    fn next_fault(&self, sha256: &str) -> Option<Fault> {
        let mut faults = self.faults.borrow_mut();
        let index = faults.iter().position(|(piece, _)| piece == sha256)?;
        Some(faults.remove(index).1)
    }
}

fn unreachable(url: &str) -> Error {
    Error::Network { url: url.to_owned(), status: 503 }
}

impl Source for TestSource {
    fn address(&self) -> &str {
        "https://example.org/small/manifest.json"
    }

    async fn manifest(&self) -> Result<Vec<u8>> {
        if self.is_offline.get() { Err(unreachable("manifest.json")) } else { Ok(self.manifest.clone()) }
    }

    async fn piece(&self, sha256: &str, _bytes: u64, on_bytes: &mut dyn FnMut(u64)) -> Result<Vec<u8>> {
        self.fetched.borrow_mut().push(sha256.to_owned());
        self.in_flight.set(self.in_flight.get() + 1);
        self.most_in_flight.set(self.most_in_flight.get().max(self.in_flight.get()));
        pause().await;
        self.in_flight.set(self.in_flight.get() - 1);
        let mut bytes = self.pieces.get(sha256).cloned().ok_or_else(|| unreachable(sha256))?;
        match self.next_fault(sha256) {
            _ if self.is_offline.get() => return Err(unreachable(sha256)),
            Some(Fault::Fail) => return Err(unreachable(sha256)),
            Some(Fault::Flip) => bytes[17] ^= 1,
            Some(Fault::Truncate) => bytes.truncate(bytes.len() - 1),
            Some(Fault::Extend) => bytes.push(0),
            None => (),
        }
        on_bytes(bytes.len() as u64 / 2);
        on_bytes(bytes.len() as u64);
        Ok(bytes)
    }
}

/// Lets other futures run once.
async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
