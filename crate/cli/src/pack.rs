//! `fraise pack`: a diffusers folder in, a pack out, the same bytes on every run.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fraise_engine::pack::layout::place;
use fraise_engine::pack::manifest::FORMAT;
use fraise_engine::pack::writer::{PackOptions, PieceSink, TensorSource, Written, write_component};
use fraise_engine::pack::{Component, Examples, Manifest, Piece, Recommended, TensorInfo};
use fraise_engine::weights::Scheme;
use fraise_engine::{Error, Result};
use indicatif::ProgressBar;
use safetensors::Dtype;
use serde::Deserialize;
use serde_json::Value;

use crate::diffusers::DiffusersFolder;
use crate::folder::{FolderStore, MANIFEST, failed, write_whole};
use crate::output;

/// Arguments of `fraise pack`.
#[derive(Debug, Args)]
pub struct PackArguments {
    /// Diffusers folder: model_index.json, text_encoder, unet, vae, tokenizer, scheduler
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// Folder for the pack; other files in it stay as they are
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// How weights are stored
    #[arg(long, value_enum, default_value_t = Quant::Q8)]
    quant: Quant,
    /// Name of the model [default: fraise.json's, else the folder's]
    #[arg(long)]
    name: Option<String>,
    /// Size of a piece in MiB, 1 to 64
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=64))]
    shard_mib: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Quant {
    /// Floats as wide as they are
    F32,
    /// 16-bit floats
    F16,
    /// 8 bits and a scale per 32
    Q8,
    /// 4 bits and a scale per 32 for matrices, 8 for convolutions
    Q4,
}

impl From<Quant> for Scheme {
    fn from(quant: Quant) -> Self {
        match quant {
            Quant::F32 => Self::F32,
            Quant::F16 => Self::F16,
            Quant::Q8 => Self::Q8,
            Quant::Q4 => Self::Q4,
        }
    }
}

/// `fraise.json` beside `model_index.json`: what a publisher adds to the manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Publication {
    name: Option<String>,
    license: Option<String>,
    license_restrictions: String,
    source: String,
    recommended: Option<Recommended>,
    examples: Examples,
}

/// Packs and says what came of it.
///
/// # Errors
/// [`Error::Request`] for a source that cannot be packed; otherwise as [`write_component`].
pub async fn run(arguments: &PackArguments) -> Result<()> {
    let folder = DiffusersFolder::open(&arguments.source)?;
    let publication: Publication = match folder.json("", "fraise.json")? {
        Some(json) => serde_json::from_value(json)
            .map_err(|error| Error::request("SRC", format!("fraise.json is wrong: {error}")))?,
        None => Publication::default(),
    };
    fs::create_dir_all(&arguments.out).map_err(|error| failed("making", &arguments.out, &error))?;
    let store = FolderStore::new(&arguments.out);
    let options = PackOptions { scheme: arguments.quant.into(), piece_bytes: arguments.shard_mib << 20 };
    let sink = Watched { store: &store, fresh: Vec::new(), bar: ProgressBar::hidden() };
    let mut packer = Packer { folder: &folder, options, sink, written: BTreeMap::new() };
    let finished = async {
        packer.all().await?;
        let manifest = manifest(arguments, &folder, publication, &packer.written)?;
        write_whole(&arguments.out.join(MANIFEST), &manifest.to_bytes()?)?;
        Ok(manifest)
    };
    match finished.await {
        Ok(manifest) => {
            store.remove_stale(&manifest)?;
            output::print(&summary(&manifest, &packer.written))
        }
        Err(error) => {
            packer.sink.remove_fresh()?;
            Err(error)
        }
    }
}

/// Writes one component after another.
struct Packer<'a> {
    folder: &'a DiffusersFolder,
    options: PackOptions,
    sink: Watched<'a>,
    written: BTreeMap<String, (Value, Written)>,
}

