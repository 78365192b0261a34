//! From latents to pixels, by whichever autoencoder a pack has.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::autoencoder::{AutoencoderKlConfig, AutoencoderTinyConfig, KlDecoder, TinyDecoder};
use crate::pack::Manifest;
use crate::weights::Weights;
use crate::{Error, Result};

/// Either autoencoder's decoder.
#[derive(Debug)]
pub enum Decoder {
    /// TAESD and its like.
    Tiny(Box<TinyDecoder>, AutoencoderTinyConfig),
    /// Stable Diffusion's own.
    Kl(Box<KlDecoder>, AutoencoderKlConfig),
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
            other => Err(Error::manifest(
                format!("components.{component}.config._class_name"),
                format!("`{other}` is not supported; AutoencoderTiny and AutoencoderKL are"),
            )),
        }
    }

    /// Latents as the UNet has them to a picture.
    ///
    /// # Shapes
    /// [B, C, h, w] → [B, 3, H, W], pixels in [0, 1].
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let pixels = match self {
            Self::Tiny(decoder, config) => decoder.forward(latents / config.scaling_factor),
            Self::Kl(decoder, config) => decoder.forward(latents / config.scaling_factor),
        };
        (pixels / 2.0 + 0.5).clamp(0.0, 1.0)
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Tiny(_, config) => config.latent_channels,
            Self::Kl(_, config) => config.latent_channels,
        }
    }

    /// Pixels per latent along one side.
    pub fn scale_px(&self) -> u32 {
        let levels = match self {
            Self::Tiny(_, config) => config.decoder_block_out_channels.len(),
            Self::Kl(_, config) => config.block_out_channels.len(),
        };
        1 << (levels - 1)
    }
}
