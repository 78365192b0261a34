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
    blocks::{
        Downsample2D, ResnetBlock2D, ResnetNorm, Transformer2DModel, TransformerKeys, TransformerShape, Upsample2D,
    },
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
        let mid_layers = match self.mid_block_type {
            Some(_) => self.mid_layers(&mut s.sub("mid_block"), last)?,
            None => Vec::new(),
        };
        let mut scope = s.sub("up_blocks");
        let up_blocks = (0..levels).map(|i| self.up_block(&mut scope.sub(i), i)).collect::<Result<_>>()?;
        Ok(UNet2DCondition {
            time_embedding,
            add_embedding,
            conv_in,
            down_blocks,
            mid_layers,
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

    fn mid_layers(&self, s: &mut Scope, channels: usize) -> Result<Vec<Layer>> {
        let shape = self.transformer(self.block_out_channels.len() - 1);
        let mut resnets = s.sub("resnets");
        let resnet_0 = self.resnet(&mut resnets.sub(0), (channels, channels))?;
        let resnet_1 = self.resnet(&mut resnets.sub(1), (channels, channels))?;
        let attention = Transformer2DModel::init(&mut s.sub("attentions").sub(0), &shape)?;
        Ok(vec![(resnet_0, Some(attention)), (resnet_1, None)])
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

/// What predictions depend on besides the sample and the time.
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

/// What [`UNet2DCondition::prepare`] computes of the conditions, once for all steps of a run.
#[derive(Debug, Clone)]
pub struct Prepared {
    rows: usize,
    border: Border,
    /// What each layer's transformer attends to of the text, where it has one.
    keys: Vec<Option<TransformerKeys>>,
    /// For each layer, what the time adds to channels in each step, [T or T·B, C].
    shifts: Vec<Tensor<2>>,
    steps: usize,
}

impl Prepared {
    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
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
    /// None in models without a mid block.
    mid_layers: Vec<Layer>,
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

    /// What is the same in all steps of a run, and for each step what its time alone decides.
    ///
    /// `timesteps`: those of the steps, in the scheduler's training units.
    pub fn prepare(&self, conditions: &Conditions, timesteps: &[f64]) -> Prepared {
        let Conditions { context, border, .. } = conditions;
        let time = self.time(conditions, timesteps);
        Prepared {
            rows: context.dims()[0],
            border: *border,
            keys: self.layers().map(|(_, transformer)| Some(transformer.as_ref()?.keys(context))).collect(),
            shifts: self.layers().filter_map(|(resnet, _)| resnet.shift(&time)).collect(),
            steps: timesteps.len(),
        }
    }

    /// The embedded timesteps, activated for the resnets: [T, 4·first width], or [T·B, ..] where rows differ in what is added.
    fn time(&self, conditions: &Conditions, timesteps: &[f64]) -> Tensor<2> {
        let (guidance, device) = (conditions.guidance_embedding.as_ref(), conditions.context.device());
        let time = self.time_embedding.forward(timesteps, guidance, &device);
        kernels::silu(match &conditions.added_embedding {
            Some(added) => {
                let ([count, width], [rows, _]) = (time.dims(), added.dims());
                let sum = time.reshape([count, 1, width]) + added.clone().reshape([1, rows, width]);
                sum.reshape([count * rows, width])
            }
            None => time,
        })
    }

    /// All layers in the order in which [`Self::forward`] comes to them.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        let down = self.down_blocks.iter().flat_map(|block| &block.layers);
        let up = self.up_blocks.iter().flat_map(|block| &block.layers);
        down.chain(&self.mid_layers).chain(up)
    }

    /// One forward pass, of step `step` of those that were prepared; at 16 bits where that is the device's tuning.
    ///
    /// # Shapes
    /// `sample` [B, in_channels, h, w], as many rows as were prepared → [B, out_channels, h, w].
    ///
    /// # Panics
    /// Where so many steps were not prepared.
    pub fn forward(&self, sample: Tensor<4>, step: usize, prepared: &Prepared) -> Tensor<4> {
        kernels::at_half_precision(|| self.predict(sample, step, prepared))
    }

    fn predict(&self, sample: Tensor<4>, step: usize, prepared: &Prepared) -> Tensor<4> {
        let border = prepared.border;
        let bands = |x| Bands::within_limits(x).bordered(border);
        let mut given = prepared.shifts.iter().zip(&prepared.keys);
        let mut layer = |(resnet, transformer): &Layer, x: Tensor<4>| {
            let (shifts, keys) = given.next().unzip();
            let shift = shifts.map(|shifts| {
                let rows = shifts.dims()[0] / prepared.steps;
                shifts.clone().narrow(0, step * rows, rows)
            });
            let x = resnet.forward_bands(bands(x), shift).join();
            match transformer.as_ref().zip(keys.and_then(Option::as_ref)) {
                Some((transformer, keys)) => transformer.forward(x, keys),
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
        x = self.mid_layers.iter().fold(x, |x, pair| layer(pair, x));
        for block in &self.up_blocks {
            for pair in &block.layers {
                if let Some(skip) = skips.pop() {
                    x = kernels::cat_channels(x, skip);
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
