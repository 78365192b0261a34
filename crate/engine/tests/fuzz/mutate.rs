//! New inputs out of old ones.

use serde_json::{Map, Value, json};

use crate::common::Random;

/// Longest input that is made, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// Numbers at the edges of what types hold, as JSON writes them.
const NUMBERS: [&str; 20] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "8",
    "31",
    "255",
    "0.5",
    "1e-320",
    "1e9",
    "1e30",
    "1e308",
    "65536",
    "4294967295",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
];

/// One of several.
pub fn pick<'a, T>(random: &mut Random, choices: &'a [T]) -> &'a T {
    &choices[random.between(0, choices.len() - 1)]
}

/// Whether something with a chance of one in `n` happens.
pub fn one_in(random: &mut Random, n: usize) -> bool {
    random.between(1, n) == 1
}

/// One of the `seeds` with a few changes: bits, numbers, `words` that mean something to the reader, and parts that are
/// left out, repeated, or taken from another seed.
pub fn mutated(random: &mut Random, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut bytes = pick(random, seeds).clone();
    let changes = if one_in(random, 8) { 24 } else { 4 };
    for _ in 0..random.between(1, changes) {
        change(random, &mut bytes, seeds, words);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let at = random.between(0, bytes.len());
    let longest = if one_in(random, 4) { 400 } else { 12 };
    let end = (at + random.between(1, longest)).min(bytes.len());
    match random.between(0, 7) {
        0 => bytes.truncate(if one_in(random, 4) { at } else { bytes.len() }),
        1 if at < end => bytes[at] ^= 1 << random.between(0, 7),
        2 if at < end => bytes[at] = random.next() as u8,
        3 => drop(bytes.drain(at..end)),
        4 => {
            let times = if one_in(random, 50) { 4000 } else { random.between(1, 3) };
            let part = bytes[at..end].repeat(times.min(MAX_BYTES / (end - at).max(1)));
            bytes.splice(at..at, part);
        }
        5 => {
            let other = pick(random, seeds);
            let from = random.between(0, other.len());
            let to = (from + random.between(0, 200)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        6 => {
            // In place of the number that is there, where one is.
            let start = at + bytes[at..].iter().position(u8::is_ascii_digit).unwrap_or(0);
            let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            bytes.splice(start..start + digits, pick(random, &NUMBERS).bytes());
        }
        _ if !words.is_empty() => drop(bytes.splice(at..at, pick(random, words).bytes())),
        _ => (),
    }
}

/// Changes a few values of a JSON document, which stays one.
pub fn mutate_json(random: &mut Random, value: &mut Value) {
    for _ in 0..random.between(1, 4) {
        change_json(random, value);
    }
}

/// Goes down to a random depth and changes what is there.
fn change_json(random: &mut Random, value: &mut Value) {
    let is_container = matches!(value, Value::Array(items) if !items.is_empty())
        || matches!(value, Value::Object(fields) if !fields.is_empty());
    if is_container && !one_in(random, 6) {
        return match value {
            Value::Array(items) => change_item(random, items),
            Value::Object(fields) => change_field(random, fields),
            _ => (),
        };
    }
    *value = match random.between(0, 9) {
        0..=4 => {
            let number = NUMBERS[random.between(0, NUMBERS.len() - 1)];
            serde_json::from_str(number).unwrap()
        }
        5 => Value::String("x".repeat(*pick(random, &[0, 1, 20, 600, 20_000]))),
        6 => json!(*pick(random, &[true, false])),
        7 => json!(vec![value.clone(); random.between(0, 3)]),
        8 => (0..random.between(1, 20)).fold(value.clone(), |inner, _| json!({ "a": [inner] })),
        _ => Value::Null,
    };
}

fn change_item(random: &mut Random, items: &mut Vec<Value>) {
    let at = random.between(0, items.len() - 1);
    match random.between(0, 9) {
        0 => drop(items.remove(at)),
        1 => items.insert(at, items[at].clone()),
        2 => items.reverse(),
        _ => change_json(random, &mut items[at]),
    }
}

fn change_field(random: &mut Random, fields: &mut Map<String, Value>) {
    let [name, other] = [0, 1].map(|_| fields.keys().nth(random.between(0, fields.len() - 1)).unwrap().clone());
    match random.between(0, 14) {
        0 => drop(fields.remove(&name)),
        1 => drop(fields.insert(other, fields[&name].clone())),
        2 => {
            let names = ["", "../x", "__proto__", "upscaler", "text_encoder_2", "a\u{0}b", "\u{1f353}"];
            fields.insert((*pick(random, &names)).to_owned(), fields[&name].clone());
        }
        _ => change_json(random, &mut fields[&name]),
    }
}
