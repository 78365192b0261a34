//! Weights on the device, as the pack stores them.
//!
//! [`WeightsBuilder`] receives a component's tensors as a stream of bytes and writes them straight into device
//! buffers; [`Weights`] hands them out by name while the modules are built, so that a missing, an unexpected or a
//! misshapen tensor is an error with its name.

mod builder;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Bytes, DType, Device, Int, Tensor, TensorData};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use burn_wgpu::Wgpu;
use half::f16;
use safetensors::Dtype;

use crate::{Error, Result, kernels};

pub use builder::WeightsBuilder;

/// How a weight's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers in −127..=127, one f16 scale per 32.
    Q8,
    /// 4-bit integers in −7..=7 stored plus 8, low nibble first, one f16 scale per 32.
    Q4,
}

impl Scheme {
    /// All schemes, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8, Self::Q4];

    /// Whether weights have scales.
    pub fn is_quantized(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }
}

/// A matrix of weights, possibly quantized: `rows` outputs by `columns` flattened inputs.
///
/// Usually one part; several where it is larger than the device lets a shader see at once.
#[derive(Debug, Clone)]
pub struct Weight {
    /// How the numbers are stored.
    pub scheme: Scheme,
    /// Number of outputs.
    pub rows: usize,
    /// Number of inputs; for a convolution Cin·ky·kx in that order.
    pub columns: usize,
    /// The rows in order, cut into one or more parts.
    pub parts: Vec<WeightPart>,
}

/// Some rows of a [`Weight`].
#[derive(Debug, Clone)]
pub struct WeightPart {
    /// Number of outputs.
    pub rows: usize,
    /// Different from that of all others made so far, but for clones of this one.
    pub id: u32,
    /// The stored bytes as little-endian words, padded to a whole word.
    pub words: Tensor<1, Int>,
    /// For quantized schemes, [rows, columns/32] f16 scales as words.
    pub scales: Option<Tensor<1, Int>>,
    /// What a kernel made of them for good; clones of this part share it.
    pub kept: Kept,
}

/// A tensor that is made once, and what it was made for.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<Option<(u32, Tensor<1>)>>>);

impl Kept {
    /// The tensor for `purpose`: the one that is kept, or else what `make` makes, which is kept from now on.
    pub fn get_or_make(&self, purpose: u32, make: impl FnOnce() -> Tensor<1>) -> Tensor<1> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((known, tensor)) if *known == purpose => tensor.clone(),
            _ => kept.insert((purpose, make())).1.clone(),
        }
    }
}

impl Weight {
    /// A product's other factor, which a model computes itself, in the place of a weight: [rows, columns].
    pub fn of(values: Tensor<2>) -> Self {
        let [rows, columns] = values.dims();
        let words = match values.clone().reshape([rows * columns]).try_into_primitive::<Wgpu>() {
            Ok(values) => Tensor::from_primitive::<Wgpu>(CubeTensor { dtype: DType::U32, ..into_contiguous(values) }),
            Err(_) => {
                let data = values.to_data();
                let bytes = Bytes::from_bytes_vec(data.bytes().to_vec());
                let data = TensorData::from_bytes(bytes, [rows * columns], DType::U32);
                Tensor::from_data(data, (&values.device(), DType::U32))
            }
        };
        Self { scheme: Scheme::F32, rows, columns, parts: vec![WeightPart::new(rows, words, None)] }
    }

    /// Several of one kind and shape, one below the other; `None` where they differ, or their words cannot be joined. On the
    /// processor each stays a part.
    pub fn joined(weights: &[&Self]) -> Option<Self> {
        /// Rows that no kernel computes together with others.
        const TILE_ROWS: usize = 16;
        let first = weights.first()?;
        let kind = |weight: &Self| (weight.scheme, weight.rows, weight.columns, weight.parts.len());
        if !first.rows.is_multiple_of(TILE_ROWS) || weights.iter().any(|weight| kind(weight) != kind(first)) {
            return None;
        }
        let parts: Vec<_> = weights.iter().flat_map(|weight| &weight.parts).collect();
        let rows = first.rows * weights.len();
        let parts = match first.device() == Device::flex() {
            true => parts.into_iter().cloned().collect(),
            false if parts.len() > weights.len() => return None,
            false => {
                let words = kernels::cat_words(&parts.iter().map(|part| &part.words).collect::<Vec<_>>())?;
                let scales: Vec<_> = parts.iter().filter_map(|part| part.scales.as_ref()).collect();
                let scales = if scales.is_empty() { None } else { Some(kernels::cat_words(&scales)?) };
                vec![WeightPart::new(rows, words, scales)]
            }
        };
        Some(Self { scheme: first.scheme, rows, columns: first.columns, parts })
    }

