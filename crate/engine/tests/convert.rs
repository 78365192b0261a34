//! Single-file checkpoints against diffusers' own conversion of the same tensors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;

use checkpoints::{Family, MemoryFile, Pieces, checkpoint, convert, options, pack_folder, run, serialized, vocabulary};
use fraise_engine::autoencoder::AutoencoderKlConfig;
use fraise_engine::convert::{ConvertProgress, Inputs, Prediction, convert_checkpoint, inspect_checkpoint};
use fraise_engine::pack::Quantization;
use fraise_engine::text_encoder::ClipTextConfig;
use fraise_engine::unet::UNet2DConditionConfig;
use fraise_engine::weights::Scheme;
use pollster::block_on;
use safetensors::Dtype;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const FAMILIES: [&str; 3] = ["sd1", "sd2", "sdxl"];
const COMPONENTS: [&str; 5] = ["text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"];

fn parts(family: &Family, dtype: Dtype) -> Vec<(&'static str, Value, MemoryFile)> {
    let parts = ["text_encoder", "text_encoder_2", "unet", "vae"].into_iter();
    parts
        .map(|part| (part, family.part(part)))
        .filter(|(_, tensors)| !tensors.is_empty())
        .map(|(part, tensors)| (part, family.configs[part].clone(), MemoryFile::new(part, serialized(&tensors, dtype))))
        .collect()
}

#[test]
fn a_checkpoint_packs_to_the_bytes_of_its_diffusers_folder() {
    for name in FAMILIES {
        let family = Family::load(name);
        for (dtype, scheme) in [(Dtype::F32, Scheme::F32), (Dtype::F16, Scheme::F16), (Dtype::F16, Scheme::Q8)] {
            let (manifest, pieces) = convert(&mut checkpoint(&family, dtype), scheme).unwrap();
            let folder = pack_folder(&parts(&family, dtype), &[], scheme).unwrap();
            let weights: Vec<&str> = COMPONENTS.into_iter().filter(|name| folder.contains_key(*name)).collect();
            assert_eq!(weights.len(), folder.len());
            for component in weights {
                assert!(pieces.component(&manifest, component) == folder[component], "{name} {component} {scheme:?}");
            }
            assert_eq!(manifest.name, "tiny");
        }
    }
}

/// The fields of diffusers' full configuration that ours has too; it leaves out what is at its default everywhere.
fn known(theirs: &Value, ours: &Value) -> Value {
    let mut theirs = theirs.as_object().unwrap().clone();
    theirs.retain(|field, _| ours.get(field).is_some());
    theirs.into()
}

/// A configuration as the engine reads it.
fn read<T: DeserializeOwned>(config: &Value) -> T {
    serde_json::from_value(config.clone()).unwrap()
}

#[test]
fn the_configuration_is_inferred_as_diffusers_has_it() {
    for name in FAMILIES {
        let family = Family::load(name);
        let (manifest, _) = convert(&mut checkpoint(&family, Dtype::F16), Scheme::F16).unwrap();
        let (ours, theirs) = (|name: &str| manifest.components[name].config.clone(), &family.configs);
        assert_eq!(
            read::<UNet2DConditionConfig>(&ours("unet")),
            read(&known(&theirs["unet"], &ours("unet"))),
            "{name}"
        );
        for half in ["vae_decoder", "vae_encoder"] {
            assert_eq!(read::<AutoencoderKlConfig>(&ours(half)), read(&theirs["vae"]), "{name}");
        }
        for encoder in ["text_encoder", "text_encoder_2"] {
            if theirs[encoder].is_object() {
                assert_eq!(read::<ClipTextConfig>(&ours(encoder)), read(&theirs[encoder]), "{name} {encoder}");
                for field in ["projection_dim", "eos_token_id"] {
                    assert_eq!(ours(encoder)[field], theirs[encoder][field], "{name} {encoder} {field}");
                }
            }
        }
        let fields = ["addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim"];
        for field in fields.into_iter().chain(["time_cond_proj_dim", "use_linear_projection"]) {
            assert_eq!(ours("unet")[field], theirs["unet"][field], "{name} {field}");
        }
    }
}

#[test]
fn the_scheduler_is_the_familys_own() {
    let expected = [
        ("sd1", "LatentConsistencyModelPipeline", "LCMScheduler", "epsilon", "<|endoftext|>"),
        ("sd2", "StableDiffusionPipeline", "DDIMScheduler", "v_prediction", "!"),
        ("sdxl", "StableDiffusionXLPipeline", "EulerDiscreteScheduler", "epsilon", "<|endoftext|>"),
    ];
    for (name, pipeline, class, prediction, pad_token) in expected {
        let (manifest, _) = convert(&mut checkpoint(&Family::load(name), Dtype::F16), Scheme::F16).unwrap();
        assert_eq!((manifest.pipeline.as_str(), &manifest.scheduler["_class_name"]), (pipeline, &json!(class)));
        assert_eq!(manifest.scheduler["prediction_type"], prediction);
        assert_eq!(manifest.components["tokenizer"].config["pad_token"], pad_token);
        fraise_engine::sampler::from_config(None, &read(&manifest.scheduler), 4).unwrap();
    }
    let mut plain = Family::load("sd1");
    plain.lines.retain(|line| !line.name.contains("cond_proj"));
    let (manifest, _) = convert(&mut checkpoint(&plain, Dtype::F16), Scheme::F16).unwrap();
    assert_eq!((manifest.pipeline.as_str(), manifest.recommended.steps), ("StableDiffusionPipeline", 50));
    assert_eq!(manifest.scheduler["_class_name"], "PNDMScheduler");

    let mut overridden = options(Scheme::F16);
    overridden.prediction = Some(Prediction::Epsilon);
    let mut file = checkpoint(&Family::load("sd2"), Dtype::F16);
    let manifest = run(Inputs::new(&mut file), &overridden, &mut Pieces::default()).unwrap();
    assert_eq!(manifest.scheduler["prediction_type"], "epsilon");

    let mut velocity = Family::load("sdxl");
    velocity.left_out.extend(["v_pred", "ztsnr"].map(|mark| (mark.to_owned(), vec![0])));
    let (manifest, _) = convert(&mut checkpoint(&velocity, Dtype::F16), Scheme::F16).unwrap();
    assert_eq!(manifest.scheduler["prediction_type"], "v_prediction");
    assert_eq!(manifest.scheduler["rescale_betas_zero_snr"], true);
}

