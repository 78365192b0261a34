//! Latents to pixels: the KL autoencoder's decoder, and what its encoder has in common with it.
//!
//! Source: diffusers 0.42.1 `AutoencoderKL`; Rombach et al. (2022), appendix G.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::check_levels;
use crate::{
    Error, Result,
    bands::{Bands, NormSilu},
    blocks::{ResnetBlock2D, ResnetNorm, SelfAttention, Upsample2D},
    kernels::{self, Border, Conv2dShape, GroupNorm},
    layers::{Conv2d, group_norm},
    limits::piece_bytes,
    requirements::DecoderShape,
    tiles::Tiles,
    weights::Scope,
};

/// Side of the tiles that a picture too large for the device is decoded in: Stable Diffusion's own 64, of 512 pixels.
pub const TILE_LATENTS: usize = 64;

/// The parts of an `AutoencoderKL` configuration that shape the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AutoencoderKlConfig {
    /// Channels of the picture that is encoded.
    pub in_channels: usize,
    /// Channels of the picture that is decoded.
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
    /// Whether a 1x1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1x1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle attends to itself.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderKlConfig {
    /// diffusers' own defaults.
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderKlConfig {
    pub(super) const EPS: f64 = 1e-6;

    /// # Errors
    /// [`Error::Manifest`] for impossible settings.
    pub(super) fn check(&self) -> Result<()> {
        let (widths, groups) = (&self.block_out_channels, self.norm_num_groups);
        check_levels(widths, [self.layers_per_block], self.latent_channels)?;
        if groups == 0 || widths.iter().any(|w| !w.is_multiple_of(groups)) {
            return Err(Error::manifest("components.vae_decoder.config.norm_num_groups", "must divide every width"));
        }
        Ok(())
    }

    /// Builds the decoder from the tensors below `decoder.` and `post_quant_conv.`.
    ///
    /// # Errors
    /// [`Error::Manifest`] for impossible settings; otherwise as [`Scope::weight`].
    pub fn init_decoder(&self, s: &mut Scope) -> Result<KlDecoder> {
        self.check()?;
        let (widths, groups) = (&self.block_out_channels, self.norm_num_groups);
        let (channels, first, last) = (self.latent_channels, widths[0], widths[widths.len() - 1]);
        let post_quant_conv = match self.use_post_quant_conv {
            true => Some(Conv2d::init(&mut s.sub("post_quant_conv"), channels, channels, Conv2dShape::POINTWISE)?),
            false => None,
        };
        let mut d = s.sub("decoder");
        let conv_in = Conv2d::init(&mut d.sub("conv_in"), channels, last, Conv2dShape::SAME)?;
        let middle = Middle::init(&mut d.sub("mid_block"), self)?;
        let mut blocks = d.sub("up_blocks");
        let up_blocks = (0..widths.len()).map(|i| self.up_block(&mut blocks.sub(i), i)).collect::<Result<_>>()?;
        Ok(KlDecoder {
            post_quant_conv,
            conv_in,
            middle,
            up_blocks,
            conv_norm_out: group_norm(&mut d.sub("conv_norm_out"), first, groups, Self::EPS)?,
            conv_out: Conv2d::init(&mut d.sub("conv_out"), first, self.out_channels, Conv2dShape::SAME)?,
            shape: DecoderShape::of_kl(self),
        })
    }

    pub(super) fn resnet(&self, s: &mut Scope, channels: (usize, usize)) -> Result<ResnetBlock2D> {
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
    attention: SelfAttention,
}

impl SpatialAttention {
    fn init(s: &mut Scope, channels: usize, groups: usize) -> Result<Self> {
        let norm = group_norm(&mut s.sub("group_norm"), channels, groups, AutoencoderKlConfig::EPS)?;
        Ok(Self { norm, attention: SelfAttention::init(s, channels, 1, true)? })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.attention.forward_pixels(kernels::group_norm(x.clone(), &self.norm, false), x)
    }
}

/// What is between the two ways through the levels: a resnet, self-attention, a resnet.
#[derive(Debug)]
pub(super) struct Middle {
    resnet_0: ResnetBlock2D,
    attention: Option<SpatialAttention>,
    resnet_1: ResnetBlock2D,
}

impl Middle {
    pub fn init(s: &mut Scope, config: &AutoencoderKlConfig) -> Result<Self> {
        let width = config.block_out_channels.last().copied().unwrap_or(0);
        let attention = match config.mid_block_add_attention {
            true => Some(SpatialAttention::init(&mut s.sub("attentions").sub(0), width, config.norm_num_groups)?),
            false => None,
        };
        Ok(Self {
            resnet_0: config.resnet(&mut s.sub("resnets").sub(0), (width, width))?,
            attention,
            resnet_1: config.resnet(&mut s.sub("resnets").sub(1), (width, width))?,
        })
    }

    pub fn forward_bands(&self, x: Bands) -> Bands {
        let x = self.resnet_0.forward_bands(x, None);
        let x = match &self.attention {
            Some(attention) => x.whole(|x| attention.forward(x)),
            None => x,
        };
        self.resnet_1.forward_bands(x, None)
    }
}

/// Latents to pixels, the decoder of `AutoencoderKL`.
#[derive(Debug)]
pub struct KlDecoder {
    post_quant_conv: Option<Conv2d>,
    conv_in: Conv2d,
    middle: Middle,
    up_blocks: Vec<(Vec<ResnetBlock2D>, Option<Upsample2D>)>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    shape: DecoderShape,
}

impl KlDecoder {
    /// # Shapes
    /// Unscaled latents [B, latent_channels, h, w] → pixels in about [−1, 1], [B, 3, H, W].
    pub fn forward(&self, latents: Tensor<4>, border: Border) -> Tensor<4> {
        self.forward_bands(Bands::within_limits(latents).bordered(border))
    }

    /// As [`KlDecoder::forward`] where that takes no more than `activation_bytes`, else as
    /// [`KlDecoder::forward_tiled`] in tiles of [`TILE_LATENTS`].
    pub fn forward_within(&self, latents: Tensor<4>, activation_bytes: u64, border: Border) -> Tensor<4> {
        match self.shape.demand_of(latents.dims(), piece_bytes(&latents)).live_bytes <= activation_bytes {
            true => self.forward(latents, border),
            false => self.forward_tiled(latents, TILE_LATENTS, border),
        }
    }

    /// As [`KlDecoder::forward`], in overlapping tiles of `side` latents, a multiple of 4. Takes far less memory, and is
    /// not exact.
    pub fn forward_tiled(&self, latents: Tensor<4>, side: usize, border: Border) -> Tensor<4> {
        let tiles = Tiles { side, scale: 1 << self.up_blocks.len().saturating_sub(1) };
        let [_, _, height, width] = latents.dims();
        match tiles.are_needed([height, width]) {
            true => tiles.decode(latents, border, |tile| self.forward(tile, Border::Zeros)),
            false => self.forward(latents, border),
        }
    }

    /// As [`KlDecoder::forward`], of latents that say in how large bands, and what is beyond their edges. Exact.
    pub fn forward_bands(&self, mut x: Bands) -> Tensor<4> {
        if let Some(conv) = &self.post_quant_conv {
            x = x.conv(conv, None, |_| None);
        }
        x = self.middle.forward_bands(x.conv(&self.conv_in, None, |_| None));
        for (resnets, upsampler) in &self.up_blocks {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward_bands(x, None));
            if let Some(upsampler) = upsampler {
                x = upsampler.forward_bands(x);
            }
        }
        let moments = x.moments(self.conv_norm_out.groups);
        let before = NormSilu { norm: &self.conv_norm_out, moments: &moments };
        x.conv(&self.conv_out, Some(before), |_| None).join()
    }
}