    /// The weight at `index` of `count` that were [`Self::joined`].
    pub fn one_of(&self, index: usize, count: usize) -> Self {
        let rows = self.rows / count;
        let part = |words: &Tensor<1, Int>| {
            let each = words.dims()[0] / count;
            words.clone().narrow(0, index * each, each)
        };
        let parts = match &self.parts[..] {
            [all] => vec![WeightPart::new(rows, part(&all.words), all.scales.as_ref().map(part))],
            parts => parts.chunks(parts.len() / count).nth(index).unwrap_or_default().to_vec(),
        };
        Self { rows, parts, ..self.clone() }
    }

    /// The device that holds it.
    pub fn device(&self) -> Device {
        self.parts[0].words.device()
    }

    /// The weight as floats of `shape`, for the plain-tensor twins and the CPU. Reads back, so only for CPU tensors.
    pub fn dequantize<const D: usize>(&self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let values =
            self.parts.iter().flat_map(|part| part.dequantize(self.scheme, self.columns)).collect::<Vec<f32>>();
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

impl WeightPart {
    /// A part with an id of its own.
    pub fn new(rows: usize, words: Tensor<1, Int>, scales: Option<Tensor<1, Int>>) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        Self { rows, id: LAST.fetch_add(1, Ordering::Relaxed), words, scales, kept: Kept::default() }
    }

    fn dequantize(&self, scheme: Scheme, columns: usize) -> Vec<f32> {
        let words = read_words(&self.words);
        let scales: Vec<f32> = match &self.scales {
            Some(scales) => f16s(&read_words(scales)).map(f32::from).collect(),
            None => Vec::new(),
        };
        let count = self.rows * columns;
        match scheme {
            Scheme::F32 => words.iter().map(|&word| f32::from_bits(word)).take(count).collect(),
            Scheme::F16 => f16s(&words).map(f32::from).take(count).collect(),
            Scheme::Q8 => {
                let bytes: &[i8] = bytemuck::cast_slice(&words);
                bytes[..count]
                    .chunks(32)
                    .zip(&scales)
                    .flat_map(|(block, s)| block.iter().map(move |&q| f32::from(q) * s))
                    .collect()
            }
            Scheme::Q4 => {
                let bytes: &[u8] = bytemuck::cast_slice(&words);
                let unpack = |byte: u8| [byte & 15, byte >> 4].map(|nibble| f32::from(nibble) - 8.0);
                bytes[..count / 2]
                    .chunks(16)
                    .zip(&scales)
                    .flat_map(|(block, s)| block.iter().flat_map(move |&byte| unpack(byte)).map(move |q| q * s))
                    .collect()
            }
        }
    }
}

fn read_words(words: &Tensor<1, Int>) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(words.to_data().bytes())
}

fn f16s(words: &[u32]) -> impl Iterator<Item = f16> + '_ {
    words.iter().flat_map(|word| [*word as u16, (*word >> 16) as u16]).map(f16::from_bits)
}

/// A stored tensor before a module claims it.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    content: Content,
}

enum Content {
    /// A vector, decoded to f32.
    Vector(Box<Tensor<1>>),
    /// Anything larger, as it is in the file, cut after every so many rows.
    Words { parts: Vec<Tensor<1, Int>>, rows_per_part: usize },
}

/// One component's tensors, each claimed once by the module it belongs to.
pub struct Weights {
    component: String,
    quantized: BTreeMap<String, Scheme>,
    tensors: BTreeMap<String, Stored>,
    device_bytes: u64,
}

impl Weights {
    /// Bytes of device buffers that hold this component.
    pub fn device_bytes(&self) -> u64 {
        self.device_bytes
    }

