//! `unet/config.json`: diffusers' names and defaults, and which of them this engine supports.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::TIME_IDS;
use crate::layers::PerBlock;
use crate::{Error, Result};

/// The parts of `unet/config.json` that shape the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct UNet2DConditionConfig {
    /// Latent channels in.
    pub in_channels: usize,
    /// Latent channels out.
    pub out_channels: usize,
    /// Latent side the model was trained at, if it says so.
    pub sample_size: Option<PerBlock<usize>>,
    /// Width of each resolution level.
    pub block_out_channels: Vec<usize>,
    /// `DownBlock2D` or `CrossAttnDownBlock2D` per level.
    pub down_block_types: Vec<String>,
    /// `UNetMidBlock2DCrossAttn`, or null for none.
    pub mid_block_type: Option<String>,
    /// `UpBlock2D` or `CrossAttnUpBlock2D` per level, deepest first.
    pub up_block_types: Vec<String>,
    /// Resnets per down block; up blocks have one more.
    pub layers_per_block: PerBlock<usize>,
    /// Number of heads, despite its name (a historical mistake of the format).
    pub attention_head_dim: PerBlock<usize>,
    /// Number of heads where the format's newer name is used.
    pub num_attention_heads: Option<PerBlock<usize>>,
    /// Width of the text embeddings.
    pub cross_attention_dim: PerBlock<usize>,
    /// Transformer blocks per attention.
    pub transformer_layers_per_block: PerBlock<usize>,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// Added to variances in resnets.
    pub norm_eps: f64,
    /// Padding of the strided convolutions.
    pub downsample_padding: usize,
    /// Whether transformers project by linear layers.
    pub use_linear_projection: bool,
    /// Whether both attentions attend to the text.
    pub only_cross_attention: bool,
    /// Cosine before sine in the time embedding.
    pub flip_sin_to_cos: bool,
    /// Shift in the time embedding's frequencies.
    pub freq_shift: f64,
    /// Width of the guidance embedding of LCM models.
    pub time_cond_proj_dim: Option<usize>,
    /// `text_time` in SDXL: the pooled text and the picture's geometry are added to the time embedding.
    pub addition_embed_type: Option<String>,
    /// Width of each geometry number's wave in SDXL.
    pub addition_time_embed_dim: Option<usize>,
    /// Width of the pooled text and all geometry waves in SDXL.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Everything else the file says; what would change the model is refused.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Settings of other architectures, and what they have to be here, besides null.
const FIXED: [(&str, &[&str]); 20] = [
    ("act_fn", &["\"silu\"", "\"swish\""]),
    ("attention_type", &["\"default\""]),
    ("center_input_sample", &["false"]),
    ("class_embed_type", &[]),
    ("class_embeddings_concat", &["false"]),
    ("conv_in_kernel", &["3"]),
    ("conv_out_kernel", &["3"]),
    ("cross_attention_norm", &[]),
    ("dual_cross_attention", &["false"]),
    ("encoder_hid_dim", &[]),
    ("encoder_hid_dim_type", &[]),
    ("mid_block_only_cross_attention", &["false"]),
    ("num_class_embeds", &[]),
    ("resnet_skip_time_act", &["false"]),
    ("resnet_time_scale_shift", &["\"default\""]),
    ("reverse_transformer_layers_per_block", &[]),
    ("time_embedding_act_fn", &[]),
    ("time_embedding_dim", &[]),
    ("time_embedding_type", &["\"positional\""]),
    ("timestep_post_act", &[]),
];

impl Default for UNet2DConditionConfig {
    /// diffusers' own defaults.
    fn default() -> Self {
        let down = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
        let up = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"];
        Self {
            in_channels: 4,
            out_channels: 4,
            sample_size: None,
            block_out_channels: vec![320, 640, 1280, 1280],
            down_block_types: down.map(String::from).to_vec(),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".into()),
            up_block_types: up.map(String::from).to_vec(),
            layers_per_block: PerBlock::One(2),
            attention_head_dim: PerBlock::One(8),
            num_attention_heads: None,
            cross_attention_dim: PerBlock::One(1280),
            transformer_layers_per_block: PerBlock::One(1),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            downsample_padding: 1,
            use_linear_projection: false,
            only_cross_attention: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            time_cond_proj_dim: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            other: BTreeMap::new(),
        }
    }
}

