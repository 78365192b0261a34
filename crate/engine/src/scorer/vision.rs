//! CLIP's image tower, a vision transformer.
//!
//! Source: tensor names and numerics as transformers 5.23 `CLIPVisionModelWithProjection`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::COMPONENT;
use crate::{
    Error, Result, kernels,
    layers::{Activation, LayerNorm, Linear},
    pack::Manifest,
    text_encoder::{EncoderLayer, EncoderShape},
    weights::{Scope, Weight},
};

/// Channels of a picture.
const CHANNELS: usize = 3;
/// Largest side of the picture that the model sees, in pixels.
const MAX_IMAGE_SIZE: usize = 512;
/// Most patches of a picture.
const MAX_PATCHES: usize = 1024;

/// The parts of a `CLIPVisionConfig` that shape the model; what it leaves out is as in transformers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside each MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Channels of the picture.
    pub num_channels: usize,
    /// Side of the square picture, in pixels.
    pub image_size: usize,
    /// Side of the square patches that it is cut into, in pixels.
    pub patch_size: usize,
    /// Width of the projected state.
    pub projection_dim: usize,
    /// Activation of the MLPs.
    pub hidden_act: Activation,
    /// Added to variances in layer norms.
    pub layer_norm_eps: f64,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: CHANNELS,
            image_size: 224,
            patch_size: 32,
            projection_dim: 512,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipVisionConfig {
    /// Reads and checks a pack's; `None` where it has no scorer.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the first setting that is not supported.
    pub fn of(manifest: &Manifest) -> Result<Option<Self>> {
        if !manifest.components.contains_key(COMPONENT) {
            return Ok(None);
        }
        let config: Self = manifest.config(COMPONENT)?;
        config.check()?;
        Ok(Some(config))
    }

    fn check(&self) -> Result<()> {
        let refuse = |setting: &str, reason: String| {
            Err(Error::manifest(format!("components.{COMPONENT}.config.{setting}"), reason))
        };
        for (setting, value, most) in [
            ("hidden_size", self.hidden_size, 2048),
            ("intermediate_size", self.intermediate_size, 8192),
            ("num_hidden_layers", self.num_hidden_layers, 64),
            ("num_attention_heads", self.num_attention_heads, 128),
            ("image_size", self.image_size, MAX_IMAGE_SIZE),
            ("patch_size", self.patch_size, MAX_IMAGE_SIZE),
            ("projection_dim", self.projection_dim, 8192),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(setting, format!("{value} is outside 1 to {most}"));
            }
        }
        match self {
            _ if self.num_channels != CHANNELS => refuse("num_channels", format!("{} is not 3", self.num_channels)),
            _ if !self.hidden_size.is_multiple_of(self.num_attention_heads) => {
                refuse("num_attention_heads", "must divide hidden_size".to_owned())
            }
            _ if !self.image_size.is_multiple_of(self.patch_size) => {
                refuse("patch_size", "must divide image_size".to_owned())
            }
            _ if self.tokens() > MAX_PATCHES + 1 => {
                refuse("patch_size", format!("makes {} patches, at most {MAX_PATCHES} are read", self.tokens() - 1))
            }
            _ => Ok(()),
        }
    }

    /// Patches of a picture, and one more token that sums them up.
    pub fn tokens(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
    }

    /// Builds the model from its tensors.
    ///
    /// # Errors
    /// [`Error::Manifest`] for settings that are not supported; otherwise as [`Scope::weight`].
    pub fn init(&self, scope: &mut Scope) -> Result<ClipVisionModelWithProjection> {
        self.check()?;
        let (width, eps) = (self.hidden_size, self.layer_norm_eps);
        let shape = EncoderShape {
            width,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            eps,
            activation: self.hidden_act,
            causal: false,
        };
        let visual_projection = Linear::init(&mut scope.sub("visual_projection"), width, self.projection_dim, false)?;
        let mut model = scope.sub("vision_model");
        let mut embeddings = model.sub("embeddings");
        let class_embedding = embeddings.vector("class_embedding", width)?;
        let mut patches = embeddings.sub("patch_embedding");
        let patch_embedding = Linear::init_patch(&mut patches, CHANNELS, self.patch_size, width, false)?;
        let position_embedding = embeddings.sub("position_embedding").weight("weight", &[self.tokens(), width])?;
        let mut encoder = model.sub("encoder");
        let mut layers = encoder.sub("layers");
        let layers = (0..self.num_hidden_layers).map(|i| shape.init(&mut layers.sub(i))).collect::<Result<_>>()?;
        Ok(ClipVisionModelWithProjection {
            patch_embedding,
            class_embedding,
            position_embedding,
            pre_layernorm: LayerNorm::init(&mut model.sub("pre_layrnorm"), width, eps)?,
            layers,
            post_layernorm: LayerNorm::init(&mut model.sub("post_layernorm"), width, eps)?,
            visual_projection,
            config: self.clone(),
        })
    }
}

