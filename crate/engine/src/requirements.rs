//! What a pack needs of a device, computed from its manifest before anything is downloaded.
//!
//! The models' forward passes are gone through in terms of shapes alone ([`walk`]). Not counted are the memory pool's own
//! gaps, and what the host draws with. Stable Diffusion 1.5 at full width made Mesa's software driver reserve 99 MiB for a
//! pass of its UNet at 512x512 where 105 MiB are foretold, and 200 MiB for decoding 256x256 where 162 MiB are.

mod walk;

use serde::Deserialize;
use serde_json::Value;

use crate::kernels::Level;
use crate::limits::{DeviceLimits, PIECE_BYTES};
use crate::pack::{Manifest, Recommended};
use crate::request::MAX_BATCH;
use crate::scorer::{self, ClipVisionConfig};
use crate::unet::UNet2DConditionConfig;
use crate::upscaler::{self, UpscalerConfig};
use crate::{Error, Result, work};
pub(crate) use walk::DecoderShape;
use walk::{Map, denoise, score, upscale};

/// Most that decoding a picture whole may take; beyond that it is decoded in tiles, which is not exact. Stable
/// Diffusion's decoder stays below it up to 1024x1024.
pub const WHOLE_DECODING_BYTES: u64 = 2 << 30;
/// Most rows of a pass of the UNet: two of guidance for each picture.
pub const MAX_ROWS: usize = 2 * MAX_BATCH;
/// Most resolution levels, and layers in one, of a model that this is computed for.
const MAX_LEVELS: usize = 8;
const MAX_LAYERS: usize = 16;
/// Tokens of one chunk of a prompt.
const CHUNK_TOKENS: u64 = 77;
/// Bytes of an activation.
const FLOAT_BYTES: u64 = 4;

/// What one part of a run takes, without the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Largest sum of the tensors that are alive at one time.
    pub live_bytes: u64,
    /// Largest single tensor.
    pub binding_bytes: u64,
}

/// What a pack needs to paint at a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirements {
    /// Weights on the device: the bytes of every component that is loaded.
    pub weights_bytes: u64,
    /// A pass of the UNet over one row, over the two of guidance at once, and so on.
    pub denoising: [Demand; MAX_ROWS],
    /// The whole picture decoded at once, in bands.
    pub whole_decoding: Demand,
    /// The picture decoded in overlapping tiles, where its decoder can be tiled.
    pub tiled_decoding: Option<Demand>,
    /// The decoded picture made larger, where the pack has an upscaler; with its weights unless those come with the pack.
    pub upscaling: Option<Demand>,
    /// A picture scored by a prompt, where the pack has a scorer; with its weights likewise.
    pub scoring: Option<Demand>,
    limits: DeviceLimits,
}

/// What decides how much a pack needs: the sizes of its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    weights_bytes: u64,
    unet: UNet2DConditionConfig,
    decoder: DecoderShape,
    upscaler: Option<Extra<UpscalerConfig>>,
    scorer: Option<Extra<ClipVisionConfig>>,
}

/// A component that a pack may have besides those that paint.
#[derive(Debug, Clone, PartialEq)]
struct Extra<C> {
    config: C,
    /// Its weights, unless they come with the pack.
    weights_bytes: u64,
}

impl<C> Extra<C> {
    fn of(manifest: &Manifest, component: &str, config: Option<C>) -> Result<Option<Self>> {
        let Some(config) = config else { return Ok(None) };
        let component = manifest.component(component)?;
        Ok(Some(Self { config, weights_bytes: if component.optional { component.bytes } else { 0 } }))
    }

    fn with_weights(&self, demand: Demand) -> Demand {
        Demand { live_bytes: demand.live_bytes + self.weights_bytes, ..demand }
    }
}

