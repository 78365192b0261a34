//! Weights on the device, as the pack stores them.
//!
//! [`WeightsBuilder`] receives a component's tensors as a stream of bytes and writes them straight into device
//! buffers; [`Weights`] hands them out by name while the modules are built, so that a missing, an unexpected or a
//! misshapen tensor is an error with its name.

use std::collections::BTreeMap;

use burn::tensor::{Bytes, DType, Device, Int, Shape, Tensor, TensorData};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use burn_wgpu::Wgpu;
use half::f16;
use safetensors::Dtype;

use crate::{
    Error, Result,
    limits::DeviceLimits,
    pack::{TensorInfo, TensorSink},
};

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
    /// The stored bytes as little-endian words, padded to a whole word.
    pub words: Tensor<1, Int>,
    /// For quantized schemes, [rows, columns/32] f16 scales as words.
    pub scales: Option<Tensor<1, Int>>,
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
        Self { scheme: Scheme::F32, rows, columns, parts: vec![WeightPart { rows, words, scales: None }] }
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

/// Receives one component's tensors in file order and puts them on the device.
pub struct WeightsBuilder {
    component: String,
    device: Device,
    quantized: BTreeMap<String, Scheme>,
    tensors: BTreeMap<String, Stored>,
    device_bytes: u64,
    binding_bytes: u64,
    queued_bytes: usize,
    open: Option<Open>,
}

/// The tensor that is being written.
struct Open {
    info: TensorInfo,
    written: usize,
    rows_per_part: usize,
    /// Length of every part but the last, which is shorter; whole words.
    part_bytes: usize,
    target: Target,
}

enum Target {
    /// Collected in memory: vectors, and everything on the CPU.
    Host(Vec<u8>),
    /// GPU buffers, and the last bytes that did not fill a word.
    Gpu { parts: Vec<CubeTensor>, tail: Vec<u8> },
}

/// Bytes handed to the GPU in one write.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes that may wait to be handed to the GPU; memory grows by as much.
const QUEUED_BYTES: usize = 16 << 20;
/// Parts of a weight have a multiple of this many rows: whole words in every scheme, and whole tiles of the kernels.
const ROW_GROUP: usize = 8;

impl WeightsBuilder {
    /// Starts an empty component; `quantized` names the tensors that have scales.
    pub fn new(component: &str, quantized: &BTreeMap<String, Scheme>, device: &Device) -> Self {
        Self {
            component: component.to_string(),
            device: device.clone(),
            quantized: quantized.clone(),
            tensors: BTreeMap::new(),
            device_bytes: 0,
            binding_bytes: DeviceLimits::of(device).binding_bytes,
            queued_bytes: 0,
            open: None,
        }
    }

    /// Cuts weights as a device would need it whose largest binding is this, instead of the device's own.
    pub fn with_binding_bytes(mut self, binding_bytes: u64) -> Self {
        self.binding_bytes = binding_bytes;
        self
    }

    /// All tensors received so far.
    ///
    /// # Errors
    /// [`Error::Manifest`] where the last tensor is incomplete.
    pub fn finish(self) -> Result<Weights> {
        if let Some(open) = self.open {
            return Err(incomplete(&self.component, &open.info.name));
        }
        Ok(Weights {
            component: self.component,
            quantized: self.quantized,
            tensors: self.tensors,
            device_bytes: self.device_bytes,
        })
    }

    /// Uninitialised GPU buffers for a tensor, or `None` on the CPU.
    fn allocate(&self, bytes: usize, part_bytes: usize) -> Option<Vec<CubeTensor>> {
        let probe = Tensor::<1>::zeros([1], &self.device).try_into_primitive::<Wgpu>().ok()?;
        let (client, device) = (&probe.client, &probe.device);
        let part = |start: usize| {
            let words = part_bytes.min(bytes - start).div_ceil(4);
            let handle = client.memory_persistent_allocation((), |()| client.empty(words * 4));
            CubeTensor::new_contiguous(client.clone(), device.clone(), Shape::new([words]), handle, DType::U32)
        };
        Some((0..bytes.max(1)).step_by(part_bytes).map(part).collect())
    }

    /// How many rows of a tensor are kept together. Scales are cut where their weight is.
    fn rows_per_part(&self, info: &TensorInfo) -> Result<usize> {
        let rows = info.shape[0].max(1);
        let scheme = info.name.strip_suffix(".scales").and_then(|weight| self.quantized.get(weight));
        let row_bytes = match scheme {
            Some(Scheme::Q4) => info.bytes / rows * 8, // 16 bytes of weights per scale of 2
            Some(_) => info.bytes / rows * 16,
            None => info.bytes.div_ceil(rows),
        } as u64;
        let rows_per_part = (self.binding_bytes / row_bytes.max(1)) as usize;
        if rows_per_part >= rows {
            return Ok(rows);
        }
        match rows_per_part / ROW_GROUP * ROW_GROUP {
            0 => Err(Error::DeviceLimit {
                limit: "maxStorageBufferBindingSize".into(),
                needed: row_bytes * ROW_GROUP as u64,
                available: self.binding_bytes,
            }),
            rows_per_part => Ok(rows_per_part),
        }
    }
}

