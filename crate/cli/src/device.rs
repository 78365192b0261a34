//! What computes.

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuBackend;
use clap::ValueEnum;
use fraise_engine::{Error, Result};

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// Vulkan, Metal or DirectX 12
    Gpu,
    /// This processor
    Cpu,
}

impl DeviceKind {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::NoWebGpu`] where there is no GPU.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Gpu => {
                let options = Device::wgpu_options();
                // Elsewhere the system's own choice is one of those promised; on Linux it may be OpenGL.
                let is_linux = cfg!(target_os = "linux");
                let options = if is_linux { options.graphics_api(WgpuBackend::Vulkan) } else { options };
                options.init().map_err(|error| Error::NoWebGpu { reason: error.to_string() })
            }
        }
    }
}
