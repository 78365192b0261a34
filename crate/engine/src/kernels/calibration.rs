//! Measuring a GPU: which variant of the product suits it, how fast it is, and whether the processor is faster.

use burn::tensor::{DType, Device, Int, Tensor};

use super::gemm::{Conv2dShape, Variant, conv2d_padded, linear};
use super::launch::on_gpu;
use super::tuning::{Precision, Tuning, at_half_precision, has_half_precision};
use crate::unet::UNet2DConditionConfig;
use crate::weights::{Scheme, Weight, WeightPart};
use crate::{Error, Result};

/// Longest that a calibration goes on to the next measurement, in ms.
pub const BUDGET_MS: f64 = 2000.0;
/// The part of it after which the outer level has no other variant begun at 32 bits, where the best is to be measured at 16.
const SEARCH: f64 = 0.6;
/// What a measurement on the GPU lasts at least, in ms: long against the noise.
const LONG_MS: f64 = 80.0;
/// What a measurement on the processor lasts at least, in ms, and how many there are, of which the fastest counts: what else
/// the machine does for a moment would decide for all visits to come.
const SHORT_MS: f64 = 10.0;
const ROUNDS: usize = 3;
/// Side of the largest map that is measured on the processor.
const MOST_SIDE: usize = 32;
/// Most runs of one measurement.
const MOST_RUNS: u32 = 1 << 14;
/// How many times more runs a measurement may have than the one before.
const MOST_GROWTH: f64 = 8.0;
/// How many times slower a variant may be on a few positions before it is given up.
const HOPELESS: f64 = 3.0;
/// Side of the picture that a variant is tried on first.
const TRIAL_SIDE: usize = 8;

/// A level of a UNet, as a 3x3 convolution and a linear layer of its width see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Channels, in and out.
    pub channels: usize,
    /// Height and width of its maps.
    pub sides: [usize; 2],
}

impl Level {
    /// The outermost level of a UNet, with the largest maps, and the innermost; for latents of `sides`.
    pub fn ends(unet: &UNet2DConditionConfig, sides: [usize; 2]) -> [Self; 2] {
        let widths = &unet.block_out_channels;
        // Quantized weights come in blocks of 32.
        let level = |width: Option<&usize>, halvings: usize| Self {
            channels: width.map_or(32, |width| width.next_multiple_of(32)),
            sides: sides.map(|side| side.checked_shr(halvings as u32).unwrap_or(0).max(1)),
        };
        [level(widths.first(), 0), level(widths.last(), widths.len().saturating_sub(1))]
    }

    /// Outputs of either layer.
    fn outputs(self) -> f64 {
        (self.channels * self.sides[0] * self.sides[1]) as f64
    }

