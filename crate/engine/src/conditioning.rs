//! What the UNet is conditioned on: prompts through tokenizers and text encoders.
//!
//! Stable Diffusion 1 and 2 have one text encoder. SDXL has two, whose states stand side by side, and the second gives
//! one more vector per prompt.
//!
//! Source: diffusers 0.42.1 `encode_prompt` of `StableDiffusionPipeline` and `StableDiffusionXLPipeline`; Podell et al.,
//! "SDXL: improving latent diffusion models for high-resolution image synthesis" (2023), section 2.1.

mod words;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

pub use words::{Negation, Words};

use crate::{
    Error, Result,
    loader::{load_component, load_files},
    pack::Manifest,
    prompt::Chunk,
    request::{PromptSyntax, Truncated, check_prompt},
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

/// What a run is guided away from. What a [`Negation`] says is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negative<'a> {
    /// There is no guidance.
    Unguided,
    /// Nothing in particular. Stable Diffusion 1 and 2 take an empty prompt then, SDXL zeros (unless its pack says
    /// otherwise).
    Unspecified,
    /// What this says, even if it is empty.
    Prompt(&'a str),
}

/// The tokenizers and text encoders of a pack.
#[derive(Debug)]
pub struct TextConditioner {
    tokenizer: ClipTokenizer,
    text_encoder: ClipTextModel,
    second: Option<SecondEncoder>,
    negative_phrase: Option<String>,
}

/// SDXL's second tokenizer and text encoder.
#[derive(Debug)]
pub struct SecondEncoder {
    /// As the first, but mostly with other padding.
    pub tokenizer: ClipTokenizer,
    /// The wider encoder.
    pub text_encoder: ClipTextModelWithProjection,
    /// Whether guidance without a negative prompt is away from zeros: `model_index.json`'s field of that name.
    pub force_zeros_for_empty_prompt: bool,
}

impl TextConditioner {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`Error::Manifest`] where the two tokenizers make sequences of different lengths.
    pub fn new(tokenizer: ClipTokenizer, text_encoder: ClipTextModel, second: Option<SecondEncoder>) -> Result<Self> {
        let lengths = second.as_ref().map(|second| (second.tokenizer.max_length(), tokenizer.max_length()));
        match lengths.filter(|(second, first)| second != first) {
            Some((second, first)) => Err(Error::manifest(
                "components.tokenizer_2.config.model_max_length",
                format!("sequences of {second} tokens do not fit beside the first tokenizer's {first}"),
            )),
            None => Ok(Self { tokenizer, text_encoder, second, negative_phrase: None }),
        }
    }

    /// The same, of a pack that says what is to be left out in the prompt, behind this phrase.
    ///
    /// # Errors
    /// [`Error::Manifest`] where the phrase is no token, or leaves no room for one behind it.
    fn with_negative_phrase(self, phrase: Option<&str>) -> Result<Self> {
        let Some(phrase) = phrase else { return Ok(self) };
        let tokenizers = [Some(&self.tokenizer), self.second.as_ref().map(|second| &second.tokenizer)];
        for tokenizer in tokenizers.into_iter().flatten() {
            let (tokens, capacity) = (tokenizer.encode(phrase).len(), tokenizer.max_length() - 2);
            if !(1..capacity).contains(&tokens) {
                let reason =
                    format!("is {tokens} tokens long where {capacity} have room, words to leave out among them");
                return Err(Error::manifest("negative_phrase", reason));
            }
        }
        Ok(Self { negative_phrase: Some(phrase.to_owned()), ..self })
    }

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
        let config = text_config(manifest, "text_encoder")?;
        let tokenizer = load_tokenizer(manifest, "tokenizer", (store, digest), &config).await?;
        on_loaded("tokenizer", 0);
        let mut weights = load_component(manifest, "text_encoder", store, digest, device).await?;
        on_loaded("text_encoder", weights.device_bytes());
        let text_encoder = config.init(&mut weights.root())?;
        // Some files carry CLIP's projection, which is the second encoder's business.
        weights.ignore("text_projection.weight");
        finish(weights)?;
        if !manifest.components.contains_key("text_encoder_2") {
            return Self::new(tokenizer, text_encoder, None)?.with_negative_phrase(manifest.negative_phrase.as_deref());
        }

        let config = text_config(manifest, "text_encoder_2")?;
        let second_tokenizer = load_tokenizer(manifest, "tokenizer_2", (store, digest), &config).await?;
        on_loaded("tokenizer_2", 0);
        let mut weights = load_component(manifest, "text_encoder_2", store, digest, device).await?;
        on_loaded("text_encoder_2", weights.device_bytes());
        let projecting = config.init_with_projection(&mut weights.root());
        let second = SecondEncoder {
            tokenizer: second_tokenizer,
            text_encoder: projecting.map_err(|error| of_component(error, "text_encoder_2"))?,
            force_zeros_for_empty_prompt: force_zeros(manifest)?,
        };
        finish(weights)?;
        Self::new(tokenizer, text_encoder, Some(second))?.with_negative_phrase(manifest.negative_phrase.as_deref())
    }

    /// A prompt that also says what is to be left out, where the pack has a phrase for that and there is something to say.
    pub fn words<'a>(&'a self, prompt: &'a str, negative: Option<&'a str>) -> Words<'a> {
        let negative = negative.filter(|text| !text.trim().is_empty());
        let negation = self.negative_phrase.as_deref().zip(negative);
        Words { negation: negation.map(|(phrase, text)| Negation { phrase, text }), ..Words::from(prompt) }
    }

    /// The conditioning of a run: [negative, prompt] where there is guidance, else [prompt].
    ///
    /// # Errors
    /// [`Error::Request`] for a prompt that cannot be read; [`Error::Manifest`] where a token is not in the text
    /// encoder's table.
    pub fn encode<'a>(
        &self,
        negative: Negative,
        prompt: impl Into<Words<'a>>,
        syntax: PromptSyntax,
    ) -> Result<Conditioning> {
        let prompt = prompt.into();
        let zeros = self.second.as_ref().is_some_and(|second| second.force_zeros_for_empty_prompt);
        let negative = match negative {
            Negative::Unguided => return self.encode_all(&[prompt], syntax),
            Negative::Unspecified if zeros => return self.encode_beside_zeros(prompt, syntax),
            // AUTOMATIC1111 makes no difference between an empty negative prompt and none.
            Negative::Prompt("") if zeros && syntax == PromptSyntax::A1111 => {
                return self.encode_beside_zeros(prompt, syntax);
            }
            Negative::Unspecified => "",
            Negative::Prompt(negative) => negative,
        };
        self.encode_all(&[Words::negative(negative), prompt], syntax)
    }

    fn encode_beside_zeros(&self, prompt: Words, syntax: PromptSyntax) -> Result<Conditioning> {
        let Conditioning { context, pooled } = self.encode_all(&[prompt], syntax)?;
        let pooled = pooled.map(|pooled| Tensor::cat(vec![pooled.zeros_like(), pooled], 0));
        Ok(Conditioning { context: Tensor::cat(vec![context.zeros_like(), context], 0), pooled })
    }

    /// The conditioning of several texts.
    fn encode_all(&self, texts: &[Words], syntax: PromptSyntax) -> Result<Conditioning> {
        let mut batch = Batch::new(&self.tokenizer, texts, syntax)?;
        let Some(second) = &self.second else {
            let context = batch.weigh(self.text_encoder.forward(&batch.ids())?);
            return Ok(Conditioning { context, pooled: None });
        };
        let mut second_batch = Batch::new(&second.tokenizer, texts, syntax)?;
        // Two vocabularies might fill different numbers of chunks, but the states have to stand side by side.
        let chunks = batch.chunks.max(second_batch.chunks);
        batch.lengthen(chunks, &self.tokenizer);
        second_batch.lengthen(chunks, &second.tokenizer);
        let first_states = batch.weigh(self.text_encoder.forward_penultimate(&batch.ids())?);
        let projected = second.text_encoder.forward(&second_batch.ids())?;
        let second_states = second_batch.weigh(projected.penultimate);
        let width = projected.text_embeds.dims()[1];
        let pooled = projected.text_embeds.reshape([texts.len(), chunks, width]); // [B, chunks, width]
        Ok(Conditioning {
            context: Tensor::cat(vec![first_states, second_states], 2),
            pooled: Some(pooled.narrow(1, 0, 1).reshape([texts.len(), width])),
        })
    }

    /// The state of the first text encoder that sums up a text, read as [`PromptSyntax::Plain`]: CLIP's pooled output.
    ///
    /// # Shapes
    /// [1, width].
    ///
    /// # Errors
    /// [`Error::Request`] for a text that is too long; [`Error::Manifest`] where a token is not in the text encoder's
    /// table.
    pub fn pooled(&self, text: &str) -> Result<Tensor<2>> {
        check_prompt("prompt", text)?;
        self.text_encoder.forward_pooled(&[self.tokenizer.encode_padded(text).ids])
    }

    /// What of a run's words finds no room, by the request's field.
    ///
    /// # Errors
    /// [`Error::Request`] for a text that cannot be read.
    pub fn truncation<'a>(
        &self,
        negative: Negative,
        prompt: impl Into<Words<'a>>,
        syntax: PromptSyntax,
    ) -> Result<Vec<Truncated>> {
        let mut beyond = prompt.into().tokens(&self.tokenizer, syntax)?.beyond;
        if let Negative::Prompt(text) = negative {
            beyond.extend(Words::negative(text).tokens(&self.tokenizer, syntax)?.beyond);
        }
        let report = |(field, ids): (&str, Vec<u32>)| Truncated {
            field: field.to_owned(),
            tokens: ids.len(),
            text: self.tokenizer.decode(&ids),
        };
        Ok(beyond.into_iter().map(report).collect())
    }

    /// Width of the context.
    pub fn context_width(&self) -> usize {
        let second = self.second.as_ref().map_or(0, |second| second.text_encoder.hidden_size());
        self.text_encoder.hidden_size() + second
    }

    /// Width of the pooled vectors, where there are any.
    pub fn pooled_width(&self) -> Option<usize> {
        self.second.as_ref().map(|second| second.text_encoder.projection_dim())
    }
}

