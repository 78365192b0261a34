//! CLIP's vocabulary, which single-file checkpoints do not carry.
//!
//! Source: Radford et al. (2021); transformers 5.23 `models/clip/tokenization_clip.py`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Error, Result};

const FIELD: &str = "merges.txt";
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// Appended to a word's last symbol.
const END_OF_WORD: &str = "</w>";
/// Longest file accepted, in bytes; CLIP's has half a million.
const MAX_BYTES: usize = 16 << 20;

/// CLIP's vocabulary: `merges.txt`, and the `vocab.json` that follows from it.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    merges_txt: Vec<u8>,
    vocab_json: Vec<u8>,
    tokens: usize,
}

impl Vocabulary {
    /// Builds the vocabulary from the bytes of `merges.txt` (`models/clip-vocabulary/merges.txt` in this repository).
    ///
    /// Tokens are numbered as CLIP's are: the 256 bytes, the 256 bytes as a word's last, what each merge makes, the
    /// start and the end of a text.
    ///
    /// # Errors
    /// [`Error::Manifest`] where a line is no merge.
    pub fn from_merges(merges_txt: &[u8]) -> Result<Self> {
        if merges_txt.len() > MAX_BYTES {
            return Err(Error::manifest(FIELD, format!("is longer than {MAX_BYTES} bytes")));
        }
        let text = str::from_utf8(merges_txt).map_err(|error| Error::manifest(FIELD, error.to_string()))?;
        let mut ids = BTreeMap::new();
        let mut add = |token: String| {
            let next = ids.len();
            ids.entry(token).or_insert(next);
        };
        byte_symbols().for_each(|symbol| add(symbol.to_string()));
        byte_symbols().for_each(|symbol| add(format!("{symbol}{END_OF_WORD}")));
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with("#version") {
                continue;
            }
            match line.split_once(' ').filter(|(_, right)| !right.contains(' ')) {
                Some((left, right)) => add(format!("{left}{right}")),
                None => return Err(Error::manifest(FIELD, format!("line {} is not two symbols", index + 1))),
            }
        }
        [START, END].into_iter().for_each(|token| add(token.to_owned()));
        let (tokens, vocab_json) = (ids.len(), vocab_json(&ids)?);
        Ok(Self { merges_txt: merges_txt.to_vec(), vocab_json, tokens })
    }

    /// Number of tokens; ids count from 0.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// `merges.txt` as it was given.
    pub fn merges_txt(&self) -> &[u8] {
        &self.merges_txt
    }

    /// `vocab.json`: every token's id, in the order of ids.
    pub fn vocab_json(&self) -> &[u8] {
        &self.vocab_json
    }
}

/// Ids by token as JSON, in the order of ids, as tokenizers write it.
///
/// # Errors
/// [`Error::Manifest`] where a token cannot be written.
pub(super) fn vocab_json(ids: &BTreeMap<String, usize>) -> Result<Vec<u8>> {
    let mut ordered: Vec<(&String, &usize)> = ids.iter().collect();
    ordered.sort_by_key(|&(_, id)| id);
    let mut json = String::from("{");
    for (token, id) in ordered {
        let token = serde_json::to_string(token).map_err(|error| Error::manifest("vocab.json", error.to_string()))?;
        json.push_str(if json.len() > 1 { "," } else { "" });
        json.push_str(&format!("{token}:{id}"));
    }
    json.push('}');
    Ok(json.into_bytes())
}

/// `tokenizer_config.json` as published with Stable Diffusion; `pad_token` fills sequences up.
pub(super) fn tokenizer_config(pad_token: &str) -> Value {
    let token = |content: &str| {
        json!({ "__type": "AddedToken", "content": content, "lstrip": false, "normalized": true, "rstrip": false,
                "single_word": false })
    };
    json!({
        "add_prefix_space": false,
        "bos_token": token(START),
        "do_lower_case": true,
        "eos_token": token(END),
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": pad_token,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": token(END),
    })
}

/// The printable characters that stand for the 256 bytes, in CLIP's order: those that print first, each as itself.
fn byte_symbols() -> impl Iterator<Item = char> {
    let printing = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    printing.chain((0x100..0x144).filter_map(char::from_u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{ClipTokenizer, TokenizerConfig};

    const MERGES: &[u8] = include_bytes!("../../../../models/clip-vocabulary/merges.txt");

    #[test]
    fn is_the_vocabulary_that_transformers_expects() {
        let vocabulary = Vocabulary::from_merges(MERGES).unwrap();
        assert_eq!(vocabulary.tokens(), 49408);
        let ids: BTreeMap<String, usize> = serde_json::from_slice(vocabulary.vocab_json()).unwrap();
        // Ids as published in openai/clip-vit-large-patch14's vocab.json.
        for (token, id) in [
            ("!", 0),
            ("~", 93),
            ("\u{100}", 188),
            ("!</w>", 256),
            ("in", 512),
            ("the</w>", 518),
            ("photo</w>", 1125),
            ("cat</w>", 2368),
            (START, 49406),
            (END, 49407),
        ] {
            assert_eq!(ids[token], id, "{token}");
        }
    }

    #[test]
    fn encodes_as_clip_does() {
        let vocabulary = Vocabulary::from_merges(MERGES).unwrap();
        for (pad_token, pad_id) in [(END, 49407), ("!", 0)] {
            let config = TokenizerConfig::from_json(&tokenizer_config(pad_token)).unwrap();
            let tokenizer =
                ClipTokenizer::from_files(vocabulary.vocab_json(), vocabulary.merges_txt(), &config).unwrap();
            let ids = tokenizer.encode_padded("a photo of a cat").ids;
            assert_eq!(ids[..8], [49406, 320, 1125, 539, 320, 2368, 49407, pad_id]);
            assert_eq!((tokenizer.max_id(), tokenizer.max_length()), (49407, 77));
        }
    }

    #[test]
    fn refuses_what_is_no_list_of_merges() {
        for wrong in [&b"a b c\n"[..], b"ab\n", b"\xff \xfe\n"] {
            assert_eq!(Vocabulary::from_merges(wrong).unwrap_err().code(), "Manifest");
        }
    }
}
