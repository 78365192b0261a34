//! LoRAs merged and embeddings added while a pack is made.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;

use std::collections::BTreeMap;

use checkpoints::{
    Family, MemoryFile, Pieces, Tensor, checkpoint, convert, convert_with, floats, floats_of, goldens, numbers,
    pack_folder, serialized, vocabulary,
};
use fraise_engine::Result;
use fraise_engine::convert::{EmbeddingInput, Inputs, LoraInput};
use fraise_engine::pack::Manifest;
use fraise_engine::tokenizer::{ClipTokenizer, TokenizerConfig};
use fraise_engine::weights::Scheme;
use safetensors::{Dtype, SafeTensors};

fn golden_file(path: &str) -> MemoryFile {
    MemoryFile::new(path, std::fs::read(goldens().join(path)).unwrap())
}

#[test]
fn loras_merge_as_diffusers_fuses_them() {
    let config = |part: &str| serde_json::from_slice(&std::fs::read(goldens().join(part)).unwrap()).unwrap();
    let parts = [
        ("unet", config("tiny_sd/unet/config.json"), golden_file("tiny_sd/unet/diffusion_pytorch_model.safetensors")),
        (
            "text_encoder",
            config("tiny_sd/text_encoder/config.json"),
            golden_file("tiny_sd/text_encoder/model.safetensors"),
        ),
    ];
    let plain = pack_folder(&parts, &[], Scheme::F32).unwrap();
    for kind in ["kohya", "peft"] {
        let lora = golden_file(&format!("checkpoints/lora_{kind}.safetensors"));
        let merged = pack_folder(&parts, &[(lora, 0.75)], Scheme::F32).unwrap();
        let golden = golden_file(&format!("checkpoints/lora_{kind}_merged.safetensors")).bytes;
        let golden = SafeTensors::deserialize(&golden).unwrap();
        let mut changed = 0;
        for component in ["unet", "text_encoder"] {
            let (merged, plain) = (floats(&merged[component]), floats(&plain[component]));
            for (name, values) in &merged {
                let Ok(expected) = golden.tensor(&format!("{component}.{name}")) else {
                    assert_eq!(values, &plain[name], "{kind} {component}.{name}");
                    continue;
                };
                changed += 1;
                for (value, expected) in values.iter().zip(floats_of(&expected)) {
                    assert!((value - expected).abs() <= 1e-6, "{kind} {component}.{name}: {value} for {expected}");
                }
            }
        }
        assert_eq!(changed, golden.len());
    }
}

/// A LoRA for modules of given shapes, each under a name of its own and with its numbers by `key`.
fn lora(modules: &[(&str, &str, [usize; 2])]) -> MemoryFile {
    let mut tensors = BTreeMap::new();
    for (module, key, [outputs, inputs]) in modules {
        let mut add = |end: &str, shape: &[usize], number_key: &str| {
            tensors.insert(format!("{module}{end}"), Tensor::of(&format!("{key}{number_key}"), shape));
        };
        let (down, up) = if module.starts_with("lora_") {
            (".lora_down.weight", ".lora_up.weight")
        } else {
            (".lora.down.weight", ".lora.up.weight")
        };
        add(down, &[4, *inputs], "down");
        add(up, &[*outputs, 4], "up");
    }
    MemoryFile::new("style.safetensors", serialized(&tensors, Dtype::F16))
}

fn convert_with_lora(family: &Family, mut lora: MemoryFile) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut file = checkpoint(family, Dtype::F16);
    let loras = vec![LoraInput { file: &mut lora, weight: 1.0 }];
    let inputs = Inputs { loras, ..Inputs::new(&mut file) };
    let (manifest, pieces) = convert_with(inputs, Scheme::F32)?;
    Ok(manifest.components.keys().map(|name| (name.clone(), pieces.component(&manifest, name))).collect())
}

