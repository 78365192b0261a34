//! Textual inversion: new words with vectors of their own.
//!
//! A file's vectors become further rows of the text encoder's token table. Its word becomes a token of the tokenizer,
//! with the id of its row: an entry in `vocab.json`, and one in `added_tokens_decoder` of the tokenizer's configuration
//! (`{"49408": {"content": "<cat>", "normalized": true, "special": false, …}}`), as transformers' `add_tokens` makes it.
//! A word of several vectors is several tokens, `<cat>`, `<cat>_1`, `<cat>_2`, …; a prompt's `<cat>` stands for all of
//! them in that order, as diffusers' `maybe_convert_prompt` has it.
//!
//! Source: Gal et al., *An Image is Worth One Word* (2022); diffusers 0.42.1 `loaders/textual_inversion.py`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::file::SafetensorsFile;
use super::plan::{Content, Plan, PlannedComponent};
use super::vocabulary::vocab_json;
use super::{ByteSource, stem};
use crate::{Error, Result};

/// Most vectors of one word.
const MAX_VECTORS: usize = 128;
/// Longest word, in bytes.
const MAX_TOKEN_BYTES: usize = 128;
/// Names by which A1111's and similar files call the vectors for the first text encoder, then for the second.
const FIRST_NAMES: [&str; 4] = ["clip_l", "emb_params", "string_to_param.*", "*"];
const SECOND_NAMES: [&str; 1] = ["clip_g"];

/// Adds a file's vectors to a plan under `token`, or under the name that the file has for them.
///
/// # Errors
/// [`Error::Request`] for a file that is no embedding or fits another model, and for a word that cannot be used.
pub async fn add<B: ByteSource>(plan: &mut Plan, file: &mut SafetensorsFile<B>, token: Option<&str>) -> Result<()> {
    let found = vectors(file)?;
    let token = match token.or(found.token.as_deref()) {
        Some(token) => token.to_owned(),
        None => stem(file.name()).to_owned(),
    };
    check_token(&token)?;
    let has_second = plan.component("text_encoder_2").is_some();
    let file_name = file.name().to_owned();
    let wrong = |reason: &str| Error::request("embedding", format!("{file_name} {reason}"));
    let parts = match (has_second, found.second) {
        (false, None) => vec![("text_encoder", "tokenizer", found.first)],
        (true, Some(second)) => {
            vec![("text_encoder", "tokenizer", found.first), ("text_encoder_2", "tokenizer_2", second)]
        }
        (true, None) => return Err(wrong("was made for a model with one text encoder; SDXL needs clip_l and clip_g")),
        (false, Some(_)) => return Err(wrong("was made for SDXL; this model has one text encoder")),
    };
    for (encoder, tokenizer, name) in parts {
        let shape = file.get(&name).map(|place| place.info.shape.clone()).unwrap_or_default();
        let vectors = file.numbers(&name).await?;
        let ids = add_rows(plan, encoder, &shape, vectors, &wrong)?;
        let Some(tokenizer) = plan.component_mut(tokenizer) else { return Err(wrong("needs a tokenizer")) };
        add_tokens(tokenizer, &token, ids)?;
    }
    Ok(())
}

/// The names of a file's tensors of vectors, and the word that it gives itself.
struct Found {
    token: Option<String>,
    first: String,
    second: Option<String>,
}

fn vectors<B: ByteSource>(file: &SafetensorsFile<B>) -> Result<Found> {
    let known = |names: &[&str]| names.iter().find(|name| file.get(name).is_some()).map(|name| (*name).to_owned());
    let (first, second) = (known(&FIRST_NAMES), known(&SECOND_NAMES));
    let mut names = file.places().map(|place| place.info.name.clone());
    match (first, second, names.next(), names.next()) {
        (Some(first), second, ..) => Ok(Found { token: None, first, second }),
        (None, None, Some(only), None) => Ok(Found { token: Some(only.clone()), first: only, second: None }),
        _ => Err(Error::request(
            "embedding",
            format!(
                "{} is no textual-inversion embedding: it holds neither one tensor nor clip_l and clip_g",
                file.name()
            ),
        )),
    }
}

