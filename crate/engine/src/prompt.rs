//! The prompt syntax of AUTOMATIC1111's web UI: weights, and prompts of any length in chunks.
//!
//! | written | read |
//! |---|---|
//! | `(word)` | weight × 1.1, once more for each pair of brackets |
//! | `[word]` | weight ÷ 1.1, likewise |
//! | `(word:1.3)` | weight × 1.3 |
//! | `\(` `\)` `\[` `\]` `\\` | the character itself |
//! | `BREAK` | what follows begins a new chunk |
//!
//! A bracket that is never closed reaches to the end; one that was never opened is text. A text longer than the text
//! encoder's context becomes several chunks, each with its own start and end token, cut where the context is full, or at
//! the last comma where that is at most [`COMMA_BACKTRACK`] tokens back.
//!
//! **Not read**, and so text like any other: prompt editing `[from:to:when]` and alternation `[a|b]` (their square
//! brackets still count as weights), composition with `AND`, `<lora:…>` and other `<…:…>` networks. One difference: a
//! `BREAK` inside brackets breaks here too, where AUTOMATIC1111 makes a word of it.
//!
//! Source: AUTOMATIC1111's stable-diffusion-webui wiki, "Features": *Attention/emphasis*, *Infinite prompt length*,
//! *BREAK keyword*; behaviour as of version 1.10, emphasis "Original".

use std::ops::Range;

use crate::{Error, Result};

/// Most brackets that may be open at once; the weight of the innermost is then 21 or 0.05.
pub const MAX_DEPTH: usize = 32;
/// Largest weight accepted, either sign.
pub const MAX_WEIGHT: f64 = 100.0;
/// Most chunks of a prompt that are used; what is longer is cut off and reported.
pub const MAX_CHUNKS: usize = 32;
/// How many tokens before a chunk's end a comma may stand to be cut at. AUTOMATIC1111's default.
pub const COMMA_BACKTRACK: usize = 20;

const ROUND_WEIGHT: f64 = 1.1;
const SQUARE_WEIGHT: f64 = 1.0 / 1.1;
const BREAK: &str = "BREAK";

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// Text of one weight.
    Text {
        /// The text, brackets and escapes taken away.
        text: String,
        /// Its weight.
        weight: f64,
    },
    /// What follows begins a new chunk.
    Break,
}

/// Takes a prompt apart. `field` is the request's field, for errors.
///
/// # Errors
/// [`Error::Request`] where brackets are nested deeper than [`MAX_DEPTH`], or weights multiply to more than
/// [`MAX_WEIGHT`].
pub fn parse(field: &str, prompt: &str) -> Result<Vec<Segment>> {
    let mut parser = Parser::default();
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        let length = parser.token(rest, first);
        rest = &rest[length..];
        if parser.round.len() + parser.square.len() > MAX_DEPTH {
            let reason = format!("brackets are nested deeper than {MAX_DEPTH}; write \\( or \\[ for a bracket as text");
            return Err(Error::request(field, reason));
        }
    }
    let segments = parser.finish();
    for segment in &segments {
        match segment {
            Segment::Text { weight, .. } if !(-MAX_WEIGHT..=MAX_WEIGHT).contains(weight) => {
                let reason = format!("a weight is {weight}, −{MAX_WEIGHT} to {MAX_WEIGHT} are allowed");
                return Err(Error::request(field, reason));
            }
            _ => (),
        }
    }
    Ok(segments)
}

/// Segments so far, and where in them each open bracket began.
#[derive(Default)]
struct Parser {
    segments: Vec<Segment>,
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Parser {
    /// Takes in what stands at the start of `rest`, whose first character is `first`; its length in bytes.
    fn token(&mut self, rest: &str, first: char) -> usize {
        match first {
            '\\' => {
                // Before anything else a backslash just goes.
                let escaped = rest[1..].chars().next().filter(|next| "()[]\\".contains(*next));
                escaped.inspect(|next| self.text(next.encode_utf8(&mut [0; 4])));
                1 + escaped.map_or(0, char::len_utf8)
            }
            '(' => {
                self.round.push(self.segments.len());
                1
            }
            '[' => {
                self.square.push(self.segments.len());
                1
            }
            ')' => {
                let opened = self.round.pop();
                self.close(opened, ROUND_WEIGHT, ")");
                1
            }
            ']' => {
                let opened = self.square.pop();
                self.close(opened, SQUARE_WEIGHT, "]");
                1
            }
            ':' => match weight_and_bracket(rest) {
                Some((weight, length)) if !self.round.is_empty() => {
                    let opened = self.round.pop();
                    self.close(opened, weight, "");
                    length
                }
                _ => {
                    self.text(":");
                    1
                }
            },
            _ => {
                let run = &rest[..rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len())];
                self.run(run);
                run.len()
            }
        }
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.segments.push(Segment::Text { text: text.to_owned(), weight: 1.0 });
        }
    }

    /// A closing bracket: weights all since the opening one, or is text where there is none.
    fn close(&mut self, opened: Option<usize>, factor: f64, bracket: &str) {
        let Some(start) = opened else { return self.text(bracket) };
        for segment in &mut self.segments[start..] {
            if let Segment::Text { weight, .. } = segment {
                *weight *= factor;
            }
        }
    }

    /// Text without brackets, cut at each `BREAK` that is a word.
    fn run(&mut self, mut run: &str) {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let mut from = 0;
        while let Some(at) = run[from..].find(BREAK).map(|at| from + at) {
            let end = at + BREAK.len();
            let (before, after) = (&run[..at], &run[end..]);
            if before.chars().next_back().is_some_and(is_word) || after.chars().next().is_some_and(is_word) {
                from = end;
                continue;
            }
            self.text(before.trim_end());
            self.segments.push(Segment::Break);
            (run, from) = (after.trim_start(), 0);
        }
        self.text(run);
    }

    /// Weights what was never closed, and joins neighbours of one weight, which are then tokenized as one text.
    fn finish(mut self) -> Vec<Segment> {
        for start in std::mem::take(&mut self.round) {
            self.close(Some(start), ROUND_WEIGHT, "");
        }
        for start in std::mem::take(&mut self.square) {
            self.close(Some(start), SQUARE_WEIGHT, "");
        }
        let mut joined: Vec<Segment> = Vec::new();
        for segment in self.segments {
            match (joined.last_mut(), segment) {
                (Some(Segment::Text { text, weight }), Segment::Text { text: more, weight: same })
                    if *weight == same =>
                {
                    text.push_str(&more);
                }
                (_, segment) => joined.push(segment),
            }
        }
        joined
    }
}

