//! The device that computes: the browser's GPU, or the processor.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use burn::tensor::Device;
use burn_wgpu::WgpuSetup;
use fraise_engine::kernels::crew::members;
use fraise_engine::{Error, Result};
use futures::channel::oneshot;
use js_sys::{Function, Object, Promise, Reflect};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::calibration::Measured;
use crate::error::{reason, set};

/// A browser GPU shared by Burn, which computes on it, and the presenter, which paints from its buffers.
pub struct Gpu {
    /// The wgpu handles behind the Burn device.
    pub setup: WgpuSetup,
    adapter: AdapterFacts,
    fault: Arc<OnceLock<Error>>,
}

/// What the browser says of its adapter.
struct AdapterFacts {
    description: String,
    is_fallback: bool,
}

/// What is computed on, as JavaScript sees it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    kind: &'static str,
    threads: usize,
    description: String,
    is_fallback: bool,
    has_shader_f16: bool,
    why_not_gpu: Option<String>,
    measured: Option<Measured>,
}

/// A device and, where it is a GPU, its handles.
pub struct ComputeDevice {
    /// Where Burn computes.
    pub device: Device,
    /// The GPU behind it, or `None` on the CPU.
    pub gpu: Option<Gpu>,
    /// What a calibration found, for the pack that was loaded last.
    pub measured: Cell<Option<Measured>>,
    /// Why the GPU was not taken though the caller did not insist on the CPU.
    why_not_gpu: Option<String>,
    /// Whether that was for its speed at one pack's layers.
    was_too_slow: bool,
}

impl ComputeDevice {
    /// Opens the device of that kind: `gpu`, `cpu`, or `auto`, which is the GPU where it works and the CPU elsewhere. A
    /// GPU that the browser only emulates loses to the CPU by far: each shader takes it as long as a picture takes here. Others
    /// are measured against it when a pack is loaded.
    ///
    /// # Errors
    /// [`Error::NoWebGpu`] where `gpu` cannot be had, [`Error::Request`] for another kind.
    pub async fn open(kind: &str) -> Result<Self> {
        let on_gpu = |(device, gpu)| Self { device, gpu: Some(gpu), ..Self::cpu(None) };
        match kind {
            "gpu" => Gpu::open(true).await.map(on_gpu).map_err(|reason| Error::NoWebGpu { reason }),
            "cpu" => Ok(Self::cpu(None)),
            "auto" => Ok(Gpu::open(false).await.map_or_else(|reason| Self::cpu(Some(reason)), on_gpu)),
            other => Err(Error::request("device", format!("`{other}` is not one of gpu, cpu and auto"))),
        }
    }

    fn cpu(why_not_gpu: Option<String>) -> Self {
        Self { device: Device::flex(), gpu: None, measured: Cell::new(None), why_not_gpu, was_too_slow: false }
    }

    /// The CPU, in place of a GPU that is slower at a pack's layers.
    pub fn cpu_instead_of_gpu(why: String) -> Self {
        Self { was_too_slow: true, ..Self::cpu(Some(why)) }
    }

    /// Whether this is [`ComputeDevice::cpu_instead_of_gpu`].
    pub fn was_too_slow(&self) -> bool {
        self.was_too_slow
    }

    /// What this device is.
    pub fn info(&self) -> DeviceInfo {
        let adapter = self.gpu.as_ref().map(|gpu| &gpu.adapter);
        DeviceInfo {
            kind: if adapter.is_some() { "gpu" } else { "cpu" },
            threads: members(),
            description: adapter.map_or_else(String::new, |adapter| adapter.description.clone()),
            is_fallback: adapter.is_some_and(|adapter| adapter.is_fallback),
            has_shader_f16: self
                .gpu
                .as_ref()
                .is_some_and(|gpu| gpu.setup.device.features().contains(wgpu::Features::SHADER_F16)),
            why_not_gpu: self.why_not_gpu.clone(),
            measured: self.measured.get(),
        }
    }