impl ModelShape {
    /// Reads it from the manifest alone.
    ///
    /// # Errors
    /// [`Error::Manifest`] for a component that is missing or whose configuration cannot be read.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        let weights_bytes = manifest
            .components
            .iter()
            .filter(|(name, component)| !component.optional && !name.starts_with("tokenizer"))
            .map(|(_, component)| component.bytes)
            .sum();
        let unet: UNet2DConditionConfig = config(&manifest.component("unet")?.config, "unet")?;
        let decoder = DecoderShape::of(&manifest.component("vae_decoder")?.config)?;
        // What the walks loop over; the modules themselves are stricter.
        let layers = (0..MAX_LEVELS).filter_map(|level| unet.layers_per_block.get(level)).max();
        if unet.block_out_channels.len() > MAX_LEVELS || layers > Some(MAX_LAYERS) {
            return Err(Error::manifest("components.unet.config", "has too many levels, or layers in a level"));
        }
        if unet.block_out_channels.is_empty() || unet.block_out_channels.contains(&0) {
            let field = "components.unet.config.block_out_channels";
            return Err(Error::manifest(field, "has no levels, or one without channels"));
        }
        decoder.check()?;
        let upscaler = Extra::of(manifest, upscaler::COMPONENT, UpscalerConfig::of(manifest)?)?;
        let scorer = Extra::of(manifest, scorer::COMPONENT, ClipVisionConfig::of(manifest)?)?;
        Ok(Self { weights_bytes, unet, decoder, upscaler, scorer })
    }

    /// What painting a picture of that size needs on a device of those limits.
    pub fn requirements(&self, width_px: u32, height_px: u32, limits: &DeviceLimits) -> Requirements {
        let scale = self.decoder.scale();
        let [height, width] = [height_px, width_px].map(|side| (u64::from(side) / scale).max(1));
        let latents = |batch| Map::new([batch, self.unet.in_channels as u64, height, width]);
        let piece = limits.binding_bytes.min(PIECE_BYTES as u64);
        Requirements {
            weights_bytes: self.weights_bytes,
            denoising: core::array::from_fn(|index| denoise(&self.unet, latents(index as u64 + 1), piece)),
            whole_decoding: self.decoder.demand(latents(1), piece),
            tiled_decoding: self.decoder.tiled_demand(latents(1), piece),
            upscaling: self.upscaler.as_ref().map(|upscaler| {
                upscaler.with_weights(upscale(&upscaler.config, [height_px, width_px].map(u64::from), piece))
            }),
            scoring: self.scorer.as_ref().map(|scorer| scorer.with_weights(score(&scorer.config))),
            limits: *limits,
        }
    }

    /// The ends of the UNet at a size, for [`crate::kernels::calibrate`].
    pub fn ends(&self, width_px: u32, height_px: u32) -> [Level; 2] {
        let scale = self.decoder.scale();
        Level::ends(&self.unet, [height_px, width_px].map(|side| (u64::from(side) / scale).max(1) as usize))
    }

    /// Multiply-adds of one row of a step at a size.
    pub fn step_multiplications(&self, width_px: u32, height_px: u32) -> u64 {
        let scale = self.decoder.scale();
        work::of_pass(&self.unet, [height_px, width_px].map(|side| (u64::from(side) / scale).max(1)))
    }

    /// Room for decoding a picture whole; where that needs more, it is decoded in tiles.
    pub fn decoding_bytes(&self, limits: &DeviceLimits) -> u64 {
        decoding_bytes(limits, self.weights_bytes)
    }
}

impl Requirements {
    /// What painting at a pack's recommended size needs of a device, from the manifest alone.
    ///
    /// # Errors
    /// As [`ModelShape::of`].
    pub fn recommended(manifest: &Manifest, limits: &DeviceLimits) -> Result<Self> {
        let Recommended { width, height, .. } = manifest.recommended;
        Ok(ModelShape::of(manifest)?.requirements(width, height, limits))
    }

