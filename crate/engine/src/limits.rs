//! What a device lets one shader, one buffer and one run take.

use burn::tensor::{Device, Tensor};
use burn_cubecl::tensor::CubeTensor;
use burn_wgpu::Wgpu;

/// WebGPU's default `maxStorageBufferBindingSize`, which every device has.
pub const DEFAULT_BINDING_BYTES: u64 = 128 << 20;
/// Largest intermediate result that is computed in one piece where it can be cut. Smaller pieces mean smaller copies
/// beside the result itself, larger ones fewer launches; at this size launching is no longer felt.
pub const PIECE_BYTES: usize = 32 << 20;

/// Largest intermediate result of a convolution by Winograd's register tiles, which take three such beyond what
/// [`crate::requirements`] foretell. They are for software adapters, whose memory is the machine's.
pub const TRANSFORMED_BYTES: u64 = 16 << 20;
/// The same by tiles in shared memory. Weights alone become as large: those of 640 channels.
pub const SHARED_TRANSFORMED_BYTES: u64 = 64 << 20;
/// Largest transformed weights of one convolution by register tiles that are kept, also beyond what is foretold: the default model's
/// UNet has some 70 MiB of them in all, Stable Diffusion at 512x512 none.
pub const KEPT_BYTES: u64 = 8 << 20;

/// Limits of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Largest tensor: the lesser of WebGPU's `maxStorageBufferBindingSize` and `maxBufferSize`.
    pub binding_bytes: u64,
    /// Memory that the host lets a pipeline use, where it knows a number. No browser tells a GPU's.
    pub memory_bytes: Option<u64>,
}

impl DeviceLimits {
    /// What the device itself says. The CPU has no limit on a tensor.
    pub fn of(device: &Device) -> Self {
        Self { binding_bytes: binding_bytes(&Tensor::<1>::empty([1], device)), memory_bytes: None }
    }
}

/// Largest tensor on the device of `tensor`.
pub fn binding_bytes<const D: usize>(tensor: &Tensor<D>) -> u64 {
    match tensor.clone().try_into_primitive::<Wgpu>() {
        Ok(tensor) => binding_bytes_of(&tensor),
        Err(_) => u64::MAX,
    }
}

/// Largest tensor on the GPU of `tensor`.
pub(crate) fn binding_bytes_of(tensor: &CubeTensor) -> u64 {
    tensor.client.properties().memory.max_page_size
}

/// Size of the pieces that large intermediate results on the device of `tensor` are computed in.
pub fn piece_bytes<const D: usize>(tensor: &Tensor<D>) -> usize {
    usize::try_from(binding_bytes(tensor)).unwrap_or(usize::MAX).min(PIECE_BYTES)
}
