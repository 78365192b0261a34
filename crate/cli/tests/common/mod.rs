//! Running the command line.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part, and fails by panicking")]

use std::process::{Command, Output};

/// Runs `fraise`.
pub fn fraise(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fraise")).args(arguments).output().unwrap()
}

/// Runs a command that has to succeed; its standard output.
pub fn done(arguments: &[&str]) -> String {
    let output = fraise(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that has to fail with exit code 1 and one line on standard error; that line.
pub fn refused(arguments: &[&str], code: &str) -> String {
    let output = fraise(arguments);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(line.starts_with(&format!("error[{code}]: ")) && line.lines().count() == 1, "{arguments:?}: {line}");
    assert!(output.stdout.is_empty());
    line
}