    fn multiplications(self) -> f64 {
        (10 * self.channels * self.channels * self.sides[0] * self.sides[1]) as f64
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// How to use the GPU.
    pub tuning: Tuning,
    /// Multiply-adds that the GPU does in a millisecond, in the largest layers.
    pub gpu_rate: f64,
    /// Multiply-adds that the processor does in a millisecond, by this thread and its crew ([`super::crew`]).
    pub cpu_rate: f64,
}

/// Measures `gpu` on the two ends of a UNet, for [`BUDGET_MS`] at most, save that what has begun is ended. The tuning is in
/// force afterwards. `clock`: milliseconds from any beginning.
///
/// # Errors
/// [`Error::DeviceLost`] where nothing can be read back.
pub async fn calibrate(
    gpu: &Device,
    ends: [Level; 2],
    precision: Precision,
    clock: &dyn Fn() -> f64,
) -> Result<Calibration> {
    let Some(tensor) = on_gpu(&Tensor::<1>::zeros([1], gpu)) else {
        return Err(Error::request("device", "only a GPU can be calibrated"));
    };
    let hardware = &tensor.client.properties().hardware;
    let hardware = (hardware.max_units_per_cube, hardware.max_shared_memory_size);
    let cpu_rate = cpu_rate(ends, clock);
    let may_be_half = precision == Precision::Float16 && has_half_precision(gpu);
    let (started, search) = (clock(), if may_be_half { SEARCH } else { 1.0 });
    let mut measuring = Measuring { gpu, hardware, clock, deadline: started + BUDGET_MS * search, idle_ms: 0.0 };
    let (large, mut large_ms) = measuring.best(ends[0], Variant::LARGE).await?;
    measuring.deadline = started + BUDGET_MS;
    let mut half = false;
    if may_be_half && large != Variant::Registers && clock() <= measuring.deadline {
        Tuning { small: large, half: true, ..Tuning::default() }.set_for(gpu);
        measuring.trial(ends[0]).await?;
        let ms = measuring.level(ends[0]).await?;
        half = ms < large_ms;
        large_ms = ms.min(large_ms);
    }
    let (small, small_ms) = measuring.best(ends[1], Variant::SMALL).await?;
    let gpu_rate = ends[0].multiplications() / large_ms;
    // Without time for it, the inner level goes the way of the outer.
    let small = if small_ms.is_finite() { small } else { large };
    // Between the two, by factors.
    let many = (ends[0].outputs() * ends[1].outputs()).sqrt() as u64;
    let tuning = Tuning { small, large, many, half, submit: Tuning::submit_at(gpu_rate) };
    tuning.set_for(gpu);
    Ok(Calibration { tuning, gpu_rate, cpu_rate })
}

/// Multiply-adds that the processor does in a millisecond, by this thread and its crew, in the layers of both ends; of large
/// maps, a part is enough.
pub fn cpu_rate(ends: [Level; 2], clock: &dyn Fn() -> f64) -> f64 {
    let mut spent = [0.0, 0.0]; // multiply-adds and ms, of one run of each
    for level in ends {
        let level = Level { sides: level.sides.map(|side| side.min(MOST_SIDE)), ..level };
        let layers = Layers::new(level, &Device::flex());
        let _ = layers.run();
        let round = |_| {
            let (started, mut runs) = (clock(), 0.0);
            while clock() - started < SHORT_MS {
                let _ = layers.run();
                runs += 1.0;
            }
            (clock() - started) / runs
        };
        spent[0] += level.multiplications();
        spent[1] += (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    }
    spent[0] / spent[1]
}

/// Timing on the GPU.
struct Measuring<'a> {
    gpu: &'a Device,
    /// Invocations of a workgroup, and bytes that it may share.
    hardware: (u32, usize),
    clock: &'a dyn Fn() -> f64,
    deadline: f64,
    /// What hearing of the end takes by itself: browsers may tell of it only every tenth of a second.
    idle_ms: f64,
}

impl Measuring<'_> {
    /// The fastest of the variants that there is room for, and its milliseconds for a run of a level's layers. The two best are
    /// measured twice where there is time, since what else the machine does for a moment would decide for all visits to come.
    async fn best(&mut self, level: Level, variants: [Variant; 6]) -> Result<(Variant, f64)> {
        let hardware = self.hardware;
        let mut measured: Vec<(Variant, f64)> = Vec::new();
        let mut trial_ms = f64::INFINITY;
        for variant in variants.into_iter().filter(|variant| variant.fits(hardware.0, hardware.1)) {
            if (self.clock)() > self.deadline {
                break;
            }
            Tuning { small: variant, ..Tuning::default() }.set_for(self.gpu);
            let tried_ms = self.trial(level).await?;
            trial_ms = trial_ms.min(tried_ms);
            // What makes one in shared memory hopeless, barriers, makes all: they are ordered by what they ask of the device.
            if tried_ms > HOPELESS * trial_ms {
                break;
            }
            measured.push((variant, self.level(level).await?));
        }
        let fastest = |measured: &mut Vec<(Variant, f64)>| measured.sort_by(|one, other| one.1.total_cmp(&other.1));
        fastest(&mut measured);
        if measured.len() > 1 {
            for (variant, ms) in measured.iter_mut().take(2) {
                if (self.clock)() <= self.deadline {
                    Tuning { small: *variant, ..Tuning::default() }.set_for(self.gpu);
                    *ms = ms.min(self.level(level).await?);
                }
            }
            fastest(&mut measured);
        }
        Ok(measured.first().copied().unwrap_or((Variant::Registers, f64::INFINITY)))
    }

