//! The scorer: how well a picture fits a prompt.
//!
//! A CLIP whose text tower is the pack's own text encoder. Both sides become vectors of one width, and the score is the
//! cosine of the angle between them.
//!
//! Source: Radford et al., "Learning transferable visual models from natural language supervision" (2021), section 2.3.

mod vision;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::{
    Error, Result,
    layers::Linear,
    loader::load_component,
    pack::Manifest,
    picture::{Picture, bilinear},
    store::{Digest, Store},
    text_encoder::ClipTextConfig,
    weights::Weights,
};

pub use self::vision::{ClipVisionConfig, ClipVisionModelWithProjection};

/// The component's name.
pub const COMPONENT: &str = "scorer";
/// Most pictures scored at once.
pub const MAX_PICTURES: usize = 64;

/// Scores pictures by a prompt.
#[derive(Debug)]
pub struct Scorer {
    vision: ClipVisionModelWithProjection,
    text_projection: Linear,
    device: Device,
}

impl Scorer {
    /// Builds a pack's scorer, whose pieces are in the store; also says how many bytes of the device it took.
    ///
    /// # Errors
    /// [`Error::Request`] where the pack has none; [`Error::MissingTensor`], [`Error::UnexpectedTensor`] or
    /// [`Error::ShapeMismatch`] where its weights do not fit its configuration or the text encoder; what
    /// [`load_component`] reports.
    pub async fn load(
        manifest: &Manifest,
        store: &impl Store,
        digest: &impl Digest,
        device: &Device,
    ) -> Result<(Self, u64)> {
        let config = ClipVisionConfig::of(manifest)?.ok_or_else(missing)?;
        let text: ClipTextConfig = manifest.config("text_encoder")?;
        let mut weights = load_component(manifest, COMPONENT, store, digest, device).await?;
        let device_bytes = weights.device_bytes();
        let scorer = Self::init(&config, text.hidden_size, &mut weights, device)?;
        weights.finish()?;
        Ok((scorer, device_bytes))
    }

    /// Builds the model from its tensors; `text_width` is that of the text encoder's states.
    ///
    /// # Errors
    /// [`Error::Manifest`] for settings that are not supported; otherwise as [`crate::weights::Scope::weight`].
    pub fn init(config: &ClipVisionConfig, text_width: usize, weights: &mut Weights, device: &Device) -> Result<Self> {
        let mut root = weights.root();
        let vision = config.init(&mut root)?;
        let text_projection = Linear::init(&mut root.sub("text_projection"), text_width, config.projection_dim, false)?;
        // The temperature that it was trained with, which changes no order.
        weights.ignore("logit_scale");
        Ok(Self { vision, text_projection, device: device.clone() })
    }

    /// What is compared of a prompt, from the text encoder's pooled state
    /// ([`crate::conditioning::TextConditioner::pooled`]).
    ///
    /// # Shapes
    /// [B, text width] → [B, projection_dim].
    pub fn text_embeds(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.text_projection.forward(pooled)
    }

    /// What is compared of a picture.
    ///
    /// # Shapes
    /// [1, projection_dim].
    pub fn image_embeds(&self, picture: &Picture) -> Tensor<2> {
        let side = self.vision.image_size();
        let pixels = TensorData::new(self.pixels(picture), [1, 3, side, side]);
        self.vision.forward((Tensor::from_data(pixels, &self.device) - 0.5) / 0.5)
    }

    /// A picture's pixels in [0, 1] at the size that the model sees, [3, image_size, image_size].
    pub fn pixels(&self, picture: &Picture) -> Vec<f32> {
        let (size, side) = ([picture.height as usize, picture.width as usize], self.vision.image_size());
        picture.planes().iter().flat_map(|plane| bilinear(plane, size, [side, side])).collect()
    }

    /// How well each picture fits the prompt of that pooled state, [1, text width]: the cosine, in [−1, 1].
    ///
    /// # Errors
    /// [`Error::Request`] for more than [`MAX_PICTURES`]; [`Error::DeviceLost`] where the device does not answer, or
    /// answers with what are no numbers.
    pub async fn score(&self, pooled: Tensor<2>, pictures: &[Picture]) -> Result<Vec<f32>> {
        if pictures.len() > MAX_PICTURES {
            let reason = format!("are {}, at most {MAX_PICTURES} are scored at once", pictures.len());
            return Err(Error::request("pictures", reason));
        }
        let embeds = [self.text_embeds(pooled)].into_iter();
        let embeds: Vec<_> = embeds.chain(pictures.iter().map(|picture| self.image_embeds(picture))).collect();
        let [_, width] = embeds[0].dims();
        let lost = |reason: String| Error::DeviceLost { reason };
        let data = Tensor::cat(embeds, 0).into_data_async().await.map_err(|error| lost(error.to_string()))?;
        let values = data.convert_dtype(DType::F32).try_into_vec::<f32>();
        let values = values.map_err(|error| lost(format!("embeddings came back unreadable: {error:?}")))?;
        let (text, images) = values.split_at(width);
        let scores: Vec<f32> = images.chunks_exact(width).map(|image| cosine(text, image)).collect();
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores),
            false => Err(lost("it computed scores that are no numbers".to_owned())),
        }
    }
}

/// That a pack has no scorer.
pub(crate) fn missing() -> Error {
    Error::request("score", "the pack has no scorer; choose one that has")
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).clamp(-1.0, 1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::cosine;

    #[test]
    fn a_score_is_the_cosine() {
        assert_eq!(cosine(&[1.0, 2.0], &[2.0, 4.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 3.0]), 0.0);
        assert_eq!(cosine(&[1.0, 1.0], &[-1.0, -1.0]), -1.0);
        assert!(cosine(&[0.0], &[1.0]).is_nan());
    }
}
