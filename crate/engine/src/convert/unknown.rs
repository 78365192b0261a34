//! What a file is when it is no checkpoint that can be converted, and which tensors of one are superfluous.

use crate::Error;
use crate::pack::Header;

/// A part of a tensor's name that tells an architecture, and its name for people.
const SIGNS: [(&str, &str); 24] = [
    ("lora_", "a LoRA; give it with --lora beside the checkpoint that it belongs to"),
    (".lora.", "a LoRA; give it with --lora beside the checkpoint that it belongs to"),
    ("emb_params", "a textual-inversion embedding; give it with --embedding beside a checkpoint"),
    ("early_stream_modulations", "Flux 3"),
    ("single_stream_modulation", "Flux 2"),
    ("distilled_guidance_layer", "Chroma"),
    ("double_stream_blocks.", "HiDream"),
    ("double_blocks.", "Flux or Hunyuan"),
    ("joint_blocks.", "Stable Diffusion 3"),
    ("cap_embedder.", "Lumina or Z-Image"),
    ("txt_in.text_norm", "Qwen-Image"),
    ("txtfusion.", "Krea 2"),
    ("double_layers.", "AuraFlow"),
    ("adaln_single", "PixArt or LTX-Video"),
    ("cross_attn.kv_linear", "Sana"),
    ("net.blocks", "Cosmos"),
    ("head.modulation", "Wan"),
    ("clip_txt_mapper", "Stable Cascade"),
    ("control_model.", "a ControlNet"),
    ("motion_modules.", "AnimateDiff"),
    ("down_blocks.", "one model of a diffusers folder; give the whole folder"),
    ("text_model.encoder.", "a text encoder alone"),
    ("decoder.mid.", "an autoencoder alone"),
    ("encoder.layers.", "a part of another kind of model"),
];

/// Beginnings of names that checkpoints carry and no picture needs: the averaged copy of the weights (diffusers leaves
/// it too), the training schedule's tables, losses.
const SUPERFLUOUS: [&str; 22] = [
    "model_ema.",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "cond_stage_model.logit_scale",
    "cond_stage_model.transformer.text_projection.",
    "cond_stage_model.transformer.logit_scale",
    "conditioner.embedders.0.logit_scale",
    "denoiser.",
    "alphas_cumprod",
    "betas",
    "global_step",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "posterior_",
    "scale_factor",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip",
    "v_pred",
    "ztsnr",
    "model.logvar",
];

/// Ends of such names: index buffers, and what OpenCLIP keeps beside the text encoder.
const SUPERFLUOUS_ENDS: [&str; 4] =
    ["position_ids", ".logit_scale", ".attn_mask", "cond_stage_model.model.text_projection"];

/// Whether a tensor of a checkpoint may be left out.
pub fn is_superfluous(name: &str) -> bool {
    // The layer after the one that Stable Diffusion 2 reads, and SD-Turbo's projection.
    let is_last_layer = ["cond_stage_model.model.", "conditioner.embedders.0.model."].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|name| name.starts_with("transformer.resblocks.23.") || name == "text_projection")
    });
    is_last_layer
        || SUPERFLUOUS.iter().any(|start| name.starts_with(start))
        || SUPERFLUOUS_ENDS.iter().any(|end| name.ends_with(end))
}

/// The error for a file in which no UNet was found: what it looks like, where that is known.
pub fn explain(header: &Header, error: Error) -> Error {
    let has = |part: &str| header.tensors.iter().any(|tensor| tensor.name.contains(part));
    if has("model.diffusion_model.input_blocks.") {
        return error; // it is a UNet of the kind, with something missing
    }
    let looks = match SIGNS.iter().find(|(part, _)| has(part)) {
        Some((_, name)) => format!("looks like {name}"),
        None => "is of an architecture that is not known here".to_owned(),
    };
    Error::request(
        "checkpoint",
        format!(
            "{looks}; Stable Diffusion 1, 2 and XL checkpoints in one file (UNet, VAE, text encoder) can be converted"
        ),
    )
}

/// The error for a checkpoint without a text encoder.
pub fn no_text_encoder(header: &Header) -> Error {
    let has = |part: &str| header.tensors.iter().any(|tensor| tensor.name.starts_with(part));
    let found = match (has("conditioner.embedders.0."), has("conditioner.embedders.1.")) {
        (false, false) => "no text encoder",
        (true, false) => "no second text encoder",
        _ => "no first text encoder",
    };
    let advice = "give a complete checkpoint (UNet, VAE, text encoder)";
    Error::request("checkpoint", format!("holds {found} that is known here; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::TensorInfo;
    use safetensors::Dtype;

    #[test]
    fn names_what_a_file_looks_like() {
        for (tensor, expected) in [
            ("model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale", "Flux"),
            ("model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias", "Stable Diffusion 3"),
            ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "a LoRA"),
            ("down_blocks.0.resnets.0.conv1.weight", "a diffusers folder"),
            ("something.else", "not known"),
        ] {
            let info = TensorInfo { name: tensor.into(), dtype: Dtype::F32, shape: vec![1], bytes: 4 };
            let header = Header { tensors: vec![info], metadata: Default::default(), data_start: 8 };
            let error = explain(&header, Error::MissingTensor { name: "conv_in".into() });
            assert!(error.code() == "Request" && error.to_string().contains(expected), "{tensor}: {error}");
        }
    }

    #[test]
    fn leaves_out_copies_and_tables_but_no_weights() {
        for name in [
            "model_ema.diffusion_modelinput_blocks00weight",
            "alphas_cumprod",
            "posterior_mean_coef1",
            "cond_stage_model.transformer.text_model.embeddings.position_ids",
            "cond_stage_model.model.logit_scale",
            "cond_stage_model.model.transformer.resblocks.23.ln_1.weight",
            "conditioner.embedders.0.model.text_projection",
        ] {
            assert!(is_superfluous(name), "{name}");
        }
        for name in [
            "model.diffusion_model.input_blocks.0.0.weight",
            "conditioner.embedders.1.model.text_projection",
            "conditioner.embedders.1.model.transformer.resblocks.23.ln_1.weight",
            "first_stage_model.quant_conv.bias",
        ] {
            assert!(!is_superfluous(name), "{name}");
        }
    }
}
