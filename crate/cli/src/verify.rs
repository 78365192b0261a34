//! `fraise verify`: is this pack whole?

use std::path::PathBuf;

use clap::Args;
use fraise_engine::store::Sha2Digest;
use fraise_engine::{Result, loader};

use crate::folder::FolderStore;
use crate::output;

/// Arguments of `fraise verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Folder of the pack, or its manifest.json
    #[arg(value_name = "PACK")]
    pack: PathBuf,
}

/// Checks the manifest, every piece's hash, and every component's header.
///
/// # Errors
/// The first thing that is wrong.
pub async fn run(arguments: &VerifyArguments) -> Result<()> {
    let store = FolderStore::new(&arguments.pack);
    let manifest = store.manifest()?;
    let bar = output::bytes_bar(manifest.total_bytes, "verifying");
    loader::verify(&manifest, &store, &Sha2Digest, &mut |bytes| bar.inc(bytes)).await?;
    bar.finish_and_clear();
    let pieces: usize = manifest.components.values().map(|component| component.pieces.len()).sum();
    output::print(&format!(
        "{} is whole: {} components, {pieces} pieces, {} bytes\n",
        manifest.name,
        manifest.components.len(),
        manifest.total_bytes
    ))
}
