//! AUTOMATIC1111's prompt syntax against the plain Python of `tests/parity/make_prompts.py`.

#![allow(clippy::unwrap_used, reason = "a test stops where a golden is malformed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fraise_engine::prompt::{Chunk, Chunker, MAX_CHUNKS, MAX_DEPTH, Segment, parse};
use fraise_engine::tokenizer::{ClipTokenizer, TokenizerConfig};
use fraise_engine::{Error, Result};

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    prompt: String,
    /// Absent for long prompts.
    segments: Option<Vec<GoldenSegment>>,
    chunks: BTreeMap<usize, GoldenChunks>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum GoldenSegment {
    Text(String, String),
    Break(String),
}

/// Ids and weights by chunk, written as `value*times value …`.
#[derive(serde::Deserialize)]
struct GoldenChunks {
    ids: Vec<String>,
    weights: Vec<String>,
    beyond: usize,
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens").join(name)).unwrap()
}

fn values<T: std::str::FromStr>(runs: &str) -> Vec<T> {
    let run = |run: &str| {
        let (value, times) = run.split_once('*').unwrap_or((run, "1"));
        let times: usize = times.parse().unwrap();
        (0..times).map(move |_| value.parse::<T>().ok().unwrap()).collect::<Vec<_>>()
    };
    runs.split_whitespace().flat_map(run).collect()
}

fn chunks(tokenizer: &ClipTokenizer, prompt: &str, capacity: usize) -> Result<(Vec<Chunk>, Vec<u32>)> {
    let mut chunker = Chunker::new(capacity, tokenizer.comma_id());
    for segment in parse("prompt", prompt)? {
        match segment {
            Segment::Break => chunker.end_chunk(),
            Segment::Text { text, weight } => {
                tokenizer.encode_each(&text, |ids| chunker.push(ids, weight as f32));
            }
        }
    }
    Ok(chunker.finish(MAX_CHUNKS))
}

fn tokenizer() -> ClipTokenizer {
    let config = TokenizerConfig::default().capped(77);
    ClipTokenizer::from_files(&read("tokenizer_vocab.json"), &read("tokenizer_merges.txt"), &config).unwrap()
}

#[test]
fn reads_prompts_as_the_reference_does() {
    let golden: Golden = serde_json::from_slice(&read("prompt_cases.json")).unwrap();
    assert!(golden.cases.len() > 250);
    for case in golden.cases {
        let Some(expected) = case.segments else { continue };
        let expected = expected.into_iter().map(|segment| match segment {
            GoldenSegment::Text(text, weight) => Segment::Text { text, weight: weight.parse().unwrap() },
            GoldenSegment::Break(word) => {
                assert_eq!(word, "BREAK");
                Segment::Break
            }
        });
        // Weights are equal to the last bit: they decide which neighbours are one text.
        assert_eq!(parse("prompt", &case.prompt).unwrap(), expected.collect::<Vec<_>>(), "{:?}", case.prompt);
    }
}

#[test]
fn fills_chunks_as_the_reference_does() {
    let golden: Golden = serde_json::from_slice(&read("prompt_cases.json")).unwrap();
    let tokenizer = tokenizer();
    let (mut several, mut cut_off) = (0, 0);
    for case in golden.cases {
        for (capacity, expected) in case.chunks {
            let (found, beyond) = chunks(&tokenizer, &case.prompt, capacity).unwrap();
            let what = format!("{capacity} of {:.60?}", case.prompt);
            let ids: Vec<Vec<u32>> = expected.ids.iter().map(|runs| values(runs)).collect();
            let weights: Vec<Vec<f32>> = expected
                .weights
                .iter()
                .map(|runs| values::<f64>(runs).into_iter().map(|weight| weight as f32).collect())
                .collect();
            assert_eq!(found.iter().map(|chunk| chunk.ids.clone()).collect::<Vec<_>>(), ids, "{what}");
            assert_eq!(found.iter().map(|chunk| chunk.weights.clone()).collect::<Vec<_>>(), weights, "{what}");
            assert_eq!(beyond.len(), expected.beyond, "{what}");
            several += usize::from(found.len() > 1);
            cut_off += usize::from(!beyond.is_empty());
        }
    }
    assert!(several > 20 && cut_off > 1, "{several} of several chunks, {cut_off} cut off");
}

