//! The tokenizer against transformers' `CLIPTokenizer`; goldens by `tests/parity/make_tokenizer.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where a golden is malformed")]

use std::path::Path;
use std::time::{Duration, Instant};

use fraise_engine::Error;
use fraise_engine::tokenizer::{ClipTokenizer, Encoded, TokenizerConfig};

#[derive(serde::Deserialize)]
struct Golden {
    groups: Vec<Group>,
}

#[derive(serde::Deserialize)]
struct Group {
    name: String,
    config: serde_json::Value,
    special: Special,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Special {
    bos: u32,
    eos: u32,
    pad: u32,
}

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    kept: Option<usize>,
    padding: Option<usize>,
    /// What the tokens that found no room say.
    removed: Option<String>,
}

fn goldens() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/parity/goldens"))
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(format!("tokenizer_{name}"))).unwrap()
}

/// Every text whose ids differ from transformers', as a line of the report.
fn differences(folder: &Path) -> (usize, Vec<String>) {
    let golden: Golden = serde_json::from_slice(&read(folder, "cases.json")).unwrap();
    let (mut compared, mut differing) = (0, Vec::new());
    for Group { name, config, special, cases } in golden.groups {
        let config = TokenizerConfig::from_json(&config).unwrap();
        let tokenizer =
            ClipTokenizer::from_files(&read(folder, "vocab.json"), &read(folder, "merges.txt"), &config).unwrap();
        assert_eq!(
            [tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()],
            [special.bos, special.eos, special.pad],
            "{name}"
        );
        for case in cases {
            compared += 1;
            let ids = tokenizer.encode(&case.text);
            if ids != case.ids {
                differing.push(format!("{name}: {:?}: {ids:?} where transformers has {:?}", case.text, case.ids));
                continue;
            }
            let (Some(kept), Some(padding)) = (case.kept, case.padding) else { continue };
            let mut expected = vec![special.bos];
            expected.extend(&case.ids[..kept]);
            expected.push(special.eos);
            expected.extend(std::iter::repeat_n(special.pad, padding));
            let truncated_tokens = case.ids.len() - kept;
            let removed = (truncated_tokens > 0).then(|| tokenizer.decode(&case.ids[kept..]));
            assert_eq!(removed, case.removed, "{:?}", case.text);
            assert_eq!(
                tokenizer.encode_padded(&case.text),
                Encoded { ids: expected, truncated_tokens },
                "{:?}",
                case.text
            );
        }
    }
    (compared, differing)
}

#[test]
fn equals_transformers() {
    let (compared, differing) = differences(goldens());
    assert!(compared > 400, "{compared} texts");
    assert!(differing.is_empty(), "{} of {compared} differ:\n{}", differing.len(), differing.join("\n"));
}

/// `make_tokenizer.py --clip` says how to make the goldens of CLIP's whole vocabulary, which is too big to keep.
#[test]
#[ignore = "needs FRAISE_CLIP_GOLDENS, the folder made by make_tokenizer.py --clip"]
fn equals_transformers_on_the_whole_clip_vocabulary() {
    let folder = std::env::var("FRAISE_CLIP_GOLDENS").unwrap();
    let (compared, differing) = differences(Path::new(&folder));
    assert!(compared > 6_000, "{compared} texts");
    assert!(differing.is_empty(), "{} of {compared} differ:\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn a_long_word_takes_no_longer_than_many_short_ones() {
    let config = TokenizerConfig::default().capped(77);
    let tokenizer =
        ClipTokenizer::from_files(&read(goldens(), "vocab.json"), &read(goldens(), "merges.txt"), &config).unwrap();
    for text in ["straw".repeat(200_000), "a".repeat(1_000_000), "!".repeat(1_000_000), "'s".repeat(500_000)] {
        let start = Instant::now();
        assert_eq!(tokenizer.encode_padded(&text).ids.len(), 77);
        // A megabyte in well under a second even unoptimised; quadratic work would take hours.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {}…", start.elapsed(), &text[..5]);
    }
}

#[test]
fn malformed_files_are_named() {
    const VOCAB: &str = r#"{"a":0,"b":1,"ab":2,"<|startoftext|>":3,"<|endoftext|>":4}"#;
    let config = TokenizerConfig::default().capped(77);
    assert!(ClipTokenizer::from_files(VOCAB.as_bytes(), b"#version: 0.2\na b\n", &config).is_ok());
    let long = TokenizerConfig::default();
    let short = TokenizerConfig::default().capped(1);
    let pad = TokenizerConfig::from_json(&serde_json::json!({"pad_token": "<pad>", "model_max_length": 77})).unwrap();
    let empty = serde_json::json!({"added_tokens_decoder": {"3": {"content": ""}}, "model_max_length": 77});
    let empty = TokenizerConfig::from_json(&empty).unwrap();
    let cases: [(&str, &[u8], &TokenizerConfig, &str); 14] = [
        ("", b"", &config, "components.tokenizer.vocab.json"),
        ("[]", b"", &config, "components.tokenizer.vocab.json"),
        (r#"{"a":-1}"#, b"", &config, "components.tokenizer.vocab.json"),
        (r#"{"a":99999999999}"#, b"", &config, "components.tokenizer.vocab.json"),
        (r#"{"a":0}"#, b"", &config, "components.tokenizer.config"),
        (
            r#"{"a":0,"b":1,"ab":0,"<|startoftext|>":3,"<|endoftext|>":4}"#,
            b"a b\n",
            &config,
            "components.tokenizer.vocab.json",
        ),
        (VOCAB, b" a\n", &config, "components.tokenizer.merges.txt"),
        (VOCAB, b"a b c\n", &config, "components.tokenizer.merges.txt"),
        (VOCAB, b"ab\n", &config, "components.tokenizer.merges.txt"),
        (VOCAB, b"a c\n", &config, "components.tokenizer.merges.txt"),
        (VOCAB, b"a a\n", &config, "components.tokenizer.merges.txt"),
        (VOCAB, b"\xff\xfe", &config, "components.tokenizer.merges.txt"),
        (VOCAB, b"", &pad, "components.tokenizer.config"),
        (VOCAB, b"", &empty, "components.tokenizer.config"),
    ];
    let lengths =
        [&long, &short].map(|config| (VOCAB, &b""[..], config, "components.tokenizer.config.model_max_length"));
    for (vocab, merges, config, expected) in cases.into_iter().chain(lengths) {
        match ClipTokenizer::from_files(vocab.as_bytes(), merges, config) {
            Err(Error::Manifest { field, .. }) => assert_eq!(field, expected, "{vocab} {merges:?}"),
            other => panic!("{vocab} {merges:?}: {other:?}"),
        }
    }
    for json in
        [serde_json::json!([]), serde_json::json!({"pad_token": 5}), serde_json::json!({"model_max_length": "77"})]
    {
        assert!(matches!(TokenizerConfig::from_json(&json), Err(Error::Manifest { .. })), "{json}");
    }
}
