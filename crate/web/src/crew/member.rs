//! A member's side: doing what is asked, for as long as the worker lives.

use std::collections::BTreeMap;

use fraise_engine::kernels::crew::{BLOBS, SCALES, WEIGHTS, WORDS, decode, weights_key};
use js_sys::{Atomics, Float32Array, Int32Array, SharedArrayBuffer, Uint32Array};
use wasm_bindgen::prelude::*;

use super::{FORGET, IDLE, JOB, PAGES, PENDING, RESULT, SLOT, SLOTS, SPANS, control_of};

/// Weights and their scales in whole words, by [`weights_key`].
type Kept = BTreeMap<[u32; 3], [Vec<u32>; 2]>;

/// Does the work of member `member` of the crew around `buffer`. Never returns: its worker has to be ended.
#[wasm_bindgen]
pub fn serve(buffer: SharedArrayBuffer, member: u32) {
    let control = control_of(&buffer);
    let start = SLOTS + member * SLOT;
    let slot = control.subarray(start, start + SLOT);
    let (mut kept, mut done) = (Kept::new(), 0);
    loop {
        let job = Atomics::load(&control, JOB).unwrap_or(done);
        if job == done {
            let _ = Atomics::wait(&control, JOB, job);
            continue;
        }
        done = job;
        answer(&buffer, &slot, &mut kept);
        let pages = core::arch::wasm32::memory_size::<0>();
        let _ = Atomics::store(&slot, PAGES, pages as i32);
        if Atomics::sub(&control, PENDING, 1) == Ok(1) {
            let _ = Atomics::notify(&control, PENDING);
        }
    }
}

/// Does what the slot says.
fn answer(buffer: &SharedArrayBuffer, slot: &Int32Array, kept: &mut Kept) {
    let said: Vec<u32> = slot.to_vec().into_iter().map(|word| word as u32).collect();
    match said[0] {
        IDLE => return,
        FORGET => return kept.clear(),
        _ => {}
    }
    let span = |at: usize| [said[at], said[at + 1]];
    let words: [u32; WORDS] = std::array::from_fn(|word| said[word]);
    let mut numbers: [Vec<u32>; BLOBS] = std::array::from_fn(|blob| read(buffer, span(SPANS + 2 * blob)));
    let key = weights_key(&words);
    if let Some(key) = key
        && !numbers[WEIGHTS].is_empty()
    {
        kept.insert(key, [WEIGHTS, SCALES].map(|blob| std::mem::take(&mut numbers[blob])));
    }
    let mut blobs = numbers.each_ref().map(Vec::as_slice);
    if let Some([weights, scales]) = key.and_then(|key| kept.get(&key)) {
        (blobs[WEIGHTS], blobs[SCALES]) = (weights, scales);
    }
    let [start, bytes] = span(RESULT);
    let y = decode(&words, blobs).map(|work| work.compute()).unwrap_or_default();
    Float32Array::new_with_byte_offset_and_length(buffer, start, bytes / 4).copy_from(&y);
}

/// So many bytes of the buffer, in whole words.
fn read(buffer: &SharedArrayBuffer, [start, bytes]: [u32; 2]) -> Vec<u32> {
    Uint32Array::new_with_byte_offset_and_length(buffer, start, bytes.div_ceil(4)).to_vec()
}
