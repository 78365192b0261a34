//! The CLIP text encoders: Stable Diffusion 1's (OpenAI's ViT-L), 2's (OpenCLIP's ViT-H) and SDXL's second, which also
//! projects one state per prompt (OpenCLIP's ViT-bigG).
//!
//! Source: Radford et al., "Learning transferable visual models from natural language supervision" (2021), section
//! 2.4; tensor names and numerics as transformers 5.23 `CLIPTextModel` and `CLIPTextModelWithProjection`.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::{
    Error, Result,
    kernels::{self, AttentionShape},
    layers::{Activation, LayerNorm, Linear, Projections},
    weights::{Scope, Weight},
};

/// The parts of `text_encoder/config.json` that shape the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClipTextConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside each MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Tokens per prompt.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Activation of the MLPs.
    #[serde(default = "default_activation")]
    pub hidden_act: Activation,
    /// Added to variances in layer norms.
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    /// Width of the projected state; read by [`ClipTextConfig::init_with_projection`] alone.
    #[serde(default)]
    pub projection_dim: Option<usize>,
    /// The token whose state sums up a prompt; 2 in files older than the token's correct id, see [`pooled_position`].
    #[serde(default)]
    pub eos_token_id: Option<u32>,
}

/// transformers' `CLIPTextConfig` where the file says nothing.
const DEFAULT_PROJECTION_DIM: usize = 512;
/// As [`DEFAULT_PROJECTION_DIM`].
const DEFAULT_EOS_TOKEN_ID: u32 = 49407;

fn default_positions() -> usize {
    77
}
fn default_activation() -> Activation {
    Activation::QuickGelu
}
fn default_eps() -> f64 {
    1e-5
}

fn bounded(field: &str, value: usize, max: usize) -> Result<()> {
    let refuse = |reason| Err(Error::manifest(format!("components.text_encoder.config.{field}"), reason));
    match value {
        0 => refuse("must not be 0".to_owned()),
        value if value > max => refuse(format!("{value} is above {max}")),
        _ => Ok(()),
    }
}

impl ClipTextConfig {
    /// Builds the model from its tensors.
    ///
    /// # Errors
    /// [`Error::Manifest`] for impossible numbers; otherwise as [`Scope::weight`].
    pub fn init(&self, scope: &mut Scope) -> Result<ClipTextModel> {
        bounded("hidden_size", self.hidden_size, 8192)?;
        bounded("intermediate_size", self.intermediate_size, 32768)?;
        bounded("num_hidden_layers", self.num_hidden_layers, 128)?;
        bounded("num_attention_heads", self.num_attention_heads, 128)?;
        bounded("max_position_embeddings", self.max_position_embeddings, 4096)?;
        bounded("vocab_size", self.vocab_size, 1 << 20)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::manifest(
                "components.text_encoder.config.num_attention_heads",
                "must divide hidden_size",
            ));
        }
        // Files written by transformers 4 and older put the model one level deeper.
        if scope.has("text_model.final_layer_norm.weight") {
            self.build(&mut scope.sub("text_model"))
        } else {
            self.build(scope)
        }
    }

    /// As [`ClipTextConfig::init`], with the projection.
    ///
    /// # Errors
    /// As [`ClipTextConfig::init`].
    pub fn init_with_projection(&self, scope: &mut Scope) -> Result<ClipTextModelWithProjection> {
        let projection_dim = self.projection_dim.unwrap_or(DEFAULT_PROJECTION_DIM);
        bounded("projection_dim", projection_dim, 8192)?;
        let text_model = self.init(scope)?;
        let text_projection = Linear::init(&mut scope.sub("text_projection"), self.hidden_size, projection_dim, false)?;
        Ok(ClipTextModelWithProjection { text_model, text_projection, projection_dim })
    }

    fn build(&self, scope: &mut Scope) -> Result<ClipTextModel> {
        let width = self.hidden_size;
        let mut embeddings = scope.sub("embeddings");
        let token_embedding = embeddings.sub("token_embedding").weight("weight", &[self.vocab_size, width])?;
        let position_embedding =
            embeddings.sub("position_embedding").weight("weight", &[self.max_position_embeddings, width])?;
        let mut encoder = scope.sub("encoder");
        let shape = EncoderShape {
            width,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            eps: self.layer_norm_eps,
            activation: self.hidden_act,
            causal: true,
        };
        let mut layers = encoder.sub("layers");
        let layers = (0..self.num_hidden_layers).map(|i| shape.init(&mut layers.sub(i))).collect::<Result<_>>()?;
        let final_layer_norm = LayerNorm::init(&mut scope.sub("final_layer_norm"), width, self.layer_norm_eps)?;
        let eos_token_id = self.eos_token_id.unwrap_or(DEFAULT_EOS_TOKEN_ID);
        Ok(ClipTextModel { token_embedding, position_embedding, layers, final_layer_norm, eos_token_id })
    }
}

