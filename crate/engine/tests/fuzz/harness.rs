//! Runs one target: its corpus, then as many inputs as were asked for.

use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use fraise_engine::{Error, Result};

use crate::common::{Random, say};
use crate::counting::peak_bytes;

/// Inputs of a target where nothing else is asked for.
const DEFAULT_COUNT: u64 = 4000;
/// Long runs say how far they are as often as this.
const REPORTED: u64 = 1_000_000;
/// An input that takes longer than this hangs: all are small.
const HANG: Duration = Duration::from_secs(60);
/// Longest message that an error may have, in bytes: it is shown to people.
const MAX_MESSAGE_BYTES: usize = 2048;

/// Waits until no other target runs: the allocator counts for the whole program. The first thing that a target does.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries `check` on every input of the corpus and on those that `next` makes. `check` panics where a rule is broken, and
/// says whether the input was accepted; both must happen, or the target would test nothing.
pub fn fuzz<I: Debug>(
    target: &str,
    corpus: Vec<I>,
    mut next: impl FnMut(&mut Random) -> I,
    mut check: impl FnMut(&I) -> bool,
) {
    let asked = std::env::var("FRAISE_FUZZ").ok().map(|count| count.parse().unwrap());
    let count = asked.unwrap_or(DEFAULT_COUNT);
    let (at, (done, is_done)) = (AtomicU64::new(0), mpsc::channel::<()>());
    let (mut accepted, tried) = (0, corpus.len() as u64 + count);
    thread::scope(|scope| {
        scope.spawn(|| watch(target, &at, is_done));
        let _stop = done; // the watch ends with this, also where a check panics
        let mut random = Random::new(1);
        let inputs = corpus.into_iter().map(Some).chain(std::iter::repeat_with(|| None).take(count as usize));
        for (index, input) in (0..).zip(inputs) {
            at.store(index, Relaxed);
            if index > 0 && index % REPORTED == 0 {
                say(&format!("{target}: {index} inputs so far, {accepted} accepted"));
            }
            let input = input.unwrap_or_else(|| next(&mut random));
            let report = Report { target, index, input: &input };
            accepted += u64::from(check(report.input));
        }
    });
    if asked.is_some() {
        say(&format!("{target}: {tried} inputs, {accepted} accepted"));
    }
    assert!(accepted > 0 && accepted < tried, "{target}: {accepted} of {tried} inputs were accepted");
}

/// Ends the program where one input takes too long.
fn watch(target: &str, at: &AtomicU64, is_done: mpsc::Receiver<()>) {
    let mut last = u64::MAX;
    while is_done.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
        let index = at.load(Relaxed);
        if index == last {
            say(&format!("{target}: input {index} hangs"));
            std::process::abort();
        }
        last = index;
    }
}

/// Prints the input during whose check the test panics.
struct Report<'a, I: Debug> {
    target: &'a str,
    index: u64,
    input: &'a I,
}

impl<I: Debug> Drop for Report<'_, I> {
    fn drop(&mut self) {
        if thread::panicking() {
            say(&format!("{}: input {} breaks a rule: {:?}", self.target, self.index, self.input));
        }
    }
}

/// The files of a target's corpus.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What `read` returns, which may hold `limit` bytes at most while it works.
pub fn within<T>(limit: usize, read: impl FnOnce() -> T) -> T {
    let (result, peak) = peak_bytes(read);
    assert!(peak <= limit, "{peak} bytes were allocated, {limit} are allowed");
    result
}

/// What was accepted; a refusal must have one of the `codes` and a message that can be shown.
pub fn accepted<T>(result: Result<T>, codes: &[&str]) -> Option<T> {
    result.map_err(|error| check_error(&error, codes)).ok()
}

fn check_error(error: &Error, codes: &[&str]) {
    let message = error.to_string();
    assert!(codes.contains(&error.code()), "{message}");
    assert!(message.len() <= MAX_MESSAGE_BYTES, "the message is {} bytes long", message.len());
}

/// Bytes as text, so that reports can be read.
pub struct Input(pub Vec<u8>);

impl Debug for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}
