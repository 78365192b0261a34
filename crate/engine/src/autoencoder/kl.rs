//! Latents to pixels: the KL autoencoder's decoder.
//!
//! Source: diffusers 0.42.1 `AutoencoderKL`; Rombach et al. (2022), appendix G.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::check_levels;
use crate::{
    Error, Result,
    bands::{Bands, NormSilu},
    blocks::{Attention, ResnetBlock2D, ResnetNorm, Upsample2D},
    kernels::{self, Conv2dShape, GroupNorm},
    layers::{Conv2d, group_norm},
    limits::piece_bytes,
    requirements::DecoderShape,
    tiles::Tiles,
    weights::Scope,
};

/// Side of the tiles that a picture too large for the device is decoded in: Stable Diffusion's own 64, of 512 pixels.
pub const TILE_LATENTS: usize = 64;

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
        if groups == 0 || widths.iter().any(|w| !w.is_multiple_of(groups)) {
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
            shape: DecoderShape::of_kl(self),
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
    shape: DecoderShape,
}

impl KlDecoder {
    /// # Shapes
    /// Unscaled latents [B, latent_channels, h, w] → pixels in about [−1, 1], [B, 3, H, W].
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let band_bytes = piece_bytes(&latents);
        self.forward_in_bands(latents, band_bytes)
    }

    /// As [`KlDecoder::forward`] where that takes no more than `activation_bytes`, else as
    /// [`KlDecoder::forward_tiled`] in tiles of [`TILE_LATENTS`].
    pub fn forward_within(&self, latents: Tensor<4>, activation_bytes: u64) -> Tensor<4> {
        match self.shape.demand_of(latents.dims(), piece_bytes(&latents)).live_bytes <= activation_bytes {
            true => self.forward(latents),
            false => self.forward_tiled(latents, TILE_LATENTS),
        }
    }

    /// As [`KlDecoder::forward`], in overlapping tiles of `side` latents, a multiple of 4. Takes far less memory, and is
    /// not exact.
    pub fn forward_tiled(&self, latents: Tensor<4>, side: usize) -> Tensor<4> {
        let tiles = Tiles { side, scale: 1 << self.up_blocks.len().saturating_sub(1) };
        let [_, _, height, width] = latents.dims();
        match tiles.are_needed([height, width]) {
            true => tiles.decode(latents, |tile| self.forward(tile)),
            false => self.forward(latents),
        }
    }

    /// As [`KlDecoder::forward`], with no feature map in pieces larger than `band_bytes`. Exact.
    pub fn forward_in_bands(&self, latents: Tensor<4>, band_bytes: usize) -> Tensor<4> {
        let x = match &self.post_quant_conv {
            Some(conv) => conv.forward(latents),
            None => latents,
        };
        let bands = |x| Bands::new(x, band_bytes);
        let mut x = self.mid_0.forward_bands(bands(self.conv_in.forward(x)), None);
        if let Some(attention) = &self.attention {
            x = bands(attention.forward(x.join()));
        }
        x = self.mid_1.forward_bands(x, None);
        for (resnets, upsampler) in &self.up_blocks {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward_bands(x, None));
            if let Some(upsampler) = upsampler {
                x = upsampler.forward_bands(x);
            }
        }
        let moments = x.moments(self.conv_norm_out.groups);
        let before = NormSilu { norm: &self.conv_norm_out, moments: &moments };
        x.conv(&self.conv_out, Some(before), |pixels, _| pixels).join()
    }
}