/// Turns token ids into the hidden states that the UNet attends to.
#[derive(Debug)]
pub struct ClipTextModel {
    token_embedding: Weight,
    position_embedding: Weight,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    eos_token_id: u32,
}

impl ClipTextModel {
    /// The last hidden state, after the final layer norm: what Stable Diffusion 1 and 2 attend to. (2 asks for the last
    /// state but one; its published configuration leaves the last layer out.)
    ///
    /// # Shapes
    /// B prompts of N ids each, N at most `max_position_embeddings` → [B, N, hidden_size].
    ///
    /// # Errors
    /// [`Error::Manifest`] where an id is not in the token table (the tokenizer belongs to another model).
    pub fn forward(&self, prompts: &[Vec<u32>]) -> Result<Tensor<3>> {
        Ok(self.final_layer_norm.forward(self.last(prompts)?))
    }

    /// The state that sums up each prompt: transformers' `pooler_output`.
    ///
    /// # Shapes
    /// As [`ClipTextModel::forward`] → [B, hidden_size].
    ///
    /// # Errors
    /// As [`ClipTextModel::forward`].
    pub fn forward_pooled(&self, prompts: &[Vec<u32>]) -> Result<Tensor<2>> {
        Ok(self.pool(&self.last(prompts)?, prompts))
    }

    /// The hidden state before the last layer, without the final layer norm: what SDXL attends to, transformers'
    /// `hidden_states[-2]`.
    ///
    /// # Shapes
    /// As [`ClipTextModel::forward`].
    ///
    /// # Errors
    /// As [`ClipTextModel::forward`].
    pub fn forward_penultimate(&self, prompts: &[Vec<u32>]) -> Result<Tensor<3>> {
        let before_last = &self.layers[..self.layers.len() - 1];
        Ok(before_last.iter().fold(self.embed(prompts)?, |hidden, layer| layer.forward(hidden)))
    }

    /// Width of the hidden states.
    pub fn hidden_size(&self) -> usize {
        self.token_embedding.columns
    }

    /// The last hidden state, before the final layer norm.
    fn last(&self, prompts: &[Vec<u32>]) -> Result<Tensor<3>> {
        Ok(self.layers.iter().fold(self.embed(prompts)?, |hidden, layer| layer.forward(hidden)))
    }

    /// Of the last hidden state, each prompt's state at its end token, [B, hidden_size].
    fn pool(&self, last: &Tensor<3>, prompts: &[Vec<u32>]) -> Tensor<2> {
        let width = self.hidden_size();
        let pooled = prompts.iter().enumerate().map(|(index, ids)| {
            let position = pooled_position(ids, self.eos_token_id);
            last.clone().narrow(0, index, 1).narrow(1, position, 1).reshape([1, width])
        });
        // A layer norm looks at one state alone, so only the states that are wanted need it.
        self.final_layer_norm.forward(Tensor::cat(pooled.collect(), 0))
    }

    fn embed(&self, prompts: &[Vec<u32>]) -> Result<Tensor<3>> {
        let (batch, tokens) = (prompts.len(), prompts.first().map_or(0, Vec::len));
        let ids = prompts.concat();
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.token_embedding.rows) {
            return Err(Error::manifest(
                "components.tokenizer",
                format!("token {id} is not in the text encoder's table"),
            ));
        }
        if ids.len() != batch * tokens || tokens > self.position_embedding.rows {
            return Err(Error::manifest(
                "components.tokenizer",
                "prompts are not of one length within the text encoder's positions",
            ));
        }
        let width = self.token_embedding.columns;
        let positions: Vec<u32> = (0..tokens as u32).collect();
        let token = kernels::embedding(&self.token_embedding, &ids).reshape([batch, tokens, width]); // [B, N, C]
        let position = kernels::embedding(&self.position_embedding, &positions).reshape([1, tokens, width]);
        Ok(token + position)
    }
}

/// A text encoder that also gives one vector per prompt: SDXL's second.
#[derive(Debug)]
pub struct ClipTextModelWithProjection {
    text_model: ClipTextModel,
    text_projection: Linear,
    projection_dim: usize,
}

