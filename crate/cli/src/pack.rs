//! `fraise pack`: a diffusers folder or a checkpoint in, a pack out, the same bytes on every run.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fraise_engine::convert::{
    self, ConvertProgress, Plan, Publication, SafetensorsFile, Vocabulary, embedding, preview,
};
use fraise_engine::pack::streams::PieceSink;
use fraise_engine::pack::writer::PackOptions;
use fraise_engine::pack::{Piece, Quantization};
use fraise_engine::weights::Scheme;
use fraise_engine::{Error, Result};
use indicatif::ProgressBar;

use crate::checkpoint::CLIP_MERGES;
use crate::diffusers::DiffusersFolder;
use crate::disk::DiskFile;
use crate::folder::{FolderStore, MANIFEST, failed, write_whole};
use crate::{output, report};

/// Arguments of `fraise pack`.
#[derive(Debug, Args)]
pub struct PackArguments {
    /// Diffusers folder (model_index.json, text_encoder, unet, vae, tokenizer, scheduler), or one checkpoint as
    /// .safetensors: Stable Diffusion 1, 2 or XL
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// Folder for the pack; other files in it stay as they are
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// How weights are stored
    #[arg(long, value_enum, default_value_t = Quant::Mixed)]
    quant: Quant,
    /// Name of the model [default: fraise.json's, else the folder's or file's]
    #[arg(long)]
    name: Option<String>,
    /// Licence of the weights, as SPDX if there is an identifier [default: fraise.json's, else "unknown"]
    #[arg(long)]
    license: Option<String>,
    /// What the model predicts, where the checkpoint does not show it (SD 2.0 base, SD-Turbo: epsilon)
    #[arg(long, value_enum)]
    prediction: Option<Prediction>,
    /// LoRA to merge into the weights, repeatable
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    lora: Vec<String>,
    /// Textual-inversion embedding to add under TOKEN or its own name, repeatable
    #[arg(long, value_name = "FILE[:TOKEN]")]
    embedding: Vec<String>,
    /// Tiny autoencoder (TAESD) whose decoder paints previews
    #[arg(long, value_name = "FOLDER|FILE")]
    preview_decoder: Option<PathBuf>,
    /// Size of a piece in MiB, 1 to 64
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=64))]
    shard_mib: u64,
    /// Write every tensor's number format, size and rounding error to a JSON file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Prediction {
    /// The noise
    Epsilon,
    /// Velocity
    VPrediction,
}

