//! The pictures that one run paints together: each has noise and words of its own, the same as if it were alone.

use burn::tensor::{Device, Tensor, TensorData};

use super::Pipeline;
use crate::{
    Error, Result,
    noise::{NoiseStream, slerp},
    request::{EffectiveRequest, Noise},
    unet::{Conditions, Prepared},
};

impl Pipeline {
    /// The pictures of a run, with the noise that each begins with.
    pub(super) fn batch(&self, pictures: &[EffectiveRequest]) -> Batch {
        let noises: Vec<_> = pictures.iter().map(EffectiveRequest::noise).collect();
        let side = |px: u32| (px / self.limits.scale_px) as usize;
        let [height, width] = pictures.first().map_or([0; 2], |first| [side(first.height), side(first.width)]);
        Batch::new(noises, [self.unet_config.in_channels, height, width], &self.device)
    }

    /// What the UNet is told of each row, in passes over as many at once as there is room for, whose texts are equally long:
    /// a longer one would lengthen the others', and so change them. Rows are in the order of the pictures; where the run is
    /// guided, all without the prompt come before all with it.
    pub(super) fn passes(&self, pictures: &[EffectiveRequest], timesteps: &[f64]) -> Result<Vec<Prepared>> {
        let mut told: Vec<Conditions> = Vec::with_capacity(pictures.len());
        for (index, picture) in pictures.iter().enumerate() {
            let known = pictures[..index].iter().position(|other| other.prompt == picture.prompt);
            let conditions = known.map_or_else(|| self.conditions(picture), |index| Ok(told[index].clone()))?;
            told.push(conditions);
        }
        let Some(first) = pictures.first() else { return Ok(Vec::new()) };
        let halves = told[0].context.dims()[0];
        let rows: Vec<_> = (0..halves).flat_map(|half| told.iter().map(move |one| one.rows(half, 1))).collect();
        let needs = self.requirements(first.width, first.height);
        let most = (2..=rows.len()).rev().find(|&rows| needs.fits_batch(rows)).unwrap_or(1);
        let runs = rows.chunk_by(|row, next| row.context.dims() == next.context.dims());
        let passes = runs.flat_map(|run| run.chunks(most)).map(|pass| pass[0].followed_by(&pass[1..]));
        Ok(passes.map(|conditions| self.unet.prepare(&conditions, timesteps)).collect())
    }
}

/// The pictures of a run.
pub(super) struct Batch {
    noises: Vec<Noise>,
    streams: Vec<NoiseStream>,
    /// Of all latents together, [N, C, h, w].
    shape: [usize; 4],
    device: Device,
}

impl Batch {
    /// Pictures with latents of shape [C, h, w], one for each noise.
    pub(super) fn new(noises: Vec<Noise>, [channels, height, width]: [usize; 3], device: &Device) -> Self {
        let streams = noises.iter().map(|noise| NoiseStream::new(noise.seed)).collect();
        let shape = [noises.len(), channels, height, width];
        Self { noises, streams, shape, device: device.clone() }
    }

    /// The noise that the pictures begin with, [N, C, h, w]: the given one, or each seed's, on the way to its variation's.
    ///
    /// # Errors
    /// [`Error::Request`] where the given one has another shape.
    pub(super) fn initial(&mut self, given: Option<Tensor<4>>) -> Result<Tensor<4>> {
        match given {
            Some(latents) if latents.dims() == self.shape => Ok(latents),
            Some(latents) => {
                let reason = format!("have shape {:?}, this size needs {:?}", latents.dims(), self.shape);
                Err(Error::request("init_latents", reason))
            }
            None => {
                let variations: Vec<_> = self.noises.iter().map(|noise| noise.variation).collect();
                Ok(self.tensor(|index, values| match variations[index] {
                    Some(variation) => {
                        let other = NoiseStream::new(variation.seed).normal(values.len());
                        slerp(&values, &other, variation.strength)
                    }
                    None => values,
                }))
            }
        }
    }

    /// One `torch.randn` of each picture's stream, [N, C, h, w].
    pub(super) fn draw(&mut self) -> Tensor<4> {
        self.tensor(|_, values| values)
    }

    /// As [`Batch::draw`], each picture's numbers turned into what `turn` makes of them.
    fn tensor(&mut self, turn: impl Fn(usize, Vec<f32>) -> Vec<f32>) -> Tensor<4> {
        let len = self.shape[1..].iter().product();
        let streams = self.streams.iter_mut().enumerate();
        let values: Vec<f32> = streams.flat_map(|(index, stream)| turn(index, stream.normal(len))).collect();
        Tensor::from_data(TensorData::new(values, self.shape), &self.device)
    }
}
