//! A tiny autoencoder's decoder as a pack's `preview_decoder`: paints a rough picture after every step.

use serde_json::{Value, json};

use super::ByteSource;
use super::file::SafetensorsFile;
use super::plan::{Plan, PlannedComponent, PlannedTensor};
use super::vae_table::tiny_decoder_name;
use crate::{Error, Result};

/// The component's name.
pub const COMPONENT: &str = "preview_decoder";

/// Adds the decoder in the last of `files`: a file of diffusers' `AutoencoderTiny` with its `config`, or TAESD's own
/// `taesd_decoder.safetensors`. Without a configuration it is taken to be TAESD's.
///
/// # Errors
/// [`Error::Request`] where it is no tiny autoencoder, or one for latents of another kind than the model's.
pub fn add<B: ByteSource>(plan: &mut Plan, files: &[SafetensorsFile<B>], config: Option<Value>) -> Result<()> {
    let Some((file, before)) = files.split_last() else {
        return Err(Error::request(COMPONENT, "no file was given"));
    };
    let wrong = |reason: &str| Error::request(COMPONENT, format!("{} {reason}", file.name()));
    let config = config.unwrap_or_else(taesd_config);
    if config["_class_name"].as_str() != Some("AutoencoderTiny") {
        return Err(wrong("is not of class AutoencoderTiny; TAESD and TAESDXL are"));
    }
    let is_diffusers = file.get("decoder.layers.0.weight").is_some();
    let mut tensors = Vec::new();
    for place in file.places() {
        let name = &place.info.name;
        let named = match is_diffusers {
            true if name.starts_with("encoder.") => continue,
            true => Some(name.clone()).filter(|name| name.starts_with("decoder.")),
            false => tiny_decoder_name(name),
        };
        let Some(named) = named else { return Err(Error::UnexpectedTensor { name: format!("{COMPONENT}: {name}") }) };
        tensors.push(PlannedTensor::stored(named, place.clone(), before.len())?);
    }
    let first = tensors.iter().find(|tensor| tensor.info.name == "decoder.layers.0.weight");
    let latents = first.and_then(|tensor| tensor.info.shape.get(1).copied());
    let wanted = plan.component("unet").and_then(|unet| unet.config["in_channels"].as_u64()).unwrap_or(4);
    match latents {
        None => return Err(wrong("holds no tiny autoencoder's decoder (taesd_decoder.safetensors is one)")),
        Some(latents) if latents as u64 != wanted => {
            return Err(wrong(&format!("decodes latents of {latents} channels, the model's have {wanted}")));
        }
        Some(_) => {}
    }
    plan.components.push(PlannedComponent { name: COMPONENT.to_owned(), config, tensors });
    Ok(())
}

/// As diffusers publishes TAESD.
fn taesd_config() -> Value {
    json!({
        "_class_name": "AutoencoderTiny",
        "act_fn": "relu",
        "decoder_block_out_channels": [64, 64, 64, 64],
        "encoder_block_out_channels": [64, 64, 64, 64],
        "in_channels": 3,
        "latent_channels": 4,
        "num_decoder_blocks": [3, 3, 3, 1],
        "num_encoder_blocks": [1, 3, 3, 3],
        "out_channels": 3,
        "scaling_factor": 1.0,
    })
}