/// `:1.3)` at the start of `text`: the weight, and the length in bytes.
fn weight_and_bracket(text: &str) -> Option<(f64, usize)> {
    let number_on = text.strip_prefix(':')?.trim_start();
    let number = number_on.split(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).next()?;
    let after = number_on[number.len()..].trim_start().strip_prefix(')')?;
    Some((number.parse().ok()?, text.len() - after.len()))
}

/// Tokens that the text encoder takes at once, start, end and padding not among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chunk {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Their weights.
    pub weights: Vec<f32>,
    /// Where among them stands what [`Chunker::lead_with`] put there.
    pub lead: Range<usize>,
}

impl Chunk {
    /// The ids that were pushed.
    pub fn pushed(&self) -> impl Iterator<Item = u32> {
        let (before, after) = (&self.ids[..self.lead.start], &self.ids[self.lead.end..]);
        before.iter().chain(after).copied()
    }
}

/// Fills chunks with tokens one by one.
#[derive(Debug)]
pub struct Chunker {
    capacity: usize,
    comma_id: Option<u32>,
    full: Vec<Chunk>,
    open: Chunk,
    /// Where the last comma of the open chunk stands.
    last_comma: Option<usize>,
    /// Ids in front of what is pushed into each chunk.
    lead: Vec<u32>,
    /// Whether the open chunk has them.
    is_led: bool,
}

impl Chunker {
    /// For chunks of at most `capacity` tokens, at least 1, and the id of a comma.
    pub fn new(capacity: usize, comma_id: Option<u32>) -> Self {
        Self {
            capacity: capacity.max(1),
            comma_id,
            full: Vec::new(),
            open: Chunk::default(),
            last_comma: None,
            lead: Vec::new(),
            is_led: true,
        }
    }

    /// Puts `ids` in front of what is pushed from now on, in the open chunk and in all that follow, each time with something
    /// behind them; of as many as a chunk holds, or more, one less than that.
    pub fn lead_with(&mut self, mut ids: Vec<u32>) {
        ids.truncate(self.capacity - 1);
        self.lead = ids;
        self.is_led = false;
    }

    /// Adds a token, given by its id, or all the vectors of a textual inversion, which stay together in a chunk.
    pub fn push(&mut self, ids: &[u32], weight: f32) {
        let Some(&first) = ids.first() else { return };
        self.add_lead();
        self.make_room(first);
        if ids.len() > 1 && !self.open.ids.is_empty() && self.open.ids.len() + ids.len() > self.capacity {
            self.end_chunk();
        }
        for &id in ids {
            if self.open.ids.len() == self.capacity {
                self.end_chunk();
            }
            self.add_lead();
            self.open.ids.push(id);
            self.open.weights.push(weight);
        }
    }

    /// Puts the lead into the open chunk, or into the next one where it would stand at the end.
    fn add_lead(&mut self) {
        if self.is_led {
            return;
        }
        if self.open.ids.len() + self.lead.len() >= self.capacity {
            self.end_chunk();
        }
        let start = self.open.ids.len();
        self.open.ids.extend(&self.lead);
        self.open.weights.resize(self.open.ids.len(), 1.0);
        self.open.lead = start..self.open.ids.len();
        // A cut before it would tear what it belongs to away from it.
        self.last_comma = None;
        self.is_led = true;
    }

    /// Ends the open chunk where it is full, at its last comma if that is near.
    fn make_room(&mut self, id: u32) {
        let filled = self.open.ids.len();
        if Some(id) == self.comma_id {
            self.last_comma = Some(filled);
        } else if let Some(comma) = self.last_comma.filter(|comma| filled - comma <= COMMA_BACKTRACK)
            && filled == self.capacity
        {
            // What follows the comma moves on to the next chunk.
            let (ids, weights) = (self.open.ids.split_off(comma + 1), self.open.weights.split_off(comma + 1));
            self.end_chunk();
            self.add_lead();
            self.open.ids.extend(ids);
            self.open.weights.extend(weights);
        }
        if self.open.ids.len() == self.capacity {
            self.end_chunk();
        }
    }

    /// Ends the open chunk, however full; the next token begins another.
    pub fn end_chunk(&mut self) {
        self.full.push(std::mem::take(&mut self.open));
        self.last_comma = None;
        self.is_led = self.lead.is_empty();
    }

    /// The chunks, one at least unless `most` is 0 and `most` at most, and the pushed tokens that those have no room for.
    pub fn finish(mut self, most: usize) -> (Vec<Chunk>, Vec<u32>) {
        if !self.open.ids.is_empty() || self.full.is_empty() {
            self.end_chunk();
        }
        let beyond = self.full.split_off(self.full.len().min(most));
        (self.full, beyond.iter().flat_map(Chunk::pushed).collect())
    }
}
