//! Whole runs: the model is packed in memory, loaded as any pack is, and painted with.

use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;

use burn::tensor::{Device, Tensor};
use futures::StreamExt;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::{Bound, Comparison, Files, Golden, Model, Output, compare as compare_values, file, json, parse};
use crate::convert::is_optional;
use crate::pack::streams::{PieceSink, TensorSource};
use crate::pack::writer::{PackOptions, write_component};
use crate::pack::{
    Component, Examples, Manifest, Piece, Quantization, Recommended, TensorInfo, layout, manifest::FORMAT,
};
use crate::picture::Picture;
use crate::pipeline::{Origin, Pipeline};
use crate::request::{Request, StartPicture};
use crate::store::{MemoryStore, Sha2Digest, Store};
use crate::tokenizer::{ClipTokenizer, TokenizerConfig};
use crate::weights::Scheme;
use crate::{Error, Result};

/// What a run needs of a model's folder, besides its text encoders.
pub(super) const MODEL_FILES: [&str; 5] = [
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "scheduler/scheduler_config.json",
];
/// What a run needs of a text encoder's folder.
pub(super) const TEXT_ENCODER_FILES: [&str; 2] = ["config.json", "model.safetensors"];
/// What a run needs of a tokenizer's folder.
pub(super) const TOKENIZER_FILES: [&str; 3] = ["vocab.json", "merges.txt", "tokenizer_config.json"];

/// Largest error of latents, in units of their standard deviation.
const LATENTS_TOLERANCE: f64 = 1e-3;
/// Largest error of a picture whose values lie in [0, 1].
const IMAGE_TOLERANCE: f64 = 1.0 / 255.0;
/// Small pieces, so that tensors are cut anywhere.
const PIECE_BYTES: u64 = 100_003;

/// A model as a pack in memory.
#[derive(Debug)]
pub struct Packed {
    /// The pack's manifest.
    pub manifest: Manifest,
    /// The pack's pieces.
    pub store: MemoryStore,
}

/// Runs the pipeline as `request` asks and compares what the reference saved.
pub(super) async fn compare(
    name: &str,
    golden: &Golden<'_>,
    model: &Model,
    files: &Files,
    device: &Device,
) -> Result<Vec<Comparison>> {
    let mut comparisons = vec![compare_ids(name, golden, model, files)?];
    let Packed { manifest, store } = pack_model(model, files, Scheme::F16).await?;
    let pipeline = Rc::new(Pipeline::load(&manifest, &store, &Sha2Digest, device, &mut |_| ()).await?);
    let request = Request { start: start_picture(golden).await?, ..model.request.clone() };
    let effective = pipeline.resolve(&request)?;
    let start = match &request.start {
        Some(picture) => {
            pipeline.load_encoder(&manifest, &store, &Sha2Digest).await?;
            Some(pipeline.start(picture, &effective)?)
        }
        None => None,
    };
    let (mut latents, mut last) = (Vec::new(), None);
    let origin = Origin { start: start.clone(), latents: None };
    let mut steps = pin!(pipeline.generate_from(vec![effective.clone()], origin));
    while let Some(step) = steps.next().await {
        let step = step?;
        latents.extend(Output::from(step.latents.clone()).read().await?);
        last = Some(step.latents);
    }
    let Some(last): Option<Tensor<4>> = last else { return Err(Error::request("steps", "the run has none")) };
    let expected = golden.values("steps")?;
    let last_values = Output::from(last.clone()).read().await?;
    let final_latents = golden.values("final_latents")?;
    let bound = |values: &[f32]| Bound { scale: deviation(values), tolerance: LATENTS_TOLERANCE };
    comparisons.push(compare_values(format!("{name}.steps"), &latents, &expected, bound(&expected))?);
    let bound = bound(&final_latents);
    comparisons.push(compare_values(format!("{name}.final_latents"), &last_values, &final_latents, bound)?);
    let image = Output::from(pipeline.finish(last, &effective, start.as_ref())?).read().await?;
    let bound = Bound { scale: 1.0, tolerance: IMAGE_TOLERANCE };
    comparisons.push(compare_values(format!("{name}.image"), &image, &golden.values("image")?, bound)?);
    Ok(comparisons)
}

/// The picture that the reference started from, and its mask.
async fn start_picture(golden: &Golden<'_>) -> Result<Option<StartPicture>> {
    let read = async |name: &str| match golden.has(name) {
        true => Picture::read(golden.tensor(name, &Device::flex())?).await.map(Some),
        false => Ok(None),
    };
    let Some(image) = read("start_picture").await? else { return Ok(None) };
    Ok(Some(StartPicture { image, mask: read("mask").await? }))
}

