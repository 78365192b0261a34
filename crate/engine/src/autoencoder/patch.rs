//! The default model's autoencoder: pictures in patches, each with one latent.
//!
//! Encoding is one convolution whose stride is its size. Decoding adds two pictures: the best linear one, each latent to
//! its patch, and the detail of a small network that works at the latents' resolution and at that of its features.
//!
//! Source: `models/training/patch.py`, the reference that it is compared with.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::{
    Error, Result,
    kernels::{Border, Conv2dShape, pixel_shuffle},
    layers::{Activation, Conv2d, Linear},
    weights::Scope,
};

/// Most pixels per latent along a side.
const MAX_PATCH: usize = 64;
/// Widest map.
const MAX_WIDTH: usize = 512;
/// Most residual blocks in a row.
const MAX_BLOCKS: usize = 16;

/// `vae/config.json` of an `AutoencoderPatch`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AutoencoderPatchConfig {
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of the latents, at most 64.
    pub latent_channels: usize,
    /// Pixels per latent along a side, at most 64.
    pub patch_size: usize,
    /// Channels of the network at the latents' resolution, at most 512.
    pub latent_width: usize,
    /// Residual blocks there, at most 16.
    pub num_latent_blocks: usize,
    /// Features per latent along a side; divides `patch_size`.
    pub feature_patch_size: usize,
    /// Channels of the features, at most 512.
    pub width: usize,
    /// Residual blocks of the features, at most 16.
    pub num_blocks: usize,
    /// The pipeline divides latents by this before decoding.
    pub scaling_factor: f64,
}

impl AutoencoderPatchConfig {
    /// # Errors
    /// [`Error::Manifest`] naming the first setting that is out of range.
    pub fn check(&self) -> Result<()> {
        let settings = [
            ("in_channels", self.in_channels, 3, 3),
            ("latent_channels", self.latent_channels, 1, 64),
            ("patch_size", self.patch_size, 1, MAX_PATCH),
            ("latent_width", self.latent_width, 1, MAX_WIDTH),
            ("num_latent_blocks", self.num_latent_blocks, 0, MAX_BLOCKS),
            ("feature_patch_size", self.feature_patch_size, 1, self.patch_size),
            ("width", self.width, 1, MAX_WIDTH),
            ("num_blocks", self.num_blocks, 0, MAX_BLOCKS),
        ];
        let refuse =
            |setting: &str, reason: String| Error::manifest(format!("components.vae_decoder.config.{setting}"), reason);
        for (setting, value, least, most) in settings {
            if !(least..=most).contains(&value) {
                return Err(refuse(setting, format!("{value} is outside {least} to {most}")));
            }
        }
        if !self.patch_size.is_multiple_of(self.feature_patch_size) {
            let reason = format!("{} does not divide patch_size {}", self.feature_patch_size, self.patch_size);
            return Err(refuse("feature_patch_size", reason));
        }
        Ok(())
    }

    /// Pixels per feature along a side.
    fn detail(&self) -> usize {
        self.patch_size / self.feature_patch_size
    }

    /// Builds the decoder from the tensors below `decoder.`.
    ///
    /// # Errors
    /// As [`AutoencoderPatchConfig::check`]; otherwise as [`Scope::weight`].
    pub fn init_decoder(&self, s: &mut Scope) -> Result<PatchDecoder> {
        self.check()?;
        let Self { in_channels, latent_channels, latent_width, width, .. } = *self;
        let mut s = s.sub("decoder");
        let pixels = in_channels * self.patch_size.pow(2);
        let linear = Conv2d::init(&mut s.sub("linear"), latent_channels, pixels, Conv2dShape::POINTWISE)?;
        let conv_in = Conv2d::init(&mut s.sub("conv_in"), latent_channels, latent_width, Conv2dShape::SAME)?;
        let latent_blocks = blocks(&mut s.sub("latent_blocks"), latent_width, self.num_latent_blocks)?;
        let features = width * self.feature_patch_size.pow(2);
        let expand = Conv2d::init(&mut s.sub("expand"), latent_width, features, Conv2dShape::POINTWISE)?;
        let feature_blocks = blocks(&mut s.sub("blocks"), width, self.num_blocks)?;
        let detail = in_channels * self.detail().pow(2);
        let conv_out = Conv2d::init(&mut s.sub("conv_out"), width, detail, Conv2dShape::SAME)?;
        Ok(PatchDecoder { linear, conv_in, latent_blocks, expand, feature_blocks, conv_out, config: self.clone() })
    }