/// Token ids as a text encoder takes them, and the weight of each.
struct Sequence {
    ids: Vec<u32>,
    weights: Vec<f32>,
}

impl Sequence {
    /// A chunk with start token, end token and padding, whose weights are 1.
    fn new(chunk: Chunk, tokenizer: &ClipTokenizer) -> Self {
        let mut weights = vec![1.0];
        weights.extend(chunk.weights);
        weights.resize(tokenizer.max_length(), 1.0);
        Self { ids: tokenizer.pad(&chunk.ids), weights }
    }
}

/// Several texts, all in the same number of chunks.
struct Batch {
    texts: Vec<Vec<Sequence>>,
    chunks: usize,
}

impl Batch {
    fn new(tokenizer: &ClipTokenizer, texts: &[Words], syntax: PromptSyntax) -> Result<Self> {
        let mut batch = Self { texts: Vec::new(), chunks: 1 };
        for text in texts {
            let chunks = text.tokens(tokenizer, syntax)?.chunks;
            batch.texts.push(chunks.into_iter().map(|chunk| Sequence::new(chunk, tokenizer)).collect());
        }
        let most = batch.texts.iter().map(Vec::len).max().unwrap_or(1);
        batch.lengthen(most, tokenizer);
        Ok(batch)
    }

    /// Adds empty chunks where a text has fewer than `chunks`.
    fn lengthen(&mut self, chunks: usize, tokenizer: &ClipTokenizer) {
        self.chunks = chunks;
        for text in &mut self.texts {
            text.resize_with(chunks, || Sequence::new(Chunk::default(), tokenizer));
        }
    }

