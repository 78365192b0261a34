//! The engine's side: giving work out and taking results.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use fraise_engine::kernels::crew::{Blob, Crew, SCALES, WEIGHTS, Work, encode, weights_key};
use js_sys::{Atomics, Date, Float32Array, Function, Int32Array, Promise, Reflect, SharedArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::{DATA, FORGET, IDLE, JOB, PAGE, PAGES, PENDING, SLOT, SLOTS, control_of};

/// How long members are waited for, and how many times as long as this worker took besides: they have as much to do. A browser
/// that has ended them leaves this worker to do it alone.
const PATIENCE_MS: f64 = 5000.0;
const PATIENCE: f64 = 4.0;

/// Workers that wait for what this one shares out. Dropping it ends them.
pub(super) struct Workers {
    buffer: SharedArrayBuffer,
    control: Int32Array,
    others: u32,
    end: Function,
    /// Who has which weights: the member and [`weights_key`].
    kept: RefCell<BTreeSet<(u32, [u32; 3])>>,
    is_lost: Cell<bool>,
    rests: Cell<bool>,
}

/// What is written to the buffer, and how far it is taken.
#[derive(Default)]
struct Sheet<'a> {
    placed: Vec<(u32, Blob<'a>)>,
    bytes: usize,
}

impl<'a> Sheet<'a> {
    fn room(&mut self, bytes: usize) -> [u32; 2] {
        let start = DATA as usize + self.bytes;
        self.bytes += bytes.next_multiple_of(8);
        [start as u32, bytes as u32]
    }

    /// Where `blob` is, which is written once for several members.
    fn place(&mut self, blob: Blob<'a>) -> [u32; 2] {
        match self.placed.iter().find(|(_, other)| std::ptr::eq(*other, blob)) {
            Some((start, _)) => [*start, blob.len() as u32],
            None => {
                let span = self.room(blob.len());
                self.placed.push((span[0], blob));
                span
            }
        }
    }
}

impl Workers {
    /// See [`super::Muster::new`].
    pub async fn start(start: &Function) -> Option<Self> {
        let promise = start.call1(&JsValue::NULL, &wasm_bindgen::module()).ok()?;
        let started = JsFuture::from(promise.dyn_into::<Promise>().ok()?).await.ok()?;
        let property = |name: &str| Reflect::get(&started, &name.into()).ok();
        let buffer: SharedArrayBuffer = property("buffer")?.dyn_into().ok()?;
        Some(Self {
            control: control_of(&buffer),
            others: property("others")?.as_f64()? as u32,
            end: property("end")?.dyn_into().ok()?,
            buffer,
            kept: RefCell::default(),
            is_lost: Cell::new(false),
            rests: Cell::new(false),
        })
    }

    /// Whether the others are to have nothing to do.
    pub fn rest(&self, rests: bool) {
        self.rests.set(rests);
    }

    /// Has the others forget all weights.
    pub fn forget(&self) {
        if !self.is_lost.get() {
            self.kept.borrow_mut().clear();
            (0..self.others).for_each(|member| self.tell(member, &[FORGET]));
            self.wake();
            self.wait(0.0);
        }
    }

    /// Bytes of the others' memories and of the buffer.
    pub fn bytes(&self) -> u64 {
        if self.is_lost.get() {
            return 0;
        }
        let pages = |member| Atomics::load(&self.control, SLOTS + member * SLOT + PAGES).unwrap_or(0) as u64;
        (0..self.others).map(pages).sum::<u64>() * PAGE + u64::from(self.buffer.byte_length())
    }

    fn tell(&self, member: u32, words: &[u32]) {
        let start = SLOTS + member * SLOT;
        let words: Vec<_> = words.iter().map(|word| *word as i32).collect();
        self.control.subarray(start, start + words.len() as u32).copy_from(&words);
    }

    /// Sends all to their slots. Each is waited for, also one with nothing to do, so that none reads its slot late.
    fn wake(&self) {
        let _ = Atomics::store(&self.control, PENDING, self.others as i32);
        let _ = Atomics::add(&self.control, JOB, 1);
        let _ = Atomics::notify(&self.control, JOB);
    }

    /// Waits until all are done; where one is not in time, the crew is no more. `own_ms`: what this worker's part took.
    fn wait(&self, own_ms: f64) {
        let deadline = Date::now() + PATIENCE_MS + PATIENCE * own_ms;
        loop {
            let (pending, left) = (Atomics::load(&self.control, PENDING).unwrap_or(0), deadline - Date::now());
            if pending == 0 {
                return;
            }
            if left <= 0.0 || Atomics::wait_with_timeout(&self.control, PENDING, pending, left).is_err() {
                let reason = "Fraise's other workers do not answer; it goes on with one thread";
                web_sys::console::warn_1(&reason.into());
                self.is_lost.set(true);
                let _ = self.end.call0(&JsValue::NULL);
                return;
            }
        }
    }

    /// Writes down what the members are to do, and where each one's results will be; `None` where that is too much for the
    /// buffer.
    fn write(&self, parts: &[Work]) -> Option<Vec<[u32; 2]>> {
        let mut kept = self.kept.borrow_mut();
        let (mut sheet, mut letters, mut sent) = (Sheet::default(), Vec::new(), Vec::new());
        for (member, part) in (0..).zip(parts) {
            let (words, mut blobs) = encode(part);
            if let Some(key) = weights_key(&words) {
                match kept.contains(&(member, key)) {
                    true => (blobs[WEIGHTS], blobs[SCALES]) = (&[], &[]),
                    false => sent.push((member, key)),
                }
            }
            let spans = blobs.map(|blob| sheet.place(blob));
            let result = sheet.room(part.results() * size_of::<f32>());
            letters.push((words, spans, result));
        }
        let bytes = DATA as usize + sheet.bytes;
        if bytes > self.buffer.byte_length() as usize {
            // By half more, so that it is not for each layer.
            let bytes = (bytes + bytes / 2).min(self.buffer.max_byte_length()).max(bytes);
            self.buffer.grow(bytes).ok()?;
        }
        for (start, blob) in sheet.placed {
            Uint8Array::new_with_byte_offset_and_length(&self.buffer, start, blob.len() as u32).copy_from(blob);
        }
        for (member, (words, spans, result)) in (0..).zip(&letters) {
            self.tell(member, &[words.as_slice(), spans.as_flattened(), result].concat());
        }
        (letters.len() as u32..self.others).for_each(|member| self.tell(member, &[IDLE]));
        kept.extend(sent);
        Some(letters.into_iter().map(|(.., result)| result).collect())
    }
}

impl Crew for Workers {
    fn members(&self) -> usize {
        if self.is_lost.get() || self.rests.get() { 1 } else { 1 + self.others as usize }
    }

    fn compute(&self, parts: &[Work], own: &mut dyn FnMut()) -> Vec<Vec<f32>> {
        let spans = self.write(parts);
        let started = Date::now();
        if spans.is_some() {
            self.wake();
        }
        own();
        if spans.is_some() {
            self.wait(Date::now() - started);
        }
        match spans.filter(|_| !self.is_lost.get()) {
            None => parts.iter().map(Work::compute).collect(),
            Some(spans) => spans
                .into_iter()
                .map(|[start, bytes]| {
                    Float32Array::new_with_byte_offset_and_length(&self.buffer, start, bytes / 4).to_vec()
                })
                .collect(),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let _ = self.end.call0(&JsValue::NULL);
    }
}