#[test]
fn the_header_alone_tells_the_packs_size() {
    for name in FAMILIES {
        let mut file = checkpoint(&Family::load(name), Dtype::F16);
        let info = block_on(inspect_checkpoint(Inputs::new(&mut file), &vocabulary(), &options(Scheme::Q8))).unwrap();
        assert!(file.read_bytes <= 6 << 16, "{} bytes were read", file.read_bytes);
        assert_eq!(serde_json::to_value(info.family).unwrap(), name);
        let (manifest, _) = convert(&mut file, Scheme::Q8).unwrap();
        assert_eq!(info.pack_bytes, manifest.total_bytes);
        for component in &info.components {
            assert_eq!(component.pack_bytes, manifest.components[&component.name].bytes, "{name} {}", component.name);
        }
    }
}

#[test]
fn an_interrupted_conversion_goes_on_where_it_stopped() {
    let mut file = checkpoint(&Family::load("sdxl"), Dtype::F16);
    let (whole, whole_pieces) = convert(&mut file, Scheme::Q8).unwrap();
    let (all_bytes, options) = (file.read_bytes, options(Scheme::Q8));
    for breaks_after in [0, 1, 5, whole_pieces.put / 2, whole_pieces.put - 1] {
        let mut pieces = Pieces { breaks_after: Some(breaks_after), ..Pieces::default() };
        assert_eq!(run(Inputs::new(&mut file), &options, &mut pieces).unwrap_err().code(), "Cancelled");
        assert_eq!(pieces.put, breaks_after);
        (pieces.breaks_after, file.read_bytes) = (None, 0);
        assert_eq!(run(Inputs::new(&mut file), &options, &mut pieces).unwrap(), whole, "after {breaks_after} pieces");
        assert_eq!(pieces.bytes, whole_pieces.bytes);
        assert_eq!(pieces.put, whole_pieces.put, "no piece is made twice");
        assert!(breaks_after < whole_pieces.put / 2 || file.read_bytes < all_bytes * 3 / 4, "{}", file.read_bytes);
    }
    // A journal of another conversion is noticed by its first piece.
    let mut pieces = Pieces { journal: whole_pieces.journal.clone(), ..Pieces::default() };
    for kept in pieces.journal.values_mut() {
        kept[0].sha256 = "0".repeat(64);
    }
    assert_eq!(run(Inputs::new(&mut file), &options, &mut pieces).unwrap(), whole);
    assert_eq!(pieces.bytes, whole_pieces.bytes);
}

#[test]
fn a_scheme_that_measures_the_weights_first_resumes_with_the_same_choice() {
    let mut file = checkpoint(&Family::load("sd1"), Dtype::F16);
    let mut options = options(Scheme::F16);
    options.pack.quantization = Quantization::Mixed;
    let mut pieces = Pieces::default();
    let whole = run(Inputs::new(&mut file), &options, &mut pieces).unwrap();
    for kept in pieces.journal.values_mut() {
        kept.truncate(kept.len().div_ceil(2));
    }
    assert_eq!(run(Inputs::new(&mut file), &options, &mut pieces).unwrap(), whole);
    let info = block_on(inspect_checkpoint(Inputs::new(&mut file), &vocabulary(), &options)).unwrap();
    assert!(whole.total_bytes <= info.pack_bytes, "{} of {}", whole.total_bytes, info.pack_bytes);
}

#[test]
fn progress_ascends_to_the_end() {
    let mut file = checkpoint(&Family::load("sd1"), Dtype::F16);
    let mut reports: Vec<ConvertProgress> = Vec::new();
    let (mut pieces, vocabulary) = (Pieces::default(), vocabulary());
    let mut on_progress = |progress| reports.push(progress);
    let inputs = Inputs::new(&mut file);
    block_on(convert_checkpoint(inputs, &vocabulary, &options(Scheme::Q8), &mut pieces, &mut on_progress)).unwrap();
    assert_eq!(reports[0].done_bytes, 0);
    assert!(reports.windows(2).all(|pair| pair[0].done_bytes <= pair[1].done_bytes));
    let last = reports.last().unwrap();
    assert!(last.done_bytes == last.total_bytes && reports.len() > 8);
}

#[test]
fn early_fine_tunes_with_a_shallower_text_encoder_are_read() {
    let family = Family::load("sd1");
    let (expected, _) = convert(&mut checkpoint(&family, Dtype::F16), Scheme::F16).unwrap();
    let deep = family.tensors();
    // Numbers go by names: those of the deeper names, under the shallower ones.
    let shallow =
        deep.into_iter().map(|(name, tensor)| (name.replace(".transformer.text_model.", ".transformer."), tensor));
    let name = format!("{}\u{7}.safetensors", "n".repeat(200));
    let mut file = MemoryFile::new(&name, serialized(&shallow.collect(), Dtype::F16));
    let (manifest, _) = convert(&mut file, Scheme::F16).unwrap();
    assert_eq!(manifest.components, expected.components);
    assert_eq!(manifest.name, "n".repeat(128), "whatever the file is called");
}