    /// The ids of all chunks, [texts · chunks].
    fn ids(&self) -> Vec<Vec<u32>> {
        self.texts.iter().flatten().map(|sequence| sequence.ids.clone()).collect()
    }

    /// Multiplies each token's state by its weight, and each chunk so that its mean is as it was; then puts the chunks
    /// of a text one after the other.
    ///
    /// # Shapes
    /// [texts · chunks, N, width] → [texts, chunks · N, width].
    fn weigh(&self, states: Tensor<3>) -> Tensor<3> {
        let [rows, tokens, width] = states.dims();
        let weights: Vec<f32> = self.texts.iter().flatten().flat_map(|sequence| sequence.weights.clone()).collect();
        let states = match weights.iter().all(|&weight| weight == 1.0) {
            true => states,
            false => {
                let weights = TensorData::new(weights, [rows, tokens, 1]);
                let weighted = states.clone() * Tensor::from_data(weights, &states.device());
                let mean = |states: Tensor<3>| states.reshape([rows, 1, tokens * width]).mean_dim(2); // [rows, 1, 1]
                let ratio = mean(states) / mean(weighted.clone());
                weighted * ratio
            }
        };
        states.reshape([self.texts.len(), self.chunks * tokens, width])
    }
}

fn text_config(manifest: &Manifest, component: &str) -> Result<ClipTextConfig> {
    let config = &manifest.component(component)?.config;
    let field = format!("components.{component}.config");
    if config.get("use_attention_mask") == Some(&Value::Bool(true)) {
        return Err(Error::manifest(format!("{field}.use_attention_mask"), "is not supported"));
    }
    serde_json::from_value(config.clone()).map_err(|error| Error::manifest(field, error.to_string()))
}