/// What [`ClipTextModelWithProjection`] makes of prompts.
#[derive(Debug)]
pub struct ProjectedText {
    /// The hidden state before the last layer, [B, N, hidden_size].
    pub penultimate: Tensor<3>,
    /// The projected last state at each prompt's end token, [B, projection_dim].
    pub text_embeds: Tensor<2>,
}

impl ClipTextModelWithProjection {
    /// # Shapes
    /// B prompts of N ids each, N at most `max_position_embeddings` → see [`ProjectedText`].
    ///
    /// # Errors
    /// As [`ClipTextModel::forward`].
    pub fn forward(&self, prompts: &[Vec<u32>]) -> Result<ProjectedText> {
        let penultimate = self.text_model.forward_penultimate(prompts)?;
        let last = match self.text_model.layers.last() {
            Some(layer) => layer.forward(penultimate.clone()),
            None => penultimate.clone(),
        };
        let pooled = self.text_model.pool(&last, prompts);
        Ok(ProjectedText { penultimate, text_embeds: self.text_projection.forward(pooled) })
    }

    /// Width of the hidden states.
    pub fn hidden_size(&self) -> usize {
        self.text_model.hidden_size()
    }

    /// Width of the projected states.
    pub fn projection_dim(&self) -> usize {
        self.projection_dim
    }
}

/// Where the state stands that sums up a prompt: the first end token, or the first of the largest ids where the
/// configuration has the wrong id that transformers once wrote.
///
/// Source: transformers 5.23 `CLIPTextModel.forward`.
fn pooled_position(ids: &[u32], eos_token_id: u32) -> usize {
    let wanted = if eos_token_id == 2 { ids.iter().max() } else { Some(&eos_token_id) };
    ids.iter().position(|id| Some(id) == wanted).unwrap_or(0)
}

/// Sizes of one layer of a CLIP tower.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderShape {
    /// Width of the residual stream.
    pub width: usize,
    /// Width inside the MLP.
    pub inner: usize,
    /// Attention heads.
    pub heads: usize,
    /// Added to variances in layer norms.
    pub eps: f64,
    /// Activation of the MLP.
    pub activation: Activation,
    /// Whether a position sees only those up to itself.
    pub causal: bool,
}

impl EncoderShape {
    /// Builds one layer from its tensors.
    pub fn init(&self, scope: &mut Scope) -> Result<EncoderLayer> {
        let Self { width, inner, heads, eps, activation, causal } = *self;
        let mut attention = scope.sub("self_attn");
        let mut projection = |name: &str| Linear::init(&mut attention.sub(name), width, width, true);
        let qkv = Projections::new([projection("q_proj")?, projection("k_proj")?, projection("v_proj")?]);
        let out_proj = projection("out_proj")?;
        Ok(EncoderLayer {
            qkv,
            out_proj,
            layer_norm1: LayerNorm::init(&mut scope.sub("layer_norm1"), width, eps)?,
            layer_norm2: LayerNorm::init(&mut scope.sub("layer_norm2"), width, eps)?,
            fc1: Linear::init(&mut scope.sub("mlp").sub("fc1"), width, inner, true)?,
            fc2: Linear::init(&mut scope.sub("mlp").sub("fc2"), inner, width, true)?,
            activation,
            attention: AttentionShape { heads, causal },
        })
    }
}

/// One layer of a CLIP tower, of text or of pictures.
#[derive(Debug)]
pub(crate) struct EncoderLayer {
    layer_norm1: LayerNorm,
    qkv: Projections,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
    attention: AttentionShape,
}

impl EncoderLayer {
    /// # Shapes
    /// [B, N, width] → the same.
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let x = self.layer_norm1.forward(hidden.clone());
        let [q, k, v] = self.qkv.forward(x);
        let hidden = self.out_proj.forward_plus(kernels::attention(q, k, v, self.attention), hidden);
        let x = self.activation.forward(self.fc1.forward(self.layer_norm2.forward(hidden.clone())));
        self.fc2.forward_plus(x, hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pooled_state_stands_at_the_first_end_token() {
        let ids = [49406, 320, 49407, 0, 0];
        assert_eq!(pooled_position(&ids, 49407), 2);
        assert_eq!(pooled_position(&ids, 2), 2);
        assert_eq!(pooled_position(&[5, 9, 3, 9], 2), 1, "the first of the largest");
        assert_eq!(pooled_position(&[5, 9, 3, 9], 3), 2);
        assert_eq!(pooled_position(&[5, 9, 3, 9], 7), 0, "as argmax of nothing found");
    }
}
