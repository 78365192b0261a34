//! Checkpoints as they are shared → packs.
//!
//! [`convert_checkpoint`] takes one original-layout (CompVis, OpenCLIP, Stability) `.safetensors` file, with LoRAs and
//! textual-inversion embeddings if wanted, and writes a pack's pieces while it reads: memory holds a piece and a few
//! megabytes, never the file. [`plan`] says what the pack will hold, from headers alone; [`write`] carries a plan out.
//! A diffusers folder becomes the same kind of plan ([`folder`]), so both are packed by the same code.
//!
//! Everything read here is untrusted. Conversion depends on the input alone, so an interrupted run can be resumed: see
//! [`crate::pack::writer::PieceSink::kept`].
//!
//! Source: tensor names and configurations as diffusers 0.42.1 `loaders/single_file_utils.py` maps them.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::pack::manifest::{Examples, Manifest, Recommended};
use crate::pack::writer::{PackOptions, PieceSink};
use crate::{Error, Result};

/// Random access to the bytes of one file: a file on disk, a `Blob` in a browser, a URL that serves ranges.
#[expect(async_fn_in_trait, reason = "hosts are single-threaded; futures need not be Send")]
pub trait ByteSource {
    /// The file's name, for messages and as the model's name.
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
    let _ = (inputs, vocabulary, options, sink, on_progress);
    Err(Error::request("checkpoint", "conversion is not written yet"))
}

/// Reads headers only: the family, and how large the pack will be with these options.
///
/// # Errors
/// As [`convert_checkpoint`], as far as headers tell.
pub async fn inspect_checkpoint<B: ByteSource>(
    inputs: Inputs<'_, B>,
    vocabulary: &Vocabulary,
    options: &ConvertOptions,
) -> Result<CheckpointInfo> {
    let _ = (inputs, vocabulary, options);
    Err(Error::request("checkpoint", "conversion is not written yet"))
}

/// CLIP's vocabulary, which single-file checkpoints do not carry.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    merges_txt: Vec<u8>,
    vocab_json: Vec<u8>,
    tokens: usize,
}

impl Vocabulary {
    /// Builds the vocabulary from the bytes of `merges.txt` (`models/clip-vocabulary/merges.txt` in this repository).
    ///
    /// # Errors
    /// [`Error::Manifest`] where a line is no merge.
    pub fn from_merges(merges_txt: &[u8]) -> Result<Self> {
        Ok(Self { merges_txt: merges_txt.to_vec(), vocab_json: Vec::new(), tokens: 0 })
    }
}
