//! `manifest.json`, and all that is computed from it before anything is fetched.

use fraise_engine::limits::{DEFAULT_BINDING_BYTES, DeviceLimits};
use fraise_engine::pack::manifest::{MAX_COMPONENTS, MAX_PACK_BYTES, MAX_PHRASE_BYTES, MAX_PIECE_BYTES, is_sha256};
use fraise_engine::pack::{Manifest, Piece};
use fraise_engine::request::{MAX_SIDE_PX, MAX_STEPS};
use fraise_engine::requirements::{ModelShape, Requirements};
use fraise_engine::sampler;
use fraise_engine::text_encoder::ClipTextConfig;
use fraise_engine::tokenizer::TokenizerConfig;
use serde_json::Value;

use crate::common::Random;
use crate::harness::{Input, accepted, corpus, fuzz, turn, within};
use crate::mutate::{mutate_json, mutated, one_in, pick};

const WORDS: [&str; 12] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"unet\":{}",
    "\"format\":1,",
    "\"\\u0000\"",
    "javascript:",
    "\"optional\":true,",
    "null",
];
/// JSON becomes values of at most this many bytes for each of its own.
const BYTES_PER_BYTE: usize = 128;

#[test]
fn manifests() {
    let _turn = turn();
    let seeds = corpus("manifest");
    let documents: Vec<Value> = seeds.iter().filter_map(|seed| serde_json::from_slice(seed).ok()).collect();
    let next = |random: &mut Random| {
        if one_in(random, 4) {
            return Input(mutated(random, &seeds, &WORDS));
        }
        let mut document = pick(random, &documents).clone();
        mutate_json(random, &mut document);
        if !one_in(random, 4) {
            add_up(&mut document);
        }
        Input(serde_json::to_vec(&document).unwrap())
    };
    fuzz("manifest", seeds.iter().cloned().map(Input).collect(), next, |Input(bytes)| {
        let limit = (64 << 10) + BYTES_PER_BYTE * bytes.len();
        let Some(manifest) = accepted(within(limit, || Manifest::parse(bytes)), &["Manifest"]) else { return false };
        keeps_the_rules(&manifest);
        let again = Manifest::parse(&manifest.to_bytes().unwrap()).unwrap();
        assert_eq!(listed(&again), listed(&manifest));
        within(limit + (1 << 20), || plan(&manifest));
        true
    });
}

/// What is fetched and stored. (Of a configuration's fractions, serde_json's fast reading may miss the last bit.)
fn listed(manifest: &Manifest) -> Vec<(&str, &[Piece], bool)> {
    manifest.components.iter().map(|(name, part)| (name.as_str(), part.pieces.as_slice(), part.optional)).collect()
}

/// What the documentation promises of a manifest that was accepted.
fn keeps_the_rules(manifest: &Manifest) {
    assert!(manifest.components.len() <= MAX_COMPONENTS && manifest.total_bytes <= MAX_PACK_BYTES);
    for (name, component) in &manifest.components {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
        assert!(component.pieces.iter().all(|piece| is_sha256(&piece.sha256)));
        assert!(component.pieces.iter().all(|piece| (1..=MAX_PIECE_BYTES).contains(&piece.bytes)));
        assert_eq!(component.pieces.iter().map(|piece| piece.bytes).sum::<u64>(), component.bytes);
    }
    assert_eq!(manifest.components.values().map(|component| component.bytes).sum::<u64>(), manifest.total_bytes);
    let recommended = manifest.recommended;
    assert!((1..=MAX_STEPS).contains(&recommended.steps) && recommended.guidance.is_finite());
    assert!([recommended.width, recommended.height].iter().all(|side| (1..=MAX_SIDE_PX).contains(side)));
    if let Some(phrase) = &manifest.negative_phrase {
        assert!(phrase.len() <= MAX_PHRASE_BYTES && !phrase.trim().is_empty());
        assert!(!phrase.chars().any(char::is_control));
    }
    assert!(manifest.required_pieces().len() <= manifest.components.values().map(|part| part.pieces.len()).sum());
}

/// What a host computes from the manifest alone, for the largest picture too.
fn plan(manifest: &Manifest) {
    let codes = ["Manifest", "DeviceLimit", "OutOfMemory", "Request"];
    let limits = DeviceLimits { binding_bytes: DEFAULT_BINDING_BYTES, memory_bytes: Some(1 << 30) };
    if let Some(shape) = accepted(ModelShape::of(manifest), &codes) {
        let largest = shape.requirements(MAX_SIDE_PX, MAX_SIDE_PX, &limits);
        accepted(largest.check(), &codes);
        shape.decoding_bytes(&limits);
    }
    if let Some(needed) = accepted(Requirements::recommended(manifest, &limits), &codes) {
        let checks = [needed.check(), needed.check_encoding(), needed.check_upscaling(), needed.check_scoring()];
        for check in checks {
            accepted(check, &codes);
        }
    }
    if let Some(config) = accepted(manifest.scheduler_config(), &codes) {
        for name in sampler::NAMES.into_iter().map(Some).chain([None]) {
            if let Some(sampler) = accepted(sampler::from_config(name, &config, 4), &codes) {
                assert!(sampler.timesteps().len() <= 4 * 4);
            }
        }
    }
    accepted(manifest.config::<ClipTextConfig>("text_encoder"), &codes);
    accepted(TokenizerConfig::from_json(&manifest.components["tokenizer"].config), &codes);
}

/// Makes the lengths add up again, so that what else is wrong is reached.
fn add_up(manifest: &mut Value) {
    let Some(components) = manifest.get_mut("components").and_then(Value::as_object_mut) else { return };
    let mut total_bytes = 0u64;
    for component in components.values_mut().filter_map(Value::as_object_mut) {
        let Some(pieces) = component.get("pieces").and_then(Value::as_array) else { continue };
        let lengths = pieces.iter().filter_map(|piece| piece.get("bytes").and_then(Value::as_u64));
        let bytes = lengths.fold(0, u64::saturating_add);
        component.insert("bytes".to_owned(), bytes.into());
        total_bytes = total_bytes.saturating_add(bytes);
    }
    manifest["total_bytes"] = total_bytes.into();
}