#[test]
fn a_loras_original_names_mean_the_same_weights() {
    let family = Family::load("sdxl");
    let original = lora(&[
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "q", [128, 128]),
        ("lora_unet_output_blocks_3_1_proj_in", "p", [128, 128]),
        ("lora_unet_middle_block_1_transformer_blocks_1_ff_net_2", "f", [128, 512]),
        ("lora_unet_label_emb_0_2", "l", [256, 256]),
        ("lora_te1_text_model_encoder_layers_1_self_attn_out_proj", "o", [64, 64]),
        ("lora_te2_text_model_encoder_layers_2_self_attn_v_proj", "v", [128, 128]),
        ("lora_te2_text_projection", "t", [64, 128]),
    ]);
    let diffusers = lora(&[
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q", "q", [128, 128]),
        ("unet.up_blocks.1.attentions.0.proj_in", "p", [128, 128]),
        ("unet.mid_block.attentions.0.transformer_blocks.1.ff.net.2", "f", [128, 512]),
        ("unet.add_embedding.linear_2", "l", [256, 256]),
        ("text_encoder.text_model.encoder.layers.1.self_attn.to_out", "o", [64, 64]),
        ("text_encoder_2.text_model.encoder.layers.2.self_attn.v_proj", "v", [128, 128]),
        ("text_encoder_2.text_projection", "t", [64, 128]),
    ]);
    let (first, second) =
        (convert_with_lora(&family, original).unwrap(), convert_with_lora(&family, diffusers).unwrap());
    assert!(first == second);
    let (manifest, pieces) = convert(&mut checkpoint(&family, Dtype::F16), Scheme::F32).unwrap();
    let changed = |component: &str| {
        let (plain, merged) = (floats(&pieces.component(&manifest, component)), floats(&first[component]));
        merged.into_iter().filter(|(name, values)| plain[name] != *values).map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(changed("text_encoder"), ["text_model.encoder.layers.1.self_attn.out_proj.weight"]);
    assert_eq!(
        changed("text_encoder_2"),
        ["text_model.encoder.layers.2.self_attn.v_proj.weight", "text_projection.weight"]
    );
    assert_eq!(changed("unet").len(), 4);
}

#[test]
fn a_convolution_with_a_kernel_of_its_own_is_the_product_of_three() {
    let family = Family::load("sd1");
    let module = "lora_unet_mid_block_resnets_0_conv1";
    let shapes: [(&str, &[usize]); 3] =
        [("lora_down", &[2, 64, 1, 1]), ("lora_mid", &[2, 2, 3, 3]), ("lora_up", &[64, 2, 1, 1])];
    let part = |(role, shape): (&str, &[usize])| (format!("{module}.{role}.weight"), Tensor::of(role, shape));
    let lora = MemoryFile::new("locon.safetensors", serialized(&shapes.into_iter().map(part).collect(), Dtype::F32));
    let merged = floats(&convert_with_lora(&family, lora).unwrap()["unet"]);
    let name = "mid_block.resnets.0.conv1.weight";
    let plain = &family.part("unet")[name].values;
    let [down, mid, up] = shapes.map(|(role, shape)| numbers(role, shape));
    for (at, (value, plain)) in merged[name].iter().zip(plain).enumerate() {
        let (output, input, tap) = (at / 576, at / 9 % 64, at % 9);
        let mut sum = 0.0;
        for outer in 0..2 {
            for inner in 0..2 {
                sum += up[output * 2 + outer] * mid[(outer * 2 + inner) * 9 + tap] * down[inner * 64 + input];
            }
        }
        assert!((value - plain - sum).abs() <= 1e-6, "{at}");
    }
}

#[test]
fn a_lora_for_another_model_is_refused_by_the_tensors_name() {
    let family = Family::load("sdxl");
    let cases = [
        (lora(&[("lora_unet_double_blocks_0_img_attn_qkv", "q", [64, 64])]), "UnexpectedTensor", "double_blocks_0"),
        (lora(&[("lora_te3_encoder_block_0", "q", [64, 64])]), "UnexpectedTensor", "lora_te3"),
        (lora(&[("unet.mid_block.attentions.0.proj_in", "q", [64, 64])]), "ShapeMismatch", "mid_block"),
    ];
    for (lora, code, name) in cases {
        let error = convert_with_lora(&family, lora).unwrap_err();
        assert!(error.code() == code && error.to_string().contains(name), "{error}");
    }
    for (tensors, code) in [
        (vec![("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", vec![128, 4])], "MissingTensor"),
        (vec![("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", vec![128, 4])], "Request"),
        (vec![("lora_unet_mid_block_attentions_0_proj_in.dora_scale", vec![128, 4])], "Request"),
        (vec![], "Request"),
    ] {
        let tensors = tensors.into_iter().map(|(name, shape)| (name.to_owned(), Tensor::of(name, &shape))).collect();
        let lora = MemoryFile::new("l.safetensors", serialized(&tensors, Dtype::F32));
        assert_eq!(convert_with_lora(&family, lora).unwrap_err().code(), code);
    }
}

fn embedding(name: &str, tensors: &[(&str, &[usize])]) -> MemoryFile {
    let tensors = tensors.iter().map(|(name, shape)| ((*name).to_owned(), Tensor::of(name, shape))).collect();
    MemoryFile::new(name, serialized(&tensors, Dtype::F32))
}