impl Packer<'_> {
    async fn all(&mut self) -> Result<()> {
        self.tokenizer().await?;
        for part in ["text_encoder", "unet", "vae"] {
            self.weights(part).await?;
        }
        Ok(())
    }

    async fn tokenizer(&mut self) -> Result<()> {
        let config = self.folder.config("tokenizer", "tokenizer_config.json")?;
        let files = tokenizer_files(self.folder)?;
        let tensors: Vec<TensorInfo> = files
            .iter()
            .map(|(name, content)| TensorInfo {
                name: (*name).to_owned(),
                dtype: Dtype::U8,
                shape: vec![content.len()],
                bytes: content.len(),
            })
            .collect();
        let mut source = Files(files.into_iter().map(|(_, content)| content).collect());
        let written = write_component("tokenizer", self.options, &tensors, &mut source, &mut self.sink).await?;
        self.written.insert("tokenizer".to_owned(), (config, written));
        Ok(())
    }

    async fn weights(&mut self, part: &str) -> Result<()> {
        let config = self.folder.config(part, "config.json")?;
        let mut files = self.folder.weights(part)?;
        let mut components: BTreeMap<String, Placed> = BTreeMap::new();
        for (tensor, file, start) in &files.tensors {
            let Some((component, name)) = place(part, &tensor.name)? else { continue };
            let placed = components.entry(component).or_default();
            placed.tensors.push(TensorInfo { name, ..tensor.clone() });
            placed.places.push((*file, *start));
        }
        for (component, Placed { tensors, places }) in components {
            self.sink.bar = output::bytes_bar(tensors.iter().map(|tensor| tensor.bytes as u64).sum(), &component);
            let mut source = files.reader(places);
            let written = write_component(&component, self.options, &tensors, &mut source, &mut self.sink).await?;
            self.sink.bar.finish_and_clear();
            self.written.insert(component, (config.clone(), written));
        }
        Ok(())
    }
}

/// The tensors of one component, and where each lies: file and start.
#[derive(Default)]
struct Placed {
    tensors: Vec<TensorInfo>,
    places: Vec<(usize, u64)>,
}

/// Writes pieces to a folder, shows how many, and remembers those that were not there before.
struct Watched<'a> {
    store: &'a FolderStore,
    fresh: Vec<String>,
    bar: ProgressBar,
}

impl PieceSink for Watched<'_> {
    async fn put(&mut self, _component: &str, piece: &Piece, bytes: &[u8]) -> Result<()> {
        if !self.store.has(&piece.sha256) {
            self.fresh.push(piece.sha256.clone());
        }
        self.store.write(&piece.sha256, bytes)?;
        self.bar.inc(piece.bytes);
        Ok(())
    }
}

impl Watched<'_> {
    /// Undoes a run that failed.
    fn remove_fresh(&self) -> Result<()> {
        self.fresh.iter().try_for_each(|sha256| self.store.delete(sha256))
    }
}

/// Whole files as tensors.
struct Files(Vec<Vec<u8>>);

impl TensorSource for Files {
    async fn read(&mut self, index: usize, range: Range<usize>) -> Result<Vec<u8>> {
        Ok(self.0[index][range].to_vec())
    }
}

