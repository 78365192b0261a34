//! What people see: lines on standard output, one error line, and progress where someone is watching.

use std::io::{IsTerminal, Write};

use fraise_engine::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Writes text to standard output, as it is.
///
/// # Errors
/// [`Error::Storage`] where standard output is closed.
pub fn print(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| Error::Storage {
        operation: "writing to standard output".to_owned(),
        reason: error.to_string(),
    })
}

/// Writes `error[CODE]: …` to standard error, on one line whatever the message holds.
pub fn print_error(error: &Error) {
    print_line(&format!("error[{}]: {}", error.code(), one_line(&error.to_string())));
}

/// Writes `note: …` to standard error, on one line whatever the message holds.
pub fn print_note(message: &str) {
    print_line(&format!("note: {}", one_line(message)));
}

fn print_line(line: &str) {
    // Nobody is left to tell where standard error is closed too.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn one_line(message: &str) -> String {
    let clean = |line: &str| line.trim().chars().filter(|character| !character.is_control()).collect::<String>();
    message.lines().map(clean).collect::<Vec<_>>().join(" ")
}

/// A bar over `total` bytes, invisible where standard error is not a terminal.
pub fn bytes_bar(total: u64, what: &str) -> ProgressBar {
    bar(total, what, "{msg:24} {wide_bar} {bytes}/{total_bytes} {eta}")
}

/// A bar over `total` steps, invisible where standard error is not a terminal.
pub fn steps_bar(total: u64, what: &str) -> ProgressBar {
    bar(total, what, "{msg:24} {wide_bar} {pos}/{len} {eta}")
}

fn bar(total: u64, what: &str, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total).with_message(what.to_owned());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Bytes in words: `1.53 MiB`.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
