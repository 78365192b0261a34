//! A pack's modules, loaded one after the other and counted.

use burn::tensor::Device;

use super::MemoryReport;
use crate::{
    Error, Result,
    conditioning::TextConditioner,
    decoder::Decoder,
    loader::{Phase, Progress, load_component},
    pack::Manifest,
    store::{Digest, Store},
    unet::UNet2DConditionConfig,
    upscaler,
    weights::Weights,
};

/// Whether the pack has a component that it could paint without, and brings it along.
pub(super) fn comes_with(component: &str, manifest: &Manifest) -> bool {
    manifest.components.get(component).is_some_and(|component| !component.optional)
}

/// Refuses parts that do not belong together.
pub(super) fn check_widths(
    conditioner: &TextConditioner,
    unet: &UNet2DConditionConfig,
    decoders: [Option<&Decoder>; 2],
) -> Result<()> {
    for (name, decoder) in ["vae_decoder", "preview_decoder"].into_iter().zip(decoders) {
        if decoder.is_some_and(|decoder| decoder.latent_channels() != unet.in_channels) {
            let field = format!("components.{name}.config.latent_channels");
            return Err(Error::manifest(field, "differs from the UNet's in_channels"));
        }
    }
    if conditioner.context_width() != unet.context_width() {
        let field = "components.unet.config.cross_attention_dim";
        return Err(Error::manifest(field, "differs from the text encoder's width"));
    }
    if conditioner.pooled_width() != unet.pooled_width() {
        let field = "components.unet.config.projection_class_embeddings_input_dim";
        return Err(Error::manifest(field, "does not fit the width of the second text encoder's projection"));
    }
    Ok(())
}

/// Loads one module after the other, and adds up what they weigh.
pub(super) struct Loading<'a, S, D> {
    manifest: &'a Manifest,
    host: (&'a S, &'a D, &'a Device),
    on_progress: &'a mut dyn FnMut(Progress),
    loaded_bytes: u64,
    pub memory: MemoryReport,
}

impl<'a, S: Store, D: Digest> Loading<'a, S, D> {
    pub fn new(
        manifest: &'a Manifest,
        host: (&'a S, &'a D, &'a Device),
        on_progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let more = ["preview_decoder", upscaler::COMPONENT].into_iter().filter(|name| comes_with(name, manifest));
        let names = TextConditioner::components(manifest).iter().copied().chain(["unet", "vae_decoder"]).chain(more);
        let pack_bytes = names.map(|name| manifest.component(name).map_or(0, |component| component.bytes)).sum();
        let memory = MemoryReport { pack_bytes, device_bytes: 0 };
        let mut loading = Self { manifest, host, on_progress, loaded_bytes: 0, memory };
        loading.report();
        loading
    }

    pub async fn module<M>(&mut self, name: &str, init: impl FnOnce(&mut Weights) -> Result<M>) -> Result<M> {
        let (store, digest, device) = self.host;
        let mut weights = load_component(self.manifest, name, store, digest, device).await?;
        let device_bytes = weights.device_bytes();
        let module = init(&mut weights)?;
        weights.finish()?;
        self.add(name, device_bytes);
        Ok(module)
    }

    /// Counts a component that is done.
    pub fn add(&mut self, name: &str, device_bytes: u64) {
        self.memory.device_bytes += device_bytes;
        self.loaded_bytes += self.manifest.component(name).map_or(0, |component| component.bytes);
        self.report();
    }

    fn report(&mut self) {
        let (loaded_bytes, total_bytes) = (self.loaded_bytes, self.memory.pack_bytes);
        (self.on_progress)(Progress { phase: Phase::Upload, loaded_bytes, total_bytes });
    }
}
