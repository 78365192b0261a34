//! What computes.

use std::rc::Rc;
use std::time::Instant;

use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuBackend, wgpu};
use clap::ValueEnum;
use fraise_engine::kernels::crew::{self, Threads};
use fraise_engine::kernels::{Precision, calibrate};
use fraise_engine::pack::Manifest;
use fraise_engine::requirements::ModelShape;
use fraise_engine::{Error, Result};

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// Vulkan, Metal or DirectX 12
    Gpu,
    /// This processor, on all its cores
    Cpu,
}

impl DeviceKind {
    /// Opens the device; the processor, for the calling thread, with others that help it.
    ///
    /// # Errors
    /// [`Error::NoWebGpu`] where there is no GPU.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => {
                crew::employ(Some(Rc::new(Threads::available())));
                Ok(Device::flex())
            }
            Self::Gpu => {
                let options = Device::wgpu_options();
                // Elsewhere the system's own choice is one of those promised; on Linux it may be OpenGL.
                let is_linux = cfg!(target_os = "linux");
                let options = if is_linux { options.graphics_api(WgpuBackend::Vulkan) } else { options };
                options.init().map_err(|error| Error::NoWebGpu { reason: error.to_string() })
            }
        }
    }

    /// Finds the kernels that suit the device best for a model. Software drivers need no search: without shared memory they
    /// are fastest, which have 32 bits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where the device does not answer.
    pub async fn tune(self, device: &Device, manifest: &Manifest, precision: Precision) -> Result<()> {
        if self == Self::Cpu || is_software().await {
            return Ok(());
        }
        let started = Instant::now();
        let ends = ModelShape::of(manifest)?.ends(manifest.recommended.width, manifest.recommended.height);
        calibrate(device, ends, precision, &|| started.elapsed().as_secs_f64() * 1e3).await.map(|_| ())
    }
}

/// Names of [`Precision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionName {
    /// The same pictures on all devices but for the last digits
    Float32,
    /// 16 bits in the UNet where a GPU has them and is faster so; pictures differ a little
    Float16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::Float32 => Self::Float32,
            PrecisionName::Float16 => Self::Float16,
        }
    }
}

/// Whether the graphics driver computes on the processor.
async fn is_software() -> bool {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..wgpu::RequestAdapterOptions::default()
    });
    adapter.await.is_ok_and(|adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu)
}
