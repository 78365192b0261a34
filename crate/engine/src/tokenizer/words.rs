//! From text to the words that byte-pair encoding takes one by one.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Canonical composition and lower case, character by character (a final Σ stays σ). transformers also makes one space
/// of each run of whitespace, which changes no id: words are split at any whitespace and none of it is kept.
pub(super) fn normalize(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).collect()
}

/// Splits normalized text into words: contractions, runs of letters, single digits, and runs of anything else. The
/// text of CLIP's own special tokens, where it was not taken for one of them, does not run on into what follows.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    const SPECIAL: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];
    let mut rest = text;
    let mut special_bytes_left = 0;
    core::iter::from_fn(move || {
        if special_bytes_left == 0 {
            rest = rest.trim_start();
            special_bytes_left = SPECIAL.iter().find(|token| rest.starts_with(**token)).map_or(0, |token| token.len());
        }
        let scope = if special_bytes_left > 0 { special_bytes_left } else { rest.len() };
        let length = word_length(&rest[..scope])?;
        special_bytes_left = special_bytes_left.saturating_sub(length);
        let (word, after) = rest.split_at(length);
        rest = after;
        Some(word)
    })
}

/// Bytes of the word at the start of `text`, which does not start with whitespace; `None` at the text's end.
fn word_length(text: &str) -> Option<usize> {
    const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    let first = text.chars().next()?;
    if let Some(contraction) = CONTRACTIONS.iter().find(|contraction| text.starts_with(**contraction)) {
        return Some(contraction.len());
    }
    let kind = Kind::of(first);
    if kind == Kind::Number {
        return Some(first.len_utf8());
    }
    Some(text.find(|c| Kind::of(c) != kind).unwrap_or(text.len()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        if c.is_whitespace() {
            return Self::Space;
        }
        match c.general_category_group() {
            GeneralCategoryGroup::Letter => Self::Letter,
            GeneralCategoryGroup::Number => Self::Number,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_words_as_clip_does() {
        let cases: [(&str, &[&str]); 7] = [
            ("it's a cat!", &["it", "'s", "a", "cat", "!"]),
            ("  1024px ", &["1", "0", "2", "4", "px"]),
            ("don't!!'s", &["don", "'t", "!!'", "s"]),
            ("一只猫,two", &["一只猫", ",", "two"]),
            ("नमस्ते", &["नमस", "्", "त", "े"]),
            ("!!<|endoftext|>, <|endoftext|>,", &["!!<|", "endoftext", "|>,", "<|", "endoftext", "|>", ","]),
            (" \t\u{a0}\u{3000}", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