fn incomplete(component: &str, name: &str) -> Error {
    Error::manifest(format!("components.{component}"), format!("tensor `{name}` is cut short"))
}

impl TensorSink for WeightsBuilder {
    fn begin(&mut self, info: &TensorInfo) -> Result<()> {
        let is_vector = info.shape.len() <= 1;
        let rows_per_part = if is_vector { 1 } else { self.rows_per_part(info)? };
        let part_bytes = match is_vector || rows_per_part == info.shape[0].max(1) {
            true => info.bytes.next_multiple_of(4).max(4),
            false => info.bytes / info.shape[0] * rows_per_part,
        };
        let target = match (!is_vector).then(|| self.allocate(info.bytes, part_bytes)).flatten() {
            Some(parts) => Target::Gpu { parts, tail: Vec::new() },
            None => Target::Host(Vec::with_capacity(info.bytes.next_multiple_of(4))),
        };
        self.open = Some(Open { info: info.clone(), written: 0, rows_per_part, part_bytes, target });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match &mut open.target {
            Target::Host(buffer) => buffer.extend_from_slice(bytes),
            Target::Gpu { parts, tail } => {
                for chunk in bytes.chunks(WRITE_BYTES) {
                    let start = open.written - tail.len();
                    let mut data = std::mem::take(tail);
                    data.extend_from_slice(chunk);
                    *tail = data.split_off(data.len() / 4 * 4);
                    write_gpu(parts, open.part_bytes, start, data);
                    open.written += chunk.len();
                    self.queued_bytes += chunk.len();
                }
                if self.queued_bytes >= QUEUED_BYTES {
                    self.queued_bytes = 0;
                    // Where the device has a thread of its own, its answer means that it has taken what was written.
                    let _ = parts[0].client.flush();
                }
                return Ok(());
            }
        }
        open.written += bytes.len();
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Open { info, written, rows_per_part, part_bytes, target } = open;
        if written != info.bytes {
            return Err(incomplete(&self.component, &info.name));
        }
        let content = match target {
            Target::Gpu { parts, mut tail } => {
                if !tail.is_empty() {
                    let start = written - tail.len();
                    tail.resize(4, 0);
                    write_gpu(&parts, part_bytes, start, tail);
                }
                let parts = parts.into_iter().map(Tensor::from_primitive::<Wgpu>).collect();
                Content::Words { parts, rows_per_part }
            }
            Target::Host(bytes) if info.shape.len() <= 1 => Content::Vector(Box::new(self.vector(&info, &bytes)?)),
            Target::Host(mut bytes) => {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                let part = |bytes: &[u8]| {
                    let words = bytes.len() / 4;
                    let data = TensorData::from_bytes(Bytes::from_bytes_vec(bytes.to_vec()), [words], DType::U32);
                    Tensor::from_data(data, (&self.device, DType::U32))
                };
                Content::Words { parts: bytes.chunks(part_bytes).map(part).collect(), rows_per_part }
            }
        };
        self.device_bytes += info.bytes.next_multiple_of(4) as u64;
        self.tensors.insert(info.name.clone(), Stored { dtype: info.dtype, shape: info.shape.clone(), content });
        Ok(())
    }
}

impl WeightsBuilder {
    fn vector(&self, info: &TensorInfo, bytes: &[u8]) -> Result<Tensor<1>> {
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            // Files carried as bytes, and index buffers that no module reads.
            _ => bytes.iter().map(|&b| f32::from(b)).collect(),
        };
        let count = values.len();
        Ok(Tensor::from_data(TensorData::new(values, [count]), &self.device))
    }
}

/// Writes whole words at a byte offset of a tensor that is kept in parts.
fn write_gpu(parts: &[CubeTensor], part_bytes: usize, start: usize, mut data: Vec<u8>) {
    let Some(part) = parts.get(start / part_bytes).filter(|_| !data.is_empty()) else { return };
    let offset = start % part_bytes;
    let rest = data.split_off(data.len().min(part_bytes - offset));
    let total = part.meta.shape()[0] * 4;
    let end = offset + data.len();
    let target = part.handle.clone().offset_start(offset as u64).offset_end((total - end) as u64);
    part.client.write(&target, Bytes::from_bytes_vec(data));
    write_gpu(parts, part_bytes, start / part_bytes * part_bytes + part_bytes, rest);
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
            WeightPart { rows: rows_per_part.min(rows - start), words, scales }
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
