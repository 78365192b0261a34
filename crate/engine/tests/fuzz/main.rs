//! Random and mutated input for everything that reads what comes from outside: it never panics, never hangs, never
//! allocates beyond a bound that its length sets, and what it accepts keeps the documented rules.
//!
//! Each target replays its corpus, then tries `FRAISE_FUZZ` inputs made of it (a few thousand by default, the same ones
//! every time). An input that breaks a rule is printed, and belongs into the corpus once the rule holds again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod assembly;
#[path = "../checkpoints/mod.rs"]
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod convert;
#[path = "../counting/mod.rs"]
mod counting;
mod harness;
mod header;
mod manifest;
mod mutate;
mod picture;
mod prompt;
#[path = "../small_pack/mod.rs"]
mod small_pack;
mod tokenizer;
