//! Checkpoints as they are shared → packs.
//!
//! [`convert_checkpoint`] takes one original-layout (CompVis, OpenCLIP, Stability) `.safetensors` file, with LoRAs and
//! textual-inversion embeddings if wanted, and writes a pack's pieces while it reads: memory holds a piece and a few
//! megabytes, never the file. [`plan_checkpoint`] says what the pack will hold, from headers alone; [`write()`] carries a
//! plan out. A diffusers folder becomes the same kind of plan ([`Plan::add_part`]), so both are packed by the same code.
//!
//! Everything read here is untrusted. Conversion depends on the input alone, so an interrupted run can be resumed: see
//! [`crate::pack::streams::PieceSink::kept`].
//!
//! Source: tensor names and configurations as diffusers 0.42.1 `loaders/single_file_utils.py` maps them.

mod checkpoint;
pub mod embedding;
pub mod file;
mod lora;
pub mod plan;
pub mod preview;
mod table;
mod text_table;
mod unet_table;
mod unknown;
mod vae_table;
mod vocabulary;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::checkpoint::{Checkpoint, plan as plan_checkpoint};
pub use self::file::SafetensorsFile;
pub use self::plan::{Plan, PlannedComponent};
pub use self::vocabulary::Vocabulary;
pub use self::write::write;
use crate::pack::manifest::{Component, Examples, FORMAT, MAX_NAME_BYTES, Manifest, Recommended};
use crate::pack::streams::PieceSink;
use crate::pack::writer::{PackOptions, Written};
use crate::{Error, Result, scorer, upscaler};

/// Random access to the bytes of one file: a file on disk, a `Blob` in a browser, a URL that serves ranges.
#[expect(async_fn_in_trait, reason = "hosts are single-threaded; futures need not be Send")]
pub trait ByteSource {
    /// The file's name, possibly with folders: for messages, and for the model's name.
    fn name(&self) -> &str;

    /// The file's length.
    fn len_bytes(&self) -> u64;

    /// Exactly the bytes of `range`, which lies within the file. Ranges are at most a few megabytes and mostly ascend
    /// within a tensor, so a source that pays for each request may read ahead.
    ///
    /// # Errors
    /// Where the file cannot be read.
    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>>;
}

impl<T: ByteSource> ByteSource for &mut T {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn len_bytes(&self) -> u64 {
        (**self).len_bytes()
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        (**self).read(range).await
    }
}

/// The files that make one pack.
#[derive(Debug)]
pub struct Inputs<'a, B> {
    /// The checkpoint.
    pub checkpoint: &'a mut B,
    /// LoRAs to merge into its weights, in order.
    pub loras: Vec<LoraInput<'a, B>>,
    /// Textual-inversion embeddings to add to its vocabulary.
    pub embeddings: Vec<EmbeddingInput<'a, B>>,
    /// A tiny autoencoder (TAESD's own file or diffusers') whose decoder paints previews.
    pub preview_decoder: Option<&'a mut B>,
}

impl<'a, B> Inputs<'a, B> {
    /// The checkpoint alone.
    pub fn new(checkpoint: &'a mut B) -> Self {
        Self { checkpoint, loras: Vec::new(), embeddings: Vec::new(), preview_decoder: None }
    }
}

/// A LoRA file and how much of it to add.
#[derive(Debug)]
pub struct LoraInput<'a, B> {
    /// The file: kohya's names or diffusers'.
    pub file: &'a mut B,
    /// Factor of its differences; 1 as trained.
    pub weight: f32,
}

/// A textual-inversion file and the word that stands for it.
#[derive(Debug)]
pub struct EmbeddingInput<'a, B> {
    /// The file: A1111's layout or diffusers'.
    pub file: &'a mut B,
    /// The word, e.g. `<cat-toy>`; `None` takes the file's own, or the file's name.
    pub token: Option<String>,
}

/// What the model predicts at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// Velocity, a mixture of noise and picture.
    VPrediction,
}

/// How to convert.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// How weights are stored, and how long pieces are.
    pub pack: PackOptions,
    /// What the model predicts, where the file's own signs mislead: Stable Diffusion 2.0 base and SD-Turbo are epsilon
    /// models in the shape of velocity models.
    pub prediction: Option<Prediction>,
    /// Name, licence and the like for the manifest.
    pub publication: Publication,
}

/// What a publisher adds to the manifest. Every field has a default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Publication {
    /// The model's name; the file's where absent.
    pub name: Option<String>,
    /// The weights' licence; `unknown` where absent.
    pub license: Option<String>,
    /// What the licence forbids.
    pub license_restrictions: String,
    /// Where the weights come from.
    pub source: String,
    /// Settings for requests that name none; diffusers' defaults where absent.
    pub recommended: Option<Recommended>,
    /// Prompts to try.
    pub examples: Examples,
    /// As [`Manifest::negative_phrase`].
    pub negative_phrase: Option<String>,
}

