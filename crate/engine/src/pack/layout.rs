//! Which tensors go into which component, under which name, and how their numbers are stored.

use std::collections::BTreeSet;

use safetensors::Dtype;

use super::header::TensorInfo;
use super::quantize::BLOCK;
use crate::weights::Scheme;
use crate::{Error, Result};

/// What a packer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// One scheme wherever [`Layout`] allows it.
    All(Scheme),
    /// Per weight what its measured error allows; see [`super::mixed`].
    Mixed,
}

impl From<Scheme> for Quantization {
    fn from(scheme: Scheme) -> Self {
        Self::All(scheme)
    }
}

/// Weights with fewer numbers than this are not worth quantizing.
const MIN_QUANTIZED_ELEMENTS: usize = 1024;

/// The component and the name under which a pack keeps tensor `name` of a diffusers folder's `folder`, or `None` for
/// what no pipeline reads.
///
/// An autoencoder is two components, since painting needs the decoder alone. Index buffers of old checkpoints are
/// dropped, and the attention names of old autoencoders become today's.
///
/// # Errors
/// [`Error::UnexpectedTensor`] for an autoencoder's tensor that belongs to neither half.
pub fn place(folder: &str, name: &str) -> Result<Option<(String, String)>> {
    if name.ends_with(".position_ids") {
        return Ok(None);
    }
    if folder != "vae" {
        return Ok(Some((folder.to_owned(), name.to_owned())));
    }
    let component = match name.split('.').next() {
        Some("decoder" | "post_quant_conv") => "vae_decoder",
        Some("encoder" | "quant_conv") => "vae_encoder",
        _ => return Err(Error::UnexpectedTensor { name: format!("vae.{name}") }),
    };
    Ok(Some((component.to_owned(), current_attention_name(name))))
}

