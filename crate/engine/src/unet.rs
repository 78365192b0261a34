//! The denoiser: a UNet that attends to the text.
//!
//! Source: Rombach et al., "High-resolution image synthesis with latent diffusion models" (2022), section 3;
//! diffusers 0.42.1 `UNet2DConditionModel`.

mod config;
mod embedding;

use burn::tensor::Tensor;

use crate::{
    Result,
    bands::{Bands, NormSilu},
    blocks::{Downsample2D, ResnetBlock2D, ResnetNorm, Transformer2DModel, TransformerShape, Upsample2D},
    kernels::{self, Border, Conv2dShape, GroupNorm},
    layers::{Conv2d, group_norm},
    weights::Scope,
};

pub use config::UNet2DConditionConfig;
use embedding::{AddedEmbedding, TimeEmbedding};

/// Numbers of geometry that SDXL takes: original size, crop and target size, two each.
pub const TIME_IDS: usize = 6;

impl UNet2DConditionConfig {
    /// Builds the model from its tensors.
    ///
    /// # Errors
    /// [`Error::Manifest`] for settings that are impossible or not supported; otherwise as [`Scope::weight`].
    pub fn init(&self, s: &mut Scope) -> Result<UNet2DCondition> {
        self.check()?;
        let widths = &self.block_out_channels;
        let (first, last, levels) = (widths[0], widths[widths.len() - 1], widths.len());
        let time_embedding = TimeEmbedding::init(&mut s.sub("time_embedding"), self)?;
        let add_embedding = AddedEmbedding::init(&mut s.sub("add_embedding"), self)?;
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
            time_embedding,
            add_embedding,
            conv_in,
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: group_norm(&mut s.sub("conv_norm_out"), first, self.norm_num_groups, self.norm_eps)?,
            conv_out: Conv2d::init(&mut s.sub("conv_out"), first, self.out_channels, Conv2dShape::SAME)?,
        })
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
}

/// What predictions depend on besides the sample and the time; the same for every step of a run.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// Text embeddings, [B, tokens, cross_attention_dim].
    pub context: Tensor<3>,
    /// The guidance scale as LCM models take it, [1, time_cond_proj_dim].
    pub guidance_embedding: Option<Tensor<2>>,
    /// What [`UNet2DCondition::added_embedding`] gives, [B, 4·first width].
    pub added_embedding: Option<Tensor<2>>,
    /// What convolutions find beyond the edges.
    pub border: Border,
}

impl Conditions {
    /// Rows of the batch, `count` from `first` on.
    pub fn rows(&self, first: usize, count: usize) -> Self {
        Self {
            context: self.context.clone().narrow(0, first, count),
            added_embedding: self.added_embedding.clone().map(|added| added.narrow(0, first, count)),
            ..self.clone()
        }
    }

    /// The rows of this and then of others, which differ in their texts alone: [B₀, …], [B₁, …], … → [B₀ + B₁ + …, …].
    pub fn followed_by(&self, others: &[Self]) -> Self {
        let all = || std::iter::once(self).chain(others);
        let added: Option<Vec<_>> = all().map(|conditions| conditions.added_embedding.clone()).collect();
        Self {
            context: Tensor::cat(all().map(|conditions| conditions.context.clone()).collect(), 0),
            added_embedding: added.map(|added| Tensor::cat(added, 0)),
            ..self.clone()
        }
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
    time_embedding: TimeEmbedding,
    add_embedding: Option<AddedEmbedding>,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl UNet2DCondition {
    /// SDXL's embedding of the pooled text and of the picture's geometry; `None` in other models.
    ///
    /// # Shapes
    /// `pooled` [B, pooled_width], `time_ids` original height and width, crop top and left, target height and width in
    /// pixels → [B, 4·first width].
    pub fn added_embedding(&self, pooled: Tensor<2>, time_ids: [f64; TIME_IDS]) -> Option<Tensor<2>> {
        Some(self.add_embedding.as_ref()?.forward(pooled, time_ids))
    }

    /// One forward pass.
    ///
    /// # Shapes
    /// `sample` [B, in_channels, h, w], `timestep` in the scheduler's training units → [B, out_channels, h, w].
    pub fn forward(&self, sample: Tensor<4>, timestep: f64, conditions: &Conditions) -> Tensor<4> {
        let (context, border) = (&conditions.context, conditions.border);
        let bands = |x| Bands::within_limits(x).bordered(border);
        let time = self.time_embedding.forward(timestep, conditions.guidance_embedding.as_ref(), &sample.device());
        let time = match &conditions.added_embedding {
            Some(added) => time + added.clone(),
            None => time,
        };
        let time = kernels::silu(time); // shared by all resnets
        let layer = |(resnet, transformer): &Layer, x: Tensor<4>| {
            let x = resnet.forward_bands(bands(x), Some(&time)).join();
            match transformer {
                Some(transformer) => transformer.forward(x, context),
                None => x,
            }
        };
        let mut x = self.conv_in.forward_beyond(sample, border);
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            for pair in &block.layers {
                x = layer(pair, x);
                skips.push(x.clone());
            }
            if let Some(downsampler) = &block.downsampler {
                x = downsampler.forward_bands(bands(x)).join();
                skips.push(x.clone());
            }
        }
        if let Some(mid) = &self.mid_block {
            x = mid.resnet_0.forward_bands(bands(x), Some(&time)).join();
            x = mid.attention.forward(x, context);
            x = mid.resnet_1.forward_bands(bands(x), Some(&time)).join();
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
                x = upsampler.forward(x, [height, width], border);
            }
        }
        let x = bands(x);
        let moments = x.moments(self.conv_norm_out.groups);
        let before = NormSilu { norm: &self.conv_norm_out, moments: &moments };
        x.conv(&self.conv_out, Some(before), |_| None).join()
    }
}