    /// Builds the encoder from the tensors below `encoder.`.
    ///
    /// # Errors
    /// As [`AutoencoderPatchConfig::check`]; otherwise as [`Scope::weight`].
    pub fn init_encoder(&self, s: &mut Scope) -> Result<PatchEncoder> {
        self.check()?;
        let linear =
            Linear::init_patch(&mut s.sub("encoder"), self.in_channels, self.patch_size, self.latent_channels, true)?;
        Ok(PatchEncoder { linear, patch: self.patch_size })
    }
}

fn blocks(s: &mut Scope, width: usize, count: usize) -> Result<Vec<PatchBlock>> {
    let block = |index| {
        let mut block = s.sub(index);
        let mut conv = |name| Conv2d::init(&mut block.sub(name), width, width, Conv2dShape::SAME);
        Ok(PatchBlock { convs: [conv("conv1")?, conv("conv2")?] })
    };
    (0..count).map(block).collect()
}

/// Two convolutions and a residual.
#[derive(Debug)]
struct PatchBlock {
    convs: [Conv2d; 2],
}

impl PatchBlock {
    fn forward(&self, x: Tensor<4>, border: Border) -> Tensor<4> {
        let [first, second] = &self.convs;
        let hidden = first.forward_of_silu(x.clone(), border, None);
        second.forward_of_silu(hidden, border, Some(x))
    }
}

/// Latents to pixels.
#[derive(Debug)]
pub struct PatchDecoder {
    linear: Conv2d,
    conv_in: Conv2d,
    latent_blocks: Vec<PatchBlock>,
    expand: Conv2d,
    feature_blocks: Vec<PatchBlock>,
    conv_out: Conv2d,
    config: AutoencoderPatchConfig,
}

impl PatchDecoder {
    /// # Shapes
    /// Scaled latents [B, latent_channels, h, w] → pixels in about [−1, 1], [B, 3, h·patch_size, w·patch_size].
    pub fn forward(&self, latents: Tensor<4>, border: Border) -> Tensor<4> {
        let run = |blocks: &[PatchBlock], x| blocks.iter().fold(x, |x, block| block.forward(x, border));
        let hidden = run(&self.latent_blocks, self.conv_in.forward_beyond(latents.clone(), border));
        let features =
            pixel_shuffle(self.expand.forward(Activation::Silu.forward(hidden)), self.config.feature_patch_size);
        let detail = self.conv_out.forward_of_silu(run(&self.feature_blocks, features), border, None);
        pixel_shuffle(self.linear.forward(latents), self.config.patch_size)
            + pixel_shuffle(detail, self.config.detail())
    }
}

/// Pixels to latents.
#[derive(Debug)]
pub struct PatchEncoder {
    linear: Linear,
    patch: usize,
}

impl PatchEncoder {
    /// # Shapes
    /// Pixels in [−1, 1], [B, 3, h·patch_size, w·patch_size] → scaled latents [B, latent_channels, h, w].
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = pixels.dims();
        let (h, w) = (height / self.patch, width / self.patch);
        let patches = pixels.reshape([batch, channels, h, self.patch, w, self.patch]).permute([0, 2, 4, 1, 3, 5]);
        let latents = self.linear.forward(patches.reshape([batch, h, w, channels * self.patch * self.patch]));
        latents.permute([0, 3, 1, 2])
    }
}

#[cfg(test)]
mod tests {
    use super::AutoencoderPatchConfig;

    #[test]
    fn settings_out_of_range_are_named() {
        let good = serde_json::json!({
            "in_channels": 3, "latent_channels": 48, "patch_size": 32, "latent_width": 128, "num_latent_blocks": 2,
            "feature_patch_size": 8, "width": 64, "num_blocks": 4, "scaling_factor": 1.0,
        });
        let check = |value: &serde_json::Value| {
            serde_json::from_value::<AutoencoderPatchConfig>(value.clone()).unwrap().check()
        };
        check(&good).unwrap();
        for (setting, value) in [
            ("in_channels", 4),
            ("latent_channels", 65),
            ("patch_size", 0),
            ("patch_size", 65),
            ("latent_width", 513),
            ("feature_patch_size", 0),
            ("feature_patch_size", 64),
            ("feature_patch_size", 5),
            ("width", 0),
            ("num_blocks", 17),
        ] {
            let mut bad = good.clone();
            bad[setting] = value.into();
            let error = check(&bad).unwrap_err().to_string();
            assert!(error.contains("components.vae_decoder.config."), "{error}");
        }
    }
}
