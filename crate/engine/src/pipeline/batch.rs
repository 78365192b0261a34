//! The noise of the pictures that one run paints together: each has its own, the same numbers as if it were alone.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    Error, Result,
    noise::{NoiseStream, slerp},
    request::Noise,
};

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

    /// How many pictures there are.
    pub(super) fn len(&self) -> usize {
        self.noises.len()
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