#[test]
fn the_vectors_of_one_embedding_stay_together() {
    let filled = |groups: &[&[u32]]| {
        let mut chunker = Chunker::new(4, Some(9));
        groups.iter().for_each(|ids| chunker.push(ids, 1.0));
        chunker.finish(MAX_CHUNKS).0.into_iter().map(|chunk| chunk.ids).collect::<Vec<_>>()
    };
    assert_eq!(filled(&[&[1, 2], &[3, 4], &[5, 6]]), [vec![1, 2, 3, 4], vec![5, 6]]);
    assert_eq!(filled(&[&[1], &[2], &[3], &[5, 6, 7]]), [vec![1, 2, 3], vec![5, 6, 7]]);
    assert_eq!(filled(&[&[1], &[9], &[3], &[4], &[5, 6]]), [vec![1, 9], vec![3, 4, 5, 6]], "cut at the comma first");
    assert_eq!(filled(&[&[1], &[2, 3, 4, 5, 6]]), [vec![1], vec![2, 3, 4, 5], vec![6]], "more than a chunk holds");
}

#[test]
fn a_lead_stands_in_front_of_what_is_pushed_into_each_chunk() {
    let (comma, lead) = (9, 7);
    let filled = |capacity, before: &[u32], leads: &[u32], after: &[&[u32]]| {
        let mut chunker = Chunker::new(capacity, Some(comma));
        before.iter().for_each(|&id| chunker.push(&[id], 1.0));
        chunker.lead_with(leads.to_vec());
        after.iter().for_each(|ids| chunker.push(ids, 2.0));
        let (chunks, beyond) = chunker.finish(2);
        let pushed: Vec<u32> = chunks.iter().flat_map(Chunk::pushed).chain(beyond).collect();
        assert_eq!(pushed, [before, &after.concat()].concat());
        for chunk in &chunks {
            let weights = chunk.ids.iter().map(|id| if before.contains(id) || *id == lead { 1.0 } else { 2.0 });
            assert_eq!(chunk.weights, weights.collect::<Vec<_>>());
        }
        chunks.into_iter().map(|chunk| chunk.ids).collect::<Vec<_>>()
    };
    assert_eq!(filled(4, &[1], &[lead], &[&[2], &[3], &[4]]), [vec![1, lead, 2, 3], vec![lead, 4]]);
    assert_eq!(filled(4, &[1, 2], &[lead], &[]), [[1, 2]], "nothing comes after it");
    assert_eq!(filled(4, &[1, 2, 3], &[lead], &[&[4]]), [vec![1, 2, 3], vec![lead, 4]], "not at the end");
    assert_eq!(filled(4, &[], &[lead], &[&[2], &[comma], &[3], &[4]]), [vec![lead, 2, comma], vec![lead, 3, 4]]);
    assert_eq!(
        filled(4, &[1, comma], &[lead], &[&[3], &[4]]),
        [vec![1, comma, lead, 3], vec![lead, 4]],
        "not torn off"
    );
    assert_eq!(filled(4, &[1], &[lead], &[&[2], &[3, 4]]), [vec![1, lead, 2], vec![lead, 3, 4]]);
    assert_eq!(filled(2, &[], &[lead; 5], &[&[1], &[2], &[3]]), [[lead, 1], [lead, 2]], "it never fills a chunk");
    assert_eq!(filled(1, &[1], &[lead], &[&[2]]), [[1], [2]]);
}

fn refused(prompt: &str) -> String {
    match parse("negative", prompt) {
        Err(Error::Request { field, reason }) => {
            assert_eq!(field, "negative");
            reason
        }
        other => panic!("{prompt:.40}: {other:?}"),
    }
}

#[test]
fn nesting_and_weights_are_bounded() {
    assert!(parse("prompt", &"(".repeat(MAX_DEPTH)).is_ok());
    assert!(refused(&"(".repeat(MAX_DEPTH + 1)).contains("nested deeper than 32"));
    assert!(refused(&format!("{}{}", "[".repeat(20), "(".repeat(20))).contains("nested deeper than 32"));
    assert!(parse("prompt", "(a:100)").is_ok());
    for prompt in ["(a:100.5)", "(a:-101)", "((a:20):20)", &format!("(a:{})", "9".repeat(400))] {
        assert!(refused(prompt).contains("weight"), "{prompt:.40}");
    }
    // Closed again, any number of brackets is fine.
    assert_eq!(parse("prompt", &"(a) ".repeat(2000)).unwrap().len(), 4000);
}

#[test]
fn hostile_prompts_take_no_longer_than_others() {
    let tokenizer = tokenizer();
    let open = "(a".repeat(MAX_DEPTH - 1);
    for prompt in [
        "(a:".repeat(30) + &":".repeat(100_000),
        open + &"(b)".repeat(100_000),
        "BREAK".repeat(50_000),
        "BREAK ".repeat(50_000),
    ] {
        let start = Instant::now();
        let (chunks, _) = chunks(&tokenizer, &prompt, 75).unwrap();
        assert!(chunks.len() <= MAX_CHUNKS);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?} for {:.20}…", start.elapsed(), prompt);
    }
}