    /// Milliseconds of a run on a few positions, once its shaders are compiled.
    async fn trial(&mut self, level: Level) -> Result<f64> {
        let layers = Layers::new(Level { sides: [TRIAL_SIDE; 2], ..level }, self.gpu);
        self.runs(&layers, 1).await?;
        self.idle_ms = self.runs(&layers, 1).await?;
        Ok(self.idle_ms)
    }

    /// Milliseconds of a run of a level's layers.
    async fn level(&self, level: Level) -> Result<f64> {
        let layers = Layers::new(level, self.gpu);
        // Maps of this size may take other shaders than those of the trial.
        self.runs(&layers, 1).await?;
        let (enough, mut runs) = (LONG_MS + 2.0 * self.idle_ms, 1);
        loop {
            let ms = self.runs(&layers, runs).await?;
            if ms >= enough || runs >= MOST_RUNS || (self.clock)() > self.deadline {
                return Ok(ms / f64::from(runs));
            }
            // Where nearly all of it was hearing of the end, nothing is known of the rest yet.
            let known = ms > 1.5 * self.idle_ms;
            let factor = if known { (1.2 * enough / ms.max(0.1)).clamp(2.0, MOST_GROWTH) } else { MOST_GROWTH };
            runs = (f64::from(runs) * factor) as u32;
        }
    }

    async fn runs(&self, layers: &Layers, runs: u32) -> Result<f64> {
        let started = (self.clock)();
        let mut last = layers.run();
        for _ in 1..runs {
            last = layers.run();
        }
        let read = last.slice([0..1, 0..1]).into_data_async().await;
        let data = read.map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
        // Natively, whoever does not look at the bytes has not waited for them.
        let _ = data.try_into_vec::<f32>().map_err(|error| Error::DeviceLost { reason: format!("{error:?}") })?;
        Ok((self.clock)() - started)
    }
}

/// The two layers of a level, all zeros.
struct Layers {
    image: Tensor<4>,
    rows: Tensor<2>,
    conv: Weight,
    linear: Weight,
    /// Most layers have one, so that what is compiled here need not be again.
    bias: Tensor<1>,
}

impl Layers {
    fn new(level: Level, device: &Device) -> Self {
        let (channels, [height, width]) = (level.channels, level.sides);
        Self {
            image: Tensor::zeros([1, channels, height + 2, width + 2], device),
            rows: Tensor::zeros([height * width, channels], device),
            conv: zeros(channels, 9 * channels, device),
            linear: zeros(channels, channels, device),
            bias: Tensor::zeros([channels], device),
        }
    }

    fn run(&self) -> Tensor<2> {
        at_half_precision(|| {
            let _ = conv2d_padded(self.image.clone(), &self.conv, Some(&self.bias), Conv2dShape::SAME);
            linear(self.rows.clone(), &self.linear, Some(&self.bias))
        })
    }
}

/// An 8-bit weight of zeros; `columns` a multiple of 32.
fn zeros(rows: usize, columns: usize, device: &Device) -> Weight {
    let words = |bytes: usize| Tensor::<1, Int>::zeros([bytes / 4], (device, DType::U32));
    let part = WeightPart::new(rows, words(rows * columns), Some(words(rows * columns / 16)));
    Weight { scheme: Scheme::Q8, rows, columns, parts: vec![part] }
}
