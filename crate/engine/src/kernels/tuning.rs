//! How a GPU is best used: what [`super::calibration`] measured of it, or what suits all until then.

use std::cell::Cell;
use std::sync::{PoisonError, RwLock};

use burn::tensor::Tensor;
use cubecl::Device;
use serde::{Deserialize, Serialize};

use super::gemm::{Costs, Size, Variant, Way, split};
use super::launch::{has_f16, on_gpu};
use crate::{Error, Result};

/// Longest that one submission should keep the device busy, in ms: far below what operating systems let a GPU hang, and
/// short enough that cancelling is felt as immediate.
const SUBMIT_MS: f64 = 250.0;

static TUNINGS: RwLock<Vec<(Device, Tuning)>> = RwLock::new(Vec::new());

/// With how many bits a GPU may compute a UNet's products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32, with which pictures are the same everywhere but for the last digits.
    #[default]
    Float32,
    /// 16 where the adapter has them and is faster so. Pictures differ a little from those of others.
    Float16,
}

impl Precision {
    /// The one that a device computes a UNet's products with now.
    pub fn on(device: &burn::tensor::Device) -> Self {
        if Tuning::for_device(device).half { Self::Float16 } else { Self::Float32 }
    }

    /// Whether pictures are the same everywhere.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// By its name, `float32` or `float16`.
    ///
    /// # Errors
    /// [`Error::Request`] for another name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(Self::Float32),
            "float16" => Ok(Self::Float16),
            other => Err(Error::request("precision", format!("`{other}` is not one of float32 and float16"))),
        }
    }
}

thread_local! {
    static MAY_BE_HALF: Cell<bool> = const { Cell::new(false) };
}

/// Whether a device is a GPU that has 16-bit floats.
pub fn has_half_precision(device: &burn::tensor::Device) -> bool {
    on_gpu(&Tensor::<1>::empty([1], device)).is_some_and(|tensor| has_f16(&tensor))
}

/// Does `work`, whose products may be computed at 16 bits ([`Tuning::half`]). Others never are: autoencoders have numbers
/// beyond their range.
pub fn at_half_precision<T>(work: impl FnOnce() -> T) -> T {
    let before = MAY_BE_HALF.replace(true);
    let result = work();
    MAY_BE_HALF.set(before);
    result
}

/// How a GPU is best used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tuning {
    /// The variant of all products, where nothing is known of tiles' costs.
    pub variant: Variant,
    /// What tiles cost, where these are faster: each product goes by the one that suits it.
    pub costs: Option<Costs>,
    /// Whether tiles in shared memory multiply at 16 bits where they may ([`at_half_precision`]).
    pub half: bool,
    /// Multiply-adds that one submission may have.
    pub submit: u64,
}

impl Default for Tuning {
    /// What works well on software adapters and is never wrong; nothing is cut.
    fn default() -> Self {
        Self { variant: Variant::Registers, costs: None, half: false, submit: u64::MAX }
    }
}

impl From<Variant> for Tuning {
    /// All products by that variant.
    fn from(variant: Variant) -> Self {
        Self { variant, ..Self::default() }
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
        if let Some(tensor) = on_gpu(&Tensor::<1>::empty([1], device)) {
            self.set(&tensor.device);
        }
    }

    /// The tuning of a GPU; the processor's is never asked for.
    pub fn for_device(device: &burn::tensor::Device) -> Self {
        on_gpu(&Tensor::<1>::empty([1], device)).map_or_else(Self::default, |tensor| Self::of(&tensor.device))
    }

    fn set(self, device: &Device) {
        let mut tunings = TUNINGS.write().unwrap_or_else(PoisonError::into_inner);
        tunings.retain(|(known, _)| known != device);
        tunings.push((device.clone(), self));
    }

    /// How a product is computed; `None` for register tiles.
    pub(super) fn way(&self, size: Size) -> Option<Way> {
        if let Some(way) = self.costs.as_ref().and_then(|costs| costs.fastest(size)) {
            return Some(way);
        }
        let (tile, wanted) = self.variant.tile()?;
        let invocations = tile.workgroups([size.n, size.p]) * tile.invocations() as usize;
        let spans = (wanted as usize / invocations).min(size.k / split::LEAST_SPAN).max(1);
        Some(Way { tile, spans, us: f64::INFINITY })
    }

    /// Whether what is launched now is computed at 16 bits, where the adapter has them.
    pub(super) fn is_half(&self) -> bool {
        self.half && MAY_BE_HALF.get()
    }

    /// Whether invocations do well to share memory, as on real GPUs: tiles there beat registers.
    pub fn is_shared(&self) -> bool {
        self.costs.is_some() || self.variant != Variant::Registers
    }

    /// Into how many dispatches an operation of so many multiply-adds is cut.
    pub fn parts(&self, multiplications: u64) -> u64 {
        multiplications.div_ceil(self.submit).max(1)
    }
}
