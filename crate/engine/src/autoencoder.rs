//! Between latents and pixels: the tiny autoencoder and the KL autoencoder's decoder.
//!
//! Source: diffusers 0.42.1 `AutoencoderTiny` and `AutoencoderKL`; Madebyollin, "TAESD" (2023); Rombach et al. (2022),
//! appendix G.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::{
    Error, Result,
    blocks::{Attention, ResnetBlock2D, ResnetNorm, Upsample2D},
    kernels::{self, Conv2dShape, GroupNorm},
    layers::{Activation, Conv2d, group_norm},
    weights::Scope,
};

/// Most resolution levels of an autoencoder.
const MAX_LEVELS: usize = 8;
/// Widest level.
const MAX_WIDTH: usize = 4096;

fn check_levels(widths: &[usize], blocks: impl IntoIterator<Item = usize>, channels: usize) -> Result<()> {
    let bounded = (1..=MAX_LEVELS).contains(&widths.len())
        && widths.iter().all(|&w| (1..=MAX_WIDTH).contains(&w))
        && blocks.into_iter().all(|b| b <= 16)
        && (1..=64).contains(&channels);
    if bounded {
        Ok(())
    } else {
        Err(Error::manifest("components.vae_decoder.config", "levels, widths or channels are out of range"))
    }
}

/// The parts of an `AutoencoderTiny` configuration that shape the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AutoencoderTinyConfig {
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Residual blocks per encoder level, finest first.
    pub num_encoder_blocks: Vec<usize>,
    /// Width per encoder level; all equal.
    pub encoder_block_out_channels: Vec<usize>,
    /// Residual blocks per decoder level, coarsest first.
    pub num_decoder_blocks: Vec<usize>,
    /// Width per decoder level; all equal.
    pub decoder_block_out_channels: Vec<usize>,
    /// Activation between convolutions.
    pub act_fn: Activation,
    /// The pipeline divides latents by this before decoding.
    pub scaling_factor: f64,
}

impl Default for AutoencoderTinyConfig {
    /// TAESD.
    fn default() -> Self {
        Self {
            in_channels: 3,
            latent_channels: 4,
            num_encoder_blocks: vec![1, 3, 3, 3],
            encoder_block_out_channels: vec![64; 4],
            num_decoder_blocks: vec![3, 3, 3, 1],
            decoder_block_out_channels: vec![64; 4],
            act_fn: Activation::Relu,
            scaling_factor: 1.0,
        }
    }
}

impl AutoencoderTinyConfig {
    /// Builds the decoder from the tensors below `decoder.`.
    ///
    /// # Errors
    /// [`Error::Manifest`] for impossible settings; otherwise as [`Scope::weight`].
    pub fn init_decoder(&self, s: &mut Scope) -> Result<TinyDecoder> {
        let (widths, counts) = (&self.decoder_block_out_channels, &self.num_decoder_blocks);
        check_levels(widths, counts.iter().copied(), self.latent_channels)?;
        let (mut stack, last) = (Stack::new(s, "decoder"), widths.len() - 1);
        stack.conv(self.latent_channels, widths[0], Conv2dShape::SAME, true)?;
        stack.skip_activation(self.act_fn);
        for (level, &width) in widths.iter().enumerate() {
            for _ in 0..counts.get(level).copied().unwrap_or(0) {
                stack.block(width, self.act_fn)?;
            }
            if level == last {
                stack.conv(width, self.in_channels, Conv2dShape::SAME, true)?;
            } else {
                stack.index += 1; // an `Upsample` layer, which the convolution after it does on the way
                stack.conv(width, width, Conv2dShape::DOUBLE, false)?;
            }
        }
        Ok(TinyDecoder { layers: stack.layers })
    }

    /// Builds the encoder from the tensors below `encoder.`.
    ///
    /// # Errors
    /// [`Error::Manifest`] for impossible settings; otherwise as [`Scope::weight`].
    pub fn init_encoder(&self, s: &mut Scope) -> Result<TinyEncoder> {
        const HALVE: Conv2dShape = Conv2dShape { stride: 2, ..Conv2dShape::SAME };
        let (widths, counts) = (&self.encoder_block_out_channels, &self.num_encoder_blocks);
        check_levels(widths, counts.iter().copied(), self.latent_channels)?;
        let mut stack = Stack::new(s, "encoder");
        for (level, &width) in widths.iter().enumerate() {
            match level {
                0 => stack.conv(self.in_channels, width, Conv2dShape::SAME, true)?,
                _ => stack.conv(width, width, HALVE, false)?,
            }
            for _ in 0..counts.get(level).copied().unwrap_or(0) {
                stack.block(width, self.act_fn)?;
            }
        }
        stack.conv(widths[widths.len() - 1], self.latent_channels, Conv2dShape::SAME, true)?;
        Ok(TinyEncoder { layers: stack.layers })
    }
}

