//! Safetensors headers: the one that streams by, and the converter's file.

use std::ops::Range;

use fraise_engine::Result;
use fraise_engine::convert::{ByteSource, SafetensorsFile};
use fraise_engine::pack::{Header, HeaderReader};
use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};

use crate::common::Random;
use crate::harness::{Input, accepted, corpus, fuzz, turn, within};
use crate::mutate::{mutate_json, mutated, one_in, pick};

const WORDS: [&str; 9] =
    ["{", "}", "\"a\":", "\"__metadata__\":{\"a\":\"b\"},", "\"F64\"", "\"I8\"", "null", "[0,0]", "\\u0000"];
/// A header becomes tensors of at most this many bytes for each of its own.
const BYTES_PER_BYTE: usize = 64;
/// Most bytes that follow a header here; more are only claimed.
const MAX_DATA_BYTES: u64 = 4096;

/// A file, and the length that is claimed for it.
#[derive(Debug)]
struct File {
    bytes: Input,
    claimed_bytes: u64,
}

#[test]
fn headers() {
    let _turn = turn();
    let seeds = corpus("header");
    let headers: Vec<Value> = seeds.iter().filter_map(|seed| serde_json::from_slice(seed).ok()).collect();
    let next = |random: &mut Random| {
        let (header, end) = if one_in(random, 4) {
            (mutated(random, &seeds, &WORDS), random.between(0, 100) as u64)
        } else {
            let mut header = pick(random, &headers).clone();
            mutate_json(random, &mut header);
            if !one_in(random, 3) {
                line_up(&mut header);
            }
            (serde_json::to_vec(&header).unwrap(), end_of(&header))
        };
        let length = if one_in(random, 30) { random.next() >> random.between(0, 63) } else { header.len() as u64 };
        let mut bytes = [&length.to_le_bytes()[..], &header].concat();
        let end = if one_in(random, 10) { random.between(0, 64) as u64 } else { end };
        let claimed_bytes = end.saturating_add(bytes.len() as u64);
        bytes.resize(bytes.len() + end.min(MAX_DATA_BYTES) as usize, 0x3c);
        if one_in(random, 30) {
            bytes.truncate(random.between(0, bytes.len()));
        }
        File { bytes: Input(bytes), claimed_bytes }
    };
    let files = seeds.iter().map(|seed| {
        let bytes = [&(seed.len() as u64).to_le_bytes()[..], seed].concat();
        let end = serde_json::from_slice(seed).map_or(0, |header| end_of(&header));
        File { claimed_bytes: bytes.len() as u64 + end, bytes: Input(bytes) }
    });
    let mut cuts = Random::new(2);
    fuzz("header", files.collect(), next, |file| check(file, &mut cuts));
}

fn check(file: &File, cuts: &mut Random) -> bool {
    let bytes = &file.bytes.0;
    let limit = (64 << 10) + BYTES_PER_BYTE * bytes.len();
    let streamed = accepted(within(limit, || stream(file, bytes.len().max(1))), &["Manifest"]).flatten();
    let in_parts = stream(file, cuts.between(1, 40));
    assert_eq!(in_parts.ok().flatten(), streamed, "however the bytes are cut");
    let opened = within(2 * limit + (64 << 10), || block_on(SafetensorsFile::open("f", Memory(file))));
    // A zip is refused by its first bytes, and a pickle likewise.
    let opened = accepted(opened, &["Manifest", "Request"]);
    let Some(header) = streamed else {
        assert!(opened.is_none(), "the converter accepts what the loader refuses");
        return false;
    };
    keeps_the_rules(&header, file.claimed_bytes);
    accepted(header.schemes("f"), &["Manifest"]);
    if file.claimed_bytes == bytes.len() as u64 {
        SafeTensors::read_metadata(bytes).unwrap();
    }
    if let Some(mut opened) = opened {
        assert_eq!(*opened.header(), header);
        numbers(&mut opened, limit + MAX_DATA_BYTES as usize * 16);
    }
    true
}

/// The header, fed in parts of so many bytes; `None` where the file ends within it.
fn stream(file: &File, part_bytes: usize) -> Result<Option<Header>> {
    let mut reader = HeaderReader::new("f", file.claimed_bytes);
    for mut part in file.bytes.0.chunks(part_bytes) {
        if let Some(header) = reader.feed(&mut part)? {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

fn keeps_the_rules(header: &Header, file_bytes: u64) {
    let data_bytes: u64 = header.tensors.iter().map(|tensor| tensor.bytes as u64).sum();
    assert_eq!(header.data_start + data_bytes, file_bytes);
    for tensor in &header.tensors {
        assert!((1..=512).contains(&tensor.name.len()) && tensor.shape.len() <= 8);
        assert!(tensor.shape.iter().map(|&length| length.max(1)).try_fold(1, usize::checked_mul).is_some());
        let bits = tensor.shape.iter().map(|&length| length as u128).product::<u128>() * tensor.dtype.bitsize() as u128;
        assert_eq!(bits, tensor.bytes as u128 * 8);
    }
    let mut names: Vec<&str> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), header.tensors.len());
}

/// Reads the small tensors that are there.
fn numbers(file: &mut SafetensorsFile<Memory<'_>>, limit: usize) {
    let names: Vec<String> = file
        .places()
        .filter(|place| place.info.bytes as u64 <= MAX_DATA_BYTES)
        .map(|place| place.info.name.clone())
        .take(8)
        .collect();
    for name in names {
        accepted(within(limit, || block_on(file.numbers(&name))), &["Manifest"]);
    }
}

struct Memory<'a>(&'a File);

impl ByteSource for Memory<'_> {
    fn name(&self) -> &str {
        "f"
    }

    fn len_bytes(&self) -> u64 {
        self.0.claimed_bytes
    }

    /// What is claimed and not there is missing, as from a file that became shorter.
    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = &self.0.bytes.0;
        let [start, end] = [range.start, range.end].map(|at| at.min(bytes.len() as u64) as usize);
        Ok(bytes[start..end].to_vec())
    }
}

/// Where the tensors of a header end; 0 where that makes no sense.
fn end_of(header: &Value) -> u64 {
    let ends = header.as_object().into_iter().flatten().filter_map(|(_, tensor)| tensor["data_offsets"][1].as_u64());
    ends.max().unwrap_or(0)
}

/// Puts the tensors one behind the other, each as long as its shape and type say.
fn line_up(header: &mut Value) {
    let mut start = 0u64;
    for tensor in header.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let bits = match tensor["dtype"].as_str() {
            Some("F4") => 4,
            Some("I8" | "U8" | "BOOL" | "F8_E5M2" | "F8_E4M3") => 8,
            Some("F16" | "BF16" | "I16" | "U16") => 16,
            Some("F32" | "I32" | "U32") => 32,
            Some("F64" | "I64" | "U64") => 64,
            _ => continue,
        };
        let lengths = tensor["shape"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let Some(end) =
            lengths.chain([bits]).try_fold(1u64, u64::checked_mul).and_then(|all| start.checked_add(all / 8))
        else {
            continue;
        };
        tensor["data_offsets"] = json!([start, end]);
        start = end;
    }
}