async fn load_tokenizer(
    manifest: &Manifest,
    component: &str,
    (store, digest): (&impl Store, &impl Digest),
    text_config: &ClipTextConfig,
) -> Result<ClipTokenizer> {
    let files = load_files(manifest, component, store, digest).await?;
    let file = |name: &str| {
        let missing = || Error::MissingTensor { name: format!("{component}.{name}") };
        files.get(name).map(Vec::as_slice).ok_or_else(missing)
    };
    let (vocab, merges) = (file("vocab.json")?, file("merges.txt")?);
    TokenizerConfig::from_json(&manifest.component(component)?.config)
        .and_then(|config| {
            ClipTokenizer::from_files(vocab, merges, &config.capped(text_config.max_position_embeddings))
        })
        .map_err(|error| of_component(error, component))
}

/// `model_index.json`'s `force_zeros_for_empty_prompt`, which packs keep in `text_encoder_2`'s configuration; true where
/// neither says, as in diffusers.
fn force_zeros(manifest: &Manifest) -> Result<bool> {
    const FLAG: &str = "force_zeros_for_empty_prompt";
    match manifest.component("text_encoder_2")?.config.get(FLAG) {
        None => Ok(true),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => {
            Err(Error::manifest(format!("components.text_encoder_2.config.{FLAG}"), "is neither true nor false"))
        }
    }
}

/// Checks that every tensor was claimed, but for index buffers that older files carry beside the weights.
fn finish(mut weights: Weights) -> Result<()> {
    weights.ignore("embeddings.position_ids");
    weights.ignore("text_model.embeddings.position_ids");
    weights.finish()
}

/// The error with its field under the right component; the modules only know the first.
fn of_component(error: Error, component: &str) -> Error {
    match error {
        Error::Manifest { field, reason } => {
            let first = component.trim_end_matches("_2");
            let rest = field
                .strip_prefix(&format!("components.{first}."))
                .map(|rest| format!("components.{component}.{rest}"));
            Error::Manifest { field: rest.unwrap_or(field), reason }
        }
        other => other,
    }
}
