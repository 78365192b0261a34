//! What decodes a pack's previews, by itself: for another thread of the host, so that the steps need not wait for it.

use burn::tensor::{Device, Tensor};

use super::loading::comes_with;
use crate::{
    Result,
    decoder::Decoder,
    kernels::Border,
    limits::DeviceLimits,
    loader::load_component,
    pack::{Component, Manifest},
    requirements::ModelShape,
    store::{Digest, Store},
};

/// Decodes previews as [`super::Pipeline::preview`] does, to the bit on the same kind of device.
#[derive(Debug)]
pub struct Previewer {
    decoder: Decoder,
    most_bytes: u64,
}

impl Previewer {
    /// The component of a pack that it is made of.
    ///
    /// # Errors
    /// [`crate::Error::Manifest`] where there is none.
    pub fn component(manifest: &Manifest) -> Result<&Component> {
        manifest.component(name(manifest))
    }

    /// Builds it from a pack of which that component's pieces are in the store.
    ///
    /// # Errors
    /// As [`super::Pipeline::load`], of this part.
    pub async fn load(manifest: &Manifest, store: &impl Store, digest: &impl Digest, device: &Device) -> Result<Self> {
        let mut weights = load_component(manifest, name(manifest), store, digest, device).await?;
        let decoder = Decoder::init(manifest, name(manifest), &mut weights)?;
        weights.finish()?;
        Ok(Self { decoder, most_bytes: ModelShape::of(manifest)?.decoding_bytes(&DeviceLimits::of(device)) })
    }

    /// A quick look at unfinished latents.
    ///
    /// # Shapes
    /// [1, C, h, w] → [1, 3, H, W], pixels in [0, 1].
    pub fn preview(&self, latents: Tensor<4>, border: Border) -> Tensor<4> {
        self.decoder.preview(latents, self.most_bytes, border)
    }
}

fn name(manifest: &Manifest) -> &'static str {
    if comes_with("preview_decoder", manifest) { "preview_decoder" } else { "vae_decoder" }
}
