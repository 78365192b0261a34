//! From a component's bytes to weights on the device.

use std::collections::BTreeMap;

use burn::tensor::{Bytes, DType, Device, Shape, Tensor, TensorData};
use burn_cubecl::tensor::CubeTensor;
use burn_wgpu::Wgpu;
use half::f16;
use safetensors::Dtype;

use super::{Content, Scheme, Stored, Weights};
use crate::{
    Error, Result,
    limits::DeviceLimits,
    pack::{TensorInfo, TensorSink},
};

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
        let probe = Tensor::<1>::empty([1], &self.device).try_into_primitive::<Wgpu>().ok()?;
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

/// An empty buffer for as many bytes as a header promises, where memory can hold so many.
fn room_for(bytes: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    match buffer.try_reserve_exact(bytes) {
        Ok(()) => Ok(buffer),
        Err(_) => Err(Error::OutOfMemory { needed_bytes: bytes as u64 }),
    }
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
            None => Target::Host(room_for(info.bytes.next_multiple_of(4))?),
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
