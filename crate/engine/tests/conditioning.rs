//! Text conditioning from a pack: one text encoder or SDXL's two, what is cut off, and packs that do not fit together.
//!
//! The numbers themselves are compared in `parity.rs`; here they pass through a pack.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod small_pack;

use std::path::Path;

use burn::tensor::Device;
use fraise_engine::conditioning::{Negative, TextConditioner, Words};
use fraise_engine::pack::{Component, TensorInfo};
use fraise_engine::request::{PromptSyntax, Truncated};
use fraise_engine::store::{MemoryStore, Sha2Digest, Store};
use fraise_engine::weights::Scheme;
use fraise_engine::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use small_pack::SmallPack;

const PROMPT: &str = "a photo of the red strawberry";
const NEGATIVE: &str = "blurry, low quality";

fn read(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens").join(path)).unwrap()
}

fn golden(case: &str, tensor: &str) -> (Vec<usize>, Vec<f32>) {
    let file = read(&format!("tiny_sdxl_text/golden/{case}.safetensors"));
    let file = SafeTensors::deserialize(&file).unwrap();
    let view = file.tensor(tensor).unwrap();
    (view.shape().to_vec(), view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
}

type Tensors = Vec<(TensorInfo, Vec<u8>)>;

fn tokenizer_files(folder: &str) -> Tensors {
    let file = |name: &str| {
        let content = read(&format!("{folder}/{name}"));
        let info = TensorInfo { name: name.into(), dtype: Dtype::U8, shape: vec![content.len()], bytes: content.len() };
        (info, content)
    };
    ["merges.txt", "vocab.json"].map(file).to_vec()
}

fn weights(folder: &str) -> Tensors {
    let file = read(&format!("{folder}/model.safetensors"));
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView)| {
        let (shape, bytes) = (view.shape().to_vec(), view.data().len());
        (TensorInfo { name: name.into(), dtype: view.dtype(), shape, bytes }, view.data().to_vec())
    };
    SafeTensors::deserialize(&file).unwrap().iter().map(tensor).collect()
}

fn put(pack: &mut SmallPack, name: &str, config: Value, tensors: &Tensors) {
    let written = small_pack::write(name, Scheme::F16, tensors, &mut pack.pieces).unwrap();
    let component = Component { config, pieces: written.pieces, bytes: written.bytes, optional: false };
    pack.manifest.components.insert(name.to_owned(), component);
    pack.manifest.total_bytes = pack.manifest.components.values().map(|component| component.bytes).sum();
}

fn config(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// A pack with SDXL's text half; the rest is of no use.
fn sdxl_pack() -> SmallPack {
    let mut pack = small_pack::small_pack(Scheme::F16);
    for (name, folder) in [("tokenizer", "tiny_sd/tokenizer"), ("tokenizer_2", "tiny_lcm/tokenizer")] {
        put(&mut pack, name, config(&format!("{folder}/tokenizer_config.json")), &tokenizer_files(folder));
    }
    let encoders = [("text_encoder", "tiny_sd/text_encoder"), ("text_encoder_2", "tiny_sdxl_text/text_encoder_2")];
    for (name, folder) in encoders {
        put(&mut pack, name, config(&format!("{folder}/config.json")), &weights(folder));
    }
    pack
}

/// The conditioner of a pack, and what it said of each component: name, and bytes on the device.
fn load(pack: &SmallPack) -> Result<(TextConditioner, Vec<(String, u64)>)> {
    pollster::block_on(async {
        let store = MemoryStore::default();
        for (name, bytes) in &pack.pieces {
            store.put(name, bytes.clone()).await?;
        }
        let mut loaded = Vec::new();
        let mut on_loaded = |name: &str, bytes: u64| loaded.push((name.to_owned(), bytes));
        let device = Device::flex();
        let conditioner = TextConditioner::load(&pack.manifest, &store, &Sha2Digest, &device, &mut on_loaded).await?;
        Ok((conditioner, loaded))
    })
}

fn assert_golden(found: Vec<f32>, case: &str, tensor: &str) {
    let (error, scale) = common::difference(&found, &golden(case, tensor).1);
    assert!(error <= 1e-4 * scale, "{case}.{tensor}: {error} where the scale is {scale}");
}

#[test]
fn a_pack_with_two_text_encoders_conditions_as_sdxl_does() {
    let pack = sdxl_pack();
    let (conditioner, loaded) = load(&pack).unwrap();
    let names: Vec<&str> = loaded.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, TextConditioner::components(&pack.manifest));
    assert!(loaded.iter().all(|(name, bytes)| (*bytes > 0) == name.starts_with("text_encoder")), "{loaded:?}");
    assert_eq!((conditioner.context_width(), conditioner.pooled_width()), (64, Some(24)));
    let found = conditioner.encode(Negative::Prompt(NEGATIVE), PROMPT, PromptSyntax::Plain).unwrap();
    assert_eq!(found.context.dims(), [2, 77, 64]);
    assert_golden(common::read(found.context), "sdxl_plain", "context");
    assert_golden(common::read(found.pooled.unwrap()), "sdxl_plain", "pooled");
}

