//! Measuring a GPU: which variant of the product suits it, how fast it is, and whether the processor is faster.

use burn::tensor::{DType, Device, Int, Tensor};

use super::gemm::{Conv2dShape, Costs, Tile, TileCost, Variant, conv2d_padded, linear, split};
use super::launch::{compiling, on_gpu};
use super::tuning::{Precision, Tuning, at_half_precision, has_half_precision};
use crate::unet::UNet2DConditionConfig;
use crate::weights::{Scheme, Weight, WeightPart};
use crate::{Error, Result};

/// Longest that a calibration goes on to the next measurement, in ms.
pub const BUDGET_MS: f64 = 2000.0;
/// What a measurement on the GPU lasts at least, in ms: long against the noise.
const LONG_MS: f64 = 25.0;
/// What a measurement on the processor lasts at least, in ms, and how many there are, of which the fastest counts: what else
/// the machine does for a moment would decide for all visits to come.
const SHORT_MS: f64 = 10.0;
const ROUNDS: usize = 3;
/// Side of the largest map that is measured on the processor.
const MOST_SIDE: usize = 32;
/// Most runs of one measurement.
const MOST_RUNS: f64 = 16_384.0;
/// How many times more runs a measurement may have than the one before.
const MOST_GROWTH: f64 = 8.0;
/// How many times slower a small convolution by tiles may be to be measured further, or how many ms: one or two are what hearing
/// of its end may take.
const HOPELESS: f64 = 2.0;
const HOPELESS_MS: f64 = 2.0;
/// The convolutions that show what a tile costs: a small one; of one workgroup, which waits for nothing else; and of
/// more than any GPU has at once.
const TRIAL: Convolution = Convolution { channels: 64, outputs: 128, sides: [8, 16] };
const ALONE_CHANNELS: usize = 256;
const CROWD: Convolution = Convolution { channels: 64, outputs: 1024, sides: [32, 64] };
/// Numbers of a sum of spans that shows what a pass over memory costs, and the spans; and of one that shows a launch's cost.
const SUMMED: [usize; 2] = [1 << 19, 4];
const SUMMED_AT_ONCE: [usize; 2] = [1 << 8, 2];

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

