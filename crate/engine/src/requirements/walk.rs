//! The models' forward passes, walked through in terms of shapes alone, with what each operation of [`crate::blocks`] and
//! [`crate::autoencoder`] keeps alive while it runs: its input, its result, and the copies in between. Whatever is larger
//! than [`crate::limits::PIECE_BYTES`] is computed in pieces of that size ([`crate::bands`]), which counts here as it does
//! there.

use serde_json::Value;

use super::{CHUNK_TOKENS, Demand, FLOAT_BYTES, MAX_LEVELS, config};
use crate::autoencoder::{AutoencoderKlConfig, AutoencoderPatchConfig, AutoencoderTinyConfig, TILE_LATENTS};
use crate::kernels::attention::MAX_OUTPUT_SIZE;
use crate::scorer::ClipVisionConfig;
use crate::unet::UNet2DConditionConfig;
use crate::upscaler::UpscalerConfig;
use crate::{Error, Result};

/// A feature map, [batch, channels, height, width].
#[derive(Debug, Clone, Copy)]
pub(super) struct Map {
    batch: u64,
    channels: u64,
    height: u64,
    width: u64,
    /// Whether it is kept in bands, of which those that are used up are dropped.
    banded: bool,
}

impl Map {
    pub(super) fn new([batch, channels, height, width]: [u64; 4]) -> Self {
        Self { batch, channels, height, width, banded: false }
    }

    fn bytes(self) -> u64 {
        self.batch * self.channels * self.height * self.width * FLOAT_BYTES
    }

    /// Bytes that are dropped as a successor grows.
    fn released(self) -> u64 {
        if self.banded { self.bytes() } else { 0 }
    }

    fn with_channels(self, channels: usize) -> Self {
        Self { channels: channels as u64, ..self }
    }

    fn resized(self, height: u64, width: u64) -> Self {
        Self { height, width, banded: false, ..self }
    }
}

/// Adds up what is alive.
struct Walk {
    demand: Demand,
    /// Size of the pieces that large results are computed in.
    piece: u64,
}

impl Walk {
    fn new(piece: u64) -> Self {
        Self { demand: Demand::default(), piece }
    }

    fn alive(&mut self, bytes: u64) {
        self.demand.live_bytes = self.demand.live_bytes.max(bytes);
    }

    fn tensor(&mut self, bytes: u64) {
        self.demand.binding_bytes = self.demand.binding_bytes.max(bytes);
    }

    /// [`crate::bands::Bands::conv`] from `x` to `channels` at `enlarge` times the size, while `held` bytes besides `x`
    /// are alive; of these and `x`, `released` bytes are dropped as the result grows.
    fn conv(&mut self, (held, released): (u64, u64), x: Map, channels: usize, enlarge: u64) -> Map {
        let mut y = x.with_channels(channels).resized(x.height * enlarge, x.width * enlarge);
        let row = x.batch * x.channels.max(y.channels) * (y.width + 2) * FLOAT_BYTES;
        let padded = x.batch * x.channels * (y.height + 2) * (y.width + 2) * FLOAT_BYTES;
        let most = ((self.piece / row).saturating_sub(2) / enlarge).max(1);
        let count = x.height.div_ceil(most);
        if count == 1 {
            // Normalized and padded, then convolved.
            self.tensor(padded);
            self.tensor(y.bytes());
            self.alive(held + x.bytes() + padded + y.bytes());
        } else {
            // The rows and their halo, those padded, and the result.
            let band = row * (x.height.div_ceil(count) * enlarge + 2);
            y.banded = true;
            self.tensor(band);
            let kept = held + x.bytes() - released;
            self.alive(kept + released.max(y.bytes()) + 3 * band);
        }
        y
    }

    /// [`crate::blocks::ResnetBlock2D`], in bands.
    fn resnet(&mut self, held: u64, x: Map, channels: usize) -> Map {
        let hidden = self.conv((held, 0), x, channels, 1);
        self.conv((held + x.bytes(), x.released() + hidden.released()), hidden, channels, 1)
    }

