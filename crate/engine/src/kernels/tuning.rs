//! How a GPU is best used: what [`super::calibration`] measured of it, or what suits all until then.

use std::sync::{PoisonError, RwLock};

use burn::tensor::Tensor;
use cubecl::Device;
use serde::{Deserialize, Serialize};

use super::gemm::Variant;
use super::launch::on_gpu;

/// Longest that one submission should keep the device busy, in ms: far below what operating systems let a GPU hang, and
/// short enough that cancelling is felt as immediate.
const SUBMIT_MS: f64 = 250.0;

static TUNINGS: RwLock<Vec<(Device, Tuning)>> = RwLock::new(Vec::new());

/// How a GPU is best used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tuning {
    /// The variant for products of few outputs, which leave a big GPU idle where tiles are large.
    pub small: Variant,
    /// The variant for products of many.
    pub large: Variant,
    /// Outputs from which on a product has many.
    pub many: u64,
    /// Multiply-adds that one submission may have.
    pub submit: u64,
}

impl Default for Tuning {
    /// What works well on software adapters and is never wrong; nothing is cut.
    fn default() -> Self {
        Self { small: Variant::Registers, large: Variant::Registers, many: u64::MAX, submit: u64::MAX }
    }
}

impl Tuning {
    /// How many multiply-adds one submission may have on a device that does `rate` in a millisecond.
    pub fn submit_at(rate: f64) -> u64 {
        ((rate * SUBMIT_MS) as u64).max(1)
    }

    /// As [`Self::for_device`], of a tensor's own device.
    pub(super) fn of(device: &Device) -> Self {
        let tunings = TUNINGS.read().unwrap_or_else(PoisonError::into_inner);
        tunings.iter().find(|(known, _)| known == device).map(|(_, tuning)| *tuning).unwrap_or_default()
    }

    /// Makes this the tuning of a GPU, for everything that is launched from now on; the processor needs none.
    pub fn set_for(self, device: &burn::tensor::Device) {
        if let Some(tensor) = on_gpu(&Tensor::<1>::zeros([1], device)) {
            self.set(&tensor.device);
        }
    }

    /// The tuning of a GPU; the processor's is never asked for.
    pub fn for_device(device: &burn::tensor::Device) -> Self {
        on_gpu(&Tensor::<1>::zeros([1], device)).map_or_else(Self::default, |tensor| Self::of(&tensor.device))
    }

    fn set(self, device: &Device) {
        let mut tunings = TUNINGS.write().unwrap_or_else(PoisonError::into_inner);
        tunings.retain(|(known, _)| known != device);
        tunings.push((device.clone(), self));
    }

    /// The variant for a product of so many outputs.
    pub fn variant(&self, outputs: usize) -> Variant {
        if (outputs as u64) < self.many { self.small } else { self.large }
    }

    /// Whether invocations do well to share memory, as on real GPUs: tiles there beat registers.
    pub fn is_shared(&self) -> bool {
        [self.small, self.large].iter().any(|variant| *variant != Variant::Registers)
    }

    /// Into how many dispatches an operation of so many multiply-adds is cut.
    pub fn parts(&self, multiplications: u64) -> u64 {
        multiplications.div_ceil(self.submit).max(1)
    }
}