/// How far a conversion is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertProgress {
    /// The component being written.
    pub component: String,
    /// Input bytes converted so far, over all components.
    pub done_bytes: u64,
    /// Input bytes to convert, over all components.
    pub total_bytes: u64,
}

/// The families of models that can be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Stable Diffusion 1.x and its fine-tunes.
    Sd1,
    /// Stable Diffusion 2.x and SD-Turbo.
    Sd2,
    /// Stable Diffusion XL, Turbo and Lightning.
    Sdxl,
}

/// What a checkpoint's header tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointInfo {
    /// The family its tensors belong to.
    pub family: Family,
    /// diffusers' pipeline class.
    pub pipeline: String,
    /// What it is taken to predict.
    pub prediction: Prediction,
    /// The resulting pack's components.
    pub components: Vec<ComponentInfo>,
    /// Input bytes that will be converted.
    pub input_bytes: u64,
    /// Length of the resulting pack's pieces in all.
    pub pack_bytes: u64,
}

/// One component of the resulting pack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComponentInfo {
    /// Its name in the manifest.
    pub name: String,
    /// Its number of tensors.
    pub tensors: usize,
    /// Input bytes that it is made of.
    pub input_bytes: u64,
    /// Length of its pieces in all.
    pub pack_bytes: u64,
}

/// Converts a checkpoint: its pieces go to `sink`, its manifest comes back. `on_progress` is called at the start and
/// after every piece.
///
/// # Errors
/// [`Error::Request`] for a file that is no such checkpoint (a pickle, another architecture); [`Error::Manifest`] for a
/// damaged one; [`Error::MissingTensor`], [`Error::UnexpectedTensor`], [`Error::ShapeMismatch`] naming the tensor; what
/// the files and the sink report.
pub async fn convert_checkpoint<B: ByteSource>(
    inputs: Inputs<'_, B>,
    vocabulary: &Vocabulary,
    options: &ConvertOptions,
    sink: &mut impl PieceSink,
    on_progress: &mut dyn FnMut(ConvertProgress),
) -> Result<Manifest> {
    let Opened { mut files, checkpoint } = open(inputs, vocabulary, options).await?;
    let plan = checkpoint.plan;
    let written = write(&plan, &mut files, options.pack, sink, on_progress).await?;
    manifest(&plan, &written, &options.publication, files.first().map_or("", |file| stem(file.name())))
}

/// A file's name without folders and `.safetensors`.
pub fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.strip_suffix(".safetensors").unwrap_or(name)
}

/// Reads headers (and the small embeddings) only: the family, and how large the pack will be with these options.
///
/// # Errors
/// As [`convert_checkpoint`], as far as headers tell.
pub async fn inspect_checkpoint<B: ByteSource>(
    inputs: Inputs<'_, B>,
    vocabulary: &Vocabulary,
    options: &ConvertOptions,
) -> Result<CheckpointInfo> {
    let Opened { checkpoint: Checkpoint { family, prediction, plan }, .. } = open(inputs, vocabulary, options).await?;
    let describe = |component: &PlannedComponent| {
        Ok(ComponentInfo {
            name: component.name.clone(),
            tensors: component.tensors.len(),
            input_bytes: component.input_bytes(),
            pack_bytes: component.pack_bytes(options.pack)?,
        })
    };
    let components: Vec<ComponentInfo> = plan.components.iter().map(describe).collect::<Result<_>>()?;
    Ok(CheckpointInfo {
        family,
        pipeline: plan.pipeline,
        prediction,
        input_bytes: components.iter().map(|component| component.input_bytes).sum(),
        pack_bytes: components.iter().map(|component| component.pack_bytes).sum(),
        components,
    })
}

/// The files of [`Inputs`] with their headers read, and what is made of them.
struct Opened<'a, B> {
    files: Vec<SafetensorsFile<&'a mut B>>,
    checkpoint: Checkpoint,
}

async fn open<'a, B: ByteSource>(
    inputs: Inputs<'a, B>,
    vocabulary: &Vocabulary,
    options: &ConvertOptions,
) -> Result<Opened<'a, B>> {
    let mut files = vec![SafetensorsFile::open("checkpoint", inputs.checkpoint).await?];
    let mut checkpoint = checkpoint::plan(&files[0], vocabulary, options.prediction)?;
    for LoraInput { file, weight } in inputs.loras {
        files.push(SafetensorsFile::open("lora", file).await?);
        add_lora(&mut checkpoint.plan, &mut files, weight).await?;
    }
    for EmbeddingInput { file, token } in inputs.embeddings {
        let mut file = SafetensorsFile::open("embedding", file).await?;
        embedding::add(&mut checkpoint.plan, &mut file, token.as_deref()).await?;
    }
    if let Some(file) = inputs.preview_decoder {
        files.push(SafetensorsFile::open("preview_decoder", file).await?);
        preview::add(&mut checkpoint.plan, &files, None)?;
    }
    Ok(Opened { files, checkpoint })
}

