//! `fraise`: makes, checks, describes and runs packs.
//!
//! Exit code 0, or 1 with one line on standard error: `error[CODE]: what, where, what to do`.

mod checkpoint;
mod device;
mod diffusers;
mod disk;
mod folder;
mod generate;
mod info;
mod output;
mod pack;
mod report;
mod score;
mod upscale;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fraise_engine::{Error, Result};

/// Paints pictures from words, and makes the packs that web pages load.
#[derive(Debug, Parser)]
#[command(name = "fraise", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Turn a diffusers folder or a checkpoint into a pack that any static host can serve
    Pack(pack::PackArguments),
    /// Hash every piece of a pack and check that its parts fit together
    Verify(verify::VerifyArguments),
    /// Describe a pack or a checkpoint: components, sizes, number formats, licence
    Info(info::InfoArguments),
    /// Paint one picture
    Generate(Box<generate::GenerateArguments>),
    /// Make a picture larger by a pack's upscaler
    Upscale(upscale::UpscaleArguments),
    /// Rank pictures by how well they fit a prompt, by a pack's scorer
    Score(score::ScoreArguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return fail(&usage_error(&error)),
        Err(help) => return report(output::print(&help.to_string())),
    };
    report(pollster::block_on(run(arguments.command)))
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Pack(arguments) => pack::run(&arguments).await,
        Command::Verify(arguments) => verify::run(&arguments).await,
        Command::Info(arguments) => info::run(&arguments).await,
        Command::Generate(arguments) => generate::run(&arguments).await,
        Command::Upscale(arguments) => upscale::run(&arguments).await,
        Command::Score(arguments) => score::run(&arguments).await,
    }
}

fn report(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    output::print_error(error);
    ExitCode::FAILURE
}

/// The first paragraph of clap's message, on one line.
fn usage_error(error: &clap::Error) -> Error {
    let text = error.to_string();
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    Error::request("arguments", format!("{message}; see `fraise --help`"))
}
