//! What a text encoder is told, in tokens.

use crate::{
    Result,
    prompt::{self, Chunk, Chunker, MAX_CHUNKS, Segment},
    request::PromptSyntax,
    tokenizer::ClipTokenizer,
};

/// What a text encoder is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words<'a> {
    /// The request's field that `text` is from, for errors and reports.
    pub field: &'static str,
    /// A text.
    pub text: &'a str,
    /// What it says is to be left out.
    pub negation: Option<Negation<'a>>,
}

/// Words to leave out, said in the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negation<'a> {
    /// The pack's [`crate::pack::Manifest::negative_phrase`], words of their own in which no syntax is read.
    pub phrase: &'a str,
    /// The request's field `negative`.
    pub text: &'a str,
}

impl<'a> From<&'a str> for Words<'a> {
    /// A prompt from which nothing is left out.
    fn from(text: &'a str) -> Self {
        Self { field: "prompt", text, negation: None }
    }
}

impl<'a> Words<'a> {
    /// A negative prompt, for the prediction that a run is guided away from.
    pub fn negative(text: &'a str) -> Self {
        Self { field: "negative", text, negation: None }
    }
}

/// Words as the tokens of one text encoder.
pub(super) struct Tokens {
    /// One chunk or more.
    pub chunks: Vec<Chunk>,
    /// What found no room, if anything, by the request's field that it is from.
    pub beyond: Vec<(&'static str, Vec<u32>)>,
}

impl Words<'_> {
    /// The words in chunks. A negation follows the text; its phrase stands in each chunk that has words to leave out, or
    /// those would be asked for there. Neither text's brackets reach into the other.
    ///
    /// # Errors
    /// [`crate::Error::Request`] for a text that cannot be read.
    pub(super) fn tokens(&self, tokenizer: &ClipTokenizer, syntax: PromptSyntax) -> Result<Tokens> {
        let capacity = tokenizer.max_length() - 2;
        let (comma_id, most) = match syntax {
            _ if capacity == 0 => (None, 0),
            PromptSyntax::Plain => (None, 1),
            PromptSyntax::A1111 => (tokenizer.comma_id(), MAX_CHUNKS),
        };
        let mut chunker = Chunker::new(capacity, comma_id);
        let count = fill(&mut chunker, tokenizer, (self.field, self.text), syntax)?;
        if let Some(Negation { phrase, text }) = self.negation {
            chunker.lead_with(tokenizer.encode(phrase));
            fill(&mut chunker, tokenizer, ("negative", text), syntax)?;
        }
        let (mut chunks, mut of_text) = chunker.finish(most);
        let kept: usize = chunks.iter().map(|chunk| chunk.pushed().count()).sum();
        let of_negation = of_text.split_off(count.saturating_sub(kept));
        if chunks.is_empty() {
            chunks.push(Chunk::default());
        }
        let beyond = [(self.field, of_text), ("negative", of_negation)];
        Ok(Tokens { chunks, beyond: beyond.into_iter().filter(|(_, ids)| !ids.is_empty()).collect() })
    }
}

/// Pushes a text, given with its field; gives the number of its tokens.
fn fill(
    chunker: &mut Chunker,
    tokenizer: &ClipTokenizer,
    (field, text): (&str, &str),
    syntax: PromptSyntax,
) -> Result<usize> {
    if syntax == PromptSyntax::Plain {
        // Here the vectors of a textual inversion may part: diffusers cuts anywhere.
        let ids = tokenizer.encode(text);
        ids.chunks(1).for_each(|id| chunker.push(id, 1.0));
        return Ok(ids.len());
    }
    let mut count = 0;
    for segment in prompt::parse(field, text)? {
        match segment {
            Segment::Break => chunker.end_chunk(),
            Segment::Text { text, weight } => tokenizer.encode_each(&text, |ids| {
                chunker.push(ids, weight as f32);
                count += ids.len();
            }),
        }
    }
    Ok(count)
}
