//! `fraise pack` on one-file checkpoints, with LoRAs, embeddings and a preview decoder.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../engine/tests/checkpoints/mod.rs"]
mod checkpoints;
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use checkpoints::{Family, Tensor, goldens, serialized};
use common::{done, refused};
use safetensors::Dtype;
use serde_json::Value;
use tempfile::TempDir;

/// Tokens of CLIP's vocabulary, which the command line brings along.
const CLIP_TOKENS: usize = 49408;

/// A folder with `tiny.safetensors`, and places for packs.
struct Workplace(TempDir);

impl Workplace {
    fn new(family: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("tiny.safetensors", &checkpoint(family));
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn manifest(&self, pack: &str) -> Value {
        serde_json::from_slice(&fs::read(Path::new(&self.path(pack)).join("manifest.json")).unwrap()).unwrap()
    }
}

/// A family's tiny checkpoint with a token table for the whole of CLIP's vocabulary.
fn checkpoint(family: &str) -> Vec<u8> {
    serialized(&tensors(family), Dtype::F16)
}

fn tensors(family: &str) -> BTreeMap<String, Tensor> {
    let mut family = Family::load(family);
    for line in family.lines.iter_mut().filter(|line| line.source.ends_with("token_embedding.weight")) {
        line.shape[0] = CLIP_TOKENS;
    }
    family.tensors()
}

/// The same with one number damaged, in the last component that is written.
fn with_nan(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.get_mut("first_stage_model.encoder.conv_out.weight").unwrap().values[7] = f32::NAN;
    tensors
}

fn small_file(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let tensors: BTreeMap<String, Tensor> =
        tensors.iter().map(|(name, shape)| ((*name).to_owned(), Tensor::of(name, shape))).collect();
    serialized(&tensors, Dtype::F16)
}

#[test]
fn a_checkpoint_becomes_a_pack_that_paints() {
    let place = Workplace::new("sd1");
    let (source, pack) = (place.path("tiny.safetensors"), place.path("pack"));
    let summary = done(&["pack", &source, &pack, "--license", "CC0-1.0", "--quant", "q8"]);
    assert!(summary.starts_with("tiny · CC0-1.0"), "{summary}");
    let info = done(&["info", &source]);
    assert!(info.contains("LatentConsistencyModelPipeline") && info.contains("in q8"), "{info}");
    let total = summary.split(" · ").nth(2).unwrap().split(" in all").next().unwrap();
    assert!(info.contains(&format!("{total} in q8")), "the size is known beforehand: {total}, {info}");
    assert!(done(&["verify", &pack]).contains("is whole: 5 components"));
    let picture = place.path("out.png");
    done(&[
        "generate", "--model", &pack, "--device", "cpu", "--prompt", "a cat", "--steps", "1", "--width", "16",
        "--height", "16", "-o", &picture,
    ]);
    assert!(fs::read(picture).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn every_family_is_packed_with_its_components() {
    for (family, components) in [("sd2", 5), ("sdxl", 7)] {
        let place = Workplace::new(family);
        let (source, pack) = (place.path("tiny.safetensors"), place.path("pack"));
        done(&["pack", &source, &pack, "--prediction", "epsilon"]);
        let manifest = place.manifest("pack");
        assert_eq!(manifest["components"].as_object().unwrap().len(), components, "{family}");
        assert_eq!(manifest["scheduler"]["prediction_type"], "epsilon");
        done(&["verify", &pack]);
    }
}

#[test]
fn loras_embeddings_and_a_preview_decoder_are_added() {
    let place = Workplace::new("sd1");
    let lora = [
        ("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", &[4, 64, 1, 1][..]),
        ("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", &[64, 4, 1, 1]),
    ];
    place.write("style.safetensors", &small_file(&lora));
    place.write("mood.safetensors", &small_file(&[("emb_params", &[2, 64])]));
    let preview = goldens().join("tiny_sd/vae");
    let (source, plain, pack) = (place.path("tiny.safetensors"), place.path("plain"), place.path("pack"));
    let (lora, half) = (place.path("style.safetensors"), format!("{}:0.5", place.path("style.safetensors")));
    let embedding = format!("{}:<mood>", place.path("mood.safetensors"));
    let preview = preview.to_str().unwrap();
    done(&["pack", &source, &plain]);
    let extras = ["--lora", &half, "--lora", &lora, "--embedding", &embedding, "--preview-decoder", preview];
    done(&[&["pack", &source, &pack][..], &extras].concat());
    let (plain, manifest) = (place.manifest("plain"), place.manifest("pack"));
    assert_ne!(manifest["components"]["unet"]["pieces"], plain["components"]["unet"]["pieces"]);
    assert_eq!(manifest["components"]["vae_decoder"], plain["components"]["vae_decoder"]);
    assert_eq!(manifest["components"]["text_encoder"]["config"]["vocab_size"], CLIP_TOKENS + 2);
    let tokens = &manifest["components"]["tokenizer"]["config"]["added_tokens_decoder"];
    assert_eq!((&tokens["49408"]["content"], &tokens["49409"]["content"]), (&"<mood>".into(), &"<mood>_1".into()));
    let preview = &manifest["components"]["preview_decoder"];
    assert_eq!(preview["config"]["scaling_factor"], 2.5);
    assert!(preview["optional"].is_null(), "it comes with the pack, or it could not paint");
    done(&["verify", &pack]);

    let unpacked = place.path("none");
    for (extra, value, code) in [
        ("--lora", format!("{lora}:much"), "Request"),
        ("--lora", place.path("mood.safetensors"), "UnexpectedTensor"),
        ("--lora", place.path("absent.safetensors"), "Storage"),
        ("--embedding", place.path("style.safetensors"), "Request"),
        ("--preview-decoder", place.path("style.safetensors"), "UnexpectedTensor"),
    ] {
        refused(&["pack", &source, &unpacked, extra, &value], code);
        assert!(!Path::new(&unpacked).exists(), "{extra} {value}");
    }
}

#[test]
fn taesds_own_file_is_a_preview_decoder() {
    let place = Workplace::new("sd1");
    let taesd = [("1.weight", &[64, 4, 3, 3][..]), ("1.bias", &[64]), ("3.conv.0.weight", &[64, 64, 3, 3])];
    place.write("taesd_decoder.safetensors", &small_file(&taesd));
    let (source, pack, file) =
        (place.path("tiny.safetensors"), place.path("pack"), place.path("taesd_decoder.safetensors"));
    done(&["pack", &source, &pack, "--preview-decoder", &file]);
    let manifest = place.manifest("pack");
    let pieces = manifest["components"]["preview_decoder"]["pieces"].as_array().unwrap().clone();
    let bytes = fs::read(Path::new(&pack).join(format!("{}.bin", pieces[0]["sha256"].as_str().unwrap()))).unwrap();
    let header = String::from_utf8_lossy(&bytes[..600]).into_owned();
    assert!(
        header.contains("decoder.layers.0.weight") && header.contains("decoder.layers.2.conv.0.weight"),
        "{header}"
    );
}

#[test]
fn what_cannot_be_packed_leaves_nothing_behind() {
    let place = Workplace::new("sd1");
    let good = fs::read(place.path("tiny.safetensors")).unwrap();
    let nan = serialized(&with_nan(tensors("sd1")), Dtype::F16);
    for (name, bytes, code) in [
        ("model.ckpt", &b"PK\x03\x04archive/data.pkl"[..], "Request"),
        ("renamed.safetensors", b"\x80\x02}q\x00.", "Request"),
        ("short.safetensors", &good[..good.len() - 1], "Manifest"),
        ("nan.safetensors", &nan, "Manifest"),
        ("flux.safetensors", &small_file(&[("double_blocks.0.img_attn.norm.key_norm.scale", &[4])]), "Request"),
    ] {
        place.write(name, bytes);
        let (source, pack) = (place.path(name), place.path("pack"));
        let line = refused(&["pack", &source, &pack], code);
        assert_eq!(line.contains("is a pickle"), bytes.len() < 24, "{line}");
        let left = fs::read_dir(&pack).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{name}");
    }
}

#[test]
fn a_folder_with_two_text_encoders_is_packed_with_a_lora() {
    let folder = goldens().join("tiny_sdxl");
    let place = Workplace::new("sdxl");
    let module = "lora_unet_middle_block_1_proj_in";
    let names = [format!("{module}.lora_down.weight"), format!("{module}.lora_up.weight")];
    let unet = fs::read(folder.join("unet/config.json")).unwrap();
    let unet: Value = serde_json::from_slice(&unet).unwrap();
    let width = unet["block_out_channels"].as_array().unwrap().last().unwrap().as_u64().unwrap() as usize;
    place.write("style.safetensors", &small_file(&[(&names[0], &[2, width]), (&names[1], &[width, 2])]));
    let (pack, lora) = (place.path("pack"), place.path("style.safetensors"));
    done(&["pack", folder.to_str().unwrap(), &pack, "--lora", &lora]);
    let manifest = place.manifest("pack");
    let components: Vec<&String> = manifest["components"].as_object().unwrap().keys().collect();
    let expected = ["text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae_decoder"];
    assert!(expected.iter().all(|name| components.iter().any(|found| found == name)), "{components:?}");
    assert_eq!(manifest["pipeline"], "StableDiffusionXLPipeline");
    assert_eq!(manifest["components"]["text_encoder_2"]["config"]["force_zeros_for_empty_prompt"], true);
}
