//! `fraise score`: which of these pictures fits the prompt best, by a pack's scorer.

use std::path::PathBuf;

use clap::Args;
use fraise_engine::Result;
use fraise_engine::conditioning::TextConditioner;
use fraise_engine::limits::DeviceLimits;
use fraise_engine::picture::Picture;
use fraise_engine::requirements::Requirements;
use fraise_engine::scorer::Scorer;
use fraise_engine::store::Sha2Digest;

use crate::device::DeviceKind;
use crate::folder::FolderStore;
use crate::output;
use crate::upscale::read_png;

/// Arguments of `fraise score`.
#[derive(Debug, Args)]
pub struct ScoreArguments {
    /// The pictures
    #[arg(value_name = "PNG", required = true)]
    pictures: Vec<PathBuf>,
    /// Folder of a pack with a scorer, or its manifest.json
    #[arg(long, value_name = "PACK")]
    pack: PathBuf,
    /// What they should show
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// What computes
    #[arg(long, value_enum, default_value_t = DeviceKind::Gpu)]
    device: DeviceKind,
}

/// Scores pictures and lists them, best first.
///
/// # Errors
/// [`fraise_engine::Error::Request`] for what is no picture, or a pack without a scorer;
/// [`fraise_engine::Error::NoWebGpu`] where there is no GPU; what loading reports.
pub async fn run(arguments: &ScoreArguments) -> Result<()> {
    let read = |path: &PathBuf| Picture::from_png(&read_png("PNG", path)?);
    let pictures: Vec<Picture> = arguments.pictures.iter().map(read).collect::<Result<_>>()?;
    let store = FolderStore::new(&arguments.pack);
    let manifest = store.manifest()?;
    let device = arguments.device.open()?;
    Requirements::recommended(&manifest, &DeviceLimits::of(&device))?.check_scoring()?;
    let conditioner = TextConditioner::load(&manifest, &store, &Sha2Digest, &device, &mut |_, _| ()).await?;
    let (scorer, _) = Scorer::load(&manifest, &store, &Sha2Digest, &device).await?;
    let scores = scorer.score(conditioner.pooled(&arguments.prompt)?, &pictures).await?;
    let mut ranked: Vec<_> = scores.iter().zip(&arguments.pictures).collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    output::print(&ranked.iter().map(|(score, path)| format!("{score:7.4}  {}\n", path.display())).collect::<String>())
}
