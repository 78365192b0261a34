//! From pixels to latents, by whichever autoencoder a pack has.

use burn::tensor::{Device, Tensor};
use serde_json::Value;

use crate::autoencoder::{
    AutoencoderKlConfig, AutoencoderPatchConfig, AutoencoderTinyConfig, KlEncoder, PatchEncoder, TinyEncoder,
};
use crate::loader::load_component;
use crate::pack::Manifest;
use crate::store::{Digest, Store};
use crate::weights::Weights;
use crate::{Error, Result};

/// The component's name.
pub const COMPONENT: &str = "vae_encoder";

/// Any autoencoder's encoder.
#[derive(Debug)]
pub enum Encoder {
    /// TAESD and its like.
    Tiny(Box<TinyEncoder>, AutoencoderTinyConfig),
    /// Stable Diffusion's own.
    Kl(Box<KlEncoder>, AutoencoderKlConfig),
    /// The default model's.
    Patch(Box<PatchEncoder>, AutoencoderPatchConfig),
}

impl Encoder {
    /// Builds a pack's encoder, whose pieces are in the store; also says how many bytes of the device it took.
    ///
    /// # Errors
    /// [`Error::Request`] where the pack has none; [`Error::Manifest`] for an autoencoder that is not supported;
    /// [`Error::MissingTensor`], [`Error::UnexpectedTensor`] or [`Error::ShapeMismatch`] where its weights do not fit its
    /// configuration; what [`load_component`] reports.
    pub async fn load(
        manifest: &Manifest,
        store: &impl Store,
        digest: &impl Digest,
        device: &Device,
    ) -> Result<(Self, u64)> {
        if !manifest.components.contains_key(COMPONENT) {
            return Err(missing());
        }
        let mut weights = load_component(manifest, COMPONENT, store, digest, device).await?;
        let device_bytes = weights.device_bytes();
        let encoder = Self::init(manifest, &mut weights)?;
        weights.finish()?;
        Ok((encoder, device_bytes))
    }

    fn init(manifest: &Manifest, weights: &mut Weights) -> Result<Self> {
        let class = manifest.component(COMPONENT)?.config.get("_class_name").and_then(Value::as_str).unwrap_or("none");
        match class {
            "AutoencoderTiny" => {
                let config: AutoencoderTinyConfig = manifest.config(COMPONENT)?;
                Ok(Self::Tiny(Box::new(config.init_encoder(&mut weights.root())?), config))
            }
            "AutoencoderKL" => {
                let config: AutoencoderKlConfig = manifest.config(COMPONENT)?;
                Ok(Self::Kl(Box::new(config.init_encoder(&mut weights.root())?), config))
            }
            "AutoencoderPatch" => {
                let config: AutoencoderPatchConfig = manifest.config(COMPONENT)?;
                Ok(Self::Patch(Box::new(config.init_encoder(&mut weights.root())?), config))
            }
            other => Err(Error::manifest(
                format!("components.{COMPONENT}.config._class_name"),
                format!("`{other}` is not supported; AutoencoderTiny, AutoencoderKL and AutoencoderPatch are"),
            )),
        }
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
        match self {
            Self::Tiny(_, config) => 1 << (config.encoder_block_out_channels.len() - 1),
            Self::Kl(_, config) => 1 << (config.block_out_channels.len() - 1),
            Self::Patch(_, config) => config.patch_size as u32,
        }
    }

    /// A picture to latents as the UNet has them.
    ///
    /// # Shapes
    /// [B, 3, H, W], pixels in [0, 1] → [B, C, h, w].
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let pixels = image * 2.0 - 1.0;
        match self {
            Self::Tiny(encoder, config) => encoder.forward(pixels) * config.scaling_factor,
            Self::Kl(encoder, config) => encoder.forward(pixels) * config.scaling_factor,
            Self::Patch(encoder, config) => encoder.forward(pixels) * config.scaling_factor,
        }
    }
}

/// That a pack has no encoder.
pub(crate) fn missing() -> Error {
    Error::request(
        "image",
        "the pack has no `vae_encoder`, which a start picture needs; choose one that has, or pack the model again with its encoder",
    )
}
