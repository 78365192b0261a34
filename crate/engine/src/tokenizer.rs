//! Text → token ids: CLIP's byte-level byte-pair encoding, the ids of transformers' `CLIPTokenizer`.
//!
//! Source: transformers 5.23 `models/clip/tokenization_clip.py` on tokenizers' Rust backend; Radford et al., *Learning
//! Transferable Visual Models From Natural Language Supervision* (2021); Sennrich et al., *Neural Machine Translation
//! of Rare Words with Subword Units* (2016). Letters and numbers are those of Unicode 18, where that version of
//! tokenizers knows Unicode 16.

mod config;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use self::config::CONFIG_FIELD;
pub use self::config::{AddedToken, TokenizerConfig};
use self::words::{normalize, words};
use crate::{Error, Result};

const VOCAB_FIELD: &str = "components.tokenizer.vocab.json";
const MERGES_FIELD: &str = "components.tokenizer.merges.txt";
/// Most added tokens accepted.
const MAX_ADDED_TOKENS: usize = 1024;
/// Appended to a word's last symbol.
const END_OF_WORD: &str = "</w>";

/// A sequence of full length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Start token, the text's tokens, end token, padding: always the tokenizer's full length.
    pub ids: Vec<u32>,
    /// Tokens of the text that found no room, 0 for all but long texts.
    pub truncated_tokens: usize,
}

/// What two adjacent symbols become.
#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    id: u32,
}

/// CLIP's tokenizer with a pack's vocabulary.
#[derive(Debug, Clone)]
pub struct ClipTokenizer {
    /// Ids of the 256 bytes inside a word.
    byte_ids: Vec<u32>,
    /// Ids of the 256 bytes as a word's last.
    last_byte_ids: Vec<u32>,
    merges: HashMap<(u32, u32), Merge>,
    /// Added tokens looked for in the text as given.
    raw_tokens: Vec<(String, u32)>,
    /// Added tokens looked for in the normalized text.
    normalized_tokens: Vec<(String, u32)>,
    bos_id: u32,
    eos_id: u32,
    pad_id: u32,
    max_id: u32,
    max_length: usize,
}

impl ClipTokenizer {
    /// Builds the tokenizer from the files' bytes.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the file where its content is malformed, where a merge or a special token is not in
    /// the vocabulary, or where the sequence length is out of range.
    pub fn from_files(vocab_json: &[u8], merges_txt: &[u8], config: &TokenizerConfig) -> Result<Self> {
        let vocab: HashMap<String, u32> =
            serde_json::from_slice(vocab_json).map_err(|error| Error::manifest(VOCAB_FIELD, error.to_string()))?;
        let special = |token: &Option<AddedToken>, default: &str| {
            token.clone().unwrap_or_else(|| AddedToken { content: default.to_owned(), normalized: false })
        };
        let [bos, eos, unk, pad] = [
            special(&config.bos_token, "<|startoftext|>"),
            special(&config.eos_token, "<|endoftext|>"),
            special(&config.unk_token, "<|endoftext|>"),
            special(&config.pad_token, "<|endoftext|>"),
        ];
        let added = added_tokens(config, &vocab, [&bos, &eos, &unk, &pad])?;
        let id = |token: &AddedToken| added.get(&token.content).map_or(0, |&(id, _)| id);
        let unk_id = id(&unk);
        let byte_id = |byte: u8, suffix: &str| {
            let symbol = format!("{}{suffix}", symbol_of_byte(byte));
            vocab.get(&symbol).copied().unwrap_or(unk_id)
        };
        let (mut raw_tokens, mut normalized_tokens) = (Vec::new(), Vec::new());
        for (content, &(id, normalized)) in &added {
            match normalized {
                true => normalized_tokens.push((normalize(content), id)),
                false => raw_tokens.push((content.clone(), id)),
            }
        }
        Ok(Self {
            byte_ids: (0..=255).map(|byte| byte_id(byte, "")).collect(),
            last_byte_ids: (0..=255).map(|byte| byte_id(byte, END_OF_WORD)).collect(),
            merges: parse_merges(merges_txt, &vocab)?,
            bos_id: id(&bos),
            eos_id: id(&eos),
            pad_id: id(&pad),
            max_id: vocab.values().copied().chain(added.values().map(|&(id, _)| id)).max().unwrap_or(0),
            max_length: config.max_length()?,
            raw_tokens,
            normalized_tokens,
        })
    }

