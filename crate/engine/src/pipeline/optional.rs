//! What a pack may bring besides what paints, loaded when it is first asked for.

use burn::tensor::Tensor;

use super::{MemoryReport, Pipeline};
use crate::{
    Result,
    pack::Manifest,
    request::EffectiveRequest,
    store::{Digest, Store},
    upscaler::{self, Upscaler},
};

impl Pipeline {
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

    /// A picture made larger by the upscaler.
    ///
    /// # Shapes
    /// [1, 3, H, W] → [1, 3, H·upscale, W·upscale], pixels in [0, 1].
    ///
    /// # Errors
    /// [`crate::Error::Request`] where none is loaded; [`crate::Error::DeviceLimit`] where the device has too little.
    pub fn upscale(&self, image: Tensor<4>) -> Result<Tensor<4>> {
        let [_, _, height, width] = image.dims();
        self.requirements(width as u32, height as u32).check_upscaling()?;
        Ok(self.upscaler.get().ok_or_else(upscaler::missing)?.forward(image))
    }

    /// The picture that a request asked for: finished latents decoded and, where wanted, made larger.
    ///
    /// # Shapes
    /// [1, C, h, w] → [1, 3, H, W], pixels in [0, 1].
    ///
    /// # Errors
    /// As [`Pipeline::upscale`], where that is wanted.
    pub fn finish(&self, latents: Tensor<4>, request: &EffectiveRequest) -> Result<Tensor<4>> {
        let image = self.decode(latents);
        if request.upscale { self.upscale(image) } else { Ok(image) }
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
