//! The command line as a person or a script meets it: files, output, exit codes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{done, refused};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

fn write_json(path: &Path, value: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, serde_json::to_vec(value).unwrap()).unwrap();
}

type Weights<'a> = &'a [(&'a str, &'a [usize])];

fn serialized(dtype: Dtype, weights: Weights) -> Vec<u8> {
    let contents: Vec<Vec<u8>> = weights
        .iter()
        .map(|(_, shape)| {
            let values = (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 0.37).sin());
            match dtype {
                Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
                Dtype::BF16 => values.flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect(),
                _ => vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8],
            }
        })
        .collect();
    let views = weights
        .iter()
        .zip(&contents)
        .map(|((name, shape), content)| (name.to_string(), TensorView::new(dtype, shape.to_vec(), content).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

const TEXT_ENCODER: Weights = &[
    ("text_model.embeddings.token_embedding.weight", &[64, 32]),
    ("text_model.encoder.layers.0.mlp.fc1.weight", &[64, 32]),
    ("text_model.encoder.layers.0.mlp.fc1.bias", &[64]),
];
const UNET: Weights = &[
    ("conv_in.weight", &[32, 4, 3, 3]),
    ("mid_block.resnets.0.conv1.weight", &[32, 32, 3, 3]),
    ("mid_block.attentions.0.proj_in.weight", &[64, 32]),
    ("conv_out.bias", &[3]),
];
const VAE: Weights = &[
    ("decoder.layers.0.weight", &[32, 4, 3, 3]),
    ("encoder.layers.0.weight", &[32, 3, 3, 3]),
    ("quant_conv.bias", &[4]),
];

/// A diffusers folder with random weights.
fn diffusers_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_json(&root.join("model_index.json"), &json!({ "_class_name": "StableDiffusionPipeline" }));
    write_json(&root.join("scheduler/scheduler_config.json"), &json!({ "_class_name": "DDIMScheduler" }));
    write_json(&root.join("tokenizer/tokenizer_config.json"), &json!({ "model_max_length": 1e30 }));
    write_json(&root.join("tokenizer/vocab.json"), &json!({ "a</w>": 0 }));
    fs::write(root.join("tokenizer/merges.txt"), "#version: 0.2\n").unwrap();
    write_json(&root.join("text_encoder/config.json"), &json!({ "hidden_size": 32 }));
    fs::write(root.join("text_encoder/model.safetensors"), serialized(Dtype::F32, TEXT_ENCODER)).unwrap();
    write_json(&root.join("unet/config.json"), &json!({ "sample_size": 8 }));
    fs::write(root.join("unet/diffusion_pytorch_model.safetensors"), serialized(Dtype::F32, UNET)).unwrap();
    write_json(&root.join("vae/config.json"), &json!({ "decoder_block_out_channels": [32, 32, 32, 32] }));
    fs::write(root.join("vae/diffusion_pytorch_model.safetensors"), serialized(Dtype::BF16, VAE)).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

fn manifest(pack: &Path) -> Value {
    serde_json::from_slice(&fs::read(pack.join("manifest.json")).unwrap()).unwrap()
}

fn component(pack: &Path, name: &str) -> Vec<u8> {
    let pieces = manifest(pack)["components"][name]["pieces"].as_array().unwrap().clone();
    let read = |piece: &Value| fs::read(pack.join(format!("{}.bin", piece["sha256"].as_str().unwrap()))).unwrap();
    pieces.iter().flat_map(read).collect()
}

fn packed(source: &TempDir, options: &[&str]) -> TempDir {
    let out = tempfile::tempdir().unwrap();
    done(&[&["pack", text(source.path()), text(out.path())], options].concat());
    out
}

#[test]
fn packing_twice_gives_the_same_files_and_verify_and_info_accept_them() {
    let source = diffusers_folder();
    let (first, second) = (packed(&source, &["--name", "tiny"]), packed(&source, &["--name", "tiny"]));
    assert_eq!(files(first.path()), files(second.path()));
    let manifest = manifest(first.path());
    assert_eq!(manifest["name"], "tiny");
    assert_eq!(manifest["recommended"]["width"], 64, "sample_size times the autoencoder's scale");
    assert_eq!(manifest["components"]["tokenizer"]["config"]["model_max_length"], 1e30, "configurations are verbatim");
    assert_eq!(manifest["components"]["vae_encoder"]["optional"], true);
    assert!(done(&["verify", text(first.path())]).contains("is whole: 5 components"));
    let info = done(&["info", text(&first.path().join("manifest.json"))]);
    assert!(info.contains("DDIMScheduler") && info.contains("q8 2:") && info.contains("vae_encoder"), "{info}");
}

#[test]
fn an_upscaler_comes_along_where_it_is_recommended() {
    let source = diffusers_folder();
    let root = source.path();
    let index = |upscaler: Value| json!({ "_class_name": "StableDiffusionPipeline", "upscaler": upscaler });
    let config = json!({ "_class_name": "SRVGGNetCompact", "num_feat": 32, "num_conv": 1, "upscale": 2 });
    write_json(&root.join("upscaler/config.json"), &config);
    let weights: Weights = &[
        ("body.0.weight", &[32, 3, 3, 3]),
        ("body.1.weight", &[32]),
        ("body.2.weight", &[32, 32, 3, 3]),
        ("body.4.weight", &[12, 32, 3, 3]),
    ];
    fs::write(root.join("upscaler/diffusion_pytorch_model.safetensors"), serialized(Dtype::F32, weights)).unwrap();

    write_json(&root.join("model_index.json"), &index(json!([null, null])));
    assert!(manifest(packed(&source, &[]).path())["components"]["upscaler"].is_null(), "the index leaves it out");
    write_json(&root.join("model_index.json"), &index(json!(["fraise", "SRVGGNetCompact"])));
    let pack = packed(&source, &["--quant", "q4"]);
    let upscaler = &manifest(pack.path())["components"]["upscaler"];
    assert_eq!((&upscaler["config"], &upscaler["optional"]), (&config, &json!(true)));
    let file = component(pack.path(), "upscaler");
    let file = SafeTensors::deserialize(&file).unwrap();
    let types = ["body.0.weight", "body.2.weight", "body.4.weight"].map(|name| file.tensor(name).unwrap().dtype());
    assert_eq!(types, [Dtype::F16, Dtype::U8, Dtype::F16], "the outer layers keep their floats");
    let info = done(&["info", text(pack.path())]);
    assert!(info.contains(" to upscale\n") && info.contains("upscaler"), "{info}");

    let recommended = json!({ "steps": 4, "guidance": 1.0, "width": 64, "height": 64, "upscale": true });
    write_json(&root.join("fraise.json"), &json!({ "recommended": recommended }));
    let manifest = manifest(packed(&source, &[]).path());
    assert_eq!(manifest["recommended"]["upscale"], true);
    assert!(manifest["components"]["upscaler"]["optional"].is_null());
    write_json(&root.join("upscaler/config.json"), &json!({ "_class_name": "RRDBNet" }));
    let line = refused(&["pack", text(root), text(pack.path())], "Manifest");
    assert!(line.contains("components.upscaler.config._class_name"), "{line}");
}

#[test]
fn how_words_are_left_out_goes_along() {
    let source = diffusers_folder();
    let publish = |phrase: &str| write_json(&source.path().join("fraise.json"), &json!({ "negative_phrase": phrase }));
    assert!(manifest(packed(&source, &[]).path()).get("negative_phrase").is_none());
    publish(" without ");
    let pack = packed(&source, &[]);
    assert_eq!(manifest(pack.path())["negative_phrase"], " without ");
    let info = done(&["info", text(pack.path())]);
    assert!(info.contains("leaving out  said in the prompt: PROMPT without NEGATIVE\n"), "{info}");
    publish("two\nlines");
    let line = refused(&["pack", text(source.path()), text(pack.path())], "Manifest");
    assert!(line.contains("negative_phrase"), "{line}");
}

#[test]
fn components_open_as_safetensors_with_the_asked_for_types() {
    let source = diffusers_folder();
    for (quant, conv, linear) in [
        ("f32", Dtype::F32, Dtype::F32),
        ("f16", Dtype::F16, Dtype::F16),
        ("q8", Dtype::I8, Dtype::I8),
        ("q4", Dtype::U8, Dtype::U8),
    ] {
        let pack = packed(&source, &["--quant", quant]);
        let unet = component(pack.path(), "unet");
        let unet = SafeTensors::deserialize(&unet).unwrap();
        assert_eq!(unet.tensor("mid_block.resnets.0.conv1.weight").unwrap().dtype(), conv, "{quant}");
        assert_eq!(unet.tensor("mid_block.attentions.0.proj_in.weight").unwrap().dtype(), linear, "{quant}");
        let decoder = component(pack.path(), "vae_decoder");
        let decoder = SafeTensors::deserialize(&decoder).unwrap();
        assert_eq!(decoder.names(), ["decoder.layers.0.weight"]);
    }
}

#[test]
fn pieces_are_as_long_as_asked() {
    let source = diffusers_folder();
    let large: Weights = &[("mid_block.attentions.0.proj_in.weight", &[1024, 640])];
    let unet = serialized(Dtype::F32, large);
    fs::write(source.path().join("unet/diffusion_pytorch_model.safetensors"), unet).unwrap();
    let pack = packed(&source, &["--quant", "f16", "--shard-mib", "1"]);
    let pieces = manifest(pack.path())["components"]["unet"]["pieces"].as_array().unwrap().clone();
    assert_eq!(pieces.len(), 2);
    assert_eq!(pieces[0]["bytes"], 1 << 20);
}

#[test]
fn mixed_is_the_default_and_a_report_names_every_tensor() {
    let source = diffusers_folder();
    let weights: Weights = &[
        ("conv_in.weight", &[32, 4, 3, 3]),
        ("down_blocks.0.resnets.0.conv1.weight", &[32, 32, 3, 3]),
        ("down_blocks.0.resnets.0.conv2.weight", &[32, 32, 3, 3]),
        ("mid_block.resnets.0.conv1.weight", &[64, 32, 3, 3]),
        ("conv_out.bias", &[3]),
    ];
    fs::write(source.path().join("unet/diffusion_pytorch_model.safetensors"), serialized(Dtype::F32, weights)).unwrap();
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("report.json");
    let printed = done(&["pack", text(source.path()), text(out.path()), "--report", text(&file)]);
    assert!(printed.contains("    q4         1     0.01 MiB  relative error"), "{printed}");
    let mut asked_for = files(packed(&source, &["--quant", "mixed"]).path());
    asked_for.insert("report.json".into(), fs::read(&file).unwrap());
    assert_eq!(files(out.path()), asked_for, "mixed is the default");
    done(&["verify", text(out.path())]);

    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&report["quant"], &report["total_bytes"]), (&json!("mixed"), &manifest(out.path())["total_bytes"]));
    let tensors = report["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 2 + TEXT_ENCODER.len() + weights.len() + VAE.len());
    let scheme = |name: &str| {
        let tensor = tensors.iter().find(|tensor| tensor["tensor"] == name && tensor["component"] == "unet").unwrap();
        (tensor["scheme"].as_str().unwrap(), tensor["bytes"].as_u64().unwrap())
    };
    let (elements, scales) = (64 * 32 * 9, 64 * 9 * 2);
    assert_eq!(scheme("mid_block.resnets.0.conv1.weight"), ("q4", elements / 2 + scales));
    assert_eq!(scheme("down_blocks.0.resnets.0.conv1.weight"), ("q8", elements / 2 + scales / 2));
    assert_eq!(scheme("conv_in.weight"), ("f16", 32 * 4 * 9 * 2));
    assert_eq!(scheme("conv_out.bias"), ("f32", 12));
    let entry = tensors.iter().find(|tensor| tensor["tensor"] == "mid_block.resnets.0.conv1.weight").unwrap();
    assert_eq!((&entry["shape"], &entry["elements"]), (&json!([64, 32, 3, 3]), &json!(elements)));
    assert!((0.05..0.1).contains(&entry["relative_error"].as_f64().unwrap()), "{entry}");
}

#[test]
fn an_older_packs_pieces_go_and_other_files_stay() {
    let source = diffusers_folder();
    let pack = packed(&source, &["--quant", "q8"]);
    let older = files(pack.path());
    for kept in ["README.md", "notes.bin", "0123.bin"] {
        fs::write(pack.path().join(kept), kept).unwrap();
    }
    done(&["pack", text(source.path()), text(pack.path()), "--quant", "f16"]);
    let listed = manifest(pack.path()).to_string();
    let now = files(pack.path());
    for kept in ["README.md", "notes.bin", "0123.bin"] {
        assert_eq!(now[kept], kept.as_bytes());
    }
    let gone = older.keys().filter(|name| !now.contains_key(*name)).count();
    assert!(gone >= 2, "{gone} stale pieces went");
    let pieces = now.keys().filter_map(|name| name.strip_suffix(".bin")).filter(|name| name.len() == 64);
    assert!(pieces.into_iter().all(|name| listed.contains(name)));
}

#[test]
fn sharded_half_precision_and_new_tokenizer_files_are_read() {
    let source = diffusers_folder();
    let root = source.path();
    let plain = packed(&source, &[]);

    fs::remove_file(root.join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    fs::write(root.join("unet/a-00001.safetensors"), serialized(Dtype::F32, &UNET[..2])).unwrap();
    fs::write(root.join("unet/a-00002.safetensors"), serialized(Dtype::F32, &UNET[2..])).unwrap();
    let file = |index| if index < 2 { "a-00001.safetensors" } else { "a-00002.safetensors" };
    let map: BTreeMap<&str, &str> = UNET.iter().enumerate().map(|(index, (name, _))| (*name, file(index))).collect();
    let index = root.join("unet/diffusion_pytorch_model.safetensors.index.json");
    write_json(&index, &json!({ "weight_map": map }));
    fs::rename(root.join("text_encoder/model.safetensors"), root.join("text_encoder/model.fp16.safetensors")).unwrap();
    fs::remove_file(root.join("tokenizer/vocab.json")).unwrap();
    fs::remove_file(root.join("tokenizer/merges.txt")).unwrap();
    write_json(
        &root.join("tokenizer/tokenizer.json"),
        &json!({
            "added_tokens": [{ "id": 1, "content": "<|endoftext|>" }],
            "model": { "vocab": { "ab</w>": 0 }, "merges": [["a", "b</w>"], "c d"] },
        }),
    );
    let pack = packed(&source, &[]);
    for same in ["unet", "text_encoder"] {
        assert_eq!(component(pack.path(), same), component(plain.path(), same), "{same}");
    }
    let tokenizer = component(pack.path(), "tokenizer");
    let tokenizer = SafeTensors::deserialize(&tokenizer).unwrap();
    assert_eq!(tokenizer.tensor("merges.txt").unwrap().data(), b"#version: 0.2\na b</w>\nc d\n");
    let vocabulary: Value = serde_json::from_slice(tokenizer.tensor("vocab.json").unwrap().data()).unwrap();
    assert_eq!(vocabulary, json!({ "ab</w>": 0, "<|endoftext|>": 1 }));

    fs::write(root.join("unet/a-00002.safetensors"), serialized(Dtype::F32, &UNET[3..])).unwrap();
    let line = refused(&["pack", text(root), text(pack.path())], "MissingTensor");
    assert!(line.contains("unet.mid_block.attentions.0.proj_in.weight"), "{line}");
}

#[test]
fn sources_that_cannot_be_packed_are_refused_and_an_older_pack_survives() {
    let source = diffusers_folder();
    let pack = packed(&source, &[]);
    let before = files(pack.path());
    let unet = source.path().join("unet/diffusion_pytorch_model.safetensors");
    let good = fs::read(&unet).unwrap();
    let mut nan = good.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut overlap = good.clone();
    let offset = good.windows(16).position(|window| window == b"\"data_offsets\":[").unwrap() + 16;
    overlap[offset] = b'4';
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("cut short", good[..good.len() - 1].to_vec(), "Manifest"),
        ("100 GB header", [&(100u64 << 30).to_le_bytes()[..], &good[8..]].concat(), "Manifest"),
        ("overlapping offsets", overlap, "Manifest"),
        ("not a number", nan, "Manifest"),
        ("zipped pickle", b"PK\x03\x04archive/data.pkl".to_vec(), "Request"),
        ("bare pickle", b"\x80\x02}q\x00.".to_vec(), "Request"),
    ];
    for (what, content, code) in cases {
        fs::write(&unet, content).unwrap();
        let line = refused(&["pack", text(source.path()), text(pack.path())], code);
        assert_eq!(what.contains("pickle"), line.contains("is a pickle"), "{what}: {line}");
        done(&["verify", text(pack.path())]);
    }
    fs::write(&unet, &good).unwrap();
    done(&["pack", text(source.path()), text(pack.path())]);
    assert_eq!(files(pack.path()), before, "failed attempts left nothing behind");

    write_json(&source.path().join("model_index.json"), &json!({ "_class_name": "FluxPipeline" }));
    assert!(refused(&["pack", text(source.path()), text(pack.path())], "Request").contains("FluxPipeline"));
    fs::remove_file(source.path().join("model_index.json")).unwrap();
    assert!(refused(&["pack", text(source.path()), text(pack.path())], "Request").contains("model_index.json"));
}

#[test]
fn verify_names_what_is_wrong_and_deletes_nothing() {
    let source = diffusers_folder();
    let pack = packed(&source, &[]);
    let sha256 = manifest(pack.path())["components"]["unet"]["pieces"][0]["sha256"].as_str().unwrap().to_owned();
    let path: PathBuf = pack.path().join(format!("{sha256}.bin"));
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for wrong in [flipped, good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat(), Vec::new()] {
        fs::write(&path, wrong).unwrap();
        assert!(refused(&["verify", text(pack.path())], "CorruptPiece").contains(&sha256));
        assert!(path.exists());
    }
    fs::remove_file(&path).unwrap();
    assert!(refused(&["verify", text(pack.path())], "CorruptPiece").contains(&sha256));
    fs::write(pack.path().join("manifest.json"), "{\"format\": 7}").unwrap();
    assert!(refused(&["info", text(pack.path())], "Manifest").contains("`format`: 7"));
    refused(&["verify", text(source.path())], "Request");
}

#[test]
fn wrong_arguments_are_one_line_too() {
    refused(&["pack"], "Request");
    refused(&["paint"], "Request");
    refused(&["pack", "a", "b", "--quant", "q3"], "Request");
    refused(&["pack", "a", "b", "--shard-mib", "65"], "Request");
    refused(&["pack", "/nowhere/at/all", "/nowhere/out"], "Request");
    assert!(done(&["--help"]).contains("fraise"));
    assert!(done(&["--version"]).starts_with("fraise "));
}
