//! What a pack may bring besides what paints, loaded when it is first asked for.

use burn::tensor::Tensor;

use super::{MemoryReport, Pipeline, Start};
use crate::{
    Error, Result,
    encoder::{self, Encoder},
    kernels::Border,
    pack::Manifest,
    picture::Picture,
    request::EffectiveRequest,
    scorer::{self, Scorer},
    store::{Digest, Store},
    upscaler::{self, Upscaler},
};

impl Pipeline {
    /// Loads the pack's encoder, which start pictures need and whose pieces are in the store, unless that is done.
    ///
    /// # Errors
    /// As [`Encoder::load`]; [`Error::Manifest`] where it does not fit the decoder.
    pub async fn load_encoder(&self, manifest: &Manifest, store: &impl Store, digest: &impl Digest) -> Result<()> {
        if !self.has_encoder() {
            let (encoder, device_bytes) = Encoder::load(manifest, store, digest, &self.device).await?;
            let made = (encoder.latent_channels(), encoder.scale_px());
            if made != (self.decoder.latent_channels(), self.decoder.scale_px()) {
                let field = format!("components.{}.config", encoder::COMPONENT);
                return Err(Error::manifest(field, "makes other latents than the decoder takes"));
            }
            if self.encoder.set(encoder).is_ok() {
                self.count(manifest, encoder::COMPONENT, device_bytes);
            }
        }
        Ok(())
    }

    /// Whether the encoder is loaded.
    pub fn has_encoder(&self) -> bool {
        self.encoder.get().is_some()
    }

    /// Loads the pack's upscaler, whose pieces are in the store, unless that is done.
    ///
    /// # Errors
    /// As [`Upscaler::load`].
    pub async fn load_upscaler(&self, manifest: &Manifest, store: &impl Store, digest: &impl Digest) -> Result<()> {
        if !self.has_upscaler() {
            let (upscaler, device_bytes) = Upscaler::load(manifest, store, digest, &self.device).await?;
            if self.upscaler.set(upscaler).is_ok() {
                self.count(manifest, upscaler::COMPONENT, device_bytes);
            }
        }
        Ok(())
    }

    /// Whether the upscaler is loaded.
    pub fn has_upscaler(&self) -> bool {
        self.upscaler.get().is_some()
    }

    /// A picture made larger by the upscaler; `border` is what it finds beyond the picture's edges.
    ///
    /// # Shapes
    /// [1, 3, H, W] → [1, 3, H·upscale, W·upscale], pixels in [0, 1].
    ///
    /// # Errors
    /// [`Error::Request`] where none is loaded; [`Error::DeviceLimit`] where the device has too little.
    pub fn upscale(&self, image: Tensor<4>, border: Border) -> Result<Tensor<4>> {
        let [_, _, height, width] = image.dims();
        self.requirements(width as u32, height as u32).check_upscaling()?;
        Ok(self.upscaler.get().ok_or_else(upscaler::missing)?.forward_beyond(image, border))
    }

    /// The picture that a request asked for: finished latents decoded, over the start picture where that is kept, and,
    /// where wanted, made larger.
    ///
    /// # Shapes
    /// [1, C, h, w] → [1, 3, H, W], pixels in [0, 1].
    ///
    /// # Errors
    /// As [`Pipeline::upscale`], where that is wanted.
    pub fn finish(&self, latents: Tensor<4>, request: &EffectiveRequest, start: Option<&Start>) -> Result<Tensor<4>> {
        let image = self.decode(latents, request.border());
        let image = match start {
            Some(start) => start.over(image),
            None => image,
        };
        match request.upscale {
            true => self.upscale(image, request.border()),
            false => Ok(image),
        }
    }

    /// Loads the pack's scorer, whose pieces are in the store, unless that is done.
    ///
    /// # Errors
    /// As [`Scorer::load`].
    pub async fn load_scorer(&self, manifest: &Manifest, store: &impl Store, digest: &impl Digest) -> Result<()> {
        if !self.has_scorer() {
            let (scorer, device_bytes) = Scorer::load(manifest, store, digest, &self.device).await?;
            if self.scorer.set(scorer).is_ok() {
                self.count(manifest, scorer::COMPONENT, device_bytes);
            }
        }
        Ok(())
    }

    /// Whether the scorer is loaded.
    pub fn has_scorer(&self) -> bool {
        self.scorer.get().is_some()
    }

    /// How well each picture fits a prompt, read as [`crate::request::PromptSyntax::Plain`]: in [−1, 1].
    ///
    /// # Errors
    /// [`Error::Request`] where no scorer is loaded, or for a prompt that is too long; otherwise as [`Scorer::score`].
    pub async fn score(&self, prompt: &str, pictures: &[Picture]) -> Result<Vec<f32>> {
        let scorer = self.scorer.get().ok_or_else(scorer::missing)?;
        scorer.score(self.conditioner.pooled(prompt)?, pictures).await
    }

    /// Counts a component that was loaded later.
    fn count(&self, manifest: &Manifest, component: &str, device_bytes: u64) {
        let before = self.memory.get();
        self.memory.set(MemoryReport {
            pack_bytes: before.pack_bytes + manifest.component(component).map_or(0, |component| component.bytes),
            device_bytes: before.device_bytes + device_bytes,
        });
    }
}