    /// A map as one tensor.
    fn join(&mut self, held: u64, x: Map) -> Map {
        self.tensor(x.bytes());
        self.alive(held + x.bytes() * if x.banded { 2 } else { 1 });
        Map { banded: false, ..x }
    }

    /// [`crate::blocks::Transformer2DModel`] on `x`.
    fn transformer(&mut self, held: u64, x: Map) {
        let u = x.bytes();
        // The map, the tokens, and queries, keys, values and the normalized tokens, or the output.
        self.alive(held + 6 * u);
        // Value and gate are eight times as wide; the gate is taken out, activated and multiplied.
        let inner = (8 * u).min(self.piece).max(8 * u / (x.batch * x.height * x.width));
        self.tensor(inner.max(u));
        self.alive(held + 3 * u + 5 * inner / 2);
    }

    /// A decoder's attention: one head as wide as the map. Where that is wide, there are scores and their softmax, for
    /// some queries at a time.
    fn attention(&mut self, x: Map) {
        let is_wide = x.channels > MAX_OUTPUT_SIZE as u64;
        let scores = if is_wide { (x.height * x.width).pow(2) * FLOAT_BYTES } else { 0 };
        self.alive(6 * x.bytes() + 2 * scores.min(self.piece));
    }

    /// A resnet and, where the level attends, a transformer after it.
    fn layer(&mut self, held: u64, x: Map, channels: usize, attends: bool) -> Map {
        let y = self.resnet(held, x, channels);
        let y = self.join(held, y);
        if attends {
            self.transformer(held, y);
        }
        y
    }
}

/// One pass of the UNet over latents of that shape.
pub(super) fn denoise(unet: &UNet2DConditionConfig, latents: Map, piece: u64) -> Demand {
    let mut walk = Walk::new(piece);
    let widths = &unet.block_out_channels;
    let levels = widths.len().min(unet.down_block_types.len()).min(unet.up_block_types.len());
    let mut x = latents.with_channels(widths.first().copied().unwrap_or(0));
    let mut skips = vec![x];
    let text = latents.batch * text_keys_bytes(unet, levels);
    let held = |skips: &[Map]| text + latents.bytes() * 2 + skips.iter().map(|skip| skip.bytes()).sum::<u64>();
    for (level, (&width, kind)) in widths.iter().zip(&unet.down_block_types).enumerate().take(levels) {
        for _ in 0..unet.layers(level) {
            // The layer's input is the newest skip.
            let held = held(&skips) - x.bytes();
            x = walk.layer(held, x, width, attends(kind));
            skips.push(x);
        }
        if level + 1 < levels {
            x = x.resized(x.height.div_ceil(2), x.width.div_ceil(2));
            skips.push(x);
        }
    }
    if unet.mid_block_type.is_some() {
        walk.layer(held(&skips), x, x.channels as usize, true);
    }
    for index in 0..levels {
        let level = levels - 1 - index;
        for _ in 0..=unet.layers(level) {
            let Some(skip) = skips.pop() else { break };
            let cat = x.with_channels((x.channels + skip.channels) as usize);
            walk.tensor(cat.bytes());
            walk.alive(held(&skips) + x.bytes() + skip.bytes() + cat.bytes());
            x = walk.layer(held(&skips), cat, widths[level], attends(&unet.up_block_types[index]));
        }
        if let (Some(skip), true) = (skips.last().copied(), level > 0) {
            let y = walk.conv((held(&skips), 0), x, widths[level], 2);
            x = walk.join(held(&skips), y).resized(skip.height, skip.width);
        }
    }
    walk.demand
}

/// Whether the transformers of a block of that kind attend to the text.
fn attends(kind: &str) -> bool {
    kind.starts_with("CrossAttn")
}