/// The tokenizer alone: prompt and negative prompt to ids, which must be equal.
fn compare_ids(name: &str, golden: &Golden, model: &Model, files: &Files) -> Result<Comparison> {
    let request = &model.request;
    let read = |name: &str| file(files, &format!("{}/tokenizer/{name}", model.folder));
    let config = TokenizerConfig::from_json(&json("tokenizer_config.json", read("tokenizer_config.json")?)?)?;
    let tokenizer = ClipTokenizer::from_files(read("vocab.json")?, read("merges.txt")?, &config)?;
    let as_floats = |ids: Vec<u32>| ids.into_iter().map(|id| id as f32).collect::<Vec<_>>();
    let found = [&request.prompt, request.negative.as_deref().unwrap_or("")]
        .map(|text| tokenizer.encode_padded(text).ids)
        .concat();
    let expected = golden.ids()?.concat();
    let bound = Bound { scale: 1.0, tolerance: 0.0 };
    compare_values(format!("{name}.input_ids"), &as_floats(found), &as_floats(expected), bound)
}

/// Packs `model`'s folder of `files`, weights stored as `quantization` asks.
///
/// # Errors
/// [`Error::Request`] for a file that is not there; otherwise as [`write_component`].
pub async fn pack_model(model: &Model, files: &Files, quantization: impl Into<Quantization>) -> Result<Packed> {
    let quantization = quantization.into();
    let store = MemoryStore::default();
    let read = |path: &str| file(files, &format!("{}/{path}", model.folder));
    let mut manifest = Manifest {
        format: FORMAT,
        name: model.folder.clone(),
        license: "CC0-1.0".into(),
        license_restrictions: String::new(),
        source: String::new(),
        pipeline: model.pipeline.clone(),
        components: Default::default(),
        scheduler: match &model.scheduler {
            Some(scheduler) => scheduler.clone(),
            None => json("scheduler_config.json", read("scheduler/scheduler_config.json")?)?,
        },
        recommended: Recommended { steps: 4, guidance: 1.0, width: 64, height: 64, upscale: false },
        examples: Examples::default(),
        negative_phrase: None,
        total_bytes: 0,
    };
    let mut weights =
        vec![("unet", "diffusion_pytorch_model.safetensors"), ("vae", "diffusion_pytorch_model.safetensors")];
    for (encoder, tokenizer) in model.text_encoders() {
        weights.push((encoder, "model.safetensors"));
        let mut part = Part::default();
        for name in ["merges.txt", "vocab.json"] {
            let bytes = read(&format!("{tokenizer}/{name}"))?;
            part.push(name.to_string(), Dtype::U8, vec![bytes.len()], bytes);
        }
        let config = json("tokenizer_config.json", read(&format!("{tokenizer}/tokenizer_config.json"))?)?;
        part.write(tokenizer, config, quantization, (&store, &mut manifest)).await?;
    }
    weights.extend(model.optional_parts());
    for (folder, weights) in weights {
        let tensors = parse(read(&format!("{folder}/{weights}"))?)?;
        let config: Value = json("config.json", read(&format!("{folder}/config.json"))?)?;
        for (component, part) in split(folder, &tensors)? {
            part.write(&component, config.clone(), quantization, (&store, &mut manifest)).await?;
        }
    }
    manifest.total_bytes = manifest.components.values().map(|component| component.bytes).sum();
    manifest.validate()?;
    Ok(Packed { manifest, store })
}

/// The tensors of one component.
#[derive(Default)]
struct Part<'a> {
    infos: Vec<TensorInfo>,
    contents: Contents<'a>,
}

#[derive(Default)]
struct Contents<'a>(Vec<&'a [u8]>);

/// Sorts a file's tensors into the pack's components.
fn split<'a>(folder: &str, tensors: &SafeTensors<'a>) -> Result<Vec<(String, Part<'a>)>> {
    let mut parts = std::collections::BTreeMap::<String, Part>::new();
    for (name, view) in tensors.iter() {
        if let Some((component, name)) = layout::place(folder, name)? {
            parts.entry(component).or_default().push(name, view.dtype(), view.shape().to_vec(), view.data());
        }
    }
    Ok(parts.into_iter().collect())
}

impl<'a> Part<'a> {
    fn push(&mut self, name: String, dtype: Dtype, shape: Vec<usize>, bytes: &'a [u8]) {
        self.infos.push(TensorInfo { name, dtype, shape, bytes: bytes.len() });
        self.contents.0.push(bytes);
    }

    async fn write(
        mut self,
        name: &str,
        config: Value,
        quantization: Quantization,
        (store, manifest): (&MemoryStore, &mut Manifest),
    ) -> Result<()> {
        let options = PackOptions { quantization, piece_bytes: PIECE_BYTES };
        let written = write_component(name, options, &self.infos, &mut self.contents, &mut Pieces(store)).await?;
        let optional = is_optional(name, &manifest.recommended);
        let component = Component { config, pieces: written.pieces, bytes: written.bytes, optional };
        manifest.components.insert(name.to_string(), component);
        Ok(())
    }
}

impl TensorSource for Contents<'_> {
    async fn read(&mut self, index: usize, range: Range<usize>) -> Result<Vec<u8>> {
        Ok(self.0[index][range].to_vec())
    }
}

struct Pieces<'a>(&'a MemoryStore);

impl PieceSink for Pieces<'_> {
    async fn put(&mut self, _component: &str, piece: &Piece, bytes: &[u8]) -> Result<()> {
        self.0.put(&piece.sha256, bytes.to_vec()).await
    }
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    (values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count).sqrt()
}
