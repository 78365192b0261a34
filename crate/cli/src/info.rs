//! `fraise info`: what is in this pack, or in this checkpoint?

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use fraise_engine::limits::{DEFAULT_BINDING_BYTES, DeviceLimits};
use fraise_engine::pack::{Header, Manifest};
use fraise_engine::requirements::{Demand, ModelShape};
use fraise_engine::store::Sha2Digest;
use fraise_engine::weights::Scheme;
use fraise_engine::{Result, loader};

use crate::checkpoint;
use crate::folder::FolderStore;
use crate::output::{self, mebibytes};

/// Arguments of `fraise info`.
#[derive(Debug, Args)]
pub struct InfoArguments {
    /// Folder of the pack, its manifest.json, or a checkpoint as .safetensors
    #[arg(value_name = "PACK")]
    pack: PathBuf,
}

/// Describes the pack on standard output.
///
/// # Errors
/// Where the manifest or a component's header cannot be read.
pub async fn run(arguments: &InfoArguments) -> Result<()> {
    if arguments.pack.extension().is_some_and(|extension| extension == "safetensors") {
        return checkpoint::describe(&arguments.pack).await;
    }
    let store = FolderStore::new(&arguments.pack);
    let manifest = store.manifest()?;
    let recommended = manifest.recommended;
    let mut text = format!("{} ({})\n", manifest.name, manifest.pipeline);
    text += &format!("license      {}\n", manifest.license);
    if !manifest.license_restrictions.is_empty() {
        text += &format!("restrictions {}\n", manifest.license_restrictions);
    }
    if !manifest.source.is_empty() {
        text += &format!("source       {}\n", manifest.source);
    }
    text += &format!("scheduler    {}\n", manifest.scheduler["_class_name"].as_str().unwrap_or("unnamed"));
    text += &format!(
        "recommended  {} steps, guidance {}, {}x{}\n",
        recommended.steps, recommended.guidance, recommended.width, recommended.height
    );
    if let Some(phrase) = &manifest.negative_phrase {
        text += &format!("leaving out  said in the prompt: PROMPT{phrase}NEGATIVE\n");
    }
    for (name, component) in &manifest.components {
        let header = loader::load_header(&manifest, name, &store, &Sha2Digest).await?;
        let schemes = schemes(&header, &header.schemes(&format!("components.{name}"))?);
        let optional = if component.optional { ", optional" } else { "" };
        text += &format!(
            "{name:<12} {:>12}, {} pieces, {} tensors ({schemes}){optional}\n",
            mebibytes(component.bytes),
            component.pieces.len(),
            header.tensors.len()
        );
    }
    text += &format!("total        {:>12}\n", mebibytes(manifest.total_bytes));
    text += &requirements(&manifest)?;
    output::print(&text)
}

/// What a GPU must have, for the sizes that people ask about: the pack's own, 512x512 and 1024x1024.
fn requirements(manifest: &Manifest) -> Result<String> {
    let shape = ModelShape::of(manifest)?;
    let recommended = (manifest.recommended.width, manifest.recommended.height);
    let mut sizes = vec![recommended];
    if recommended.0.max(recommended.1) >= 512 {
        sizes.extend([(512, 512), (1024, 1024)].into_iter().filter(|size| *size != recommended));
    }
    let limits = DeviceLimits { binding_bytes: DEFAULT_BINDING_BYTES, memory_bytes: None };
    let mut text = String::new();
    for (width, height) in sizes {
        let needs = shape.requirements(width, height, &limits);
        let size = format!("{width}x{height}");
        text += &format!(
            "GPU memory   {size:<9} {} of weights + {} while painting ({} guided), {} to decode; largest buffer {}{}{}\n",
            mebibytes(needs.weights_bytes),
            mebibytes(needs.denoising[0].live_bytes),
            mebibytes(needs.denoising[1].live_bytes),
            mebibytes(needs.decoding().live_bytes),
            mebibytes(needs.largest_binding_bytes(2)),
            optional(needs.upscaling, "upscale"),
            optional(needs.scoring, "score"),
        );
    }
    Ok(text)
}

/// What something takes that a pack may have besides painting.
fn optional(demand: Option<Demand>, what: &str) -> String {
    demand.map_or_else(String::new, |demand| format!("; {} to {what}", mebibytes(demand.live_bytes)))
}

/// How many tensors of each number format there are, and their share of the bytes.
fn schemes(header: &Header, quantized: &BTreeMap<String, Scheme>) -> String {
    let mut sums: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for tensor in &header.tensors {
        let is_scales = tensor.name.strip_suffix(".scales").is_some_and(|weight| quantized.contains_key(weight));
        let label = match quantized.get(&tensor.name) {
            Some(Scheme::Q4) => "q4".to_owned(),
            Some(_) => "q8".to_owned(),
            None if is_scales => "scales".to_owned(),
            None => tensor.dtype.to_string().to_lowercase(),
        };
        let sum = sums.entry(label).or_default();
        *sum = (sum.0 + 1, sum.1 + tensor.bytes);
    }
    let parts: Vec<String> =
        sums.iter().map(|(label, (count, bytes))| format!("{label} {count}: {}", mebibytes(*bytes as u64))).collect();
    parts.join(", ")
}