/// Measures `gpu` for [`BUDGET_MS`] at most, save that what has begun is ended, and how fast it then is on the outer end of a
/// UNet; the processor on both. The tuning is in force afterwards. `clock`: milliseconds from any beginning.
///
/// # Errors
/// [`Error::DeviceLost`] where nothing can be read back.
pub async fn calibrate(
    gpu: &Device,
    ends: [Level; 2],
    precision: Precision,
    clock: &dyn Fn() -> f64,
) -> Result<Calibration> {
    let Some(tensor) = on_gpu(&Tensor::<1>::empty([1], gpu)) else {
        return Err(Error::request("device", "only a GPU can be calibrated"));
    };
    let hardware = &tensor.client.properties().hardware;
    let hardware = (hardware.max_units_per_cube, hardware.max_shared_memory_size);
    let cpu_rate = cpu_rate(ends, clock);
    let mut measuring = Measuring { gpu, hardware, clock, deadline: clock() + BUDGET_MS, idle_ms: 0.0 };
    let mut tuning = Tuning { costs: measuring.costs().await?, ..Tuning::default() };
    let mut level_ms = measuring.level(ends[0], tuning).await?;
    if tuning.costs.is_some() && precision == Precision::Float16 && has_half_precision(gpu) {
        let half = Tuning { half: true, ..tuning };
        let ms = measuring.level(ends[0], half).await?;
        (tuning, level_ms) = if ms < level_ms { (half, ms) } else { (tuning, level_ms) };
    }
    let gpu_rate = ends[0].multiplications() / level_ms;
    let tuning = Tuning { submit: Tuning::submit_at(gpu_rate), ..tuning };
    tuning.set_for(gpu);
    gpu.memory_cleanup(); // of what was measured
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
    fn has_time(&self) -> bool {
        (self.clock)() <= self.deadline
    }

    /// What tiles cost; `None` where registers are faster.
    async fn costs(&mut self) -> Result<Option<Costs>> {
        let (invocations, shared_bytes) = self.hardware;
        let has_room = |variant: &Variant| variant.fits(invocations, shared_bytes);
        // What makes one hopeless, barriers, makes all. This one is compiled soonest.
        if !has_room(&Variant::Tiles32) {
            return Ok(None);
        }
        let [by_registers, by_tiles] = [self.trial(Variant::Registers).await?, self.trial(Variant::Tiles32).await?];
        if by_tiles > (HOPELESS * by_registers).max(by_registers + HOPELESS_MS) {
            return Ok(None);
        }
        let (mut alone_runs, mut crowd_runs) = (1.0, 1.0);
        Tuning::from(Variant::Registers).set_for(self.gpu);
        let by_registers = self.convolution(CROWD, &mut crowd_runs).await?;
        let mut costs = self.passes().await?;
        for (variant, place) in Variant::TILES.into_iter().filter(has_room).zip(0..) {
            // Small tiles alone would leave half of a big GPU's speed, and Winograd's.
            if place > 1 && !self.has_time() {
                break;
            }
            let Some((tile, _)) = variant.tile() else { continue };
            Tuning::from(variant).set_for(self.gpu);
            let alone = Convolution::of_one(tile);
            let alone_us = self.convolution(alone, &mut alone_runs).await? * 1e3 / alone.slabs(tile);
            let crowd_ms = self.convolution(CROWD, &mut crowd_runs).await?;
            let crowd_us = crowd_ms * 1e3 / (CROWD.slabs(tile) * CROWD.workgroups(tile));
            costs.tiles[place] = Some(TileCost { variant, alone_us, at_once: (alone_us / crowd_us).max(1.0) });
            if place == 0 && crowd_ms > by_registers {
                return Ok(None);
            }
        }
        Ok(Some(costs))
    }

    /// What passes over memory cost; of tiles nothing.
    async fn passes(&mut self) -> Result<Costs> {
        let [launch_ms, pass_ms] = [self.sum(SUMMED_AT_ONCE).await?, self.sum(SUMMED).await?];
        let [numbers, spans] = SUMMED;
        // What a launch takes is in both.
        let pass_us = (pass_ms - launch_ms).max(pass_ms / 10.0) * 1e3;
        let numbers_per_us = (numbers * (spans + 1)) as f64 / pass_us;
        Ok(Costs { tiles: [None; Variant::TILES.len()], launch_us: launch_ms * 1e3, numbers_per_us })
    }

    /// Milliseconds of a sum of so many numbers, and spans.
    async fn sum(&mut self, [numbers, spans]: [usize; 2]) -> Result<f64> {
        let parts = Tensor::<1>::zeros([numbers * spans], self.gpu);
        let sum = || split::sum(&parts, spans, [1, numbers]).unwrap_or_else(|| parts.clone().unsqueeze());
        self.runs(&sum, 1.0).await?;
        self.time(&sum, &mut 1.0).await
    }

    /// Milliseconds of a convolution by the tuning that is in force; `expected` as in [`Self::time`].
    async fn convolution(&mut self, size: Convolution, expected: &mut f64) -> Result<f64> {
        let layer = size.layer(self.gpu);
        let run = || layer.run();
        self.runs(&run, 1.0).await?;
        self.time(&run, expected).await
    }

    /// Milliseconds of a convolution of one tile, once its shader is compiled.
    async fn trial(&mut self, variant: Variant) -> Result<f64> {
        Tuning::from(variant).set_for(self.gpu);
        let layer = TRIAL.layer(self.gpu);
        let run = || layer.run();
        self.runs(&|| compiling(run), 1.0).await?;
        self.idle_ms = f64::INFINITY;
        // What else the machine does for a moment would decide; where it takes long, that does not matter.
        for _ in 0..ROUNDS {
            self.idle_ms = self.idle_ms.min(self.runs(&run, 1.0).await?);
            if self.idle_ms > LONG_MS {
                break;
            }
        }
        Ok(self.idle_ms)
    }

    /// Milliseconds of a run of a level's layers.
    async fn level(&mut self, level: Level, tuning: Tuning) -> Result<f64> {
        tuning.set_for(self.gpu);
        let layers = Layers::new(level, self.gpu);
        let run = || layers.run();
        self.runs(&run, 1.0).await?;
        self.time(&run, &mut 1.0).await
    }

    /// Milliseconds of `run`, without hearing of its end. `expected` runs are thought to be enough, and are those that were, afterwards.
    async fn time(&mut self, run: &impl Fn() -> Tensor<2>, expected: &mut f64) -> Result<f64> {
        let enough = LONG_MS + 2.0 * self.idle_ms;
        loop {
            let (ms, runs) = (self.runs(run, *expected).await?, *expected);
            // Where nearly all of it was hearing of the end, nothing is known of the rest yet.
            let known = ms > 1.5 * self.idle_ms;
            let factor = if known { 1.2 * enough / ms.max(0.1) } else { MOST_GROWTH };
            if ms >= enough || runs >= MOST_RUNS || (known && !self.has_time()) {
                *expected = (runs * factor.min(1.0)).ceil();
                return Ok((ms - self.idle_ms).max(ms / 10.0) / runs);
            }
            *expected = (runs * factor.clamp(2.0, MOST_GROWTH)).floor().min(MOST_RUNS);
        }
    }

    async fn runs(&self, run: &impl Fn() -> Tensor<2>, runs: f64) -> Result<f64> {
        let started = (self.clock)();
        let mut last = run();
        for _ in 1..runs as u32 {
            last = run();
        }
        let read = last.slice([0..1, 0..1]).into_data_async().await;
        let data = read.map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
        // Natively, whoever does not look at the bytes has not waited for them.
        let _ = data.try_into_vec::<f32>().map_err(|error| Error::DeviceLost { reason: format!("{error:?}") })?;
        Ok((self.clock)() - started)
    }
}

