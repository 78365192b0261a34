//! Text → token ids: CLIP's byte-level byte-pair encoding, the ids of transformers' `CLIPTokenizer`.
//!
//! Source: transformers 5.23 `models/clip/tokenization_clip.py` on tokenizers' Rust backend; Radford et al., *Learning
//! Transferable Visual Models From Natural Language Supervision* (2021); Sennrich et al., *Neural Machine Translation
//! of Rare Words with Subword Units* (2016). Letters and numbers are those of Unicode 18, where that version of
//! tokenizers knows Unicode 16.

mod added;
mod config;
mod words;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use self::added::{AddedTokens, Piece, split_at_tokens};
pub use self::config::{AddedToken, TokenizerConfig};
use self::words::{normalize, words};
use crate::{Error, Result};

const VOCAB_FIELD: &str = "components.tokenizer.vocab.json";
const MERGES_FIELD: &str = "components.tokenizer.merges.txt";
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
    added: AddedTokens,
    bos_id: u32,
    eos_id: u32,
    pad_id: u32,
    comma_id: Option<u32>,
    max_id: u32,
    max_length: usize,
}

impl ClipTokenizer {
    /// Builds the tokenizer from the files' bytes.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the file where its content is malformed, where two symbols have one id, where a merge
    /// or a special token is not in the vocabulary, or where the sequence length is out of range.
    pub fn from_files(vocab_json: &[u8], merges_txt: &[u8], config: &TokenizerConfig) -> Result<Self> {
        let vocab: HashMap<String, u32> =
            serde_json::from_slice(vocab_json).map_err(|error| Error::manifest(VOCAB_FIELD, error.to_string()))?;
        // Or a merge could become one of its own halves, and decoding it would not end.
        if vocab.values().collect::<HashSet<_>>().len() < vocab.len() {
            return Err(Error::manifest(VOCAB_FIELD, "gives one id to several symbols"));
        }
        let special = |token: &Option<AddedToken>, default: &str| {
            let plain = || AddedToken { content: default.to_owned(), normalized: false, single_word: false };
            token.clone().unwrap_or_else(plain)
        };
        let [bos, eos, unk, pad] = [
            special(&config.bos_token, "<|startoftext|>"),
            special(&config.eos_token, "<|endoftext|>"),
            special(&config.unk_token, "<|endoftext|>"),
            special(&config.pad_token, "<|endoftext|>"),
        ];
        let added = AddedTokens::new(config, &vocab, [&bos, &eos, &unk, &pad])?;
        let id = |token: &AddedToken| added.id(&token.content).unwrap_or(0);
        let unk_id = id(&unk);
        let byte_id = |byte: u8, suffix: &str| {
            let symbol = format!("{}{suffix}", symbol_of_byte(byte));
            vocab.get(&symbol).copied().unwrap_or(unk_id)
        };
        Ok(Self {
            byte_ids: (0..=255).map(|byte| byte_id(byte, "")).collect(),
            last_byte_ids: (0..=255).map(|byte| byte_id(byte, END_OF_WORD)).collect(),
            merges: parse_merges(merges_txt, &vocab)?,
            bos_id: id(&bos),
            eos_id: id(&eos),
            pad_id: id(&pad),
            comma_id: vocab.get(&format!(",{END_OF_WORD}")).copied(),
            max_id: vocab.values().copied().max().unwrap_or(0).max(added.max_id()),
            max_length: config.max_length()?,
            added,
        })
    }

    /// The text's token ids, without start, end or padding, of any length. The token of a textual inversion gives the
    /// ids of all its vectors, as diffusers' pipelines read it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_each(text, |token| ids.extend_from_slice(token));
        ids
    }

    /// As [`ClipTokenizer::encode`], token by token: one id each, or several where a textual inversion has several
    /// vectors.
    pub fn encode_each(&self, text: &str, mut each: impl FnMut(&[u32])) {
        let mut word_ids = Vec::new();
        for piece in split_at_tokens(text, &self.added.raw) {
            let text = match piece {
                Piece::Tokens(token_ids) => {
                    each(token_ids);
                    continue;
                }
                Piece::Text(text) => normalize(text),
            };
            for piece in split_at_tokens(&text, &self.added.normalized) {
                match piece {
                    Piece::Tokens(token_ids) => each(token_ids),
                    Piece::Text(text) => words(text).for_each(|word| self.encode_word(word, &mut word_ids)),
                }
                word_ids.chunks(1).for_each(&mut each);
                word_ids.clear();
            }
        }
    }

    /// What token ids say, in lower case, with a space after each word: the text of transformers' `decode`.
    pub fn decode(&self, ids: &[u32]) -> String {
        let halves: HashMap<u32, (u32, u32)> = self.merges.iter().map(|(&pair, merge)| (merge.id, pair)).collect();
        let byte_of = |ids: &[u32], id: u32| ids.iter().position(|&other| other == id).map(|byte| byte as u8);
        let mut bytes = Vec::new();
        for &id in ids {
            if let Some(content) = self.added.content(id) {
                bytes.extend_from_slice(content.as_bytes());
                continue;
            }
            let mut parts = vec![id];
            while let Some(part) = parts.pop() {
                if let Some(&(left, right)) = halves.get(&part) {
                    parts.extend([right, left]);
                } else if let Some(byte) = byte_of(&self.byte_ids, part) {
                    bytes.push(byte);
                } else if let Some(byte) = byte_of(&self.last_byte_ids, part) {
                    bytes.extend([byte, b' ']);
                }
            }
        }
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }

    /// The text as a sequence of full length, as diffusers' pipelines feed it to the text encoder: start token, as many
    /// of the text's tokens as there is room for, end token, padding.
    pub fn encode_padded(&self, text: &str) -> Encoded {
        let tokens = self.encode(text);
        let kept = tokens.len().min(self.max_length - 2);
        Encoded { ids: self.pad(&tokens[..kept]), truncated_tokens: tokens.len() - kept }
    }

    /// A sequence of full length around `tokens`, of which there is room for [`ClipTokenizer::max_length`] − 2.
    pub fn pad(&self, tokens: &[u32]) -> Vec<u32> {
        let mut ids = Vec::with_capacity(self.max_length);
        ids.push(self.bos_id);
        ids.extend_from_slice(tokens);
        ids.push(self.eos_id);
        ids.resize(self.max_length, self.pad_id);
        ids
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

    /// Id of a comma that stands alone, where the vocabulary has one.
    pub fn comma_id(&self) -> Option<u32> {
        self.comma_id
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

fn parse_merges(merges_txt: &[u8], vocab: &HashMap<String, u32>) -> Result<HashMap<(u32, u32), Merge>> {
    let text = str::from_utf8(merges_txt).map_err(|error| Error::manifest(MERGES_FIELD, error.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
    let mut merges = HashMap::new();
    for (rank, (index, line)) in (0..).zip(lines) {
        let number = index + 1;
        let is_symbol = |text: &str| !text.is_empty() && !text.contains(' ');
        let pair = line.split_once(' ').filter(|(left, right)| is_symbol(left) && is_symbol(right));
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