#[test]
fn no_negative_prompt_is_zeros_where_the_pack_does_not_say_otherwise() {
    let mut pack = sdxl_pack();
    for (flag, case) in [
        (None, "sdxl_no_negative"),
        (Some(json!(true)), "sdxl_no_negative"),
        (Some(json!(false)), "sdxl_negative_not_zeroed"),
    ] {
        let config = &mut pack.manifest.components.get_mut("text_encoder_2").unwrap().config;
        if let Some(flag) = flag {
            config["force_zeros_for_empty_prompt"] = flag;
        }
        let found = load(&pack).unwrap().0.encode(Negative::Unspecified, PROMPT, PromptSyntax::Plain).unwrap();
        assert_golden(common::read(found.context), case, "context");
        assert_golden(common::read(found.pooled.unwrap()), case, "pooled");
    }
    // An empty negative prompt is one, but not to AUTOMATIC1111.
    let (conditioner, _) = load(&sdxl_pack()).unwrap();
    let found = conditioner.encode(Negative::Prompt(""), PROMPT, PromptSyntax::Plain).unwrap();
    assert_golden(common::read(found.context), "sdxl_negative_not_zeroed", "context");
    let found = conditioner.encode(Negative::Prompt(""), PROMPT, PromptSyntax::A1111).unwrap();
    assert_golden(common::read(found.context), "sdxl_no_negative", "context");
    // An empty prompt is not a negative prompt.
    let found = load(&sdxl_pack()).unwrap().0.encode(Negative::Unguided, "", PromptSyntax::Plain).unwrap();
    assert!(common::read(found.context).iter().all(|value| *value != 0.0));
}

#[test]
fn a_pack_with_one_text_encoder_has_nothing_pooled() {
    let mut pack = sdxl_pack();
    pack.manifest.components.retain(|name, _| !name.ends_with("_2"));
    let (conditioner, loaded) = load(&pack).unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!((conditioner.context_width(), conditioner.pooled_width()), (32, None));
    for (negative, batch) in [(Negative::Unguided, 1), (Negative::Unspecified, 2), (Negative::Prompt(""), 2)] {
        let found = conditioner.encode(negative, PROMPT, PromptSyntax::Plain).unwrap();
        assert_eq!((found.context.dims(), found.pooled.is_some()), ([batch, 77, 32], false));
        assert!(common::read(found.context).iter().all(|value| *value != 0.0), "zeros are SDXL's");
    }
}

#[test]
fn a_short_prompt_without_weights_is_the_same_in_both_syntaxes() {
    let (conditioner, _) = load(&sdxl_pack()).unwrap();
    let [plain, a1111] = [PromptSyntax::Plain, PromptSyntax::A1111]
        .map(|syntax| conditioner.encode(Negative::Prompt(NEGATIVE), PROMPT, syntax).unwrap())
        .map(|found| (common::read(found.context), common::read(found.pooled.unwrap())));
    assert_eq!(plain, a1111);
}

