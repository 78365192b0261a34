//! The upscaler: a picture two or four times as large.
//!
//! Convolutions at the picture's own size, whose last channels become the finer pixels; what they compute is added to the
//! picture enlarged by nearest neighbour.
//!
//! Source: Wang et al., "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data" (2021);
//! tensor names and numerics as its repository's `SRVGGNetCompact` (realesrgan/archs/srvgg_arch.py).

use burn::tensor::{Device, Tensor, activation};
use serde::Deserialize;

use crate::{
    Error, Result,
    kernels::{self, Border, Conv2dShape, Padding, pixel_shuffle},
    layers::{Conv2d, upsample_nearest},
    limits::piece_bytes,
    loader::load_component,
    pack::Manifest,
    store::{Digest, Store},
    weights::Scope,
};

/// The component's name.
pub const COMPONENT: &str = "upscaler";
/// Most channels between the convolutions.
const MAX_FEATURES: usize = 128;
/// Most convolutions between the first and the last.
const MAX_CONVOLUTIONS: usize = 64;
/// Channels of a picture.
const CHANNELS: usize = 3;

/// `upscaler/config.json`; what it leaves out is as in Real-ESRGAN's class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UpscalerConfig {
    /// The class; there is one.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Channels in: red, green and blue.
    pub num_in_ch: usize,
    /// Channels out: the same.
    pub num_out_ch: usize,
    /// Channels between the convolutions, 1 to 128.
    pub num_feat: usize,
    /// Convolutions between the first and the last, at most 64.
    pub num_conv: usize,
    /// How many times as wide and high the picture becomes, 2 or 4.
    pub upscale: usize,
    /// Activation after every convolution but the last; `prelu` alone is known.
    pub act_type: String,
}

impl Default for UpscalerConfig {
    fn default() -> Self {
        Self {
            class_name: "SRVGGNetCompact".into(),
            num_in_ch: CHANNELS,
            num_out_ch: CHANNELS,
            num_feat: 64,
            num_conv: 16,
            upscale: 4,
            act_type: "prelu".into(),
        }
    }
}

impl UpscalerConfig {
    /// Reads and checks a pack's; `None` where it has no upscaler.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the first setting that is not supported.
    pub fn of(manifest: &Manifest) -> Result<Option<Self>> {
        if !manifest.components.contains_key(COMPONENT) {
            return Ok(None);
        }
        let config: Self = manifest.config(COMPONENT)?;
        config.check()?;
        Ok(Some(config))
    }

    fn check(&self) -> Result<()> {
        let refuse = |setting: &str, reason: String| {
            Err(Error::manifest(format!("components.{COMPONENT}.config.{setting}"), reason))
        };
        match self {
            _ if self.class_name != "SRVGGNetCompact" => {
                refuse("_class_name", format!("`{}` is not supported; SRVGGNetCompact is", self.class_name))
            }
            _ if self.act_type != "prelu" => {
                refuse("act_type", format!("`{}` is not supported; prelu is", self.act_type))
            }
            _ if self.num_in_ch != CHANNELS => refuse("num_in_ch", format!("{} is not {CHANNELS}", self.num_in_ch)),
            _ if self.num_out_ch != CHANNELS => refuse("num_out_ch", format!("{} is not {CHANNELS}", self.num_out_ch)),
            _ if !(1..=MAX_FEATURES).contains(&self.num_feat) => {
                refuse("num_feat", format!("{} is outside 1 to {MAX_FEATURES}", self.num_feat))
            }
            _ if self.num_conv > MAX_CONVOLUTIONS => {
                refuse("num_conv", format!("{} is above {MAX_CONVOLUTIONS}", self.num_conv))
            }
            _ if ![2, 4].contains(&self.upscale) => refuse("upscale", format!("{} is neither 2 nor 4", self.upscale)),
            _ => Ok(()),
        }
    }

