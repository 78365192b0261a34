//! What a run starts from besides noise: a picture, and a mask of what is painted anew.
//!
//! Source: Meng et al., "SDEdit" (2022); diffusers 0.42.1 `StableDiffusionImg2ImgPipeline`, and for masks
//! `StableDiffusionInpaintPipeline` with a UNet that takes no mask.

use std::rc::Rc;

use burn::tensor::{Device, Tensor, TensorData};

use super::Pipeline;
use crate::{
    Result, encoder,
    picture::Picture,
    request::{EffectiveRequest, StartPicture},
    sampler::Sampler,
};

/// A start picture on the device.
#[derive(Debug, Clone)]
pub struct Start {
    /// Fitted to the picture's size, [1, 3, H, W] in [0, 1].
    image: Tensor<4>,
    /// The same encoded, [1, C, h, w].
    pub(super) latents: Tensor<4>,
    mask: Option<Mask>,
}

/// Where to paint anew: 1, where to keep: 0.
#[derive(Debug, Clone)]
struct Mask {
    /// [1, 1, H, W].
    pixels: Tensor<4>,
    /// [1, 1, h, w]: each latent as its most repainted pixel, so that thin strokes count. Where a mask is of whole latents
    /// this is diffusers' own, which takes one pixel of each.
    latents: Tensor<4>,
    /// The pixels on the host, 0 to 255, row by row.
    places: Rc<[u8]>,
}

impl Pipeline {
    /// Fits a start picture to the request's size and encodes it.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where the encoder is not loaded; [`crate::Error::DeviceLimit`] where the device has too
    /// little.
    pub fn start(&self, picture: &StartPicture, request: &EffectiveRequest) -> Result<Start> {
        self.requirements(request.width, request.height).check_encoding()?;
        let encoder = self.encoder.get().ok_or_else(encoder::missing)?;
        let fitted = |picture: &Picture| picture.fitted(request.width, request.height);
        let image = fitted(&picture.image).to_tensor(&self.device);
        let mask = picture.mask.as_ref().map(|mask| Mask::new(&fitted(mask), encoder.scale_px(), &self.device));
        Ok(Start { latents: encoder.forward(image.clone()), image, mask })
    }
}

impl Start {
    /// Whether a part of the picture is kept.
    pub fn is_masked(&self) -> bool {
        self.mask.is_some()
    }

    /// How much of each pixel is painted anew, 0 to 255, row by row; `None` where all of the picture is.
    pub fn repainted(&self) -> Option<Rc<[u8]>> {
        self.mask.as_ref().map(|mask| mask.places.clone())
    }

    /// A painted picture over this one: where the mask is black this one's pixels, to the bit.
    ///
    /// # Shapes
    /// [1, 3, H, W] in [0, 1] → the same. One of another size, such as a preview decoder's, stays as it is.
    pub fn over(&self, painted: Tensor<4>) -> Tensor<4> {
        match &self.mask {
            Some(mask) if painted.dims() == self.image.dims() => mix(&mask.pixels, painted, self.image.clone()),
            _ => painted,
        }
    }

    /// A sample that is to be at step `index`, with the start picture's latents and their noise where they are kept; from
    /// the last step on, without noise.
    pub(super) fn keep(&self, sample: Tensor<4>, noise: &Tensor<4>, index: usize, sampler: &dyn Sampler) -> Tensor<4> {
        let Some(mask) = &self.mask else { return sample };
        let kept = match index < sampler.timesteps().len() {
            true => sampler.add_noise(self.latents.clone(), noise.clone(), index),
            false => self.latents.clone(),
        };
        mix(&mask.latents, sample, kept)
    }
}

impl Mask {
    fn new(picture: &Picture, scale_px: u32, device: &Device) -> Self {
        let [width, height, scale] = [picture.width, picture.height, scale_px].map(|side| side as usize);
        let pixels: Vec<f32> =
            picture.rgb.chunks_exact(3).map(|rgb| rgb.iter().map(|&v| f32::from(v)).sum::<f32>() / 765.0).collect();
        let [w, h] = [width / scale, height / scale];
        let mut latents = vec![0f32; w * h];
        for (index, pixel) in pixels.iter().enumerate() {
            let latent = &mut latents[index / width / scale * w + index % width / scale];
            *latent = latent.max(*pixel);
        }
        let tensor = |values, shape: [usize; 4]| Tensor::from_data(TensorData::new(values, shape), device);
        let places = pixels.iter().map(|pixel| (pixel * 255.0).round() as u8).collect();
        Self { pixels: tensor(pixels, [1, 1, height, width]), latents: tensor(latents, [1, 1, h, w]), places }
    }
}

/// `painted` where the mask is 1 and `kept` where it is 0.
fn mix(mask: &Tensor<4>, painted: Tensor<4>, kept: Tensor<4>) -> Tensor<4> {
    kept * (mask.ones_like() - mask.clone()) + painted * mask.clone()
}