impl UNet2DConditionConfig {
    /// Refuses what is impossible or not supported.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |field: &str, reason: &str| Err(Error::manifest(format!("components.unet.config.{field}"), reason));
        let levels = self.block_out_channels.len();
        if levels == 0 || levels > 8 || self.down_block_types.len() != levels || self.up_block_types.len() != levels {
            return wrong("block_out_channels", "needs 1 to 8 levels, as many as down_block_types and up_block_types");
        }
        let groups = self.norm_num_groups;
        if groups == 0
            || self
                .block_out_channels
                .iter()
                .any(|&c| c == 0 || c > 8192 || !c.is_multiple_of(groups) || !c.is_multiple_of(2))
        {
            return wrong("norm_num_groups", "every level's width must be an even multiple of it, at most 8192");
        }
        if !(1..=64).contains(&self.in_channels) || !(1..=64).contains(&self.out_channels) {
            return wrong("in_channels", "must be 1 to 64, like out_channels");
        }
        match (self.addition_embed_type.as_deref(), self.addition_time_embed_dim, self.added_width()) {
            (None, ..) => {}
            (Some("text_time"), Some(time), Some(width)) if time.is_multiple_of(2) && width <= 16_384 => {}
            (Some("text_time"), ..) => {
                return wrong(
                    "projection_class_embeddings_input_dim",
                    "must hold the text and six waves of even width",
                );
            }
            (Some(_), ..) => return wrong("addition_embed_type", "only text_time, as in SDXL, or null is supported"),
        }
        for (field, allowed) in FIXED {
            let value = self.other.get(field).unwrap_or(&Value::Null);
            if !value.is_null() && !allowed.contains(&value.to_string().as_str()) {
                return wrong(field, &format!("{value} belongs to an architecture that is not supported"));
            }
        }
        if self.mid_block_type.as_deref().is_some_and(|name| name != "UNetMidBlock2DCrossAttn") {
            return wrong("mid_block_type", "only UNetMidBlock2DCrossAttn or null is supported");
        }
        for i in 0..levels {
            let known = matches!(self.down_block_types[i].as_str(), "DownBlock2D" | "CrossAttnDownBlock2D")
                && matches!(self.up_block_types[i].as_str(), "UpBlock2D" | "CrossAttnUpBlock2D");
            if !known {
                return wrong("down_block_types", "only (CrossAttn)DownBlock2D and (CrossAttn)UpBlock2D are supported");
            }
            let attends = self.down_block_types[i].starts_with("CrossAttn")
                || self.up_block_types[levels - 1 - i].starts_with("CrossAttn")
                || i + 1 == levels && self.mid_block_type.is_some();
            let heads = self.heads(i);
            if attends && (heads == 0 || heads > 4096 || !self.block_out_channels[i].is_multiple_of(heads)) {
                return wrong("attention_head_dim", "must divide each level's width");
            }
            if self.layers(i) == 0 || self.layers(i) > 16 || self.depth(i) > 64 || self.context(i) > 8192 {
                return wrong(
                    "layers_per_block",
                    "is out of range, or transformer_layers_per_block or cross_attention_dim is",
                );
            }
        }
        Ok(())
    }

    pub(super) fn heads(&self, level: usize) -> usize {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim).get(level).unwrap_or(8)
    }
    pub(crate) fn layers(&self, level: usize) -> usize {
        self.layers_per_block.get(level).unwrap_or(2)
    }
    pub(crate) fn depth(&self, level: usize) -> usize {
        self.transformer_layers_per_block.get(level).unwrap_or(1)
    }
    pub(super) fn context(&self, level: usize) -> usize {
        self.cross_attention_dim.get(level).unwrap_or(1280)
    }

    /// Width of what SDXL adds, if anything: the pooled text and six waves.
    pub(super) fn added_width(&self) -> Option<usize> {
        self.addition_embed_type.as_ref()?;
        let width = self.projection_class_embeddings_input_dim?;
        (width > TIME_IDS * self.addition_time_embed_dim?).then_some(width)
    }

    /// Width of the text embeddings that the model expects.
    pub fn context_width(&self) -> usize {
        self.context(0)
    }

    /// Width of the pooled text that the model expects, if any.
    pub fn pooled_width(&self) -> Option<usize> {
        Some(self.added_width()? - TIME_IDS * self.addition_time_embed_dim?)
    }
}
