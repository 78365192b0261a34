//! Checkpoints made in memory from the lists of `tests/parity/make_checkpoints.py`, and a sink that keeps pieces.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part, and fails by panicking")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use fraise_engine::convert::{
    self, ByteSource, ConvertOptions, Inputs, Plan, Publication, SafetensorsFile, Vocabulary,
};
use fraise_engine::pack::streams::PieceSink;
use fraise_engine::pack::writer::PackOptions;
use fraise_engine::pack::{Manifest, Piece, Quantization};
use fraise_engine::weights::Scheme;
use fraise_engine::{Error, Result};
use half::f16;
use pollster::block_on;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// Pieces of the packs made here.
pub const PIECE_BYTES: u64 = 1 << 18;

pub fn goldens() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/parity/goldens"))
}

/// The script's `numbers`: multiples of 2^-13 within ±1/8, by a tensor's name.
pub fn numbers(name: &str, shape: &[usize]) -> Vec<f32> {
    let hash = |seed: u32, byte: u8| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let seed = name.bytes().fold(0x811C_9DC5, hash);
    let mixed = |index: u32| index.wrapping_mul(2_654_435_761).wrapping_add(seed);
    (0..shape.iter().product::<usize>() as u32).map(|index| ((mixed(index) >> 21) as f32 - 1024.0) / 8192.0).collect()
}

/// One line of a family's list.
#[derive(Debug, Clone)]
pub struct Line {
    pub part: String,
    pub name: String,
    pub source: String,
    pub form: String,
    /// In the checkpoint.
    pub shape: Vec<usize>,
}

/// A family's list.
pub struct Family {
    pub configs: Value,
    pub left_out: BTreeMap<String, Vec<usize>>,
    pub lines: Vec<Line>,
}

impl Family {
    pub fn load(name: &str) -> Self {
        let text = std::fs::read(goldens().join("checkpoints").join(format!("{name}.json"))).unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap();
        let line = |line: &Value| {
            let fields: Vec<&str> = line.as_str().unwrap().split(' ').collect();
            let [part, name, source, form, shape] = fields[..] else { panic!("{fields:?}") };
            let shape = shape.split('x').map(|length| length.parse().unwrap()).collect();
            Line { part: part.into(), name: name.into(), source: source.into(), form: form.into(), shape }
        };
        Self {
            configs: json["configs"].clone(),
            left_out: serde_json::from_value(json["left_out"].clone()).unwrap(),
            lines: json["tensors"].as_array().unwrap().iter().map(line).collect(),
        }
    }

    /// The checkpoint's tensors with their numbers.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let listed = self.lines.iter().map(|line| (&line.source, &line.shape));
        listed.chain(&self.left_out).map(|(name, shape)| (name.clone(), Tensor::of(name, shape))).collect()
    }

    /// What the tensors of one part of the diffusers folder are, by the list.
    pub fn part(&self, part: &str) -> BTreeMap<String, Tensor> {
        let tensor = |line: &Line| {
            let Tensor { mut shape, values } = Tensor::of(&line.source, &line.shape);
            let values = match line.form.as_str() {
                "=" => values,
                "T" => {
                    shape.reverse();
                    let [rows, columns] = shape[..] else { panic!("{line:?}") };
                    (0..rows * columns).map(|at| values[at % columns * rows + at / columns]).collect()
                }
                third => {
                    let third: usize = third.strip_suffix("/3").unwrap().parse().unwrap();
                    shape[0] /= 3;
                    values.chunks(values.len() / 3).nth(third).unwrap().to_vec()
                }
            };
            if line.source.contains(".attn_1.") {
                shape.truncate(2);
            }
            (line.name.clone(), Tensor { shape, values })
        };
        self.lines.iter().filter(|line| line.part == part).map(tensor).collect()
    }
}

/// Numbers of a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Tensor {
    pub fn of(name: &str, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), values: numbers(name, shape) }
    }
}

/// A safetensors file.
pub fn serialized(tensors: &BTreeMap<String, Tensor>, dtype: Dtype) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .values()
        .map(|tensor| match dtype {
            Dtype::F16 => tensor.values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            _ => tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
        .collect();
    let view = |((name, tensor), bytes): ((&String, &Tensor), _)| {
        (name.clone(), TensorView::new(dtype, tensor.shape.clone(), bytes).unwrap())
    };
    safetensors::serialize(tensors.iter().zip(bytes.iter().map(Vec::as_slice)).map(view), None).unwrap()
}

/// A file in memory that counts what is read of it.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    pub name: String,
    pub bytes: Vec<u8>,
    pub read_bytes: u64,
}

impl MemoryFile {
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), bytes, read_bytes: 0 }
    }
}