/// A 3x3 convolution that shows what a tile costs.
#[derive(Debug, Clone, Copy)]
struct Convolution {
    channels: usize,
    outputs: usize,
    sides: [usize; 2],
}

impl Convolution {
    /// That of one workgroup.
    fn of_one(tile: Tile) -> Self {
        Self { channels: ALONE_CHANNELS, outputs: tile.n as usize, sides: [tile.p as usize / 8, 8] }
    }

    fn positions(self) -> usize {
        self.sides[0] * self.sides[1]
    }

    fn workgroups(self, tile: Tile) -> f64 {
        tile.workgroups([self.outputs, self.positions()]) as f64
    }

    /// Slabs that a workgroup goes through.
    fn slabs(self, tile: Tile) -> f64 {
        (9 * self.channels).div_ceil(tile.depth as usize) as f64
    }

    fn layer(self, device: &Device) -> ConvolutionLayer {
        let [height, width] = self.sides;
        ConvolutionLayer {
            image: Tensor::zeros([1, self.channels, height + 2, width + 2], device),
            weight: zeros(self.outputs, 9 * self.channels, device),
            bias: Tensor::zeros([self.outputs], device),
        }
    }
}

/// All zeros.
struct ConvolutionLayer {
    image: Tensor<4>,
    weight: Weight,
    bias: Tensor<1>,
}

impl ConvolutionLayer {
    /// The outputs' maps as rows.
    fn run(&self) -> Tensor<2> {
        conv2d_padded(self.image.clone(), &self.weight, Some(&self.bias), Conv2dShape::SAME)
            .flatten::<3>(2, 3)
            .squeeze_dim(0)
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
