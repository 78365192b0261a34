//! What the integration tests share: devices, seeded random numbers, and made-up weights.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use burn::tensor::wgpu::{WgpuBackend, WgpuSetup, wgpu};
use burn::tensor::{Device, Tensor, TensorData};
use fraise_engine::kernels::has_half_precision;
use fraise_engine::pack::{Quantization, TensorInfo, TensorSink};
use fraise_engine::parity::{self, Packed, Subject};
use fraise_engine::weights::{Scheme, Weight, WeightsBuilder};
use half::f16;
use safetensors::Dtype;

/// The GPU, or `None` where no adapter can be had; then it says so on stderr, once per test program.
///
/// Any Vulkan driver will do. On a machine without a GPU, Mesa's software driver is one:
/// `VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json`.
pub fn gpu() -> Option<Device> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    GPU.get_or_init(|| match Device::wgpu_options().graphics_api(WgpuBackend::Vulkan).init() {
        Ok(device) => Some(device),
        Err(error) => {
            say(&format!("SKIPPED on the GPU: no Vulkan adapter ({error}). Install mesa-vulkan-drivers to run it."));
            None
        }
    })
    .clone()
}

/// As [`own_gpu`], where it has 16-bit floats; otherwise says so.
pub fn half_gpu() -> Option<Device> {
    let half = own_gpu()?;
    if has_half_precision(&half) {
        return Some(half);
    }
    say("SKIPPED at 16 bits: this adapter has no such floats.");
    None
}

/// A GPU that has WebGPU's default limits, but for its largest binding; `None` as for [`gpu`].
pub fn small_gpu(binding_bytes: u64) -> Option<Device> {
    gpu_within(|_| wgpu::Limits { max_storage_buffer_binding_size: binding_bytes, ..wgpu::Limits::default() })
}

/// A GPU of this thread's own, whose tuning no other thread sees; `None` as for [`gpu`].
pub fn own_gpu() -> Option<Device> {
    thread_local! {
        static GPU: Option<Device> = gpu_within(wgpu::Adapter::limits);
    }
    GPU.with(Clone::clone)
}

fn gpu_within(limits: impl FnOnce(&wgpu::Adapter) -> wgpu::Limits) -> Option<Device> {
    gpu()?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_features: adapter
            .features()
            .difference(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS | wgpu::Features::all_experimental_mask()),
        required_limits: limits(&adapter),
        ..wgpu::DeviceDescriptor::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let setup = WgpuSetup { instance, adapter, device, queue, backend: wgpu::Backend::Vulkan };
    Some(Device::wgpu_options().setup(setup).init().unwrap())
}

/// The model of a golden run as a pack; `run_flow`'s has an upscaler and a scorer.
pub fn packed(run: &str, quantization: impl Into<Quantization>) -> Packed {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens");
    let case = parity::cases().unwrap().into_iter().find(|case| case.name == run).unwrap();
    let files = case.files().into_iter().map(|file| (file.clone(), fs::read(goldens.join(&file)).unwrap())).collect();
    let Subject::Model(model) = &case.subject else { panic!("{run} is not a run") };
    pollster::block_on(parity::pack_model(model, &files, quantization)).unwrap()
}

/// Prints past the test harness, which hides the output of tests that pass.
pub fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Seeded random numbers (xorshift), the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() >> 33) as usize % (high - low + 1)
    }

    /// Uniform in [-1, 1).
    pub fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.signed()).collect()
    }
}

/// A tensor of `shape` on `device`.
pub fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// Reads a tensor back.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Largest difference, and the largest magnitude of `expected`.
pub fn difference(found: &[f32], expected: &[f32]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    // `max` drops NaN, so it is caught here.
    assert!(found.iter().all(|value| value.is_finite()), "a result is not finite");
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (error, expected.iter().fold(0.0, |scale, value| scale.max(value.abs())))
}

/// A made-up stored weight: its tensors as a file holds them, and the numbers they stand for.
pub struct StoredWeight {
    pub scheme: Scheme,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
    tensors: Vec<(TensorInfo, Vec<u8>)>,
}

impl StoredWeight {
    /// Random stored integers and scales; quantized schemes need inputs in multiples of 32.
    pub fn random(scheme: Scheme, shape: &[usize], random: &mut Random) -> Self {
        let count: usize = shape.iter().product();
        let (rows, columns) = (shape[0], count / shape[0]);
        let (mut stored_shape, mut bytes, mut values) = (shape.to_vec(), Vec::new(), Vec::new());
        let scales: Vec<f16> = match scheme.is_quantized() {
            true => (0..count / 32).map(|_| f16::from_f32(0.001 + 0.01 * random.signed().abs())).collect(),
            false => Vec::new(),
        };
        for index in 0..count {
            match scheme {
                Scheme::F32 => {
                    values.push(random.signed());
                    bytes.extend(values[index].to_le_bytes());
                }
                Scheme::F16 => {
                    let value = f16::from_f32(random.signed());
                    values.push(value.to_f32());
                    bytes.extend(value.to_le_bytes());
                }
                Scheme::Q8 => {
                    let integer = random.between(0, 254) as i32 - 127;
                    values.push(integer as f32 * scales[index / 32].to_f32());
                    bytes.push(integer as i8 as u8);
                }
                Scheme::Q4 => {
                    let nibble = random.between(1, 15) as u8;
                    values.push((f32::from(nibble) - 8.0) * scales[index / 32].to_f32());
                    match index % 2 {
                        0 => bytes.push(nibble),
                        _ => bytes[index / 2] |= nibble << 4,
                    }
                }
            }
        }
        if scheme == Scheme::Q4 {
            stored_shape = vec![rows, columns / 2];
        }
        let dtype = [Dtype::F32, Dtype::F16, Dtype::I8, Dtype::U8][scheme as usize];
        let mut tensors = vec![(info("w", dtype, stored_shape, bytes.len()), bytes)];
        if scheme.is_quantized() {
            let bytes: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            tensors.push((info("w.scales", Dtype::F16, vec![rows, columns / 32], bytes.len()), bytes));
        }
        Self { scheme, shape: shape.to_vec(), values, tensors }
    }

    /// Loads it as the engine does, its bytes arriving in pieces of odd lengths.
    pub fn load(&self, device: &Device) -> Weight {
        self.load_within(u64::MAX, device)
    }

    /// As [`StoredWeight::load`], for a device whose largest binding is so small.
    pub fn load_within(&self, binding_bytes: u64, device: &Device) -> Weight {
        let mut schemes = BTreeMap::new();
        if self.scheme.is_quantized() {
            schemes.insert("w".to_string(), self.scheme);
        }
        let mut builder = WeightsBuilder::new("test", &schemes, device).with_binding_bytes(binding_bytes);
        for (info, bytes) in &self.tensors {
            builder.begin(info).unwrap();
            for piece in bytes.chunks(97) {
                builder.write(piece).unwrap();
            }
            builder.end().unwrap();
        }
        let mut weights = builder.finish().unwrap();
        let weight = weights.root().weight("w", &self.shape).unwrap();
        weights.finish().unwrap();
        weight
    }
}

fn info(name: &str, dtype: Dtype, shape: Vec<usize>, bytes: usize) -> TensorInfo {
    TensorInfo { name: name.into(), dtype, shape, bytes }
}