    /// The root of the component's tensor names.
    pub fn root(&mut self) -> Scope<'_> {
        Scope { weights: self, prefix: String::new() }
    }

    /// Drops tensors that inference has no use for (index buffers of old checkpoints).
    pub fn ignore(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// Checks that every tensor was claimed.
    ///
    /// # Errors
    /// [`Error::UnexpectedTensor`] naming the first that was not.
    pub fn finish(self) -> Result<()> {
        match self.tensors.keys().next() {
            Some(name) => Err(Error::UnexpectedTensor { name: format!("{}.{name}", self.component) }),
            None => Ok(()),
        }
    }
}

/// A place in the tree of tensor names: `scope.sub("down_blocks").sub(0)` is the prefix `down_blocks.0.`.
pub struct Scope<'a> {
    weights: &'a mut Weights,
    prefix: String,
}

impl Scope<'_> {
    /// The scope below `name`.
    pub fn sub(&mut self, name: impl std::fmt::Display) -> Scope<'_> {
        Scope { prefix: format!("{}{name}.", self.prefix), weights: self.weights }
    }

    /// Whether tensor `name` is in the file and unclaimed.
    pub fn has(&self, name: &str) -> bool {
        self.weights.tensors.contains_key(&format!("{}{name}", self.prefix))
    }

    /// A vector such as a bias or a norm's weight.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] or [`Error::ShapeMismatch`].
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Tensor<1>> {
        let (full, stored) = self.claim(name)?;
        match stored.content {
            Content::Vector(tensor) if stored.shape == [len] => Ok(*tensor),
            _ => Err(Error::ShapeMismatch { name: full, expected: vec![len], found: stored.shape }),
        }
    }

    /// A weight of shape [out, in…].
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::ShapeMismatch`], or [`Error::Manifest`] for a dtype that is no scheme.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> Result<Weight> {
        let (full, stored) = self.claim(name)?;
        let key = format!("{}{name}", self.prefix);
        let scheme = match (self.weights.quantized.get(&key), stored.dtype) {
            (Some(Scheme::Q8), Dtype::I8) => Scheme::Q8,
            (Some(Scheme::Q4), Dtype::U8) => Scheme::Q4,
            (None, Dtype::F16) => Scheme::F16,
            (None, Dtype::F32) => Scheme::F32,
            (_, dtype) => return Err(Error::manifest(full, format!("weights of type {dtype:?} cannot be used"))),
        };
        let (rows, columns) = (shape[0], shape[1..].iter().product());
        let expected = if scheme == Scheme::Q4 { vec![rows, columns / 2] } else { shape.to_vec() };
        let Content::Words { parts, rows_per_part } = stored.content else {
            return Err(Error::ShapeMismatch { name: full, expected, found: stored.shape });
        };
        if stored.shape != expected {
            return Err(Error::ShapeMismatch { name: full, expected, found: stored.shape });
        }
        let scales: Vec<_> = match scheme.is_quantized() {
            true => self.scales(name, (rows, columns), parts.len())?.into_iter().map(Some).collect(),
            false => vec![None; parts.len()],
        };
        let part = |(index, (words, scales))| {
            let start = index * rows_per_part;
            WeightPart::new(rows_per_part.min(rows - start), words, scales)
        };
        let parts = parts.into_iter().zip(scales).enumerate().map(part).collect();
        Ok(Weight { scheme, rows, columns, parts })
    }

    /// The scales of weight `name`, in as many parts as it has.
    fn scales(&mut self, name: &str, shape: (usize, usize), count: usize) -> Result<Vec<Tensor<1, Int>>> {
        let (full, stored) = self.claim(&format!("{name}.scales"))?;
        let (rows, columns) = shape;
        let expected = vec![rows, columns / 32];
        match stored.content {
            Content::Words { parts, .. }
                if stored.shape == expected
                    && stored.dtype == Dtype::F16
                    && columns.is_multiple_of(32)
                    && parts.len() == count =>
            {
                Ok(parts)
            }
            _ => Err(Error::ShapeMismatch { name: full, expected, found: stored.shape }),
        }
    }

    fn claim(&mut self, name: &str) -> Result<(String, Stored)> {
        let key = format!("{}{name}", self.prefix);
        let full = format!("{}.{key}", self.weights.component);
        match self.weights.tensors.remove(&key) {
            Some(stored) => Ok((full, stored)),
            None => Err(Error::MissingTensor { name: full }),
        }
    }
}