/// Turns a picture into one vector.
#[derive(Debug)]
pub struct ClipVisionModelWithProjection {
    patch_embedding: Linear,
    class_embedding: Tensor<1>,
    position_embedding: Weight,
    pre_layernorm: LayerNorm,
    layers: Vec<EncoderLayer>,
    post_layernorm: LayerNorm,
    visual_projection: Linear,
    config: ClipVisionConfig,
}

impl ClipVisionModelWithProjection {
    /// transformers' `image_embeds`.
    ///
    /// # Shapes
    /// [B, 3, image_size, image_size], pixels in [−1, 1] → [B, projection_dim].
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let hidden = self.pre_layernorm.forward(self.embed(pixels));
        let hidden = self.layers.iter().fold(hidden, |hidden, layer| layer.forward(hidden));
        let [batch, _, width] = hidden.dims();
        // A layer norm looks at one state alone, so only the one that is projected needs it.
        let class = hidden.narrow(1, 0, 1).reshape([batch, width]);
        self.visual_projection.forward(self.post_layernorm.forward(class))
    }

    /// Side of the picture, in pixels.
    pub fn image_size(&self) -> usize {
        self.config.image_size
    }

    fn embed(&self, pixels: Tensor<4>) -> Tensor<3> {
        let [batch, ..] = pixels.dims();
        let (side, width) = (self.config.patch_size, self.config.hidden_size);
        let (across, tokens) = (self.config.image_size / side, self.config.tokens());
        let patches = pixels.reshape([batch, CHANNELS, across, side, across, side]).permute([0, 2, 4, 1, 3, 5]);
        let patches = patches.reshape([batch, tokens - 1, CHANNELS * side * side]); // as the kernel's (Cin, ky, kx)
        let class = self.class_embedding.clone().reshape([1, 1, width]).repeat_dim(0, batch);
        let hidden = Tensor::cat(vec![class, self.patch_embedding.forward(patches)], 1); // [B, tokens, width]
        let positions: Vec<u32> = (0..tokens as u32).collect();
        hidden + kernels::embedding(&self.position_embedding, &positions).reshape([1, tokens, width])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_that_are_not_supported_are_named() {
        let read = |value| serde_json::from_value::<ClipVisionConfig>(value).unwrap();
        read(json!({})).check().unwrap();
        read(json!({"image_size": 512, "patch_size": 16})).check().unwrap();
        for (setting, value) in [
            ("hidden_size", json!(4096)),
            ("intermediate_size", json!(0)),
            ("num_hidden_layers", json!(65)),
            ("num_attention_heads", json!(7)),
            ("num_channels", json!(4)),
            ("image_size", json!(1024)),
            ("patch_size", json!(30)),
            ("patch_size", json!(4)),
            ("projection_dim", json!(0)),
        ] {
            let error = read(json!({ setting: value })).check().unwrap_err();
            assert!(error.to_string().contains(&format!("components.scorer.config.{setting}")), "{error}");
        }
    }
}
