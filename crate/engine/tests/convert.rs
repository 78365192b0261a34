//! Single-file checkpoints, LoRAs and embeddings against diffusers' own conversion, and bad input.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;

use std::collections::BTreeMap;

use checkpoints::{
    Family, MemoryFile, Pieces, Tensor, convert, convert_with, goldens, numbers, options, pack_folder, serialized,
    vocabulary,
};
use fraise_engine::autoencoder::AutoencoderKlConfig;
use fraise_engine::convert::{
    self as converter, ConvertProgress, EmbeddingInput, Inputs, LoraInput, Prediction, inspect_checkpoint,
};
use fraise_engine::text_encoder::ClipTextConfig;
use fraise_engine::tokenizer::{ClipTokenizer, TokenizerConfig};
use fraise_engine::unet::UNet2DConditionConfig;
use fraise_engine::weights::Scheme;
use pollster::block_on;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const FAMILIES: [&str; 3] = ["sd1", "sd2", "sdxl"];
const COMPONENTS: [&str; 5] = ["text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"];

fn checkpoint(family: &Family, dtype: Dtype) -> MemoryFile {
    MemoryFile::new("models/tiny.safetensors", serialized(&family.tensors(), dtype))
}

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
        assert_eq!(read::<UNet2DConditionConfig>(&ours("unet")), read(&theirs["unet"]), "{name}");
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
    let (mut pieces, vocabulary) = (Pieces::default(), vocabulary());
    let converting =
        converter::convert_checkpoint(Inputs::new(&mut file), &vocabulary, &overridden, &mut pieces, &mut |_| ());
    assert_eq!(block_on(converting).unwrap().scheduler["prediction_type"], "epsilon");

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
    let (all_bytes, vocabulary, options) = (file.read_bytes, vocabulary(), options(Scheme::Q8));
    for breaks_after in [0, 1, 5, whole_pieces.put / 2, whole_pieces.put - 1] {
        let mut pieces = Pieces { breaks_after: Some(breaks_after), ..Pieces::default() };
        let mut run = |pieces: &mut Pieces, file: &mut MemoryFile| {
            file.read_bytes = 0;
            block_on(converter::convert_checkpoint(Inputs::new(file), &vocabulary, &options, pieces, &mut |_| ()))
        };
        assert_eq!(run(&mut pieces, &mut file).unwrap_err().code(), "Cancelled");
        assert_eq!(pieces.put, breaks_after);
        pieces.breaks_after = None;
        assert_eq!(run(&mut pieces, &mut file).unwrap(), whole, "after {breaks_after} pieces");
        assert_eq!(pieces.bytes, whole_pieces.bytes);
        assert_eq!(pieces.put, whole_pieces.put, "no piece is made twice");
        assert!(breaks_after < whole_pieces.put / 2 || file.read_bytes < all_bytes * 3 / 4, "{}", file.read_bytes);
    }
    // A journal of another conversion is noticed by its first piece.
    let mut pieces = Pieces { journal: whole_pieces.journal.clone(), ..Pieces::default() };
    for kept in pieces.journal.values_mut() {
        kept[0].sha256 = "0".repeat(64);
    }
    let again = block_on(converter::convert_checkpoint(
        Inputs::new(&mut file),
        &vocabulary,
        &options,
        &mut pieces,
        &mut |_| (),
    ));
    assert_eq!(again.unwrap(), whole);
    assert_eq!(pieces.bytes, whole_pieces.bytes);
}

#[test]
fn progress_ascends_to_the_end() {
    let mut file = checkpoint(&Family::load("sd1"), Dtype::F16);
    let mut reports: Vec<ConvertProgress> = Vec::new();
    let (mut pieces, vocabulary) = (Pieces::default(), vocabulary());
    let mut on_progress = |progress| reports.push(progress);
    let inputs = Inputs::new(&mut file);
    block_on(converter::convert_checkpoint(inputs, &vocabulary, &options(Scheme::Q8), &mut pieces, &mut on_progress))
        .unwrap();
    assert_eq!(reports[0].done_bytes, 0);
    assert!(reports.windows(2).all(|pair| pair[0].done_bytes <= pair[1].done_bytes));
    let last = reports.last().unwrap();
    assert!(last.done_bytes == last.total_bytes && reports.len() > 8);
}

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

