//! From latents to pixels, by whichever autoencoder a pack has.

use burn::tensor::ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Tensor, module};
use serde_json::Value;

use crate::autoencoder::{
    AutoencoderKlConfig, AutoencoderPatchConfig, AutoencoderTinyConfig, KlDecoder, PatchDecoder, TinyDecoder,
};
use crate::kernels::{Border, unit};
use crate::pack::Manifest;
use crate::weights::Weights;
use crate::{Error, Result};

/// Any autoencoder's decoder.
#[derive(Debug)]
pub enum Decoder {
    /// TAESD and its like.
    Tiny(Box<TinyDecoder>, AutoencoderTinyConfig),
    /// Stable Diffusion's own.
    Kl(Box<KlDecoder>, AutoencoderKlConfig),
    /// The default model's.
    Patch(Box<PatchDecoder>, AutoencoderPatchConfig),
}

impl Decoder {
    /// Builds the decoder whose `component` of the manifest `weights` are.
    ///
    /// # Errors
    /// [`Error::Manifest`] for another class; otherwise as [`crate::weights::Scope::weight`].
    pub fn init(manifest: &Manifest, component: &str, weights: &mut Weights) -> Result<Self> {
        let class = manifest.component(component)?.config.get("_class_name").and_then(Value::as_str).unwrap_or("none");
        match class {
            "AutoencoderTiny" => {
                let config: AutoencoderTinyConfig = manifest.config(component)?;
                Ok(Self::Tiny(Box::new(config.init_decoder(&mut weights.root())?), config))
            }
            "AutoencoderKL" => {
                let config: AutoencoderKlConfig = manifest.config(component)?;
                Ok(Self::Kl(Box::new(config.init_decoder(&mut weights.root())?), config))
            }
            "AutoencoderPatch" => {
                let config: AutoencoderPatchConfig = manifest.config(component)?;
                Ok(Self::Patch(Box::new(config.init_decoder(&mut weights.root())?), config))
            }
            other => Err(Error::manifest(
                format!("components.{component}.config._class_name"),
                format!("`{other}` is not supported; AutoencoderTiny, AutoencoderKL and AutoencoderPatch are"),
            )),
        }
    }

    /// Latents as the UNet has them to a picture; in tiles where decoding them whole would take more than `most_bytes`.
    ///
    /// # Shapes
    /// [B, C, h, w] → [B, 3, H, W], pixels in [0, 1].
    pub fn forward(&self, latents: Tensor<4>, most_bytes: u64, border: Border) -> Tensor<4> {
        let pixels = match self {
            Self::Tiny(decoder, config) => decoder.forward(latents / config.scaling_factor, border),
            Self::Kl(decoder, config) => decoder.forward_within(latents / config.scaling_factor, most_bytes, border),
            Self::Patch(decoder, config) => decoder.forward(latents / config.scaling_factor, border),
        };
        unit(pixels)
    }

    /// A quick look at unfinished latents, as large as [`Decoder::forward`]'s picture.
    ///
    /// A tiny decoder and the default model's give their picture itself. The KL decoder costs as much as a step or two of the UNet, in proportion
    /// to the area: it decodes the latents at half or a quarter of their resolution, and the result is enlarged. Small
    /// latents of a picture resemble the latents of a small picture, so colours and shapes are right and edges soft.
    ///
    /// # Shapes
    /// [B, C, h, w] → [B, 3, H, W], pixels in [0, 1].
    pub fn preview(&self, latents: Tensor<4>, most_bytes: u64, border: Border) -> Tensor<4> {
        let [_, _, height, width] = latents.dims();
        let square = match self {
            Self::Tiny(..) | Self::Patch(..) => 1,
            Self::Kl(..) => preview_square([height, width]),
        };
        if square == 1 {
            return self.forward(latents, most_bytes, border);
        }
        let small = module::avg_pool2d(latents, AvgPoolOptions::new([square; 2]));
        let size = [height, width].map(|side| side * self.scale_px() as usize);
        let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
        module::interpolate(self.forward(small, most_bytes, border), options.with_output_size(size)).clamp(0.0, 1.0)
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Tiny(_, config) => config.latent_channels,
            Self::Kl(_, config) => config.latent_channels,
            Self::Patch(_, config) => config.latent_channels,
        }
    }

    /// Pixels per latent along one side.
    pub fn scale_px(&self) -> u32 {
        let of_levels = |levels: usize| 1 << (levels - 1);
        match self {
            Self::Tiny(_, config) => of_levels(config.decoder_block_out_channels.len()),
            Self::Kl(_, config) => of_levels(config.block_out_channels.len()),
            Self::Patch(_, config) => config.patch_size as u32,
        }
    }
}

/// Least side of the latents that a preview is decoded from.
const MIN_PREVIEW_LATENTS: usize = 16;

/// Side of the squares of latents that a preview takes together: 4, 2, or 1 for all by themselves.
fn preview_square(sides: [usize; 2]) -> usize {
    let fits =
        |square: &usize| sides.iter().all(|side| side.is_multiple_of(*square) && side / square >= MIN_PREVIEW_LATENTS);
    [4, 2].into_iter().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::preview_square;

    #[test]
    fn previews_take_together_what_leaves_a_recognisable_picture() {
        let cases =
            [([64, 64], 4), ([128, 96], 4), ([64, 40], 2), ([32, 32], 2), ([64, 66], 2), ([31, 64], 1), ([16, 16], 1)];
        for (sides, square) in cases {
            assert_eq!(preview_square(sides), square, "{sides:?}");
        }
    }
}
