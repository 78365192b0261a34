//! `tokenizer_config.json`, as far as it decides ids.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Error, Result};

/// Where errors about this file point.
pub(super) const CONFIG_FIELD: &str = "components.tokenizer.config";
/// Longest sequence accepted, in tokens; CLIP's is 77.
const MAX_LENGTH: usize = 4096;

/// What the tokenizer needs of `tokenizer_config.json`; every field has transformers' default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TokenizerConfig {
    /// Tokens of a full sequence, start and end included. Some files give an absurd 1e30, see [`TokenizerConfig::capped`].
    pub model_max_length: f64,
    /// Starts every sequence.
    pub bos_token: Option<AddedToken>,
    /// Ends every sequence.
    pub eos_token: Option<AddedToken>,
    /// Stands for what the vocabulary lacks.
    pub unk_token: Option<AddedToken>,
    /// Fills a sequence up to its full length: `<|endoftext|>` in Stable Diffusion 1, `!` in 2.
    pub pad_token: Option<AddedToken>,
    /// Further tokens found in text as they stand, by id; textual inversion adds its own here.
    pub added_tokens_decoder: BTreeMap<u32, AddedToken>,
}

/// A token that is found in the text as it stands, before words are split.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "AddedTokenForm")]
pub struct AddedToken {
    /// The token's text.
    pub content: String,
    /// Whether it is looked for in the normalized (lower-case) text rather than in the text as given.
    pub normalized: bool,
    /// Whether it counts only where no letter, digit or underscore touches it. (transformers' other two flags, `lstrip`
    /// and `rstrip`, take in whitespace, which makes no ids here.)
    pub single_word: bool,
}

/// The two forms in which the file may write a token.
#[derive(Deserialize)]
#[serde(untagged)]
enum AddedTokenForm {
    Text(String),
    Object {
        content: String,
        normalized: Option<bool>,
        #[serde(default)]
        special: bool,
        #[serde(default)]
        single_word: bool,
    },
}

impl From<AddedTokenForm> for AddedToken {
    fn from(form: AddedTokenForm) -> Self {
        match form {
            AddedTokenForm::Text(content) => Self { content, normalized: false, single_word: false },
            AddedTokenForm::Object { content, normalized, special, single_word } => {
                Self { content, normalized: normalized.unwrap_or(!special), single_word }
            }
        }
    }
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            model_max_length: 1e30,
            bos_token: None,
            eos_token: None,
            unk_token: None,
            pad_token: None,
            added_tokens_decoder: BTreeMap::new(),
        }
    }
}

impl TokenizerConfig {
    /// Reads the file's JSON.
    ///
    /// # Errors
    /// [`Error::Manifest`] where a field has the wrong type.
    pub fn from_json(json: &serde_json::Value) -> Result<Self> {
        if !json.is_object() {
            return Err(Error::manifest(CONFIG_FIELD, "not a JSON object"));
        }
        Self::deserialize(json).map_err(|error| Error::manifest(CONFIG_FIELD, error.to_string()))
    }

    /// Caps the sequence length at what the text encoder has positions for.
    pub fn capped(mut self, max_position_embeddings: usize) -> Self {
        self.model_max_length = self.model_max_length.min(max_position_embeddings as f64);
        self
    }

    /// The sequence length, checked.
    pub(super) fn max_length(&self) -> Result<usize> {
        let length = self.model_max_length;
        if !(2.0..=MAX_LENGTH as f64).contains(&length) {
            let reason = format!("{length} tokens, a sequence has 2 to {MAX_LENGTH}");
            return Err(Error::manifest(format!("{CONFIG_FIELD}.model_max_length"), reason));
        }
        Ok(length as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_a_token_and_absurd_lengths() {
        let json = serde_json::json!({
            "model_max_length": 1e30,
            "bos_token": {"__type": "AddedToken", "content": "<s>", "normalized": true, "lstrip": false},
            "pad_token": "!",
            "tokenizer_class": "CLIPTokenizer",
        });
        let config = TokenizerConfig::from_json(&json).unwrap();
        assert_eq!(config.bos_token, Some(AddedToken { content: "<s>".into(), normalized: true, single_word: false }));
        assert_eq!(config.pad_token, Some(AddedToken { content: "!".into(), normalized: false, single_word: false }));
        assert!(config.max_length().is_err());
        assert_eq!(config.capped(77).max_length(), Ok(77));
    }
}
