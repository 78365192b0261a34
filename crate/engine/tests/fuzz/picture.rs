//! PNGs: their settings and their pixels.

use fraise_engine::kernels::Precision;
use fraise_engine::picture::{self, MAX_PNG_SIDE_PX, Picture, PictureInfo};
use fraise_engine::request::{
    MAX_GUIDANCE, MAX_PROMPT_BYTES, MAX_SIDE_PX, MAX_STEPS, Request, RequestLimits, Variation,
};

use crate::common::Random;
use crate::harness::{Input, accepted, corpus, fuzz, turn, within};
use crate::mutate::{mutated, one_in, pick};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const WORDS: [&str; 12] = [
    "fraise\0",
    "iTXt",
    "zTXt",
    "tEXt",
    "\0\0\0\0",
    "\0\u{1}\0\0\0",
    "parameters\0",
    "\"steps\":151",
    "null",
    "\\ud83c",
    "\"prompt\":7,",
    "1e400",
];
/// What the chunks before the pixels may take, the settings, and the decoder's own buffers.
const INFO_BYTES: usize = (4 << 20) + (1 << 20);
/// Four channels of at most two bytes, the rows that they are read into, and three that come out.
const PIXEL_BYTES: usize = 12 * MAX_SIDE_PX as usize * MAX_SIDE_PX as usize;

#[test]
fn pngs() {
    let _turn = turn();
    let mut seeds = corpus("picture");
    seeds.push(own());
    let chunks: Vec<Vec<Chunk>> = seeds.iter().map(|seed| chunks_of(seed)).collect();
    let next = |random: &mut Random| {
        if one_in(random, 4) {
            return Input(mutated(random, &seeds, &WORDS));
        }
        let mut png = pick(random, &chunks).clone();
        for _ in 0..random.between(1, 3) {
            edit(random, &mut png, &chunks);
        }
        Input(joined(&png))
    };
    fuzz("picture", seeds.iter().cloned().map(Input).collect(), next, |Input(png)| {
        let info = accepted(within(INFO_BYTES + 8 * png.len(), || picture::read_info(png)), &["Request"]);
        let pixels = accepted(within(PIXEL_BYTES + INFO_BYTES, || Picture::from_png(png)), &["Request"]);
        if let Some(info) = &info {
            keeps_the_rules(info);
            let one = Picture { width: 1, height: 1, rgb: vec![1, 2, 3] };
            // What a PNG cannot say again is refused, and nothing else.
            if let Some(again) = accepted(one.to_png(Some(info)), &["Storage"]) {
                assert_eq!(picture::read_info(&again).unwrap(), *info);
            }
        }
        if let Some(picture) = &pixels {
            assert!([picture.width, picture.height].iter().all(|side| (1..=MAX_SIDE_PX).contains(side)));
            assert_eq!(picture.rgb.len(), picture.width as usize * picture.height as usize * 3);
        }
        info.is_some() || pixels.is_some()
    });
}

fn keeps_the_rules(info: &PictureInfo) {
    let request = &info.request;
    assert!(request.prompt.len() <= MAX_PROMPT_BYTES && (1..=MAX_STEPS).contains(&request.steps));
    assert!(request.negative.as_ref().is_none_or(|negative| negative.len() <= MAX_PROMPT_BYTES));
    assert!((0.0..=MAX_GUIDANCE).contains(&request.guidance));
    assert!([request.width, request.height].iter().all(|side| (1..=MAX_SIDE_PX).contains(side)));
    const { assert!(MAX_SIDE_PX <= MAX_PNG_SIDE_PX) };
    let fractions = [request.strength, request.variation.map(|variation| variation.strength)];
    assert!(fractions.iter().flatten().all(|fraction| (0.0..=1.0).contains(fraction)));
}

/// A picture with every setting.
fn own() -> Vec<u8> {
    let request = Request {
        prompt: "草莓, é".into(),
        negative: Some("rain".into()),
        sampler: Some("euler".into()),
        variation: Some(Variation { seed: 3, strength: 0.5 }),
        ..Request::default()
    };
    let limits = RequestLimits { steps: 4, guidance: 3.0, width_px: 3, height_px: 2, scale_px: 1 };
    let info =
        PictureInfo { request: request.resolve(&limits).unwrap(), model: "m".into(), precision: Precision::Float16 };
    Picture { width: 3, height: 2, rgb: (0..18).collect() }.to_png(Some(&info)).unwrap()
}

/// Type and data.
type Chunk = ([u8; 4], Vec<u8>);

fn chunks_of(png: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = &png[SIGNATURE.len()..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        chunks.push((after[..4].try_into().unwrap(), after[4..4 + length].to_vec()));
        rest = &after[4 + length + 4..];
    }
    chunks
}

/// A PNG of these chunks, with their true lengths and checksums.
fn joined(chunks: &[Chunk]) -> Vec<u8> {
    let mut png = SIGNATURE.to_vec();
    for (kind, data) in chunks {
        let body = [&kind[..], data].concat();
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(&body);
        png.extend(crc32(&body).to_be_bytes());
    }
    png
}

/// Source: PNG specification (third edition), annex D.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// Changes one chunk, or their order.
fn edit(random: &mut Random, png: &mut Vec<Chunk>, all: &[Vec<Chunk>]) {
    if png.is_empty() {
        return;
    }
    let [at, other] = [0, 1].map(|_| random.between(0, png.len() - 1));
    match random.between(0, 9) {
        0 => drop(png.remove(at)),
        1 => png.insert(other, png[at].clone()),
        2 => png.swap(at, other),
        3 => {
            let another = pick(random, all);
            png.insert(at, pick(random, another).clone());
        }
        4 if at == 0 && png[0].1.len() == 13 => {
            // Sides, depth, colour and interlacing.
            let field = random.between(0, 12);
            png[0].1[field] = *pick(random, &[0, 1, 2, 3, 4, 6, 8, 16, 255]);
        }
        5 => {
            let kinds =
                [*b"tEXt", *b"zTXt", *b"iTXt", *b"IDAT", *b"PLTE", *b"tRNS", *b"iCCP", *b"acTL", *b"fcTL", *b"eXIf"];
            png[at].0 = *pick(random, &kinds);
        }
        _ => png[at].1 = mutated(random, &[png[at].1.clone()], &WORDS),
    }
}