    /// Builds the model from its tensors.
    ///
    /// # Errors
    /// [`Error::Manifest`] for settings that are not supported; otherwise as [`Scope::weight`].
    pub fn init(&self, scope: &mut Scope) -> Result<Upscaler> {
        self.check()?;
        let mut body = scope.sub("body");
        let mut inputs = CHANNELS;
        let mut hidden = Vec::with_capacity(self.num_conv + 1);
        for index in 0..=self.num_conv {
            let conv = Conv2d::init(&mut body.sub(2 * index), inputs, self.num_feat, Conv2dShape::SAME)?;
            hidden.push((conv, body.sub(2 * index + 1).vector("weight", self.num_feat)?));
            inputs = self.num_feat;
        }
        let last = Conv2d::init(&mut body.sub(2 * hidden.len()), inputs, self.last_channels(), Conv2dShape::SAME)?;
        Ok(Upscaler { hidden, last, config: self.clone() })
    }

    /// Channels of the last map, whose pixels are as many finer ones of the picture.
    pub fn last_channels(&self) -> usize {
        CHANNELS * self.upscale * self.upscale
    }

    /// How many pixels away one may be that a result depends on: each convolution reaches one further.
    pub fn reach(&self) -> usize {
        self.num_conv + 2
    }

    /// Channels of the widest map.
    pub fn widest(&self) -> usize {
        self.num_feat.max(self.last_channels())
    }

    /// Side of the square tiles whose maps, what they overlap by and padding included, stay within `piece_bytes`; at
    /// least one pixel.
    pub fn tile_side(&self, piece_bytes: usize) -> usize {
        let pixels = piece_bytes / (self.widest() * size_of::<f32>());
        pixels.isqrt().saturating_sub(2 * self.reach() + 2).max(1)
    }
}

/// Makes pictures larger, `SRVGGNetCompact`.
#[derive(Debug)]
pub struct Upscaler {
    /// Convolutions, each with the PReLU's slopes after it.
    hidden: Vec<(Conv2d, Tensor<1>)>,
    last: Conv2d,
    config: UpscalerConfig,
}

impl Upscaler {
    /// Builds a pack's upscaler, whose pieces are in the store; also says how many bytes of the device it took.
    ///
    /// # Errors
    /// [`Error::Request`] where the pack has none; [`Error::MissingTensor`], [`Error::UnexpectedTensor`] or
    /// [`Error::ShapeMismatch`] where its weights do not fit its configuration; what [`load_component`] reports.
    pub async fn load(
        manifest: &Manifest,
        store: &impl Store,
        digest: &impl Digest,
        device: &Device,
    ) -> Result<(Self, u64)> {
        let config = UpscalerConfig::of(manifest)?.ok_or_else(missing)?;
        let mut weights = load_component(manifest, COMPONENT, store, digest, device).await?;
        let device_bytes = weights.device_bytes();
        let upscaler = config.init(&mut weights.root())?;
        weights.finish()?;
        Ok((upscaler, device_bytes))
    }