#[test]
fn what_finds_no_room_is_told() {
    let (conditioner, _) = load(&sdxl_pack()).unwrap();
    let told = |text: &str, syntax| conditioner.truncation(Negative::Unguided, text, syntax).unwrap();
    let long = "a photo, ".repeat(25) + "of the Red sea";
    let cut = Truncated { field: "prompt".into(), tokens: 4, text: "of the red sea".into() };
    assert_eq!(told(&long, PromptSyntax::Plain), [cut]);
    assert_eq!(told(&"a photo, ".repeat(25), PromptSyntax::Plain), [], "75 tokens fit");
    assert_eq!(told(&long, PromptSyntax::A1111), []);
    let very_long = "sea ".repeat(75 * 32) + "(of: 1.2) grass";
    let cut = Truncated { field: "prompt".into(), tokens: 2, text: "of grass".into() };
    assert_eq!(told(&very_long, PromptSyntax::A1111), [cut]);
    assert_eq!(
        conditioner.encode(Negative::Unguided, very_long.as_str(), PromptSyntax::A1111).unwrap().context.dims(),
        [1, 77 * 32, 64]
    );
    let deep = conditioner.truncation(Negative::Prompt(&"(".repeat(99)), "p", PromptSyntax::A1111);
    assert!(matches!(deep, Err(Error::Request { field, .. }) if field == "negative"));
}

/// A conditioner whose pack says what is to be left out behind the word "of", which is one token.
fn speaking() -> TextConditioner {
    let mut pack = sdxl_pack();
    pack.manifest.negative_phrase = Some(" of ".into());
    load(&pack).unwrap().0
}

fn numbers(conditioner: &TextConditioner, negative: Negative, words: Words, syntax: PromptSyntax) -> [Vec<f32>; 2] {
    let found = conditioner.encode(negative, words, syntax).unwrap();
    [common::read(found.context), common::read(found.pooled.unwrap())]
}

#[test]
fn what_is_to_be_left_out_is_said_in_the_prompt() {
    let conditioner = speaking();
    for syntax in [PromptSyntax::Plain, PromptSyntax::A1111] {
        for negative in [Negative::Unguided, Negative::Unspecified, Negative::Prompt("")] {
            let [said, typed, unsaid] = [
                conditioner.words(PROMPT, Some("the sea, grass")),
                format!("{PROMPT} of the sea, grass").as_str().into(),
                conditioner.words(PROMPT, None),
            ]
            .map(|words| numbers(&conditioner, negative, words, syntax));
            assert!(said == typed && said != unsaid, "{negative:?}, {syntax:?}");
        }
    }
    // Weights count, brackets end with their own text, and each chunk says that its words are to be left out.
    for (prompt, negative, typed) in [
        ("a (photo:1.2)", "(sea:1.3), [red]", "a (photo:1.2) of (sea:1.3), [red]"),
        ("a (photo", "sea) red", "a (photo:1.1) of sea\\) red"),
        ("a photo\\", "(sea", "a photo of (sea:1.1)"),
        ("a photo BREAK red", "sea BREAK the grass", "a photo BREAK red of sea BREAK of the grass"),
        ("a photo", "BREAK sea", "a photo BREAK of sea"),
    ] {
        let [said, typed] = [conditioner.words(prompt, Some(negative)), typed.into()]
            .map(|words| numbers(&conditioner, Negative::Unguided, words, PromptSyntax::A1111));
        assert!(said == typed, "{prompt} / {negative}");
    }
    assert_eq!(conditioner.words(PROMPT, Some(" \n")), PROMPT.into(), "nothing to leave out");
    assert_eq!(load(&sdxl_pack()).unwrap().0.words(PROMPT, Some("sea")), PROMPT.into(), "nothing to say it with");
}

#[test]
fn what_is_to_be_left_out_and_finds_no_room_is_told_as_such() {
    let conditioner = speaking();
    let cut = |field: &str, tokens, text: &str| Truncated { field: field.into(), tokens, text: text.into() };
    let (plain, a1111) = (PromptSyntax::Plain, PromptSyntax::A1111);
    for (photos, end, syntax, expected, read_as) in [
        (24, "", plain, vec![cut("negative", 1, "sea")], "of the red"),
        (24, "red", plain, vec![cut("negative", 2, "red sea")], "red of the"),
        (25, "", plain, vec![cut("negative", 3, "the red sea")], ""),
        (24, "of grass", plain, vec![cut("negative", 3, "the red sea")], "of grass"),
        (25, "grass", plain, vec![cut("prompt", 1, "grass"), cut("negative", 3, "the red sea")], ""),
        (24, "", a1111, vec![], "of the red BREAK of sea"),
        (24, "of grass", a1111, vec![], "of grass BREAK of the red sea"),
    ] {
        let prompt = "a photo, ".repeat(photos);
        let (asked, read_as) = (format!("{prompt}{end}"), format!("{prompt}{read_as}"));
        let words = conditioner.words(&asked, Some("the red sea"));
        assert_eq!(conditioner.truncation(Negative::Unspecified, words, syntax).unwrap(), expected, "{photos}, {end}");
        let [said, typed] =
            [words, read_as.as_str().into()].map(|words| numbers(&conditioner, Negative::Unguided, words, syntax));
        assert!(said == typed, "{photos}, {end}, {syntax:?}");
    }
    // Beyond the last chunk, the repeated phrase is nobody's text.
    let prompt = "sea ".repeat(75 * 31 + 70);
    let words = conditioner.words(&prompt, Some("the red photo BREAK sea grass"));
    let found = conditioner.truncation(Negative::Unguided, words, a1111).unwrap();
    assert_eq!(found, [cut("negative", 2, "sea grass")]);
}