/// Builds the flat, numbered list of layers that the tiny autoencoder's tensor names count through.
struct Stack<'a, 'b> {
    scope: &'a mut Scope<'b>,
    half: &'static str,
    layers: Vec<TinyLayer>,
    index: usize,
}

impl<'a, 'b> Stack<'a, 'b> {
    fn new(scope: &'a mut Scope<'b>, half: &'static str) -> Self {
        Self { scope, half, layers: Vec::new(), index: 0 }
    }

    fn conv(&mut self, inputs: usize, outputs: usize, shape: Conv2dShape, bias: bool) -> Result<()> {
        let mut half = self.scope.sub(self.half);
        let mut layers = half.sub("layers");
        let mut scope = layers.sub(self.index);
        let conv = match bias {
            true => Conv2d::init(&mut scope, inputs, outputs, shape)?,
            false => Conv2d::init_unbiased(&mut scope, inputs, outputs, shape)?,
        };
        self.push(TinyLayer::Conv(Box::new(conv)));
        Ok(())
    }

    fn block(&mut self, width: usize, activation: Activation) -> Result<()> {
        let mut half = self.scope.sub(self.half);
        let mut layers = half.sub("layers");
        let mut block = layers.sub(self.index);
        let mut convs = block.sub("conv");
        let mut conv = |i: usize| Conv2d::init(&mut convs.sub(i), width, width, Conv2dShape::SAME);
        let block = TinyBlock { convs: [conv(0)?, conv(2)?, conv(4)?], activation };
        self.push(TinyLayer::Block(Box::new(block)));
        Ok(())
    }

    fn skip_activation(&mut self, activation: Activation) {
        self.push(TinyLayer::Activation(activation));
    }

    fn push(&mut self, layer: TinyLayer) {
        self.layers.push(layer);
        self.index += 1;
    }
}

#[derive(Debug)]
enum TinyLayer {
    Conv(Box<Conv2d>),
    Block(Box<TinyBlock>),
    Activation(Activation),
}

impl TinyLayer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Block(block) => block.forward(x),
            Self::Activation(activation) => activation.forward(x),
        }
    }
}

/// Three convolutions and a residual, `AutoencoderTinyBlock`.
#[derive(Debug)]
struct TinyBlock {
    convs: [Conv2d; 3],
    activation: Activation,
}

impl TinyBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, second, third] = &self.convs;
        let y = self.activation.forward(first.forward(x.clone()));
        let y = self.activation.forward(second.forward(y));
        Activation::Relu.forward(third.forward(y) + x)
    }
}

/// Latents to pixels, `DecoderTiny`.
#[derive(Debug)]
pub struct TinyDecoder {
    layers: Vec<TinyLayer>,
}

impl TinyDecoder {
    /// # Shapes
    /// Scaled latents [B, latent_channels, h, w] → pixels in about [−1, 1], [B, 3, H, W].
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let x = (latents / 3.0).tanh() * 3.0;
        self.layers.iter().fold(x, |x, layer| layer.forward(x)) * 2.0 - 1.0
    }
}

/// Pixels to latents, `EncoderTiny`.
#[derive(Debug)]
pub struct TinyEncoder {
    layers: Vec<TinyLayer>,
}

impl TinyEncoder {
    /// # Shapes
    /// Pixels in [−1, 1], [B, 3, H, W] → scaled latents [B, latent_channels, h, w].
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold((pixels + 1.0) / 2.0, |x, layer| layer.forward(x))
    }
}

