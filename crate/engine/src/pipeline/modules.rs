//! The pipeline's modules one by one, for benches. Built only with the feature `parity`.

use burn::tensor::Tensor;

use super::Pipeline;
use crate::{Result, conditioning::Negative, kernels::Border, request::PromptSyntax, unet::Conditions};

impl Pipeline {
    /// What the UNet attends to for a prompt.
    ///
    /// # Shapes
    /// → [1, tokens, cross_attention_dim].
    ///
    /// # Errors
    /// As [`crate::conditioning::TextConditioner::encode`].
    pub fn encode(&self, prompt: &str) -> Result<Tensor<3>> {
        Ok(self.conditioner.encode(Negative::Unguided, prompt, PromptSyntax::Plain)?.context)
    }

    /// One pass of the UNet, with what is otherwise prepared for all steps, for models that are conditioned on text alone.
    ///
    /// # Shapes
    /// As [`crate::unet::UNet2DCondition::forward`].
    pub fn predict(&self, sample: Tensor<4>, timestep: f64, context: Tensor<3>) -> Tensor<4> {
        let conditions = Conditions { context, guidance_embedding: None, added_embedding: None, border: Border::Zeros };
        self.unet.forward(sample, 0, &self.unet.prepare(&conditions, &[timestep]))
    }
}