/// `merges.txt` and `vocab.json`, made from `tokenizer.json` where newer transformers saved that alone.
fn tokenizer_files(folder: &DiffusersFolder) -> Result<[(&'static str, Vec<u8>); 2]> {
    let vocabulary = folder.file("tokenizer", "vocab.json")?;
    let merges = folder.file("tokenizer", "merges.txt")?;
    if let (Some(vocabulary), Some(merges)) = (vocabulary, merges) {
        return Ok([("merges.txt", merges), ("vocab.json", vocabulary)]);
    }
    let wrong = |reason: &str| Error::request("SRC", format!("tokenizer/tokenizer.json {reason}"));
    let json = folder.json("tokenizer", "tokenizer.json")?.ok_or_else(|| {
        Error::request("SRC", "tokenizer holds neither vocab.json with merges.txt nor tokenizer.json")
    })?;
    let mut vocabulary =
        json["model"]["vocab"].as_object().ok_or_else(|| wrong("has no byte-pair vocabulary"))?.clone();
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        if let Some(content) = token["content"].as_str() {
            vocabulary.entry(content).or_insert_with(|| token["id"].clone());
        }
    }
    let mut merges = "#version: 0.2\n".to_owned();
    for merge in json["model"]["merges"].as_array().ok_or_else(|| wrong("has no merges"))? {
        let line = match (merge.as_str(), merge[0].as_str(), merge[1].as_str()) {
            (Some(line), ..) => line.to_owned(),
            (None, Some(left), Some(right)) => format!("{left} {right}"),
            _ => return Err(wrong("holds a merge that is none")),
        };
        merges += &line;
        merges.push('\n');
    }
    let vocabulary = serde_json::to_vec(&vocabulary).map_err(|error| wrong(&error.to_string()))?;
    Ok([("merges.txt", merges.into_bytes()), ("vocab.json", vocabulary)])
}

fn manifest(
    arguments: &PackArguments,
    folder: &DiffusersFolder,
    publication: Publication,
    written: &BTreeMap<String, (Value, Written)>,
) -> Result<Manifest> {
    let name = arguments.name.clone().or(publication.name).or_else(|| folder.name());
    let components: BTreeMap<String, Component> = written
        .iter()
        .map(|(name, (config, written))| {
            let component = Component {
                config: config.clone(),
                pieces: written.pieces.clone(),
                bytes: written.bytes,
                optional: name == "vae_encoder",
            };
            (name.clone(), component)
        })
        .collect();
    let recommended = publication.recommended.unwrap_or_else(|| recommended(&folder.pipeline, written));
    Ok(Manifest {
        format: FORMAT,
        name: name.unwrap_or_else(|| "unnamed".to_owned()),
        license: publication.license.unwrap_or_else(|| "unknown".to_owned()),
        license_restrictions: publication.license_restrictions,
        source: publication.source,
        pipeline: folder.pipeline.clone(),
        total_bytes: components.values().map(|component| component.bytes).sum(),
        components,
        scheduler: folder.config("scheduler", "scheduler_config.json")?,
        recommended,
        examples: publication.examples,
    })
}

/// diffusers' defaults: its pipeline's steps and guidance, and the size that the UNet was made for.
fn recommended(pipeline: &str, written: &BTreeMap<String, (Value, Written)>) -> Recommended {
    let config = |component: &str| written.get(component).map_or(&Value::Null, |(config, _)| config);
    let vae = config("vae_decoder");
    let blocks = vae["decoder_block_out_channels"].as_array().or(vae["block_out_channels"].as_array());
    let scale_px = blocks.map_or(8, |blocks| 1u64 << blocks.len().clamp(1, 8).saturating_sub(1));
    let side_px = (config("unet")["sample_size"].as_u64().unwrap_or(64).min(256) * scale_px).min(1024) as u32;
    let (steps, guidance) = if pipeline == "LatentConsistencyModelPipeline" { (4, 8.5) } else { (50, 7.5) };
    Recommended { steps, guidance, width: side_px, height: side_px }
}

fn summary(manifest: &Manifest, written: &BTreeMap<String, (Value, Written)>) -> String {
    let mut text =
        format!("{} · {} · {} in all\n", manifest.name, manifest.license, output::mebibytes(manifest.total_bytes));
    for (name, (_, component)) in written {
        text += &format!(
            "  {name:<13} {:>12}  {} pieces, {} tensors",
            output::mebibytes(component.bytes),
            component.pieces.len(),
            component.tensors.len()
        );
        let worst = component.tensors.iter().max_by(|a, b| a.relative_error.total_cmp(&b.relative_error));
        if let Some(worst) = worst.filter(|worst| worst.relative_error > 0.0) {
            text += &format!("; greatest relative error {:.2e} in {}", worst.relative_error, worst.name);
        }
        text.push('\n');
    }
    text
}
