//! Added tokens: texts with an id of their own, found before words are split. Special tokens are some; so are the
//! embeddings of textual inversion, which may stand for several ids.

use std::collections::{BTreeMap, HashMap};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::config::{AddedToken, CONFIG_FIELD, TokenizerConfig};
use super::words::normalize;
use crate::{Error, Result};

/// Most added tokens accepted.
const MAX_ADDED_TOKENS: usize = 1024;

/// The added tokens of a configuration, by their text.
#[derive(Debug, Clone)]
pub(super) struct AddedTokens {
    ids: BTreeMap<String, u32>,
    /// Looked for in the text as given.
    pub(super) raw: Vec<Findable>,
    /// Looked for in the normalized text.
    pub(super) normalized: Vec<Findable>,
}

/// A text to look for.
#[derive(Debug, Clone)]
pub(super) struct Findable {
    text: String,
    /// The token's id, then those of the further vectors of the same embedding: `<name>_1`, `<name>_2`, …
    ids: Vec<u32>,
    is_single_word: bool,
}

impl AddedTokens {
    /// Those of `added_tokens_decoder`, and the named ones that are not there, whose ids are the vocabulary's; a later
    /// form of the same content replaces an earlier one, as transformers adds them.
    pub(super) fn new(config: &TokenizerConfig, vocab: &HashMap<String, u32>, named: [&AddedToken; 4]) -> Result<Self> {
        if config.added_tokens_decoder.len() > MAX_ADDED_TOKENS {
            let field = format!("{CONFIG_FIELD}.added_tokens_decoder");
            return Err(Error::manifest(field, format!("more than {MAX_ADDED_TOKENS} tokens")));
        }
        let mut tokens: BTreeMap<&str, (u32, &AddedToken)> = BTreeMap::new();
        for (&id, token) in &config.added_tokens_decoder {
            tokens.insert(&token.content, (id, token));
        }
        let decoded: Vec<&str> = tokens.keys().copied().collect();
        for token in named {
            if decoded.binary_search(&token.content.as_str()).is_ok() {
                continue;
            }
            let id = *vocab.get(&token.content).ok_or_else(|| {
                Error::manifest(CONFIG_FIELD, format!("special token `{}` is not in the vocabulary", token.content))
            })?;
            tokens.insert(&token.content, (id, token));
        }
        if tokens.contains_key("") {
            return Err(Error::manifest(CONFIG_FIELD, "an added token is empty"));
        }
        let ids: BTreeMap<String, u32> = tokens.iter().map(|(content, (id, _))| ((*content).to_owned(), *id)).collect();
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        for (content, (_, token)) in tokens {
            let text = if token.normalized { normalize(content) } else { content.to_owned() };
            let found = Findable { text, ids: vectors(content, &ids), is_single_word: token.single_word };
            if token.normalized { normalized.push(found) } else { raw.push(found) }
        }
        Ok(Self { ids, raw, normalized })
    }

    /// The id of the token with that text.
    pub(super) fn id(&self, content: &str) -> Option<u32> {
        self.ids.get(content).copied()
    }

    /// The text of the token with that id.
    pub(super) fn content(&self, id: u32) -> Option<&str> {
        self.ids.iter().find(|(_, other)| **other == id).map(|(content, _)| content.as_str())
    }

    /// Largest id.
    pub(super) fn max_id(&self) -> u32 {
        self.ids.values().copied().max().unwrap_or(0)
    }
}

/// A token's id and those of the further vectors of its embedding. (diffusers writes them out by replacing text, which
/// misses a token in other case and cuts into the names of longer tokens; here whole tokens count.)
///
/// Source: diffusers 0.42.1 `TextualInversionLoaderMixin._maybe_convert_prompt`.
fn vectors(content: &str, ids: &BTreeMap<String, u32>) -> Vec<u32> {
    let further = (1..).map_while(|index| ids.get(&format!("{content}_{index}")));
    ids.get(content).into_iter().chain(further).copied().collect()
}

/// A part of a text.
pub(super) enum Piece<'a> {
    /// Ordinary text, perhaps empty.
    Text(&'a str),
    /// An added token's ids.
    Tokens(&'a [u32]),
}

/// Cuts the text at every token in it, the longest where several begin at one place.
pub(super) fn split_at_tokens<'a>(text: &'a str, tokens: &'a [Findable]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        let begins = |token: &&Findable| text.as_bytes()[at..].starts_with(token.text.as_bytes());
        let Some(token) = tokens.iter().filter(begins).max_by_key(|token| token.text.len()) else {
            at += 1;
            continue;
        };
        let end = at + token.text.len();
        if !token.is_single_word || stands_alone(text, at, end) {
            pieces.extend([Piece::Text(&text[start..at]), Piece::Tokens(&token.ids)]);
            start = end;
        }
        at = end;
    }
    pieces.push(Piece::Text(&text[start..]));
    pieces
}

/// Whether neither neighbour of `text[start..end]` is a part of a word.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let before = text[..start].chars().next_back();
    let after = text[end..].chars().next();
    !before.is_some_and(is_word_character) && !after.is_some_and(is_word_character)
}

/// What regular expressions call `\w`. Source: Unicode technical standard 18, annex C.
fn is_word_character(character: char) -> bool {
    let connects = matches!(
        character.general_category(),
        GeneralCategory::ConnectorPunctuation
            | GeneralCategory::DecimalNumber
            | GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    );
    let joins = matches!(character, '\u{200c}' | '\u{200d}');
    character.is_alphabetic() || connects || joins
}
