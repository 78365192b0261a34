//! The denoiser: a UNet that attends to the text.
//!
//! Source: Rombach et al., "High-resolution image synthesis with latent diffusion models" (2022), section 3;
//! diffusers 0.42.1 `UNet2DConditionModel`.

use burn::tensor::{Device, Tensor, TensorData, activation};
use serde::Deserialize;

use crate::{
    Error, Result,
    blocks::{Downsample2D, ResnetBlock2D, ResnetNorm, Transformer2DModel, TransformerShape, Upsample2D},
    kernels::{self, Conv2dShape, GroupNorm},
    layers::{Conv2d, Linear, PerBlock, group_norm},
    weights::Scope,
};

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
    /// Extra conditioning of SDXL; not supported yet.
    pub addition_embed_type: Option<String>,
}

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
        }
    }
}

impl UNet2DConditionConfig {
    /// Builds the model from its tensors.
    ///
    /// # Errors
    /// [`Error::Manifest`] for settings that are impossible or not supported; otherwise as [`Scope::weight`].
    pub fn init(&self, s: &mut Scope) -> Result<UNet2DCondition> {
        self.check()?;
        let widths = &self.block_out_channels;
        let (first, last, levels) = (widths[0], widths[widths.len() - 1], widths.len());
        let time = first * 4;
        let mut embedding = s.sub("time_embedding");
        let cond_proj = match self.time_cond_proj_dim {
            Some(width) => Some(Linear::init(&mut embedding.sub("cond_proj"), width, first, false)?),
            None => None,
        };
        let linear_1 = Linear::init(&mut embedding.sub("linear_1"), first, time, true)?;
        let linear_2 = Linear::init(&mut embedding.sub("linear_2"), time, time, true)?;
        let conv_in = Conv2d::init(&mut s.sub("conv_in"), self.in_channels, first, Conv2dShape::SAME)?;
        let mut scope = s.sub("down_blocks");
        let down_blocks = (0..levels).map(|i| self.down_block(&mut scope.sub(i), i)).collect::<Result<_>>()?;
        let mid_block = match self.mid_block_type {
            Some(_) => Some(self.mid_block(&mut s.sub("mid_block"), last)?),
            None => None,
        };
        let mut scope = s.sub("up_blocks");
        let up_blocks = (0..levels).map(|i| self.up_block(&mut scope.sub(i), i)).collect::<Result<_>>()?;
        Ok(UNet2DCondition {
            frequencies: self.frequencies(),
            flip_sin_to_cos: self.flip_sin_to_cos,
            cond_proj,
            linear_1,
            linear_2,
            conv_in,
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: group_norm(&mut s.sub("conv_norm_out"), first, self.norm_num_groups, self.norm_eps)?,
            conv_out: Conv2d::init(&mut s.sub("conv_out"), first, self.out_channels, Conv2dShape::SAME)?,
        })
    }