    /// # Shapes
    /// [B, 3, H, W] → [B, 3, H·upscale, W·upscale], pixels in [0, 1].
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let side = self.config.tile_side(piece_bytes(&image) / image.dims()[0]);
        self.forward_in_tiles(image, side)
    }

    /// As [`Upscaler::forward`], with something else beyond the edges.
    pub fn forward_beyond(&self, image: Tensor<4>, border: Border) -> Tensor<4> {
        if border == Border::Zeros {
            return self.forward(image);
        }
        let [_, _, height, width] = image.dims();
        let margin = self.config.reach().min(height).min(width);
        let larger = self.forward(kernels::pad(image, 1, Padding::square((margin, margin)), border));
        let [from, tall, wide] = [margin, height, width].map(|side| side * self.config.upscale);
        larger.narrow(2, from, tall).narrow(3, from, wide)
    }

    /// As [`Upscaler::forward`], in tiles of at most `side` pixels. Exact: they overlap by as much as a result depends on.
    pub fn forward_in_tiles(&self, image: Tensor<4>, side: usize) -> Tensor<4> {
        let [_, _, height, width] = image.dims();
        let reach = self.config.reach();
        let row = |rows: Span| {
            let tall = image.clone().narrow(2, rows.start, rows.len);
            let tile = |columns: Span| {
                let tile = self.enlarge(tall.clone().narrow(3, columns.start, columns.len));
                let scale = self.config.upscale;
                tile.narrow(2, rows.skip * scale, rows.keep * scale).narrow(
                    3,
                    columns.skip * scale,
                    columns.keep * scale,
                )
            };
            join(spans(width, side, reach).map(tile).collect(), 3)
        };
        join(spans(height, side, reach).map(row).collect(), 2)
    }

    fn enlarge(&self, image: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = image.dims();
        let scale = self.config.upscale;
        let size = [height * scale, width * scale];
        let features = self
            .hidden
            .iter()
            .fold(image.clone(), |x, (conv, slopes)| activation::prelu(conv.forward(x), slopes.clone()));
        let finer = pixel_shuffle(self.last.forward(features), scale);
        (finer + upsample_nearest(image, size)).clamp(0.0, 1.0)
    }
}

/// That a pack has no upscaler.
pub(crate) fn missing() -> Error {
    Error::request("upscale", "the pack has no upscaler; choose one that has, or leave it out")
}

/// A stretch of pixels to compute, and which of the results to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    len: usize,
    skip: usize,
    keep: usize,
}

/// Cuts `length` pixels into parts of at most `side`, each with up to `reach` more on both sides.
fn spans(length: usize, side: usize, reach: usize) -> impl Iterator<Item = Span> {
    let count = length.div_ceil(side);
    (0..count).map(move |index| {
        let (begin, end) = (length * index / count, length * (index + 1) / count);
        let start = begin.saturating_sub(reach);
        let stop = (end + reach).min(length);
        Span { start, len: stop - start, skip: begin - start, keep: end - begin }
    })
}

fn join(mut parts: Vec<Tensor<4>>, dim: usize) -> Tensor<4> {
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, dim) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_cover_everything_once_and_overlap_by_the_reach() {
        let spans: Vec<_> = spans(10, 4, 2).collect();
        let span = |start, len, skip, keep| Span { start, len, skip, keep };
        assert_eq!(spans, [span(0, 5, 0, 3), span(1, 7, 2, 3), span(4, 6, 2, 4)]);
        assert_eq!(super::spans(7, 9, 2).collect::<Vec<_>>(), [span(0, 7, 0, 7)]);
    }

    #[test]
    fn tiles_stay_within_a_piece() {
        let config = UpscalerConfig { num_feat: 32, num_conv: 8, upscale: 2, ..UpscalerConfig::default() };
        let side = config.tile_side(32 << 20);
        assert_eq!(side, 512 - 22);
        assert_eq!(config.tile_side(1), 1);
    }

    #[test]
    fn settings_that_are_not_supported_are_named() {
        let read = |value| serde_json::from_value::<UpscalerConfig>(value).unwrap();
        read(json!({"_class_name": "SRVGGNetCompact", "num_feat": 128, "num_conv": 64, "upscale": 2})).check().unwrap();
        for (setting, value) in [
            ("_class_name", json!("RRDBNet")),
            ("act_type", json!("relu")),
            ("num_in_ch", json!(4)),
            ("num_out_ch", json!(1)),
            ("num_feat", json!(129)),
            ("num_feat", json!(0)),
            ("num_conv", json!(65)),
            ("upscale", json!(3)),
        ] {
            let error = read(json!({ setting: value })).check().unwrap_err();
            assert!(error.to_string().contains(&format!("components.upscaler.config.{setting}")), "{error}");
        }
    }
}