    /// Whether everything asked of the device so far was well.
    ///
    /// # Errors
    /// The first thing that went wrong, for ever after: what was computed since cannot be trusted.
    pub fn check(&self) -> Result<()> {
        match self.gpu.as_ref().and_then(|gpu| gpu.fault.get()) {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    /// Sends off what Burn has queued and waits until the GPU has done it. On the CPU nothing is ever queued.
    ///
    /// # Errors
    /// As [`ComputeDevice::check`].
    pub async fn finish(&self) -> Result<()> {
        if let Some(gpu) = &self.gpu {
            self.flush()?;
            let (sender, done) = oneshot::channel();
            gpu.setup.queue.on_submitted_work_done(move || {
                let _ = sender.send(());
            });
            let _ = done.await;
        }
        self.check()
    }

    /// Sends off what Burn has queued.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where it cannot be sent.
    pub fn flush(&self) -> Result<()> {
        self.check()?;
        self.device.flush().map_err(|error| Error::DeviceLost { reason: error.to_string() })
    }
}

impl Gpu {
    /// The adapter as the browser names it; may be empty.
    pub fn description(&self) -> &str {
        &self.adapter.description
    }

    /// Whether the browser emulates it on the CPU, and says so.
    pub fn is_fallback(&self) -> bool {
        self.adapter.is_fallback
    }

    /// Opens the browser's GPU with all the limits and features that it offers; otherwise says in words why not.
    async fn open(may_be_emulated: bool) -> std::result::Result<(Device, Self), String> {
        let adapter_facts = probe_adapter().await?;
        if adapter_facts.is_fallback && !may_be_emulated {
            return Err("the browser has no real GPU for pages, only one that it emulates on the CPU".to_owned());
        }
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::BROWSER_WEBGPU,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter = instance.request_adapter(&options).await.map_err(|error| error.to_string())?;
        // CubeCL takes times by them, and on WebAssembly ends the program where it cannot.
        if !adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Err("this GPU offers pages no timestamp queries, without which the engine cannot use it".to_owned());
        }
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("fraise"),
                required_features: adapter.features().difference(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS),
                required_limits: adapter.limits(),
                ..wgpu::DeviceDescriptor::default()
            })
            .await
            .map_err(|error| format!("the browser refused the GPU device: {error}"))?;
        let setup = WgpuSetup { instance, adapter, device, queue, backend: wgpu::Backend::BrowserWebGpu };
        let burn_device = Device::wgpu_options()
            .setup(setup.clone())
            .init()
            .map_err(|error| format!("the GPU device is not usable: {error}"))?;
        // After Burn has installed its own handler, which would end the whole engine.
        let fault = watch(&setup.device);
        Ok((burn_device, Self { setup, adapter: adapter_facts, fault }))
    }
}

/// Keeps the first thing that goes wrong on the device, for the next await to report.
fn watch(device: &wgpu::Device) -> Arc<OnceLock<Error>> {
    let fault = Arc::new(OnceLock::new());
    let lost = fault.clone();
    device.set_device_lost_callback(move |_, message| {
        let _ = lost.set(Error::DeviceLost { reason: message });
    });
    let uncaptured = fault.clone();
    device.on_uncaptured_error(Arc::new(move |error| {
        let error = match error {
            wgpu::Error::OutOfMemory { source } => {
                Error::OutOfMemory { needed_bytes: largest_number(&source.to_string()) }
            }
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Error::Storage { operation: "computing on the GPU".to_owned(), reason: description }
            }
        };
        web_sys::console::error_1(&error.to_string().into());
        let _ = uncaptured.set(error);
    }));
    fault
}

/// Browsers give the size of a failed allocation only as a number in a sentence; 0 where there is none.
fn largest_number(sentence: &str) -> u64 {
    sentence
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .max()
        .unwrap_or(0)
}

/// Asks the browser itself for an adapter, since wgpu passes on neither its reasons nor whether it is emulated.
async fn probe_adapter() -> std::result::Result<AdapterFacts, String> {
    let global = js_sys::global();
    if property(&global, "isSecureContext").is_falsy() {
        return Err(
            "this page was not loaded over HTTPS (or from localhost), where browsers offer no WebGPU".to_owned()
        );
    }
    let gpu = property(&property(&global, "navigator"), "gpu");
    if gpu.is_falsy() {
        return Err("this browser has no WebGPU, or it is switched off".to_owned());
    }
    let request: Function = property(&gpu, "requestAdapter")
        .dyn_into()
        .map_err(|_| "this browser's WebGPU is not the standard's".to_owned())?;
    let options = Object::new();
    set(&options, "powerPreference", &"high-performance".into());
    let adapter = match request.call1(&gpu, &options) {
        Ok(promise) => JsFuture::from(promise.unchecked_into::<Promise>()).await,
        Err(thrown) => Err(thrown),
    };
    let adapter = adapter.map_err(|thrown| format!("the browser refused a GPU adapter: {}", reason(&thrown)))?;
    if adapter.is_falsy() {
        return Err("the browser found no GPU that it would use (none there, blocked, or switched off)".to_owned());
    }
    let info = property(&adapter, "info");
    let words: Vec<_> = ["vendor", "architecture", "device", "description"]
        .iter()
        .filter_map(|name| property(&info, name).as_string().filter(|word| !word.is_empty()))
        .collect();
    let is_fallback =
        property(&info, "isFallbackAdapter").is_truthy() || property(&adapter, "isFallbackAdapter").is_truthy();
    Ok(AdapterFacts { description: words.join(" "), is_fallback })
}

/// A property, or undefined where there is no object to have it.
fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}