/// The parts of an `AutoencoderKL` configuration that shape the decoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AutoencoderKlConfig {
    /// Channels of the picture.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Width per level, finest first.
    pub block_out_channels: Vec<usize>,
    /// Resnets per encoder level; decoder levels have one more.
    pub layers_per_block: usize,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// The pipeline divides latents by this before decoding.
    pub scaling_factor: f64,
    /// Whether a 1x1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle attends to itself.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderKlConfig {
    /// diffusers' own defaults.
    fn default() -> Self {
        Self {
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderKlConfig {
    const EPS: f64 = 1e-6;

    /// Builds the decoder from the tensors below `decoder.` and `post_quant_conv.`.
    ///
    /// # Errors
    /// [`Error::Manifest`] for impossible settings; otherwise as [`Scope::weight`].
    pub fn init_decoder(&self, s: &mut Scope) -> Result<KlDecoder> {
        let (widths, groups) = (&self.block_out_channels, self.norm_num_groups);
        check_levels(widths, [self.layers_per_block], self.latent_channels)?;
        if groups == 0 || widths.iter().any(|w| !w.is_multiple_of(groups) || !w.is_multiple_of(4)) {
            return Err(Error::manifest("components.vae_decoder.config.norm_num_groups", "must divide every width"));
        }
        let (channels, first, last) = (self.latent_channels, widths[0], widths[widths.len() - 1]);
        let post_quant_conv = match self.use_post_quant_conv {
            true => Some(Conv2d::init(&mut s.sub("post_quant_conv"), channels, channels, Conv2dShape::POINTWISE)?),
            false => None,
        };
        let mut d = s.sub("decoder");
        let conv_in = Conv2d::init(&mut d.sub("conv_in"), channels, last, Conv2dShape::SAME)?;
        let mut middle = d.sub("mid_block");
        let mid_0 = self.resnet(&mut middle.sub("resnets").sub(0), (last, last))?;
        let mid_1 = self.resnet(&mut middle.sub("resnets").sub(1), (last, last))?;
        let attention = match self.mid_block_add_attention {
            true => Some(SpatialAttention::init(&mut middle.sub("attentions").sub(0), last, groups)?),
            false => None,
        };
        let mut blocks = d.sub("up_blocks");
        let up_blocks = (0..widths.len()).map(|i| self.up_block(&mut blocks.sub(i), i)).collect::<Result<_>>()?;
        Ok(KlDecoder {
            post_quant_conv,
            conv_in,
            mid_0,
            attention,
            mid_1,
            up_blocks,
            conv_norm_out: group_norm(&mut d.sub("conv_norm_out"), first, groups, Self::EPS)?,
            conv_out: Conv2d::init(&mut d.sub("conv_out"), first, self.out_channels, Conv2dShape::SAME)?,
        })
    }

    fn resnet(&self, s: &mut Scope, channels: (usize, usize)) -> Result<ResnetBlock2D> {
        ResnetBlock2D::init(s, channels, None, ResnetNorm { groups: self.norm_num_groups, eps: Self::EPS })
    }

    /// `index` counts from the coarsest level.
    fn up_block(&self, s: &mut Scope, index: usize) -> Result<(Vec<ResnetBlock2D>, Option<Upsample2D>)> {
        let widths = &self.block_out_channels;
        let level = widths.len() - 1 - index;
        let (inputs, outputs) = (widths[(level + 1).min(widths.len() - 1)], widths[level]);
        let mut scope = s.sub("resnets");
        let resnets = (0..=self.layers_per_block)
            .map(|i| self.resnet(&mut scope.sub(i), (if i == 0 { inputs } else { outputs }, outputs)))
            .collect::<Result<_>>()?;
        let upsampler = match level > 0 {
            true => Some(Upsample2D::init(&mut s.sub("upsamplers").sub(0), outputs)?),
            false => None,
        };
        Ok((resnets, upsampler))
    }
}

/// One-headed self-attention over pixels.
#[derive(Debug)]
struct SpatialAttention {
    norm: GroupNorm,
    attention: Attention,
}

impl SpatialAttention {
    fn init(s: &mut Scope, channels: usize, groups: usize) -> Result<Self> {
        let norm = group_norm(&mut s.sub("group_norm"), channels, groups, AutoencoderKlConfig::EPS)?;
        Ok(Self { norm, attention: Attention::init(s, channels, channels, 1, true)? })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let y = kernels::group_norm(x.clone(), &self.norm, false);
        let y = y.reshape([batch, channels, height * width]).swap_dims(1, 2); // [B, H·W, C]
        let y = self.attention.forward(y.clone(), y).swap_dims(1, 2); // [B, C, H·W]
        x + y.reshape([batch, channels, height, width])
    }
}

/// Latents to pixels, the decoder of `AutoencoderKL`.
#[derive(Debug)]
pub struct KlDecoder {
    post_quant_conv: Option<Conv2d>,
    conv_in: Conv2d,
    mid_0: ResnetBlock2D,
    attention: Option<SpatialAttention>,
    mid_1: ResnetBlock2D,
    up_blocks: Vec<(Vec<ResnetBlock2D>, Option<Upsample2D>)>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl KlDecoder {
    /// # Shapes
    /// Unscaled latents [B, latent_channels, h, w] → pixels in about [−1, 1], [B, 3, H, W].
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let x = match &self.post_quant_conv {
            Some(conv) => conv.forward(latents),
            None => latents,
        };
        let mut x = self.mid_0.forward(self.conv_in.forward(x), None);
        if let Some(attention) = &self.attention {
            x = attention.forward(x);
        }
        x = self.mid_1.forward(x, None);
        for (resnets, upsampler) in &self.up_blocks {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward(x, None));
            if let Some(upsampler) = upsampler {
                let [_, _, height, width] = x.dims();
                x = upsampler.forward(x, [height * 2, width * 2]);
            }
        }
        self.conv_out.forward(kernels::group_norm(x, &self.conv_norm_out, true))
    }
}