impl ByteSource for MemoryFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        self.read_bytes += range.end - range.start;
        Ok(self.bytes[range.start as usize..range.end as usize].to_vec())
    }
}

/// Keeps pieces, and a journal of them by component; breaks off after some of them if told to.
#[derive(Debug, Default, Clone)]
pub struct Pieces {
    pub bytes: BTreeMap<String, Vec<u8>>,
    pub journal: BTreeMap<String, Vec<Piece>>,
    pub breaks_after: Option<usize>,
    pub put: usize,
}

impl PieceSink for Pieces {
    async fn put(&mut self, component: &str, piece: &Piece, bytes: &[u8]) -> Result<()> {
        if self.breaks_after == Some(self.put) {
            return Err(Error::Cancelled);
        }
        self.put += 1;
        self.bytes.insert(piece.sha256.clone(), bytes.to_vec());
        self.journal.entry(component.to_owned()).or_default().push(piece.clone());
        Ok(())
    }

    fn kept(&self, component: &str) -> Vec<Piece> {
        self.journal.get(component).cloned().unwrap_or_default()
    }
}

impl Pieces {
    /// A component's file.
    pub fn component(&self, manifest: &Manifest, name: &str) -> Vec<u8> {
        manifest.components[name].pieces.iter().flat_map(|piece| self.bytes[&piece.sha256].clone()).collect()
    }
}

pub fn options(scheme: Scheme) -> ConvertOptions {
    let pack = PackOptions { quantization: Quantization::All(scheme), piece_bytes: PIECE_BYTES };
    ConvertOptions { pack, prediction: None, publication: Publication::default() }
}

/// The vocabulary of the tiny models.
pub fn vocabulary() -> Vocabulary {
    Vocabulary::from_merges(&std::fs::read(goldens().join("tiny_sd/tokenizer/merges.txt")).unwrap()).unwrap()
}

/// Converts a checkpoint alone.
pub fn convert(file: &mut MemoryFile, scheme: Scheme) -> Result<(Manifest, Pieces)> {
    convert_with(Inputs::new(file), scheme)
}

pub fn convert_with(inputs: Inputs<'_, MemoryFile>, scheme: Scheme) -> Result<(Manifest, Pieces)> {
    let mut pieces = Pieces::default();
    let manifest = run(inputs, &options(scheme), &mut pieces)?;
    Ok((manifest, pieces))
}

/// Converts into a sink that may hold pieces already.
pub fn run(inputs: Inputs<'_, MemoryFile>, options: &ConvertOptions, pieces: &mut Pieces) -> Result<Manifest> {
    let (vocabulary, mut ignore) = (vocabulary(), |_| ());
    block_on(convert::convert_checkpoint(inputs, &vocabulary, options, pieces, &mut ignore))
}

/// Packs a diffusers folder of such parts, with LoRAs.
pub fn pack_folder(
    parts: &[(&str, Value, MemoryFile)],
    loras: &[(MemoryFile, f32)],
    scheme: Scheme,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut plan = Plan { pipeline: "StableDiffusionPipeline".into(), scheduler: Value::Null, components: Vec::new() };
    let mut files = Vec::new();
    for (part, config, file) in parts {
        files.push(block_on(SafetensorsFile::open("SRC", file.clone()))?);
        plan.add_part(part, config, files.len() - 1, &files)?;
    }
    for (lora, weight) in loras {
        files.push(block_on(SafetensorsFile::open("lora", lora.clone()))?);
        block_on(convert::add_lora(&mut plan, &mut files, *weight))?;
    }
    let mut pieces = Pieces::default();
    let written = block_on(convert::write(&plan, &mut files, options(scheme).pack, &mut pieces, &mut |_| ()))?;
    let bytes = |pieces_of: &[Piece]| pieces_of.iter().flat_map(|piece| pieces.bytes[&piece.sha256].clone()).collect();
    Ok(written.into_iter().map(|(name, written)| (name, bytes(&written.pieces))).collect())
}

/// The family's checkpoint as a file.
pub fn checkpoint(family: &Family, dtype: Dtype) -> MemoryFile {
    MemoryFile::new("models/tiny.safetensors", serialized(&family.tensors(), dtype))
}

/// A file's tensors as numbers.
pub fn floats(file: &[u8]) -> BTreeMap<String, Vec<f32>> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    tensors.iter().map(|(name, tensor)| (name.to_owned(), floats_of(&tensor))).collect()
}

pub fn floats_of(tensor: &TensorView<'_>) -> Vec<f32> {
    match tensor.dtype() {
        Dtype::F16 => {
            let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
            tensor.data().chunks_exact(2).map(half).collect()
        }
        _ => tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}