    fn check(&self) -> Result<()> {
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
        if self.addition_embed_type.is_some() {
            return wrong("addition_embed_type", "is not supported by this version");
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
            let heads = self.heads(i);
            if heads == 0 || !self.block_out_channels[i].is_multiple_of(heads * 4) {
                return wrong(
                    "attention_head_dim",
                    "must divide each level's width into heads of a multiple of 4 channels",
                );
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

    fn heads(&self, level: usize) -> usize {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim).get(level).unwrap_or(8)
    }
    fn layers(&self, level: usize) -> usize {
        self.layers_per_block.get(level).unwrap_or(2)
    }
    fn depth(&self, level: usize) -> usize {
        self.transformer_layers_per_block.get(level).unwrap_or(1)
    }
    fn context(&self, level: usize) -> usize {
        self.cross_attention_dim.get(level).unwrap_or(1280)
    }

    fn resnet(&self, s: &mut Scope, channels: (usize, usize)) -> Result<ResnetBlock2D> {
        let norm = ResnetNorm { groups: self.norm_num_groups, eps: self.norm_eps };
        ResnetBlock2D::init(s, channels, Some(self.block_out_channels[0] * 4), norm)
    }

    fn transformer(&self, level: usize) -> TransformerShape {
        TransformerShape {
            channels: self.block_out_channels[level],
            context: self.context(level),
            heads: self.heads(level),
            depth: self.depth(level),
            groups: self.norm_num_groups,
            linear_projection: self.use_linear_projection,
            only_cross_attention: self.only_cross_attention,
        }
    }

    fn down_block(&self, s: &mut Scope, level: usize) -> Result<DownBlock> {
        let outputs = self.block_out_channels[level];
        let inputs = self.block_out_channels[level.saturating_sub(1)];
        let attends = self.down_block_types[level] == "CrossAttnDownBlock2D";
        let mut layers = Vec::new();
        for i in 0..self.layers(level) {
            let resnet = self.resnet(&mut s.sub("resnets").sub(i), (if i == 0 { inputs } else { outputs }, outputs))?;
            layers.push((resnet, attention(s, attends, i, &self.transformer(level))?));
        }
        let downsampler = match level + 1 < self.block_out_channels.len() {
            true => Some(Downsample2D::init(&mut s.sub("downsamplers").sub(0), outputs, self.downsample_padding)?),
            false => None,
        };
        Ok(DownBlock { layers, downsampler })
    }

    fn mid_block(&self, s: &mut Scope, channels: usize) -> Result<MidBlock> {
        let shape = self.transformer(self.block_out_channels.len() - 1);
        let mut resnets = s.sub("resnets");
        let resnet_0 = self.resnet(&mut resnets.sub(0), (channels, channels))?;
        let resnet_1 = self.resnet(&mut resnets.sub(1), (channels, channels))?;
        Ok(MidBlock {
            resnet_0,
            attention: Transformer2DModel::init(&mut s.sub("attentions").sub(0), &shape)?,
            resnet_1,
        })
    }

    /// `index` counts from the deepest level.
    fn up_block(&self, s: &mut Scope, index: usize) -> Result<UpBlock> {
        let widths = &self.block_out_channels;
        let level = widths.len() - 1 - index;
        let outputs = widths[level];
        let previous = widths[(level + 1).min(widths.len() - 1)];
        let skip_last = widths[level.saturating_sub(1)];
        let attends = self.up_block_types[index] == "CrossAttnUpBlock2D";
        let count = self.layers(level) + 1;
        let mut layers = Vec::new();
        for i in 0..count {
            let skip = if i + 1 == count { skip_last } else { outputs };
            let inputs = if i == 0 { previous } else { outputs } + skip;
            let resnet = self.resnet(&mut s.sub("resnets").sub(i), (inputs, outputs))?;
            layers.push((resnet, attention(s, attends, i, &self.transformer(level))?));
        }
        let upsampler = match level > 0 {
            true => Some(Upsample2D::init(&mut s.sub("upsamplers").sub(0), outputs)?),
            false => None,
        };
        Ok(UpBlock { layers, upsampler })
    }

    /// Angular frequency per pair of time-embedding channels.
    fn frequencies(&self) -> Vec<f64> {
        let half = self.block_out_channels[0] / 2;
        let exponent = |i: usize| -(10_000f64.ln()) * i as f64 / (half as f64 - self.freq_shift);
        (0..half).map(|i| exponent(i).exp()).collect()
    }
}

fn attention(s: &mut Scope, attends: bool, i: usize, shape: &TransformerShape) -> Result<Option<Transformer2DModel>> {
    if attends { Transformer2DModel::init(&mut s.sub("attentions").sub(i), shape).map(Some) } else { Ok(None) }
}

/// A resnet and, in cross-attention blocks, the transformer after it.
type Layer = (ResnetBlock2D, Option<Transformer2DModel>);

#[derive(Debug)]
struct DownBlock {
    layers: Vec<Layer>,
    downsampler: Option<Downsample2D>,
}

#[derive(Debug)]
struct MidBlock {
    resnet_0: ResnetBlock2D,
    attention: Transformer2DModel,
    resnet_1: ResnetBlock2D,
}

#[derive(Debug)]
struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Upsample2D>,
}

/// Predicts what the sampler asks for (noise, velocity or sample) from noisy latents, a time and the text.
#[derive(Debug)]
pub struct UNet2DCondition {
    frequencies: Vec<f64>,
    flip_sin_to_cos: bool,
    cond_proj: Option<Linear>,
    linear_1: Linear,
    linear_2: Linear,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl UNet2DCondition {
    /// One forward pass.
    ///
    /// # Shapes
    /// `sample` [B, in_channels, h, w], `timestep` in the scheduler's training units, `context` [B, tokens, width],
    /// `guidance_embedding` [1, time_cond_proj_dim] for LCM models → [B, out_channels, h, w].
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timestep: f64,
        context: &Tensor<3>,
        guidance_embedding: Option<Tensor<2>>,
    ) -> Tensor<4> {
        let time = self.time_embedding(timestep, guidance_embedding, &sample.device());
        let layer = |(resnet, transformer): &Layer, x: Tensor<4>| {
            let x = resnet.forward(x, Some(&time));
            match transformer {
                Some(transformer) => transformer.forward(x, context),
                None => x,
            }
        };
        let mut x = self.conv_in.forward(sample);
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            for pair in &block.layers {
                x = layer(pair, x);
                skips.push(x.clone());
            }
            if let Some(downsampler) = &block.downsampler {
                x = downsampler.forward(x);
                skips.push(x.clone());
            }
        }
        if let Some(mid) = &self.mid_block {
            x = mid.resnet_0.forward(x, Some(&time));
            x = mid.attention.forward(x, context);
            x = mid.resnet_1.forward(x, Some(&time));
        }
        for block in &self.up_blocks {
            for pair in &block.layers {
                if let Some(skip) = skips.pop() {
                    x = Tensor::cat(vec![x, skip], 1);
                }
                x = layer(pair, x);
            }
            if let (Some(upsampler), Some(skip)) = (&block.upsampler, skips.last()) {
                let [_, _, height, width] = skip.dims();
                x = upsampler.forward(x, [height, width]);
            }
        }
        self.conv_out.forward(kernels::group_norm(x, &self.conv_norm_out, true))
    }

    /// The activated time embedding that all resnets share, [1, 4·first width].
    fn time_embedding(&self, timestep: f64, guidance_embedding: Option<Tensor<2>>, device: &Device) -> Tensor<2> {
        // f32 angles, as the reference computes them.
        let angles = self.frequencies.iter().map(|&f| timestep as f32 * f as f32);
        let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        let wave = if self.flip_sin_to_cos { [cosines, sines] } else { [sines, cosines] }.concat();
        let width = wave.len();
        let mut x = Tensor::from_data(TensorData::new(wave, [1, width]), device);
        if let (Some(projection), Some(guidance)) = (&self.cond_proj, guidance_embedding) {
            x = x + projection.forward(guidance);
        }
        activation::silu(self.linear_2.forward(activation::silu(self.linear_1.forward(x))))
    }
}
