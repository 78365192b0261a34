//! A member's side: doing what is asked, for as long as the worker lives.

use std::collections::BTreeMap;

use fraise_engine::kernels::crew::{BLOBS, SCALES, WEIGHTS, WORDS, decode, weights_key};
use js_sys::{Atomics, Date, Float32Array, Int32Array, SharedArrayBuffer, Uint32Array};
use wasm_bindgen::prelude::*;

use super::{FORGET, IDLE, JOB, PAGES, PENDING, RESULT, SLOT, SLOTS, SPANS, control_of};

/// How long a member stays awake after a job: to wake it takes a tenth of a millisecond, of whoever does so as well, and most jobs
/// of a picture follow each other within less than two.
const AWAKE_MS: f64 = 2.0;

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
        done = next_job(&control, done);
        answer(&buffer, &slot, &mut kept);
        let pages = core::arch::wasm32::memory_size::<0>();
        let _ = Atomics::store(&slot, PAGES, pages as i32);
        if Atomics::sub(&control, PENDING, 1) == Ok(1) {
            let _ = Atomics::notify(&control, PENDING);
        }
    }
}

/// Waits for another job than the one that is done: first awake, then asleep.
fn next_job(control: &Int32Array, done: i32) -> i32 {
    let until = Date::now() + AWAKE_MS;
    loop {
        // Looking at the clock takes longer than looking for a job.
        for _ in 0..100 {
            let job = Atomics::load(control, JOB).unwrap_or(done);
            if job != done {
                return job;
            }
        }
        if Date::now() >= until {
            let _ = Atomics::wait(control, JOB, done);
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