/// Bytes of the keys and values of a row's text in all transformers, which are kept for the whole run.
fn text_keys_bytes(unet: &UNet2DConditionConfig, levels: usize) -> u64 {
    let of_layers =
        |level: usize, count: usize| count as u64 * unet.depth(level) as u64 * unet.block_out_channels[level] as u64;
    let down = (0..levels)
        .filter(|&level| attends(&unet.down_block_types[level]))
        .map(|level| of_layers(level, unet.layers(level)));
    let up = (0..levels).filter(|&level| attends(&unet.up_block_types[levels - 1 - level]));
    let up = up.map(|level| of_layers(level, unet.layers(level) + 1));
    let mid = unet.mid_block_type.is_some().then(|| of_layers(levels.saturating_sub(1), 1));
    down.chain(up).chain(mid).sum::<u64>().saturating_mul(2 * CHUNK_TOKENS * FLOAT_BYTES)
}

/// What decides how much a decoder takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DecoderShape {
    /// Of resolution levels, each twice as fine as the one before.
    Levels(Levels),
    /// The default model's.
    Patch(AutoencoderPatchConfig),
}

/// A tiny autoencoder's or a KL autoencoder's decoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Levels {
    /// Width per level, coarsest first.
    pub widths: Vec<usize>,
    /// Whether each level has blocks; a tiny one's finest may have none.
    pub has_blocks: Vec<bool>,
    /// Whether it is a tiny one: no norms, no middle, never tiled.
    pub is_tiny: bool,
    /// Whether its middle attends to itself.
    pub attends: bool,
}

impl DecoderShape {
    pub(super) fn of(value: &Value) -> Result<Self> {
        match value.get("_class_name").and_then(Value::as_str) {
            Some("AutoencoderTiny") => {
                let config: AutoencoderTinyConfig = config(value, "vae_decoder")?;
                let has_blocks = config.num_decoder_blocks.iter().map(|&count| count > 0).collect();
                let widths = config.decoder_block_out_channels;
                Ok(Self::Levels(Levels { widths, has_blocks, is_tiny: true, attends: false }))
            }
            Some("AutoencoderPatch") => Ok(Self::Patch(config(value, "vae_decoder")?)),
            _ => Ok(Self::of_kl(&config(value, "vae_decoder")?)),
        }
    }

    /// The shape of a KL autoencoder's.
    pub fn of_kl(config: &AutoencoderKlConfig) -> Self {
        let widths: Vec<_> = config.block_out_channels.iter().rev().copied().collect();
        let has_blocks = vec![true; widths.len()];
        Self::Levels(Levels { widths, has_blocks, is_tiny: false, attends: config.mid_block_add_attention })
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Levels(Levels { widths, .. }) if widths.is_empty() || widths.len() > MAX_LEVELS => {
                Err(Error::manifest("components.vae_decoder.config", "has no levels, or too many"))
            }
            Self::Levels(Levels { widths, .. }) if widths.contains(&0) => {
                Err(Error::manifest("components.vae_decoder.config", "has a level without channels"))
            }
            Self::Levels(_) => Ok(()),
            Self::Patch(config) => config.check(),
        }
    }

    /// Pixels per latent along a side.
    pub(super) fn scale(&self) -> u64 {
        match self {
            Self::Levels(levels) => 1 << (levels.widths.len() - 1),
            Self::Patch(config) => config.patch_size as u64,
        }
    }

    /// Latents of shape [batch, channels, height, width] to pixels.
    pub fn demand_of(&self, latents: [usize; 4], piece: usize) -> Demand {
        self.demand(Map::new(latents.map(|size| size as u64)), piece as u64)
    }

    pub(super) fn demand(&self, latents: Map, piece: u64) -> Demand {
        match self {
            Self::Levels(levels) => levels.demand(latents, piece),
            Self::Patch(config) => patch_demand(config, latents, piece),
        }
    }

    /// As [`DecoderShape::demand`], in [`crate::tiles`]; `None` for a decoder that is not tiled.
    pub(super) fn tiled_demand(&self, latents: Map, piece: u64) -> Option<Demand> {
        if !matches!(self, Self::Levels(Levels { is_tiny: false, .. })) {
            return None;
        }
        let side = |latents: u64| latents.min(TILE_LATENTS as u64);
        let mut demand = self.demand(latents.resized(side(latents.height), side(latents.width)), piece);
        let scale = self.scale();
        let picture = latents.with_channels(3).resized(latents.height * scale, latents.width * scale).bytes();
        // Finished rows, the picture that they become, and the rows of tiles above and at hand.
        demand.live_bytes += 3 * picture;
        demand.binding_bytes = demand.binding_bytes.max(picture);
        Some(demand)
    }
}