/// Source: diffusers 0.42 `ModelMixin._convert_deprecated_attention_blocks`.
fn current_attention_name(name: &str) -> String {
    if !name.contains(".mid_block.attentions.") {
        return name.to_owned();
    }
    [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")]
        .into_iter()
        .find_map(|(old, new)| {
            let (block, parameter) = name.rsplit_once('.')?;
            Some(format!("{}.{new}.{parameter}", block.strip_suffix(old)?.strip_suffix('.')?))
        })
        .unwrap_or_else(|| name.to_owned())
}

/// Knows which tensors of one component may be quantized.
#[derive(Debug)]
pub struct Layout {
    outer_layers: BTreeSet<String>,
}

impl Layout {
    /// Prepares for the tensors of a component.
    pub fn new(tensors: &[TensorInfo]) -> Self {
        Self { outer_layers: outer_layers(tensors) }
    }

    /// The scheme for one tensor of floats where `wanted` is asked of all, or `None` for a file:
    ///
    /// - quantized are matrices and convolution kernels of at least 1024 numbers whose rows are whole blocks of 32;
    /// - `F16` are embeddings, norms, biases, and the convolutions into and out of a model (`conv_in`, `conv_out`, the
    ///   first and last layer of a tiny autoencoder and of an upscaler), where rounding shows most;
    /// - `F32` is what would not end on a multiple of four bytes, so that every tensor starts on one.
    pub fn scheme(&self, tensor: &TensorInfo, wanted: Scheme) -> Option<Scheme> {
        let elements: usize = tensor.shape.iter().product();
        if tensor.dtype == Dtype::U8 {
            None
        } else if wanted == Scheme::F32 && tensor.dtype != Dtype::F16 || !elements.is_multiple_of(2) {
            Some(Scheme::F32)
        } else if wanted.is_quantized() && self.is_quantizable(tensor) {
            Some(wanted)
        } else {
            Some(Scheme::F16)
        }
    }

    /// Whether a quantized scheme is possible for that tensor.
    pub fn is_quantizable(&self, tensor: &TensorInfo) -> bool {
        let [rows, ..] = tensor.shape[..] else { return false };
        let elements: usize = tensor.shape.iter().product();
        let kept = tensor.name.split('.').any(|part| {
            part.contains("norm") || matches!(part, "conv_in" | "conv_out" | "token_embedding" | "position_embedding")
        });
        tensor.dtype != Dtype::U8
            && tensor.shape.len() >= 2
            && tensor.name.ends_with(".weight")
            && !kept
            && !self.outer_layers.contains(&tensor.name)
            && elements >= MIN_QUANTIZED_ELEMENTS
            && (elements / rows).is_multiple_of(BLOCK)
            && (elements / BLOCK).is_multiple_of(2) // the scales, two bytes each
    }
}

/// First and last convolution of a tiny autoencoder or an upscaler: `decoder.layers.N.weight` of least and greatest N.
fn outer_layers(tensors: &[TensorInfo]) -> BTreeSet<String> {
    let mut outer = BTreeSet::new();
    for stack in ["encoder.layers", "decoder.layers", "body"] {
        let index_of = |tensor: &TensorInfo| -> Option<u32> {
            tensor.name.strip_prefix(stack)?.strip_prefix('.')?.strip_suffix(".weight")?.parse().ok()
        };
        let indices: BTreeSet<u32> = tensors.iter().filter_map(index_of).collect();
        outer.extend(
            [indices.first(), indices.last()].into_iter().flatten().map(|index| format!("{stack}.{index}.weight")),
        );
    }
    outer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize]) -> TensorInfo {
        let bytes = shape.iter().product::<usize>() * 4;
        TensorInfo { name: name.into(), dtype: Dtype::F32, shape: shape.into(), bytes }
    }

    #[test]
    fn splits_the_autoencoder_and_renames_its_old_attention() {
        let place = |folder: &str, name: &str| place(folder, name).unwrap();
        let some = |component: &str, name: &str| Some((component.to_owned(), name.to_owned()));
        assert_eq!(place("unet", "conv_in.weight"), some("unet", "conv_in.weight"));
        assert_eq!(place("vae", "post_quant_conv.bias"), some("vae_decoder", "post_quant_conv.bias"));
        assert_eq!(place("vae", "encoder.layers.0.weight"), some("vae_encoder", "encoder.layers.0.weight"));
        assert_eq!(place("text_encoder", "text_model.embeddings.position_ids"), None);
        for (old, new) in [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")] {
            let name = |part: &str| format!("decoder.mid_block.attentions.0.{part}.weight");
            assert_eq!(place("vae", &name(old)), some("vae_decoder", &name(new)));
            assert_eq!(place("vae", &name(new)), some("vae_decoder", &name(new)));
        }
        assert_eq!(super::place("vae", "loss.weight").unwrap_err().code(), "UnexpectedTensor");
    }

    #[test]
    fn quantizes_what_it_says_and_nothing_else() {
        let tensors = [
            (tensor("down_blocks.0.attentions.0.proj_in.weight", &[64, 64]), Scheme::Q4),
            (tensor("time_embedding.linear_1.weight", &[128, 32]), Scheme::Q4),
            (tensor("down_blocks.0.resnets.0.conv1.weight", &[64, 64, 3, 3]), Scheme::Q4),
            (tensor("down_blocks.0.resnets.0.conv1.bias", &[64]), Scheme::F16),
            (tensor("conv_in.weight", &[64, 32, 3, 3]), Scheme::F16),
            (tensor("conv_out.bias", &[3]), Scheme::F32),
            (tensor("text_model.embeddings.token_embedding.weight", &[512, 64]), Scheme::F16),
            (tensor("down_blocks.0.norm.weight", &[64, 64]), Scheme::F16),
            (tensor("mid.weight", &[16, 32]), Scheme::F16),
            (tensor("odd.weight", &[64, 40]), Scheme::F16),
            (tensor("odd_scales.weight", &[33, 32]), Scheme::F16),
            (tensor("decoder.layers.0.weight", &[64, 64, 3, 3]), Scheme::F16),
            (tensor("decoder.layers.7.weight", &[64, 64, 3, 3]), Scheme::Q4),
            (tensor("decoder.layers.18.weight", &[64, 64, 3, 3]), Scheme::F16),
            (tensor("body.0.weight", &[32, 32, 3, 3]), Scheme::F16),
            (tensor("body.2.weight", &[32, 32, 3, 3]), Scheme::Q4),
            (tensor("body.3.weight", &[32]), Scheme::F16),
            (tensor("body.4.weight", &[12, 32, 3, 3]), Scheme::F16),
        ];
        let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
        let layout = Layout::new(&infos);
        for (info, expected) in &tensors {
            assert_eq!(layout.scheme(info, Scheme::Q4), Some(*expected), "{}", info.name);
            assert_eq!(layout.is_quantizable(info), *expected == Scheme::Q4, "{}", info.name);
        }
        assert_eq!(layout.scheme(&infos[0], Scheme::F16), Some(Scheme::F16));
        assert_eq!(layout.scheme(&infos[0], Scheme::F32), Some(Scheme::F32));
        let file = TensorInfo { dtype: Dtype::U8, ..infos[0].clone() };
        assert_eq!((layout.scheme(&file, Scheme::Q4), layout.is_quantizable(&file)), (None, false));
    }
}