    /// What decoding takes: the whole picture at once where there is room for that, else in tiles.
    pub fn decoding(&self) -> Demand {
        match self.tiled_decoding {
            Some(tiled) if self.whole_decoding.live_bytes > decoding_bytes(&self.limits, self.weights_bytes) => tiled,
            _ => self.whole_decoding,
        }
    }

    /// Largest tensor of a run whose UNet passes are over `batch` rows, 1 to [`MAX_ROWS`]; weights left aside, which are cut to
    /// any limit.
    pub fn largest_binding_bytes(&self, batch: usize) -> u64 {
        self.denoising[batch.clamp(1, MAX_ROWS) - 1].binding_bytes.max(self.decoding().binding_bytes)
    }

    /// Whether UNet passes over `batch` rows, 1 to [`MAX_ROWS`], fit the device; rows that do not fit together are
    /// computed one after the other. More than the two of guidance may take no more than decoding may.
    pub fn fits_batch(&self, batch: usize) -> bool {
        let demand = self.denoising[batch.clamp(1, MAX_ROWS) - 1];
        let is_modest = batch <= 2 || demand.live_bytes <= decoding_bytes(&self.limits, self.weights_bytes);
        is_modest && check(&self.limits, demand, self.weights_bytes).is_ok()
    }

    /// Whether the device can paint at this size at all.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`] naming the limit that is too low.
    pub fn check(&self) -> Result<()> {
        check(&self.limits, self.denoising[0], self.weights_bytes)?;
        check(&self.limits, self.decoding(), self.weights_bytes)
    }

    /// Whether the device can encode a start picture of this size. That takes no more than decoding it whole, whose maps are
    /// as large and more, and is not done in tiles.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`] naming the limit that is too low.
    pub fn check_encoding(&self) -> Result<()> {
        let (needed, available) = (self.whole_decoding.live_bytes, decoding_bytes(&self.limits, self.weights_bytes));
        if needed > available {
            return Err(Error::DeviceLimit { limit: "memory".into(), needed, available });
        }
        check(&self.limits, self.whole_decoding, self.weights_bytes)
    }

    /// Whether the device can make a picture of this size larger.
    ///
    /// # Errors
    /// [`Error::Request`] where the pack has no upscaler; [`Error::DeviceLimit`] naming the limit that is too low.
    pub fn check_upscaling(&self) -> Result<()> {
        check(&self.limits, self.upscaling.ok_or_else(upscaler::missing)?, self.weights_bytes)
    }

    /// Whether the device can score pictures.
    ///
    /// # Errors
    /// [`Error::Request`] where the pack has no scorer; [`Error::DeviceLimit`] naming the limit that is too low.
    pub fn check_scoring(&self) -> Result<()> {
        check(&self.limits, self.scoring.ok_or_else(scorer::missing)?, self.weights_bytes)
    }
}

/// Room for the activations of a decoder.
fn decoding_bytes(limits: &DeviceLimits, weights_bytes: u64) -> u64 {
    let room = limits.memory_bytes.map_or(WHOLE_DECODING_BYTES, |bytes| bytes.saturating_sub(weights_bytes));
    room.min(WHOLE_DECODING_BYTES)
}

fn check(limits: &DeviceLimits, demand: Demand, weights_bytes: u64) -> Result<()> {
    let refuse = |limit: &str, needed, available| Err(Error::DeviceLimit { limit: limit.into(), needed, available });
    let total_bytes = weights_bytes + demand.live_bytes;
    match limits.memory_bytes {
        _ if demand.binding_bytes > limits.binding_bytes => {
            refuse("maxStorageBufferBindingSize", demand.binding_bytes, limits.binding_bytes)
        }
        Some(available) if total_bytes > available => refuse("memory", total_bytes, available),
        _ => Ok(()),
    }
}

fn config<T: for<'a> Deserialize<'a>>(value: &Value, component: &str) -> Result<T> {
    serde_json::from_value(value.clone())
        .map_err(|error| Error::manifest(format!("components.{component}.config"), error.to_string()))
}