impl Levels {
    fn demand(&self, latents: Map, piece: u64) -> Demand {
        let mut walk = Walk::new(piece);
        let first = self.widths.first().copied().unwrap_or(0);
        let mut x = walk.conv((0, 0), latents, first, 1);
        if !self.is_tiny {
            x = walk.resnet(0, x, first);
            if self.attends {
                x = walk.join(0, x);
                walk.attention(x);
            }
            x = walk.resnet(0, x, first);
        }
        for (index, &width) in self.widths.iter().enumerate() {
            if self.has_blocks.get(index).copied().unwrap_or(false) {
                x = walk.resnet(0, x, width);
                x = walk.resnet(0, x, width);
            }
            if index + 1 < self.widths.len() {
                x = walk.conv((0, x.released()), x, width, 2);
            }
        }
        let y = walk.conv((0, x.released()), x, 3, 1);
        walk.join(0, y);
        walk.alive(4 * y.bytes()); // scaled, shifted, clamped
        walk.demand
    }
}

/// [`crate::autoencoder::PatchDecoder`] on latents.
fn patch_demand(config: &AutoencoderPatchConfig, latents: Map, piece: u64) -> Demand {
    let mut walk = Walk::new(piece);
    let map = |channels: usize, side: usize| {
        latents.with_channels(channels).resized(latents.height * side as u64, latents.width * side as u64)
    };
    let (side, picture) = (config.feature_patch_size, map(config.in_channels, config.patch_size));
    let mut x = map(config.latent_width, 1);
    for _ in 0..2 {
        // A block: its input is kept, each convolution takes an activated copy.
        let hidden = walk.conv((latents.bytes() + x.bytes(), 0), x, x.channels as usize, 1);
        walk.conv((latents.bytes() + x.bytes(), 0), hidden, x.channels as usize, 1);
        x = map(config.width, side);
    }
    walk.alive(3 * x.bytes()); // features shuffled out of channels
    walk.tensor(picture.bytes());
    walk.alive(4 * picture.bytes()); // both pictures, one of them before and after its shuffle, and their sum
    walk.demand
}

/// [`crate::upscaler::Upscaler`] on a picture, in its tiles.
pub(super) fn upscale(config: &UpscalerConfig, [height, width]: [u64; 2], piece: u64) -> Demand {
    let side = config.tile_side(piece as usize) as u64;
    let most = side + 2 * config.reach() as u64;
    let tile = |channels: usize| Map::new([1, channels as u64, height.min(most) + 2, width.min(most) + 2]).bytes();
    let picture = Map::new([1, 3, height, width]).bytes();
    let larger = picture * (config.upscale * config.upscale) as u64;
    // Of several tiles, the finished ones, which become the picture.
    let finished = if height.max(width) > side { larger } else { 0 };
    // A map, where it is negative, it times the slopes, and the result; then the finer pixels, those that they are added
    // to, and the sum.
    let live = (4 * tile(config.num_feat)).max(3 * tile(config.last_channels())).max(finished);
    Demand { live_bytes: picture + finished + live, binding_bytes: tile(config.widest()).max(larger) }
}

/// [`crate::scorer::ClipVisionModelWithProjection`] on a picture.
pub(super) fn score(config: &ClipVisionConfig) -> Demand {
    let tokens = |width: usize| (config.tokens() * width) as u64 * FLOAT_BYTES;
    let patches = tokens(3 * config.patch_size.pow(2));
    // The states, and them normalized with queries, keys, values and the result, or with the MLP's inside.
    let layer =
        tokens(config.hidden_size) * 2 + (tokens(config.hidden_size) * 4).max(tokens(config.intermediate_size) * 3);
    let widest = config.hidden_size.max(config.intermediate_size);
    Demand { live_bytes: layer.max(3 * patches), binding_bytes: tokens(widest).max(patches) }
}
