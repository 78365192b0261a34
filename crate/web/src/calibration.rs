//! What was measured of this machine, once for each adapter, version and shape of model.

use fraise_engine::Result;
use fraise_engine::kernels::{Calibration, Level, Precision, Tuning, calibrate};
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use web_sys::WorkerGlobalScope;

use crate::crew::Muster;
use crate::device::ComputeDevice;
use crate::indexed_db::{IndexedDbStore, PACKS};

/// In front of a calibration's key in the store of packs, which no address equals: URLs hold no space. Its number changes
/// with what there is to choose from.
const KEY: &str = "calibration 7 of ";

/// A calibration as it is kept, and as JavaScript sees it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    tuning: Tuning,
    /// Thousand million multiply-adds in a second, on the GPU.
    gpu_rate: f64,
    /// The same on the processor, by as many threads as there are to be.
    cpu_rate: f64,
    /// How often it was measured: this is what was found when the GPU was fastest.
    times: u32,
}

impl Measured {
    /// Whether the processor is faster.
    pub fn prefers_cpu(&self) -> bool {
        self.cpu_rate > self.gpu_rate
    }

    /// Whether it should be measured once more: a real GPU seldom wants register tiles, or loses to the processor, and what
    /// else the machine did at the time may have made it seem so, for all visits to come.
    fn is_doubtful(&self, is_fallback: bool) -> bool {
        self.times < 2 && !is_fallback && (self.tuning.costs.is_none() || self.prefers_cpu())
    }

    /// Why the GPU should not be taken.
    pub fn verdict(&self) -> String {
        format!(
            "the processor is faster here: {:.1} against {:.1} thousand million multiply-adds a second",
            self.cpu_rate, self.gpu_rate
        )
    }

    /// Multiply-adds in a millisecond on the GPU.
    pub fn gpu_per_ms(&self) -> f64 {
        self.gpu_rate * 1e6
    }

    /// Multiply-adds in a millisecond on the faster of GPU and processor.
    pub fn best_per_ms(&self) -> f64 {
        self.gpu_rate.max(self.cpu_rate) * 1e6
    }
}

impl From<Calibration> for Measured {
    fn from(calibration: Calibration) -> Self {
        let Calibration { tuning, gpu_rate, cpu_rate } = calibration;
        let rounded = |rate: f64| (rate / 1e3).round() / 1e3; // three digits are more than are measured
        Self { tuning, gpu_rate: rounded(gpu_rate), cpu_rate: rounded(cpu_rate), times: 1 }
    }
}

/// Puts the device's tuning for a UNet of those ends in force: the kept one, or a new one, which is then kept; one that is
/// doubtful is measured once more. `None` on the processor, which needs none. The processor is measured with its crew, which
/// is there afterwards.
///
/// # Errors
/// `DeviceLost` where the GPU cannot be measured.
pub async fn tune(
    (compute, crew): (&ComputeDevice, &Muster),
    (ends, precision): ([Level; 2], Precision),
    store: &IndexedDbStore,
    scope: &WorkerGlobalScope,
) -> Result<Option<Measured>> {
    let Some(gpu) = &compute.gpu else { return Ok(None) };
    let browser = scope.navigator().user_agent().unwrap_or_default();
    let (version, members) = (env!("CARGO_PKG_VERSION"), crew.members());
    let key = format!("{KEY}{version} {} and {members} {browser} {ends:?} {precision:?}", gpu.description());
    // Where nothing can be kept, it is measured on each visit.
    let kept = store.read(PACKS, &key).await.ok().flatten().and_then(|record| record.as_string());
    let kept = kept.and_then(|json| serde_json::from_str::<Measured>(&json).ok());
    if let Some(measured) = kept.filter(|measured| !measured.is_doubtful(gpu.is_fallback())) {
        measured.tuning.set_for(&compute.device);
        return Ok(Some(measured));
    }
    crew.assemble().await;
    let measured = Measured::from(calibrate(&compute.device, ends, precision, &|| now_ms(scope)).await?);
    crew.forget();
    let measured = match kept {
        Some(before) if before.gpu_rate > measured.gpu_rate => Measured { times: before.times + 1, ..before },
        before => Measured { times: before.map_or(1, |before| before.times + 1), ..measured },
    };
    measured.tuning.set_for(&compute.device);
    if let Ok(json) = serde_json::to_string(&measured) {
        let _ = store.write(PACKS, &key, &JsValue::from(json.as_str()), json.len()).await;
    }
    Ok(Some(measured))
}

/// Milliseconds since the worker began.
pub fn now_ms(scope: &WorkerGlobalScope) -> f64 {
    scope.performance().map_or(0.0, |performance| performance.now())
}