/// A file's tensors as numbers.
fn floats(file: &[u8]) -> BTreeMap<String, Vec<f32>> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    tensors.iter().map(|(name, tensor)| (name.to_owned(), floats_of(&tensor))).collect()
}

fn floats_of(tensor: &safetensors::tensor::TensorView<'_>) -> Vec<f32> {
    match tensor.dtype() {
        Dtype::F16 => {
            let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
            tensor.data().chunks_exact(2).map(half).collect()
        }
        _ => tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
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

fn convert_with_lora(family: &Family, mut lora: MemoryFile) -> fraise_engine::Result<BTreeMap<String, Vec<u8>>> {
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

fn convert_with_embedding(
    family: &str,
    embeddings: &mut [(MemoryFile, Option<&str>)],
) -> fraise_engine::Result<(fraise_engine::pack::Manifest, Pieces)> {
    let mut file = checkpoint(&Family::load(family), Dtype::F16);
    let embeddings =
        embeddings.iter_mut().map(|(file, token)| EmbeddingInput { file, token: token.map(str::to_owned) }).collect();
    convert_with(Inputs { embeddings, ..Inputs::new(&mut file) }, Scheme::F16)
}

fn tokenizer(manifest: &fraise_engine::pack::Manifest, pieces: &Pieces, name: &str) -> ClipTokenizer {
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
        ("Moody", vec![rows]),
        ("moody moody_1 moody_2", vec![rows, rows + 1, rows + 2]),
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
        assert_eq!(tokenizer(&manifest, &pieces, name).encode("two two_1"), [rows as u32, rows as u32 + 1]);
    }
}

#[test]
fn embeddings_that_fit_no_word_or_model_are_refused() {
    let ordinary = ("emb_params", &[1usize, 64][..]);
    let cases: [(&str, &str, &[(&str, &[usize])], Option<&str>); 7] = [
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

/// Converts a checkpoint whose tensors were tampered with.
fn tampered(family: &str, tamper: impl Fn(&mut BTreeMap<String, Tensor>)) -> fraise_engine::Error {
    let mut tensors = Family::load(family).tensors();
    tamper(&mut tensors);
    let mut file = MemoryFile::new("bad.safetensors", serialized(&tensors, Dtype::F32));
    convert(&mut file, Scheme::Q8).map(|_| ()).unwrap_err()
}

#[test]
fn missing_extra_misshapen_and_damaged_tensors_are_named() {
    let conv = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight";
    let cases: [(&str, &str, &str, Box<dyn Fn(&mut BTreeMap<String, Tensor>)>); 6] = [
        ("sd1", "MissingTensor", conv, Box::new(move |tensors| drop(tensors.remove(conv)))),
        (
            "sdxl",
            "MissingTensor",
            "ln_final.bias",
            Box::new(|tensors| drop(tensors.remove("conditioner.embedders.1.model.ln_final.bias"))),
        ),
        (
            "sd1",
            "UnexpectedTensor",
            "control",
            Box::new(|tensors| drop(tensors.insert("model.diffusion_model.control".into(), Tensor::of("c", &[4])))),
        ),
        (
            "sd1",
            "ShapeMismatch",
            conv,
            Box::new(move |tensors| drop(tensors.insert(conv.into(), Tensor::of(conv, &[32, 32, 3, 4])))),
        ),
        (
            "sd2",
            "ShapeMismatch",
            "in_proj_weight",
            Box::new(|tensors| {
                let name = "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight";
                tensors.insert(name.into(), Tensor::of(name, &[128, 64]));
            }),
        ),
        (
            "sd1",
            "Manifest",
            "unet.down_blocks.0.resnets.0.conv1.weight",
            Box::new(move |tensors| {
                tensors.get_mut(conv).unwrap().values[77] = f32::NAN;
            }),
        ),
    ];
    for (family, code, name, tamper) in cases {
        let error = tampered(family, tamper);
        assert!(error.code() == code && error.to_string().contains(name), "{code} {name}: {error}");
    }
}

#[test]
fn what_is_no_complete_text_to_image_checkpoint_is_refused_with_the_reason() {
    let without = |prefix: &'static str| {
        move |tensors: &mut BTreeMap<String, Tensor>| tensors.retain(|name, _| !name.starts_with(prefix))
    };
    let input = "model.diffusion_model.input_blocks.0.0.weight";
    let cases: [(&str, &str, Box<dyn Fn(&mut BTreeMap<String, Tensor>)>); 7] = [
        ("sd1", "no autoencoder", Box::new(without("first_stage_model."))),
        ("sd1", "no text encoder", Box::new(without("cond_stage_model."))),
        ("sdxl", "no second text encoder", Box::new(without("conditioner.embedders.1."))),
        (
            "sd1",
            "inpainting",
            Box::new(move |tensors| drop(tensors.insert(input.into(), Tensor::of(input, &[32, 9, 3, 3])))),
        ),
        (
            "sd1",
            "an autoencoder alone",
            Box::new(|tensors| tensors.retain(|name, _| name.starts_with("first_stage_model."))),
        ),
        (
            "sd1",
            "Flux",
            Box::new(|tensors| {
                tensors.clear();
                let name = "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale";
                tensors.insert(name.into(), Tensor::of(name, &[128]));
            }),
        ),
        (
            "sd1",
            "not known",
            Box::new(|tensors| {
                tensors.clear();
                tensors.insert("w".into(), Tensor::of("w", &[4]));
            }),
        ),
    ];
    for (family, reason, tamper) in cases {
        let error = tampered(family, tamper);
        assert!(error.code() == "Request" && error.to_string().contains(reason), "{reason}: {error}");
    }
}

#[test]
fn damaged_files_and_pickles_are_refused_before_anything_is_written() {
    let good = checkpoint(&Family::load("sd1"), Dtype::F16).bytes;
    let mut overlap = good.clone();
    let second = good.windows(16).enumerate().filter(|(_, window)| window == b"\"data_offsets\":[").nth(1).unwrap().0;
    overlap[second + 16] = b'0';
    let cases = [
        ("cut short", good[..good.len() / 2].to_vec(), "Manifest"),
        ("one byte short", good[..good.len() - 1].to_vec(), "Manifest"),
        ("100 GB header", [&(100u64 << 30).to_le_bytes()[..], &good[8..]].concat(), "Manifest"),
        ("overlap", overlap, "Manifest"),
        ("zipped pickle", b"PK\x03\x04\x00\x00archive/data.pkl".to_vec(), "Request"),
        ("bare pickle", b"\x80\x02}q\x00(X\x05\x00\x00\x00model".to_vec(), "Request"),
        ("empty", Vec::new(), "Manifest"),
    ];
    for (what, bytes, code) in cases {
        let (mut file, mut pieces) = (MemoryFile::new("model.safetensors", bytes), Pieces::default());
        let (vocabulary, options) = (vocabulary(), options(Scheme::Q8));
        let inputs = Inputs::new(&mut file);
        let converting = converter::convert_checkpoint(inputs, &vocabulary, &options, &mut pieces, &mut |_| ());
        let error = block_on(converting).unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
        assert_eq!(error.to_string().contains("is a pickle"), what.contains("pickle"), "{error}");
        assert!(pieces.bytes.is_empty(), "{what}");
    }
}
