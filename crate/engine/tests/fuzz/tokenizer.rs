//! The tokenizer: any text with a good vocabulary, and any vocabulary.

use std::path::Path;

use fraise_engine::request::MAX_PROMPT_BYTES;
use fraise_engine::tokenizer::{ClipTokenizer, TokenizerConfig};
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::common::Random;
use crate::harness::{accepted, fuzz, turn, within};
use crate::mutate::{mutate_json, mutated, one_in, pick};

const TEXTS: [&str; 10] = [
    "a strawberry island under a starry sky, it's 1024px!!",
    "星空下的草莓小岛",
    "<|startoftext|>cat<|ENDOFTEXT|> <|endoftext|",
    "<cat-toy> <cat-toy>_1 a<word>b <word> ﬁ",
    "e\u{301}\u{327} İSTANBUL ΣΑΣ नमस्ते",
    "\u{200d}👩\u{200d}🍓\u{fe0f}\u{a0}\u{3000}\u{0}\u{7f}",
    "١٢٣ ⅻ ²³ '''s'S'LL're",
    "strawstrawstrawstraw",
    "\u{1100}\u{1161}\u{11a8}\u{ac00}",
    "",
];
const PARTS: [&str; 16] = [
    "<|startoftext|>",
    "<|endoftext|>",
    "<cat-toy>",
    "<word>",
    "<WORD>",
    "'s",
    "\u{301}",
    "\u{300}\u{327}",
    "🍓",
    "\u{3000}",
    "草",
    "ß",
    "İ",
    "1",
    ", ",
    "</w>",
];
/// Vectors of the one textual inversion that has several.
const VECTORS: usize = 3;

fn tokenizer() -> ClipTokenizer {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens");
    let [vocab, merges] =
        ["vocab.json", "merges.txt"].map(|name| std::fs::read(goldens.join(format!("tokenizer_{name}"))).unwrap());
    let added = |content: &str, normalized: bool, single_word: bool| json!({ "content": content, "normalized": normalized, "single_word": single_word });
    let config = json!({ "model_max_length": 77, "added_tokens_decoder": {
        "90000": added("<cat-toy>", false, false),
        "90001": added("<cat-toy>_1", false, false),
        "90002": added("<cat-toy>_2", false, false),
        "90003": added("<Word>", true, true),
    } });
    ClipTokenizer::from_files(&vocab, &merges, &TokenizerConfig::from_json(&config).unwrap()).unwrap()
}

#[test]
fn texts() {
    let _turn = turn();
    let tokenizer = tokenizer();
    let seeds: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let next = |random: &mut Random| {
        let mut text = String::from_utf8_lossy(&mutated(random, &seeds, &PARTS)).into_owned();
        for _ in 0..random.between(0, 6) {
            let top = *pick(random, &[0x80, 0x600, 0x3000, 0x1_0000, 0x11_0000]);
            let character = char::from_u32(random.between(0, top - 1) as u32).unwrap_or('\u{fffd}');
            text.insert(text.floor_char_boundary(random.between(0, text.len())), character);
        }
        text.truncate(text.floor_char_boundary(MAX_PROMPT_BYTES));
        text
    };
    let corpus = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    fuzz("tokenizer", corpus, next, |text| {
        // Case and composition make a text up to three times as long, and each byte becomes a candidate of a merge.
        let ids = within((64 << 10) + 512 * text.len(), || tokenizer.encode(text));
        assert!(ids.len() <= 3 * VECTORS * text.len());
        assert!(ids.iter().all(|&id| id <= tokenizer.max_id()));
        let padded = tokenizer.encode_padded(text);
        assert_eq!(padded.ids.len(), tokenizer.max_length());
        assert_eq!(padded.truncated_tokens, ids.len().saturating_sub(tokenizer.max_length() - 2));
        let said = tokenizer.decode(&ids);
        if text.contains('<') {
            return false; // perhaps a token of its own, which says something else
        }
        assert_eq!(letters(&said), letters(&text.nfc().flat_map(char::to_lowercase).collect::<String>()));
        true
    });
}

fn letters(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}

/// A vocabulary, merges, and a configuration.
#[derive(Debug)]
struct Files {
    vocab: String,
    merges: String,
    config: Value,
}

#[test]
fn files() {
    let _turn = turn();
    let whole = || Files {
        vocab: r#"{"a":0,"b":1,"c</w>":2,"ab":3,"abc</w>":4,"<|startoftext|>":5,"<|endoftext|>":6,"aab":7}"#.to_owned(),
        merges: "#version: 0.2\na b\nab c</w>\na ab\n".to_owned(),
        config: json!({ "model_max_length": 77, "pad_token": { "content": "aab", "normalized": true },
            "added_tokens_decoder": { "8": { "content": "<A>", "single_word": true }, "9": { "content": "<A>_1" } } }),
    };
    let corpus = vec![
        whole(),
        // A pair that becomes one of its halves.
        Files {
            vocab: r#"{"a":0,"b":1,"ab":0,"<|startoftext|>":5,"<|endoftext|>":6}"#.to_owned(),
            merges: "a b\n".to_owned(),
            config: json!({ "model_max_length": 77 }),
        },
        Files {
            vocab: r#"{"":3,"a":0,"b":1,"<|startoftext|>":5,"<|endoftext|>":6}"#.to_owned(),
            merges: " a\n".to_owned(),
            config: json!({ "model_max_length": 77 }),
        },
    ];
    let next = |random: &mut Random| {
        let Files { mut vocab, mut merges, mut config } = whole();
        if one_in(random, 2) {
            let words = ["\"\":0,", "\"aa\":1,", "\"b\":0,", "\"ba\":4294967295,", "\"\\u0000\":3,", "ab"];
            vocab = text(mutated(random, &[vocab.into_bytes()], &words));
        }
        if one_in(random, 2) {
            let words = ["a b\n", "a a\n", " ", "\n", "ab a\n", "a  b\n", " a\n", "a \n", "aab aab\n"];
            merges = text(mutated(random, &[merges.into_bytes()], &words));
        }
        if one_in(random, 2) {
            mutate_json(random, &mut config);
        }
        Files { vocab, merges, config }
    };
    fuzz("tokenizer files", corpus, next, |Files { vocab, merges, config }| {
        let bytes = vocab.len() + merges.len() + config.to_string().len();
        let limit = (64 << 10) + 128 * bytes;
        let Some(config) = accepted(TokenizerConfig::from_json(config), &["Manifest"]) else { return false };
        let made = within(limit, || ClipTokenizer::from_files(vocab.as_bytes(), merges.as_bytes(), &config));
        let Some(tokenizer) = accepted(made, &["Manifest"]) else { return false };
        for text in ["aabc abab <A> b<a>b", "", "草莓 ab"] {
            let ids = within(limit, || tokenizer.encode(text));
            assert!(ids.iter().all(|&id| id <= tokenizer.max_id()));
            assert_eq!(tokenizer.encode_padded(text).ids.len(), tokenizer.max_length());
            let said = within(limit, || tokenizer.decode(&ids));
            assert!(said.len() <= ids.len() * bytes, "{} bytes for {} tokens", said.len(), ids.len());
        }
        true
    });
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