#[test]
fn a_phrase_that_leaves_no_room_for_words_is_refused() {
    let mut pack = sdxl_pack();
    pack.manifest.components.retain(|name, _| !name.ends_with("_2"));
    pack.manifest.negative_phrase = Some("of the red".into());
    for (max_length, fits) in [(6, true), (5, false), (2, false)] {
        pack.manifest.components.get_mut("tokenizer").unwrap().config["model_max_length"] = json!(max_length);
        match load(&pack) {
            Ok(_) => assert!(fits, "{max_length}"),
            Err(Error::Manifest { field, .. }) => assert!(!fits && field == "negative_phrase", "{max_length}: {field}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn parts_that_do_not_fit_together_are_named() {
    type Edit = fn(&mut SmallPack);
    fn set(pack: &mut SmallPack, component: &str, field: &str, value: Value) {
        pack.manifest.components.get_mut(component).unwrap().config[field] = value;
    }
    let cases: [(Edit, &str); 9] = [
        (|pack| drop(pack.manifest.components.remove("tokenizer_2")), "components.tokenizer_2"),
        (
            |pack| set(pack, "tokenizer_2", "model_max_length", json!(20)),
            "components.tokenizer_2.config.model_max_length",
        ),
        (|pack| set(pack, "tokenizer_2", "pad_token", json!("<pad>")), "components.tokenizer_2.config"),
        (|pack| set(pack, "tokenizer_2", "pad_token", json!(5)), "components.tokenizer_2.config"),
        (|pack| set(pack, "text_encoder_2", "hidden_size", json!(0)), "components.text_encoder_2.config.hidden_size"),
        (
            |pack| set(pack, "text_encoder_2", "projection_dim", json!(1 << 20)),
            "components.text_encoder_2.config.projection_dim",
        ),
        (|pack| set(pack, "text_encoder_2", "eos_token_id", json!("end")), "components.text_encoder_2.config"),
        (
            |pack| set(pack, "text_encoder", "use_attention_mask", json!(true)),
            "components.text_encoder.config.use_attention_mask",
        ),
        (
            |pack| set(pack, "text_encoder_2", "force_zeros_for_empty_prompt", json!("yes")),
            "components.text_encoder_2.config.force_zeros_for_empty_prompt",
        ),
    ];
    for (edit, expected) in cases {
        let mut pack = sdxl_pack();
        edit(&mut pack);
        match load(&pack).map(|_| ()) {
            Err(Error::Manifest { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let mut pack = sdxl_pack();
    set(&mut pack, "text_encoder_2", "projection_dim", json!(16));
    assert!(
        matches!(load(&pack), Err(Error::ShapeMismatch { name, .. }) if name == "text_encoder_2.text_projection.weight")
    );

    // The encoder without its projection, and the projection where there is none.
    let mut pack = sdxl_pack();
    let mut tensors = weights("tiny_sdxl_text/text_encoder_2");
    let projection = tensors.iter().position(|(info, _)| info.name == "text_projection.weight").unwrap();
    let projection = tensors.remove(projection);
    put(&mut pack, "text_encoder_2", config("tiny_sdxl_text/text_encoder_2/config.json"), &tensors);
    assert!(
        matches!(load(&pack), Err(Error::MissingTensor { name }) if name == "text_encoder_2.text_projection.weight")
    );
    let mut pack = sdxl_pack();
    let mut tensors = weights("tiny_sd/text_encoder");
    tensors.push(projection);
    put(&mut pack, "text_encoder", config("tiny_sd/text_encoder/config.json"), &tensors);
    load(&pack).unwrap();
}
