//! The prompt syntax, and the chunks that its tokens fill.

use fraise_engine::prompt::{self, Chunk, Chunker, MAX_CHUNKS, MAX_WEIGHT, Segment};
use fraise_engine::request::MAX_PROMPT_BYTES;

use crate::common::Random;
use crate::harness::{accepted, fuzz, turn, within};
use crate::mutate::mutated;

const CORPUS: [&str; 8] = [
    "a (cat:1.2), ((oil)) [painting] BREAK by the \\(sea\\)",
    "((((((((((((((((((((((((((((((((deep",
    "(a:1e9)(b:-3)(c:.5)(d:)(e: 1.1 )(f:1.1.1):1.5)",
    "BREAKBREAK BREAK,BREAK\nbreak _BREAK",
    "[[a](b]c)",
    "\\\\\\",
    "星空(下的:1.3)草莓🍓小岛",
    "((((((a:99999999999999999999999999999999999999):99999999999999999999999999999999999999999):0):1",
];
const WORDS: [&str; 14] =
    ["(", ")", "[", "]", "\\", ":", ":1.3)", ":-0)", ": 99999 )", "BREAK", ", ", "(((((((", "🍓", ":)"];

/// No byte.
const LEAD: u32 = 256;

#[test]
fn prompts() {
    let _turn = turn();
    let seeds: Vec<Vec<u8>> = CORPUS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let next = |random: &mut Random| {
        let mut text = String::from_utf8_lossy(&mutated(random, &seeds, &WORDS)).into_owned();
        text.truncate(text.floor_char_boundary(MAX_PROMPT_BYTES));
        (text, random.between(1, 80))
    };
    let corpus = CORPUS.iter().map(|&text| (text.to_owned(), 75)).collect();
    fuzz("prompt", corpus, next, |(text, capacity)| {
        let limit = (64 << 10) + 256 * text.len();
        let parsed = within(limit, || prompt::parse("prompt", text));
        let Some(segments) = accepted(parsed, &["Request"]) else { return false };
        let mut bytes = 0;
        for segment in &segments {
            if let Segment::Text { text: part, weight } = segment {
                assert!((-MAX_WEIGHT..=MAX_WEIGHT).contains(weight) && !part.is_empty());
                bytes += part.len();
            }
        }
        assert!(bytes <= text.len(), "text out of nothing");
        within(limit, || fill(&segments, *capacity));
        true
    });
}

/// Each byte as a token, the later half behind a lead: none is lost, none is doubled, and no chunk holds too many.
fn fill(segments: &[Segment], capacity: usize) {
    let mut chunker = Chunker::new(capacity, Some(u32::from(b',')));
    let mut given = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        if index == segments.len() / 2 {
            chunker.lead_with(vec![LEAD; segments.len() % 5]);
        }
        match segment {
            Segment::Break => chunker.end_chunk(),
            Segment::Text { text, weight } => {
                // Some tokens stand for several vectors.
                for ids in text.as_bytes().chunks(if text.len() % 7 == 0 { 5 } else { 1 }) {
                    let ids: Vec<u32> = ids.iter().copied().map(u32::from).collect();
                    chunker.push(&ids, *weight as f32);
                    given.extend(ids);
                }
            }
        }
    }
    let (chunks, beyond) = chunker.finish(MAX_CHUNKS);
    assert!((1..=MAX_CHUNKS).contains(&chunks.len()));
    assert!(chunks.iter().all(|chunk| chunk.ids.len() <= capacity && chunk.ids.len() == chunk.weights.len()));
    let is_lead = |chunk: &Chunk| chunk.ids[chunk.lead.clone()].iter().all(|id| *id == LEAD);
    assert!(chunks.iter().all(is_lead));
    let kept: Vec<u32> = chunks.iter().flat_map(Chunk::pushed).chain(beyond).collect();
    assert_eq!(kept, given);
}