    /// The text's token ids, without start, end or padding, of any length.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for piece in split_at_tokens(text, &self.raw_tokens) {
            let text = match piece {
                Piece::Token(id) => {
                    ids.push(id);
                    continue;
                }
                Piece::Text(text) => normalize(text),
            };
            for piece in split_at_tokens(&text, &self.normalized_tokens) {
                match piece {
                    Piece::Token(id) => ids.push(id),
                    Piece::Text(text) => words(text).for_each(|word| self.encode_word(word, &mut ids)),
                }
            }
        }
        ids
    }

    /// The text as a sequence of full length, as diffusers' pipelines feed it to the text encoder: start token, as many
    /// of the text's tokens as there is room for, end token, padding.
    pub fn encode_padded(&self, text: &str) -> Encoded {
        let tokens = self.encode(text);
        let kept = tokens.len().min(self.max_length - 2);
        let mut ids = Vec::with_capacity(self.max_length);
        ids.push(self.bos_id);
        ids.extend_from_slice(&tokens[..kept]);
        ids.push(self.eos_id);
        ids.resize(self.max_length, self.pad_id);
        Encoded { ids, truncated_tokens: tokens.len() - kept }
    }

    /// Id of the token that starts a sequence.
    pub fn bos_id(&self) -> u32 {
        self.bos_id
    }

    /// Id of the token that ends a sequence.
    pub fn eos_id(&self) -> u32 {
        self.eos_id
    }

    /// Id of the token that fills a sequence up.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// Largest id that can come out: the text encoder's embedding must have more rows than this.
    pub fn max_id(&self) -> u32 {
        self.max_id
    }

    /// Tokens of a full sequence, start and end included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Byte-pair encoding of one word: the adjacent pair of lowest rank is merged, leftmost first, until none is left.
    /// A queue of candidates keeps a word of n bytes at O(n log n).
    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        let bytes = word.as_bytes();
        let end = bytes.len();
        let mut symbols: Vec<Option<u32>> = bytes.iter().map(|&b| Some(self.byte_ids[usize::from(b)])).collect();
        if let (Some(symbol), Some(&byte)) = (symbols.last_mut(), bytes.last()) {
            *symbol = Some(self.last_byte_ids[usize::from(byte)]);
        }
        let mut previous: Vec<Option<usize>> = (0..end).map(|at| at.checked_sub(1)).collect();
        let mut next: Vec<usize> = (1..=end).collect();
        let mut queue = BinaryHeap::new();
        let candidate = |symbols: &[Option<u32>], left: usize, right: usize| {
            let pair = (symbols[left]?, symbols.get(right).copied().flatten()?);
            self.merges.get(&pair).map(|merge| Reverse((merge.rank, left, merge.id)))
        };
        queue.extend((0..end).filter_map(|left| candidate(&symbols, left, left + 1)));
        while let Some(Reverse((_, left, id))) = queue.pop() {
            // A candidate is stale when one of its halves has been merged away since.
            let right = next[left];
            if candidate(&symbols, left, right).is_none_or(|Reverse((_, _, current))| current != id) {
                continue;
            }
            symbols[left] = Some(id);
            symbols[right] = None;
            next[left] = next[right];
            if next[left] < end {
                previous[next[left]] = Some(left);
            }
            queue.extend(previous[left].and_then(|before| candidate(&symbols, before, left)));
            queue.extend(candidate(&symbols, left, next[left]));
        }
        ids.extend(symbols.into_iter().flatten());
    }
}

/// Every token that is found in text as it stands: content → (id, normalized). Named ones not in `added_tokens_decoder`
/// follow it, a later form of the same content replacing an earlier one, as transformers adds them.
fn added_tokens(
    config: &TokenizerConfig,
    vocab: &HashMap<String, u32>,
    named: [&AddedToken; 4],
) -> Result<BTreeMap<String, (u32, bool)>> {
    let field = format!("{CONFIG_FIELD}.added_tokens_decoder");
    if config.added_tokens_decoder.len() > MAX_ADDED_TOKENS {
        return Err(Error::manifest(field, format!("more than {MAX_ADDED_TOKENS} tokens")));
    }
    let mut added = BTreeMap::new();
    for (&id, token) in &config.added_tokens_decoder {
        added.insert(token.content.clone(), (id, token.normalized));
    }
    let decoded = added.clone();
    for token in named {
        if decoded.contains_key(&token.content) {
            continue;
        }
        let id = *vocab.get(&token.content).ok_or_else(|| {
            Error::manifest(CONFIG_FIELD, format!("special token `{}` is not in the vocabulary", token.content))
        })?;
        added.insert(token.content.clone(), (id, token.normalized));
    }
    match added.contains_key("") {
        true => Err(Error::manifest(CONFIG_FIELD, "an added token is empty")),
        false => Ok(added),
    }
}

fn parse_merges(merges_txt: &[u8], vocab: &HashMap<String, u32>) -> Result<HashMap<(u32, u32), Merge>> {
    let text = str::from_utf8(merges_txt).map_err(|error| Error::manifest(MERGES_FIELD, error.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
    let mut merges = HashMap::new();
    for (rank, (index, line)) in (0..).zip(lines) {
        let number = index + 1;
        let pair = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
        let (left, right) =
            pair.ok_or_else(|| Error::manifest(MERGES_FIELD, format!("line {number} is not two symbols")))?;
        let id = |symbol: &str| {
            let reason = || format!("line {number} needs `{symbol}`, which is not in the vocabulary");
            vocab.get(symbol).copied().ok_or_else(|| Error::manifest(MERGES_FIELD, reason()))
        };
        merges.insert((id(left)?, id(right)?), Merge { rank, id: id(&format!("{left}{right}"))? });
    }
    Ok(merges)
}

/// The printable character that stands for a byte in the vocabulary files: itself where it prints, else the next free
/// one from U+0100 up.
fn symbol_of_byte(byte: u8) -> char {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if prints(byte) {
        return char::from(byte);
    }
    let unprintable_before = (0..byte).filter(|&other| !prints(other)).count();
    char::from_u32(0x100 + unprintable_before as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

enum Piece<'a> {
    Text(&'a str),
    Token(u32),
}

/// Cuts the text at every token in it, the longest where several begin at one place.
fn split_at_tokens<'a>(text: &'a str, tokens: &[(String, u32)]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < text.len() {
        let found = tokens.iter().filter(|(token, _)| text.as_bytes()[at..].starts_with(token.as_bytes()));
        let Some((token, id)) = found.max_by_key(|(token, _)| token.len()) else {
            at += 1;
            continue;
        };
        pieces.push(Piece::Text(&text[start..at]));
        pieces.push(Piece::Token(*id));
        at += token.len();
        start = at;
    }
    pieces.push(Piece::Text(&text[start..]));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_symbol() {
        let symbols: std::collections::HashSet<char> = (0..=255).map(symbol_of_byte).collect();
        assert_eq!(symbols.len(), 256);
        assert_eq!((symbol_of_byte(b'a'), symbol_of_byte(b' '), symbol_of_byte(0xad)), ('a', 'Ġ', 'Ń'));
    }
}
