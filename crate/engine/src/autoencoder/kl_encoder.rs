//! Pixels to latents: the KL autoencoder's encoder.
//!
//! Source: diffusers 0.42.1 `AutoencoderKL`; Rombach et al. (2022), appendix G.

use burn::tensor::Tensor;

use super::kl::{AutoencoderKlConfig, Middle};
use crate::{
    Result,
    bands::{Bands, NormSilu},
    blocks::{Downsample2D, ResnetBlock2D},
    kernels::{Conv2dShape, GroupNorm},
    layers::{Conv2d, group_norm},
    weights::Scope,
};

impl AutoencoderKlConfig {
    /// Builds the encoder from the tensors below `encoder.` and `quant_conv.`.
    ///
    /// # Errors
    /// [`crate::Error::Manifest`] for impossible settings; otherwise as [`Scope::weight`].
    pub fn init_encoder(&self, s: &mut Scope) -> Result<KlEncoder> {
        self.check()?;
        let (widths, groups) = (&self.block_out_channels, self.norm_num_groups);
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let moments = 2 * self.latent_channels;
        let quant_conv = match self.use_quant_conv {
            true => Some(Conv2d::init(&mut s.sub("quant_conv"), moments, moments, Conv2dShape::POINTWISE)?),
            false => None,
        };
        let mut e = s.sub("encoder");
        let conv_in = Conv2d::init(&mut e.sub("conv_in"), self.in_channels, first, Conv2dShape::SAME)?;
        let mut blocks = e.sub("down_blocks");
        let down_blocks = (0..widths.len()).map(|i| self.down_block(&mut blocks.sub(i), i)).collect::<Result<_>>()?;
        Ok(KlEncoder {
            conv_in,
            down_blocks,
            middle: Middle::init(&mut e.sub("mid_block"), self)?,
            conv_norm_out: group_norm(&mut e.sub("conv_norm_out"), last, groups, Self::EPS)?,
            conv_out: Conv2d::init(&mut e.sub("conv_out"), last, moments, Conv2dShape::SAME)?,
            quant_conv,
            latent_channels: self.latent_channels,
        })
    }

    fn down_block(&self, s: &mut Scope, level: usize) -> Result<(Vec<ResnetBlock2D>, Option<Downsample2D>)> {
        let widths = &self.block_out_channels;
        let (inputs, outputs) = (widths[level.saturating_sub(1)], widths[level]);
        let mut scope = s.sub("resnets");
        let resnets = (0..self.layers_per_block)
            .map(|i| self.resnet(&mut scope.sub(i), (if i == 0 { inputs } else { outputs }, outputs)))
            .collect::<Result<_>>()?;
        let downsampler = match level + 1 < widths.len() {
            true => Some(Downsample2D::init(&mut s.sub("downsamplers").sub(0), outputs, 0)?),
            false => None,
        };
        Ok((resnets, downsampler))
    }
}

/// Pixels to latents, the encoder of `AutoencoderKL`.
#[derive(Debug)]
pub struct KlEncoder {
    conv_in: Conv2d,
    down_blocks: Vec<(Vec<ResnetBlock2D>, Option<Downsample2D>)>,
    middle: Middle,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    quant_conv: Option<Conv2d>,
    latent_channels: usize,
}

impl KlEncoder {
    /// The mean of the latents' distribution, which diffusers calls its `mode()`; drawing from it instead, as diffusers'
    /// pipelines do, moves latents by hardly more than rounding does, and takes numbers from the noise's stream.
    ///
    /// # Shapes
    /// Pixels in [−1, 1], [B, 3, H, W] → unscaled latents [B, latent_channels, h, w].
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.forward_bands(Bands::within_limits(pixels))
    }

    /// As [`KlEncoder::forward`], of pixels that say in how large bands. Exact.
    pub fn forward_bands(&self, pixels: Bands) -> Tensor<4> {
        let mut x = pixels.conv(&self.conv_in, None, |_| None);
        for (resnets, downsampler) in &self.down_blocks {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward_bands(x, None));
            if let Some(downsampler) = downsampler {
                x = downsampler.forward_bands(x);
            }
        }
        x = self.middle.forward_bands(x);
        let moments = x.moments(self.conv_norm_out.groups);
        let before = NormSilu { norm: &self.conv_norm_out, moments: &moments };
        x = x.conv(&self.conv_out, Some(before), |_| None);
        if let Some(conv) = &self.quant_conv {
            x = x.conv(conv, None, |_| None);
        }
        x.join().narrow(1, 0, self.latent_channels)
    }
}
