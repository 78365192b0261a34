//! What the engine tells JavaScript of packs, of memory, and of how far it is.

use fraise_engine::loader::{Phase, Progress};
use fraise_engine::pack::{Examples, Manifest, Recommended};
use fraise_engine::upscaler::UpscalerConfig;
use fraise_engine::{encoder, scorer};
use js_sys::Function;
use serde::Serialize;
use wasm_bindgen::JsValue;

/// What a loaded pack says of itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PackInfo<'a> {
    pub name: &'a str,
    pub license: &'a str,
    pub license_restrictions: Option<&'a str>,
    pub source: Option<&'a str>,
    pub recommended: Recommended,
    pub examples: &'a Examples,
    pub negative_phrase: Option<&'a str>,
    pub total_bytes: u64,
    /// How many times as large the pack's upscaler makes a picture along each side.
    pub upscale_factor: Option<usize>,
    pub has_scorer: bool,
    /// Whether pictures can start from others.
    pub has_encoder: bool,
}

impl<'a> PackInfo<'a> {
    pub fn of(manifest: &'a Manifest) -> Self {
        let unless_empty = |text: &'a String| Some(text.as_str()).filter(|text| !text.is_empty());
        Self {
            name: &manifest.name,
            license: &manifest.license,
            license_restrictions: unless_empty(&manifest.license_restrictions),
            source: unless_empty(&manifest.source),
            recommended: manifest.recommended,
            examples: &manifest.examples,
            negative_phrase: manifest.negative_phrase.as_deref(),
            total_bytes: manifest.total_bytes,
            // The manifest is checked, so there is no error to be lost.
            has_scorer: manifest.components.contains_key(scorer::COMPONENT),
            has_encoder: manifest.components.contains_key(encoder::COMPONENT),
            upscale_factor: UpscalerConfig::of(manifest).ok().flatten().map(|config| config.upscale),
        }
    }
}

/// What a load gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadedPack<'a> {
    /// Whether the pack is kept beyond this visit; else it runs from memory.
    pub is_kept: bool,
    #[serde(flatten)]
    pub pack: PackInfo<'a>,
}

/// What a pack needs of the device to paint at its recommended size, in bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PackRequirements {
    pub total_bytes: u64,
    pub weights_bytes: u64,
    pub painting_bytes: u64,
    pub decoding_bytes: u64,
    /// `None` where the pack has no upscaler.
    pub upscaling_bytes: Option<u64>,
    /// `None` where the pack has no scorer.
    pub scoring_bytes: Option<u64>,
    pub largest_buffer_bytes: u64,
    /// `None` on the processor, which has no such limit.
    pub buffer_limit_bytes: Option<u64>,
    pub fits: bool,
    pub picture_ms: f64,
}

/// What the engine holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemoryReport {
    /// Of all workers, and of what is shared between them.
    pub wasm_bytes: u64,
    pub pack_bytes: u64,
    pub device_bytes: u64,
    /// `None` on the processor, whose memory is `wasm_bytes`.
    pub reserved_bytes: Option<u64>,
    pub pieces_fetched: u32,
    pub bytes_fetched: u64,
}

/// Tells JavaScript how far a load is: `on_progress(phase, loadedBytes, totalBytes)`.
pub(crate) fn progress_to(on_progress: &Function) -> impl FnMut(Progress) {
    move |progress| {
        let phase = match progress.phase {
            Phase::Manifest => "manifest",
            Phase::Download => "download",
            Phase::Upload => "upload",
            Phase::Compile => "compile",
        };
        let (loaded, total) = (progress.loaded_bytes as f64, progress.total_bytes as f64);
        let _ = on_progress.call3(&JsValue::NULL, &phase.into(), &loaded.into(), &total.into());
    }
}
