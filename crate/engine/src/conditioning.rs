//! What the UNet is conditioned on: prompts through tokenizers and text encoders.
//!
//! Stable Diffusion 1 and 2 have one text encoder. SDXL has two, whose states stand side by side, and the second gives
//! one more vector per prompt.
//!
//! Source: diffusers 0.42.1 `encode_prompt` of `StableDiffusionPipeline` and `StableDiffusionXLPipeline`; Podell et al.,
//! "SDXL: improving latent diffusion models for high-resolution image synthesis" (2023), section 2.1.

use burn::tensor::{Device, Tensor};
use serde_json::Value;

use crate::{
    Error, Result,
    loader::{load_component, load_files},
    pack::Manifest,
    request::{PromptSyntax, Truncated},
    store::{Digest, Store},
    text_encoder::{ClipTextConfig, ClipTextModel, ClipTextModelWithProjection},
    tokenizer::{ClipTokenizer, TokenizerConfig},
    weights::Weights,
};

/// What the UNet is conditioned on.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// Text states to attend to, [B, tokens, width].
    pub context: Tensor<3>,
    /// One vector per prompt, [B, width]; SDXL adds it to its time embedding.
    pub pooled: Option<Tensor<2>>,
}

/// The tokenizers and text encoders of a pack.
#[derive(Debug)]
pub struct TextConditioner {
    tokenizer: ClipTokenizer,
    text_encoder: ClipTextModel,
    second: Option<Second>,
}

/// SDXL's second tokenizer and text encoder.
#[derive(Debug)]
struct Second {
    tokenizer: ClipTokenizer,
    text_encoder: ClipTextModelWithProjection,
    force_zeros_for_empty_prompt: bool,
}

impl TextConditioner {
    /// The components that [`TextConditioner::load`] reads, in its order.
    pub fn components(manifest: &Manifest) -> &'static [&'static str] {
        match manifest.components.contains_key("text_encoder_2") {
            true => &["tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2"],
            false => &["tokenizer", "text_encoder"],
        }
    }

    /// Builds the tokenizers and text encoders from a pack whose pieces are in the store. `on_loaded` hears of each
    /// component once it is done: its name, and how many bytes of the device it took.
    ///
    /// # Errors
    /// [`Error::Manifest`], [`Error::MissingTensor`], [`Error::UnexpectedTensor`], [`Error::ShapeMismatch`] where the
    /// components do not fit together; what [`load_component`] reports.
    pub async fn load(
        manifest: &Manifest,
        store: &impl Store,
        digest: &impl Digest,
        device: &Device,
        on_loaded: &mut dyn FnMut(&str, u64),
    ) -> Result<Self> {
        todo!()
    }

    /// The conditioning of a run: [negative, prompt] where there is guidance and so a negative prompt (which may be
    /// empty), else [prompt].
    ///
    /// # Errors
    /// [`Error::Request`] for a prompt that cannot be read; [`Error::Manifest`] where a token is not in the text
    /// encoder's table.
    pub fn encode(&self, negative: Option<&str>, prompt: &str, syntax: PromptSyntax) -> Result<Conditioning> {
        todo!()
    }

    /// What of a request's text found no room. `field` is `prompt` or `negative`, for the report.
    ///
    /// # Errors
    /// [`Error::Request`] for a text that cannot be read.
    pub fn truncation(&self, field: &str, text: &str, syntax: PromptSyntax) -> Result<Option<Truncated>> {
        todo!()
    }

    /// Width of the context.
    pub fn context_width(&self) -> usize {
        todo!()
    }

    /// Width of the pooled vectors, where there are any.
    pub fn pooled_width(&self) -> Option<usize> {
        todo!()
    }
}
