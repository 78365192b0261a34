//! The other workers that compute with this one ([`fraise_engine::kernels::crew`]), on pages that are isolated across origins.
//!
//! Stable Rust makes no WebAssembly with shared memory, so each member is an instance of the same module with a memory of its
//! own. What it is to do is written to a [`SharedArrayBuffer`]; it copies that, computes, and copies its results back. Weights
//! are sent once and kept. All wait by `Atomics`, which takes hundredths of a millisecond where messages take tenths.
//!
//! The buffer has 32-bit words, [`JOB`], [`PENDING`], and from [`SLOTS`] on [`SLOT`] of them for each member; and from byte
//! [`DATA`] on numbers.

mod member;
mod workers;

use std::cell::RefCell;
use std::rc::Rc;

use fraise_engine::kernels::crew::{self, BLOBS, Crew, WORDS};
use js_sys::{Function, Int32Array, SharedArrayBuffer};

use workers::Workers;

/// Counts what was given out; members wait for it to change.
const JOB: u32 = 0;
/// How many are not done with it.
const PENDING: u32 = 1;
const SLOTS: u32 = 16;
/// A slot's words: what the member is to do ([`IDLE`], [`FORGET`] or what `encode` says); where the numbers for it are and
/// where the results go, each as [first byte, how many bytes]; and the pages of its memory, which the member tells.
const SLOT: u32 = 32;
const SPANS: usize = WORDS;
const RESULT: usize = SPANS + 2 * BLOBS;
const PAGES: u32 = RESULT as u32 + 2;
const IDLE: u32 = 0;
const FORGET: u32 = u32::MAX;
const DATA: u32 = 4096;

/// Bytes of a page of WebAssembly's memory.
pub(crate) const PAGE: u64 = 65_536;

fn control_of(buffer: &SharedArrayBuffer) -> Int32Array {
    Int32Array::new_with_byte_offset_and_length(buffer, 0, DATA / 4)
}

/// The others have nothing to do for as long as it lives.
pub struct Rest(Rc<Workers>);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.rest(false);
    }
}

/// The engine's crew, there or not.
pub struct Muster {
    members: u32,
    start: Option<Function>,
    workers: RefCell<Option<Rc<Workers>>>,
}

impl Muster {
    /// `members`: how many can be had, this worker among them; without isolation 1. `start(module)` promises
    /// `{buffer: SharedArrayBuffer, others: number, end: () => void}` once the others wait for work, or null where they
    /// cannot be had.
    pub fn new(members: u32, start: Option<Function>) -> Self {
        Self { members: members.max(1), start, workers: RefCell::new(None) }
    }

    /// How many members there would be.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// Has the others work with this thread from now on, where they can be had; they may already.
    pub async fn assemble(&self) {
        let is_there = self.workers.borrow().as_ref().is_some_and(|workers| workers.members() > 1);
        let Some(start) = self.start.as_ref().filter(|_| !is_there && self.members > 1) else { return };
        let workers = Workers::start(start).await.map(Rc::new);
        crew::employ(workers.clone().map(|workers| workers as Rc<dyn Crew>));
        self.workers.replace(workers);
    }

    /// Ends the others, until they are wanted again.
    pub fn disband(&self) {
        crew::employ(None);
        self.workers.take();
    }

    /// Has the others forget all weights, which are sent again where they are used.
    pub fn forget(&self) {
        if let Some(workers) = &*self.workers.borrow() {
            workers.forget();
        }
    }

    /// Has this thread compute alone until the result is dropped, where another worker is busy on the second of two cores.
    pub fn rest(&self) -> Option<Rest> {
        let workers = self.workers.borrow().clone().filter(|workers| workers.members() == 2)?;
        workers.rest(true);
        Some(Rest(workers))
    }

    /// Bytes of the others' memories, and of what is between them and this one.
    pub fn bytes(&self) -> u64 {
        self.workers.borrow().as_ref().map_or(0, |workers| workers.bytes())
    }
}