fn check_token(token: &str) -> Result<()> {
    let is_plain = !token.is_empty()
        && token.len() <= MAX_TOKEN_BYTES
        && !token.chars().any(|character| character.is_whitespace() || character.is_control());
    if is_plain {
        return Ok(());
    }
    let advice = "give one without spaces, of 1 to 128 bytes, behind the file: FILE:TOKEN";
    Err(Error::request("embedding", format!("`{token}` cannot be a word; {advice}")))
}

/// Appends vectors to the token table; returns their ids.
fn add_rows(
    plan: &mut Plan,
    encoder: &str,
    shape: &[usize],
    vectors: Vec<f32>,
    wrong: &dyn Fn(&str) -> Error,
) -> Result<std::ops::Range<usize>> {
    let (count, width) = match *shape {
        [width] => (1, width),
        [count, width] => (count, width),
        _ => return Err(wrong("holds vectors in an unknown shape")),
    };
    let component = plan.component_mut(encoder).ok_or_else(|| wrong("needs a text encoder"))?;
    let is_table = |name: &str| name.ends_with("embeddings.token_embedding.weight");
    let table = component.tensors.iter_mut().find(|tensor| is_table(&tensor.info.name));
    let table = table.ok_or_else(|| wrong("needs a text encoder with a token table"))?;
    let [rows, columns] = table.info.shape[..] else { return Err(wrong("needs a token table of two dimensions")) };
    if width != columns {
        return Err(wrong(&format!("has vectors of width {width}, {encoder} of this model takes {columns}")));
    }
    if !(1..=MAX_VECTORS).contains(&count) {
        return Err(wrong(&format!("holds {count} vectors, 1 to {MAX_VECTORS} are allowed")));
    }
    match &mut table.content {
        Content::Extended(_, rows) => rows.extend(vectors),
        Content::Stored(stored) => table.content = Content::Extended(*stored, vectors),
        _ => return Err(wrong("meets a token table that cannot grow")),
    }
    table.info.shape = vec![rows + count, columns];
    table.widen();
    component.config["vocab_size"] = json!(rows + count);
    Ok(rows..rows + count)
}

fn add_tokens(tokenizer: &mut PlannedComponent, token: &str, ids: std::ops::Range<usize>) -> Result<()> {
    let wrong = |reason: String| Error::request("embedding", reason);
    if !tokenizer.config["added_tokens_decoder"].is_object() {
        tokenizer.config["added_tokens_decoder"] = json!({});
    }
    let mut decoder = tokenizer.config["added_tokens_decoder"].clone();
    let vocabulary = tokenizer.tensor_mut("vocab.json").ok_or_else(|| wrong("needs a vocab.json".to_owned()))?;
    let Content::Bytes(bytes) = &mut vocabulary.content else { return Err(wrong("needs a vocab.json".to_owned())) };
    let mut known: BTreeMap<String, usize> =
        serde_json::from_slice(bytes).map_err(|error| Error::manifest("vocab.json", error.to_string()))?;
    if known.values().any(|id| *id >= ids.start) {
        return Err(wrong(format!("`{token}` would get id {}, which the vocabulary has given away", ids.start)));
    }
    let names = ids.clone().map(|id| match id - ids.start {
        0 => token.to_owned(),
        index => format!("{token}_{index}"),
    });
    for (id, name) in ids.clone().zip(names) {
        let is_added = |decoder: &Value| {
            decoder.as_object().is_some_and(|tokens| tokens.values().any(|token| token["content"] == *name))
        };
        if is_added(&decoder) || known.insert(name.clone(), id).is_some() {
            return Err(wrong(format!("`{name}` is a word of the vocabulary already; choose another: FILE:TOKEN")));
        }
        decoder[id.to_string()] = added_token(&name);
    }
    *bytes = vocab_json(&known)?;
    vocabulary.info.bytes = bytes.len();
    vocabulary.info.shape = vec![bytes.len()];
    tokenizer.config["added_tokens_decoder"] = decoder;
    Ok(())
}

fn added_token(content: &str) -> Value {
    json!({ "content": content, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false,
            "special": false })
}