/// Adds the LoRA in the last of `files` to a plan, `weight` times.
///
/// # Errors
/// [`Error::UnexpectedTensor`] naming a tensor that matches no weight of the model; [`Error::ShapeMismatch`] for one
/// that does not fit it; [`Error::Request`] for kinds of adapters that are not LoRAs; [`Error::MissingTensor`] where
/// one of a pair is missing.
pub async fn add_lora<B: ByteSource>(plan: &mut Plan, files: &mut [SafetensorsFile<B>], weight: f32) -> Result<()> {
    match files.split_last_mut() {
        Some((file, before)) => lora::add(plan, before.len(), file, weight).await,
        None => Err(Error::request("lora", "no file was given")),
    }
}

/// The manifest of a plan that was written; `name` is the model's unless its publisher names it.
///
/// # Errors
/// As [`Manifest::validate`].
pub fn manifest(
    plan: &Plan,
    written: &BTreeMap<String, Written>,
    publication: &Publication,
    name: &str,
) -> Result<Manifest> {
    let recommended = publication.recommended.unwrap_or_else(|| recommended(plan));
    let mut components = BTreeMap::new();
    for planned in &plan.components {
        let Some(written) = written.get(&planned.name) else {
            return Err(Error::manifest(format!("components.{}", planned.name), "was not written"));
        };
        let component = Component {
            config: planned.config.clone(),
            pieces: written.pieces.clone(),
            bytes: written.bytes,
            optional: is_optional(&planned.name, &recommended),
        };
        components.insert(planned.name.clone(), component);
    }
    let name = publication.name.clone().unwrap_or_else(|| plain_name(name));
    let manifest = Manifest {
        format: FORMAT,
        name: if name.is_empty() { "unnamed".to_owned() } else { name },
        license: publication.license.clone().unwrap_or_else(|| "unknown".to_owned()),
        license_restrictions: publication.license_restrictions.clone(),
        source: publication.source.clone(),
        pipeline: plan.pipeline.clone(),
        total_bytes: components.values().map(|component| component.bytes).sum(),
        components,
        scheduler: plan.scheduler.clone(),
        recommended,
        examples: publication.examples.clone(),
        negative_phrase: publication.negative_phrase.clone(),
    };
    manifest.validate()?;
    Ok(manifest)
}

/// Whether a component is not downloaded with a pack: painting as the publisher recommends does without it.
pub fn is_optional(component: &str, recommended: &Recommended) -> bool {
    match component {
        "vae_encoder" | scorer::COMPONENT => true,
        upscaler::COMPONENT => !recommended.upscale,
        _ => false,
    }
}

/// A file's name as a model's: whatever the file is called, the manifest must be readable.
fn plain_name(name: &str) -> String {
    let mut plain = String::new();
    for character in name.chars().filter(|character| !character.is_control()) {
        if plain.len() + character.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        plain.push(character);
    }
    plain
}

/// diffusers' defaults: its pipeline's steps and guidance, and the size that the UNet was made for. A scheduler that only
/// models distilled to few steps come with says so of its model.
fn recommended(plan: &Plan) -> Recommended {
    let config = |component: &str| plan.component(component).map_or(&Value::Null, |component| &component.config);
    let vae = config("vae_decoder");
    let blocks = vae["decoder_block_out_channels"].as_array().or(vae["block_out_channels"].as_array());
    let scale_px = blocks.map_or(8, |blocks| 1u64 << blocks.len().clamp(1, 8).saturating_sub(1));
    let side_px = (config("unet")["sample_size"].as_u64().unwrap_or(64).min(256) * scale_px).min(1024) as u32;
    let (steps, guidance) = match plan.pipeline.as_str() {
        _ if !config("unet")["time_cond_proj_dim"].is_null() => (4, 8.5),
        _ if is_distilled(&plan.scheduler) => (4, 0.0),
        "StableDiffusionXLPipeline" => (50, 5.0),
        _ => (50, 7.5),
    };
    Recommended { steps, guidance, width: side_px, height: side_px, upscale: false }
}

/// Consistency models have samplers of their own; Turbo and Lightning are the epsilon models with trailing timesteps.
fn is_distilled(scheduler: &Value) -> bool {
    let is = |field: &str, value: &str| scheduler[field].as_str() == Some(value);
    let takes_few = is("_class_name", "LCMScheduler") || is("_class_name", "TCDScheduler");
    let trailing = is("timestep_spacing", "trailing") && !is("prediction_type", "v_prediction");
    takes_few || trailing && scheduler["rescale_betas_zero_snr"] != true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_distilled;

    #[test]
    fn distilled_models_are_known_by_their_scheduler() {
        let turbo = json!({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"});
        assert!(is_distilled(&turbo) && is_distilled(&json!({"_class_name": "LCMScheduler"})));
        let sd15 = json!({"_class_name": "PNDMScheduler", "timestep_spacing": "leading"});
        let zero_snr = json!({"timestep_spacing": "trailing", "rescale_betas_zero_snr": true});
        let velocity = json!({"timestep_spacing": "trailing", "prediction_type": "v_prediction"});
        assert!(![sd15, zero_snr, velocity].iter().any(is_distilled));
    }
}
