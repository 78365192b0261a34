//! Between latents and pixels: here the tiny autoencoder, in `kl` and `kl_encoder` the KL autoencoder, in `patch` the
//! default model's.
//!
//! Source: diffusers 0.42.1 `AutoencoderTiny`; Madebyollin, "TAESD" (2023).

mod kl;
mod kl_encoder;
mod patch;

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::{
    Error, Result,
    bands::Bands,
    kernels::{Border, Conv2dShape},
    layers::{Activation, Conv2d},
    weights::Scope,
};

pub use kl::{AutoencoderKlConfig, KlDecoder, TILE_LATENTS};
pub use kl_encoder::KlEncoder;
pub use patch::{AutoencoderPatchConfig, PatchDecoder, PatchEncoder};

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
    fn forward_bands(&self, x: Bands) -> Bands {
        match self {
            Self::Conv(conv) => x.conv(conv, None, |_| None),
            Self::Block(block) => block.forward(x),
            Self::Activation(activation) => x.map(|band| activation.forward(band)),
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
    fn forward(&self, mut x: Bands) -> Bands {
        let [first, second, third] = &self.convs;
        let y = x.clone().conv(first, None, |_| None).map(|y| self.activation.forward(y));
        let y = y.conv(second, None, |_| None).map(|y| self.activation.forward(y));
        let y = y.conv(third, None, |rows| Some(x.take_rows(rows)));
        y.map(|y| Activation::Relu.forward(y))
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
    pub fn forward(&self, latents: Tensor<4>, border: Border) -> Tensor<4> {
        self.forward_bands(Bands::within_limits(latents).bordered(border))
    }

    /// As [`TinyDecoder::forward`], of latents that say in how large bands, and what is beyond their edges. Exact.
    pub fn forward_bands(&self, latents: Bands) -> Tensor<4> {
        let x = latents.map(|latents| (latents / 3.0).tanh() * 3.0);
        let pixels = self.layers.iter().fold(x, |x, layer| layer.forward_bands(x));
        pixels.join() * 2.0 - 1.0
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
        let x = Bands::within_limits((pixels + 1.0) / 2.0);
        self.layers.iter().fold(x, |x, layer| layer.forward_bands(x)).join()
    }
}
