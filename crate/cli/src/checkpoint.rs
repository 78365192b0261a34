//! `fraise info` on a checkpoint: what it is, and how large a pack of it will be.

use std::path::Path;

use fraise_engine::Result;
use fraise_engine::convert::{CheckpointInfo, ConvertOptions, Inputs, Publication, Vocabulary, inspect_checkpoint};
use fraise_engine::pack::Quantization;
use fraise_engine::pack::writer::PackOptions;
use fraise_engine::weights::Scheme;

use crate::disk::DiskFile;
use crate::output::{self, mebibytes};

/// Single-file checkpoints carry no vocabulary; all of them have this one.
pub const CLIP_MERGES: &[u8] = include_bytes!("../../../models/clip-vocabulary/merges.txt");

/// Describes the checkpoint on standard output, from its header alone.
///
/// # Errors
/// As [`inspect_checkpoint`].
pub async fn describe(path: &Path) -> Result<()> {
    let of_f16 = inspect(path, Scheme::F16).await?;
    let mut text = format!("{} ({}), predicts {}\n", path.display(), of_f16.pipeline, of_f16.prediction.name());
    for component in &of_f16.components {
        let input = mebibytes(component.input_bytes);
        text += &format!("{:<15} {input:>12}, {} tensors\n", component.name, component.tensors);
    }
    text += &format!("as a pack       {:>12} in f16\n", mebibytes(of_f16.pack_bytes));
    for (name, scheme) in [("q8", Scheme::Q8), ("q4", Scheme::Q4)] {
        let pack_bytes = inspect(path, scheme).await?.pack_bytes;
        text += &format!("                {:>12} in {name}\n", mebibytes(pack_bytes));
    }
    text += "                between the last two in mixed, which measures the weights\n";
    output::print(&text)
}

async fn inspect(path: &Path, scheme: Scheme) -> Result<CheckpointInfo> {
    let pack = PackOptions { quantization: Quantization::All(scheme), piece_bytes: 16 << 20 };
    let options = ConvertOptions { pack, prediction: None, publication: Publication::default() };
    let vocabulary = Vocabulary::from_merges(CLIP_MERGES)?;
    inspect_checkpoint(Inputs::new(&mut DiskFile::open(path)?), &vocabulary, &options).await
}
