//! The text encoders' tensors, and their configuration as the tensors' shapes tell it.
//!
//! Source: diffusers 0.42.1 `convert_ldm_clip_checkpoint`, `convert_open_clip_checkpoint`.

use serde_json::{Value, json};

use super::table::{Form, Table};
use crate::{Error, Result};

/// Most layers looked for.
const MAX_LAYERS: usize = 128;
/// Greatest width of anything, far above all known models.
const MAX_WIDTH: usize = 1 << 16;
/// Width of a head in every CLIP.
const HEAD_WIDTH: usize = 64;
/// Stable Diffusion 2 reads OpenCLIP-H's next to last layer: diffusers leaves out the one after.
const SD2_LAYERS: usize = 23;

/// Whose tensor names a text encoder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// transformers': Stable Diffusion 1's, and SDXL's first.
    Clip,
    /// OpenCLIP's: Stable Diffusion 2's.
    OpenClipPenultimate,
    /// OpenCLIP's, with all layers and the projection of the pooled text: SDXL's second.
    OpenClipProjected,
}

/// What a text encoder's tensors leave open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextShape {
    /// Whose names.
    pub layout: Layout,
    /// Width of the residual stream.
    pub width: usize,
    /// Width inside each MLP.
    pub inner: usize,
    /// Layers kept.
    pub layers: usize,
    /// Tokens per prompt.
    pub positions: usize,
    /// Rows of the token table.
    pub tokens: usize,
    /// Width of the pooled text's projection.
    pub projection: Option<usize>,
}

impl TextShape {
    /// Reads the shape off a checkpoint, whose tensors `shape_of` gives by their names below `prefix`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] for tensors without which nothing can be said.
    pub fn infer<'a>(layout: Layout, prefix: &str, shape_of: impl Fn(&str) -> Option<&'a [usize]>) -> Result<Self> {
        let dimension = |name: &str, index: usize| {
            let missing = || Error::MissingTensor { name: format!("{prefix}{name}") };
            shape_of(name).and_then(|shape| shape.get(index).copied()).ok_or_else(missing)
        };
        let (token, position, norm, mlp) = match layout {
            Layout::Clip => (
                "text_model.embeddings.token_embedding.weight",
                "text_model.embeddings.position_embedding.weight",
                ("text_model.encoder.layers", "layer_norm1.weight"),
                "text_model.encoder.layers.0.mlp.fc1.weight",
            ),
            _ => (
                "token_embedding.weight",
                "positional_embedding",
                ("transformer.resblocks", "ln_1.weight"),
                "transformer.resblocks.0.mlp.c_fc.weight",
            ),
        };
        let is_there = |layer: &usize| shape_of(&format!("{}.{layer}.{}", norm.0, norm.1)).is_some();
        let layers = (0..MAX_LAYERS).take_while(is_there).count();
        let layers = if layout == Layout::OpenClipPenultimate { layers.min(SD2_LAYERS) } else { layers };
        let projection = match layout {
            Layout::OpenClipProjected => Some(dimension("text_projection", 1)?),
            _ => None,
        };
        Ok(Self {
            layout,
            width: dimension(token, 1)?,
            inner: dimension(mlp, 0)?,
            layers,
            positions: dimension(position, 0)?,
            tokens: dimension(token, 0)?,
            projection,
        })
    }

    /// Every tensor that is kept, by its name below the encoder's prefix.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let embeddings = [("token_embedding", self.tokens), ("position_embedding", self.positions)];
        for (embedding, rows) in embeddings {
            let name = format!("text_model.embeddings.{embedding}.weight");
            let source = match (self.layout, embedding) {
                (Layout::Clip, _) => name.clone(),
                (_, "token_embedding") => "token_embedding.weight".to_owned(),
                _ => "positional_embedding".to_owned(),
            };
            table.tensor(source, name, &[rows, self.width], Form::Whole);
        }
        for layer in 0..self.layers {
            self.layer(&mut table, layer);
        }
        let final_norm = "text_model.final_layer_norm";
        table.layer(if self.layout == Layout::Clip { final_norm } else { "ln_final" }, final_norm, &[self.width]);
        if let Some(projection) = self.projection {
            let shape = [projection, self.width];
            table.tensor("text_projection", "text_projection.weight", &shape, Form::Transposed);
        }
        table
    }

    fn layer(&self, table: &mut Table, layer: usize) {
        let (width, inner) = (self.width, self.inner);
        let name = format!("text_model.encoder.layers.{layer}");
        let is_clip = self.layout == Layout::Clip;
        let source = if is_clip { name.clone() } else { format!("transformer.resblocks.{layer}") };
        for (index, projection) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
            let name = format!("{name}.self_attn.{projection}");
            if is_clip {
                table.layer(&name, &name, &[width, width]);
            } else {
                let parts: [(&str, &[usize]); 2] = [("weight", &[width, width]), ("bias", &[width])];
                for (part, shape) in parts {
                    let source = format!("{source}.attn.in_proj_{part}");
                    table.tensor(source, format!("{name}.{part}"), shape, Form::Third(index));
                }
            }
        }
        let parts: [(&str, &str, &[usize]); 5] = [
            ("attn.out_proj", "self_attn.out_proj", &[width, width]),
            ("ln_1", "layer_norm1", &[width]),
            ("ln_2", "layer_norm2", &[width]),
            ("mlp.c_fc", "mlp.fc1", &[inner, width]),
            ("mlp.c_proj", "mlp.fc2", &[width, inner]),
        ];
        for (original, part, shape) in parts {
            let name = format!("{name}.{part}");
            table.layer(&if is_clip { name.clone() } else { format!("{source}.{original}") }, &name, shape);
        }
    }

    /// `text_encoder/config.json`. OpenAI's CLIP has the quick GELU, OpenCLIP the exact one.
    pub fn config(&self) -> Value {
        let class = if self.projection.is_some() { "CLIPTextModelWithProjection" } else { "CLIPTextModel" };
        json!({
            "architectures": [class],
            "attention_dropout": 0.0,
            "bos_token_id": self.tokens.saturating_sub(2),
            "eos_token_id": self.tokens.saturating_sub(1),
            "hidden_act": if self.layout == Layout::Clip { "quick_gelu" } else { "gelu" },
            "hidden_size": self.width,
            "intermediate_size": self.inner,
            "layer_norm_eps": 1e-5,
            "max_position_embeddings": self.positions,
            "model_type": "clip_text_model",
            "num_attention_heads": self.width / HEAD_WIDTH,
            "num_hidden_layers": self.layers,
            "projection_dim": self.projection.unwrap_or(self.width),
            "vocab_size": self.tokens,
        })
    }

    /// Checks what the configuration cannot express.
    ///
    /// # Errors
    /// [`Error::Request`] saying what is wrong.
    pub fn check(&self, vocabulary_tokens: usize) -> Result<()> {
        let wrong = |reason: String| Err(Error::request("checkpoint", format!("has a text encoder {reason}")));
        if self.layers == 0 {
            return wrong("without layers".to_owned());
        }
        let sizes = [Some(self.width), Some(self.inner), Some(self.positions), self.projection];
        if sizes.iter().flatten().any(|size| !(1..=MAX_WIDTH).contains(size)) {
            return wrong("of a size that is out of bounds".to_owned());
        }
        if !self.width.is_multiple_of(HEAD_WIDTH) {
            return wrong(format!("of width {}, which is no multiple of {HEAD_WIDTH}", self.width));
        }
        if self.tokens != vocabulary_tokens {
            return wrong(format!("for {} tokens; CLIP's vocabulary has {vocabulary_tokens}", self.tokens));
        }
        Ok(())
    }
}