fn convert_with_embedding(family: &str, embeddings: &mut [(MemoryFile, Option<&str>)]) -> Result<(Manifest, Pieces)> {
    let mut file = checkpoint(&Family::load(family), Dtype::F16);
    let embeddings =
        embeddings.iter_mut().map(|(file, token)| EmbeddingInput { file, token: token.map(str::to_owned) }).collect();
    convert_with(Inputs { embeddings, ..Inputs::new(&mut file) }, Scheme::F16)
}

fn tokenizer(manifest: &Manifest, pieces: &Pieces, name: &str) -> ClipTokenizer {
    let file = pieces.component(manifest, name);
    let file = SafeTensors::deserialize(&file).unwrap();
    let config = TokenizerConfig::from_json(&manifest.components[name].config).unwrap();
    let content = |name: &str| file.tensor(name).unwrap().data().to_vec();
    ClipTokenizer::from_files(&content("vocab.json"), &content("merges.txt"), &config).unwrap()
}

#[test]
fn an_embedding_becomes_rows_and_tokens() {
    let rows = vocabulary().tokens();
    let mut embeddings = [
        (embedding("a/Moody.safetensors", &[("emb_params", &[3, 64])]), None),
        (embedding("learned.safetensors", &[("<cat-toy>", &[64])]), None),
        (embedding("learned.safetensors", &[("<x>", &[1, 64])]), Some("strawberrycat")),
    ];
    let (manifest, pieces) = convert_with_embedding("sd1", &mut embeddings).unwrap();
    assert_eq!(manifest.components["text_encoder"].config["vocab_size"], rows + 5);
    let encoder = floats(&pieces.component(&manifest, "text_encoder"));
    let table = &encoder["text_model.embeddings.token_embedding.weight"];
    assert_eq!(table.len(), (rows + 5) * 64);
    let expected = [numbers("emb_params", &[3, 64]), numbers("<cat-toy>", &[64]), numbers("<x>", &[64])].concat();
    assert_eq!(table[rows * 64..], expected);
    let tokenizer = tokenizer(&manifest, &pieces, "tokenizer");
    let rows = rows as u32;
    for (text, ids) in [
        ("Moody", vec![rows, rows + 1, rows + 2]),
        ("a moody_1", [tokenizer.encode("a"), vec![rows + 1]].concat()),
        ("<cat-toy>", vec![rows + 3]),
        ("strawberrycat", vec![rows + 4]),
    ] {
        assert_eq!(tokenizer.encode(text), ids, "{text}");
    }
    assert_eq!(tokenizer.max_id(), rows + 4);
}

#[test]
fn sdxl_takes_embeddings_for_both_encoders() {
    let shapes: &[(&str, &[usize])] = &[("clip_l", &[2, 64]), ("clip_g", &[2, 128])];
    let (manifest, pieces) =
        convert_with_embedding("sdxl", &mut [(embedding("two.safetensors", shapes), None)]).unwrap();
    let rows = vocabulary().tokens();
    for (encoder, name, key, width) in
        [("text_encoder", "tokenizer", "clip_l", 64), ("text_encoder_2", "tokenizer_2", "clip_g", 128)]
    {
        let table = &floats(&pieces.component(&manifest, encoder))["text_model.embeddings.token_embedding.weight"];
        assert_eq!(table[rows * width..], numbers(key, &[2, width]));
        assert_eq!(tokenizer(&manifest, &pieces, name).encode("two"), [rows as u32, rows as u32 + 1]);
    }
}

#[test]
fn embeddings_that_fit_no_word_or_model_are_refused() {
    let ordinary = ("emb_params", &[1usize, 64][..]);
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a [usize])], Option<&'a str>);
    let cases: [Case; 7] = [
        ("sd1", "a b.safetensors", &[ordinary], None),
        ("sd1", "a.safetensors", &[ordinary], Some("strawberry</w>")),
        ("sd1", "a.safetensors", &[("emb_params", &[1, 128])], None),
        ("sd1", "a.safetensors", &[("clip_l", &[1, 64]), ("clip_g", &[1, 128])], None),
        ("sdxl", "a.safetensors", &[ordinary], None),
        ("sd1", "a.safetensors", &[("x", &[1, 64]), ("y", &[1, 64])], None),
        ("sd1", "a.safetensors", &[("emb_params", &[1000, 64])], None),
    ];
    for (family, name, tensors, token) in cases {
        let error = convert_with_embedding(family, &mut [(embedding(name, tensors), token)]).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "Request", "{name} {tensors:?}: {error}");
    }
    let mut twice = [1, 2].map(|_| (embedding("a.safetensors", &[ordinary]), None));
    assert_eq!(convert_with_embedding("sd1", &mut twice).map(|_| ()).unwrap_err().code(), "Request");
}