impl From<Prediction> for convert::Prediction {
    fn from(prediction: Prediction) -> Self {
        match prediction {
            Prediction::Epsilon => Self::Epsilon,
            Prediction::VPrediction => Self::VPrediction,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Quant {
    /// Floats as wide as they are
    F32,
    /// 16-bit floats
    F16,
    /// 8 bits and a scale per 32
    Q8,
    /// 4 bits and a scale per 32
    Q4,
    /// Q4, q8 or f16 for each weight, by measured error
    Mixed,
}

impl From<Quant> for Quantization {
    fn from(quant: Quant) -> Self {
        match quant {
            Quant::F32 => Self::All(Scheme::F32),
            Quant::F16 => Self::All(Scheme::F16),
            Quant::Q8 => Self::All(Scheme::Q8),
            Quant::Q4 => Self::All(Scheme::Q4),
            Quant::Mixed => Self::Mixed,
        }
    }
}

/// What is packed: a plan, and the files that it reads.
struct Source {
    plan: Plan,
    files: Vec<SafetensorsFile<DiskFile>>,
    publication: Publication,
    /// The model's name unless it is published under another.
    name: String,
}

/// Packs and says what came of it.
///
/// # Errors
/// [`Error::Request`] for a source that cannot be packed; otherwise as [`fraise_engine::convert::convert_checkpoint`].
pub async fn run(arguments: &PackArguments) -> Result<()> {
    let mut source = open(arguments).await?;
    add_extras(arguments, &mut source).await?;
    fs::create_dir_all(&arguments.out).map_err(|error| failed("making", &arguments.out, &error))?;
    let store = FolderStore::new(&arguments.out);
    let options = PackOptions { quantization: arguments.quant.into(), piece_bytes: arguments.shard_mib << 20 };
    let mut sink = Watched { store: &store, fresh: Vec::new() };
    let finished = async {
        let mut bar = None;
        let mut on_progress = |progress: ConvertProgress| {
            let bar = bar.get_or_insert_with(|| output::bytes_bar(progress.total_bytes, ""));
            bar.set_message(progress.component);
            bar.set_position(progress.done_bytes);
        };
        let Source { plan, files, publication, name } = &mut source;
        let written = convert::write(plan, files, options, &mut sink, &mut on_progress).await?;
        let manifest = convert::manifest(plan, &written, publication, name)?;
        write_whole(&arguments.out.join(MANIFEST), &manifest.to_bytes()?)?;
        bar.iter().for_each(ProgressBar::finish_and_clear);
        Ok((manifest, written))
    };
    match finished.await {
        Ok((manifest, written)) => {
            store.remove_stale(&manifest)?;
            if let Some(path) = &arguments.report {
                let quant = arguments.quant.to_possible_value();
                let quant = quant.as_ref().map_or("", |value| value.get_name());
                let json = report::json(quant, &manifest, &written);
                write_whole(path, format!("{json:#}\n").as_bytes())?;
            }
            output::print(&report::summary(&manifest, &written))
        }
        Err(error) => {
            sink.remove_fresh()?;
            Err(error)
        }
    }
}

/// Opens SRC, a folder or a file.
async fn open(arguments: &PackArguments) -> Result<Source> {
    let path = &arguments.source;
    let mut source = if path.is_file() {
        let vocabulary = Vocabulary::from_merges(CLIP_MERGES)?;
        let file = SafetensorsFile::open("SRC", DiskFile::open(path)?).await?;
        let plan = convert::plan_checkpoint(&file, &vocabulary, arguments.prediction.map(Into::into))?.plan;
        let name = convert::stem(file.name()).to_owned();
        Source { plan, files: vec![file], publication: Publication::default(), name }
    } else {
        let folder = DiffusersFolder::open(path)?;
        let publication = match folder.json("", "fraise.json")? {
            Some(json) => serde_json::from_value(json)
                .map_err(|error| Error::request("SRC", format!("fraise.json is wrong: {error}")))?,
            None => Publication::default(),
        };
        let mut files = Vec::new();
        let mut plan = folder.plan(&mut files).await?;
        if let Some(prediction) = arguments.prediction {
            plan.scheduler["prediction_type"] = convert::Prediction::from(prediction).name().into();
        }
        Source { plan, files, publication, name: folder.name().unwrap_or_default() }
    };
    let publication = &mut source.publication;
    publication.name = arguments.name.clone().or(publication.name.take());
    publication.license = arguments.license.clone().or(publication.license.take());
    Ok(source)
}

/// Adds LoRAs, embeddings and the preview decoder.
async fn add_extras(arguments: &PackArguments, source: &mut Source) -> Result<()> {
    let Source { plan, files, .. } = source;
    for argument in &arguments.lora {
        let (path, weight) = file_and(argument);
        let weight = match weight {
            Some(weight) => weight
                .parse()
                .map_err(|_| Error::request("lora", format!("`{weight}` in `{argument}` is no weight")))?,
            None => 1.0,
        };
        files.push(SafetensorsFile::open("lora", DiskFile::open(path)?).await?);
        convert::add_lora(plan, files, weight).await?;
    }
    for argument in &arguments.embedding {
        let (path, token) = file_and(argument);
        let mut file = SafetensorsFile::open("embedding", DiskFile::open(path)?).await?;
        embedding::add(plan, &mut file, token).await?;
    }
    match &arguments.preview_decoder {
        Some(path) if path.is_dir() => DiffusersFolder::add_preview(path, plan, files).await,
        Some(path) => {
            files.push(SafetensorsFile::open("preview-decoder", DiskFile::open(path)?).await?);
            preview::add(plan, files, None)
        }
        None => Ok(()),
    }
}

/// A path, and what stands behind its last colon; a file that is there with the colon in its name is taken as it is.
fn file_and(argument: &str) -> (&Path, Option<&str>) {
    match argument.rsplit_once(':') {
        Some((path, rest)) if !Path::new(argument).exists() => (Path::new(path), Some(rest)),
        _ => (Path::new(argument), None),
    }
}

/// Writes pieces to a folder, and remembers those that were not there before.
struct Watched<'a> {
    store: &'a FolderStore,
    fresh: Vec<String>,
}

impl PieceSink for Watched<'_> {
    async fn put(&mut self, _component: &str, piece: &Piece, bytes: &[u8]) -> Result<()> {
        if !self.store.has(&piece.sha256) {
            self.fresh.push(piece.sha256.clone());
        }
        self.store.write(&piece.sha256, bytes)
    }
}

impl Watched<'_> {
    /// Undoes a run that failed.
    fn remove_fresh(&self) -> Result<()> {
        self.fresh.iter().try_for_each(|sha256| self.store.delete(sha256))
    }
}
