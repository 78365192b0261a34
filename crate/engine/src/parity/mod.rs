//! The goldens of `tests/parity`, compared with the engine's modules on any device.
//!
//! Nothing here opens a file: [`cases`] says which files a case needs, the caller brings their bytes, and
//! [`run_case`] returns how far each result is from the reference. So the same comparisons run natively, on a GPU
//! and in a browser. Built only with the feature `parity`.

mod run;
mod schemes;
mod score;
mod text;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::autoencoder::{AutoencoderKlConfig, AutoencoderPatchConfig, AutoencoderTinyConfig};
use crate::kernels::Border;
use crate::pack::{TensorInfo, TensorSink};
use crate::scorer;
use crate::text_encoder::ClipTextConfig;
use crate::unet::{Conditions, TIME_IDS, UNet2DConditionConfig};
use crate::upscaler::{self, UpscalerConfig};
use crate::weights::{Weights, WeightsBuilder};
use crate::{Error, Result};

pub use run::{Packed, pack_model};
pub use schemes::compare_schemes;

/// Largest error of one module's output, relative to the output's largest magnitude: what single precision leaves of
/// sums taken in another order.
const MODULE_TOLERANCE: f64 = 1e-4;

/// A case's bytes, by their path below `tests/parity/goldens`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// One golden, as `goldens/index.json` describes it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Case {
    /// What to call it, e.g. `tiny_sd_unet`.
    pub name: String,
    /// Which part of the engine it is for.
    pub kind: Kind,
    /// File with the reference's inputs and outputs.
    pub golden: String,
    /// What is needed to build the part.
    #[serde(flatten)]
    pub subject: Subject,
    /// What convolutions find beyond the edges.
    #[serde(default)]
    pub border: Border,
    /// Configuration features that this case covers, for people.
    pub features: Vec<String>,
}

/// Parts of the engine that have goldens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Token ids to hidden states.
    ClipText,
    /// Token ids to hidden states and one vector per prompt.
    ClipTextWithProjection,
    /// Prompts to what the UNet is conditioned on.
    Conditioning,
    /// One denoiser pass.
    Unet,
    /// Latents to pixels.
    TinyDecoder,
    /// Pixels to latents.
    TinyEncoder,
    /// Latents to pixels.
    KlDecoder,
    /// Pixels to latents.
    KlEncoder,
    /// Latents to pixels.
    PatchDecoder,
    /// Pixels to latents.
    PatchEncoder,
    /// A picture to a larger one.
    Upscaler,
    /// Pictures and a prompt to scores.
    Scorer,
    /// Prompt to picture.
    Run,
}

/// What a case is about.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Subject {
    /// One module.
    Module {
        /// Its config.json.
        config: String,
        /// Its tensors.
        weights: String,
    },
    /// A whole model in diffusers' folder layout.
    Model(Box<Model>),
    /// Tokenizers and text encoders.
    Text(text::TextSubject),
    /// A scorer and the text encoder that it shares.
    Score(score::ScoreSubject),
}

/// A whole model, and what the reference did with it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Model {
    /// Its folder, in diffusers' layout.
    #[serde(rename = "model")]
    pub folder: String,
    /// The class of its pipeline.
    pub pipeline: String,
    /// What the reference was asked for.
    pub request: crate::request::Request,
    /// A scheduler_config.json instead of the folder's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Value>,
}

/// How far one result is from the reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Case and tensor, e.g. `run_ddim.steps`.
    pub name: String,
    /// Largest absolute difference.
    pub max_error: f64,
    /// What the error is measured against, in the tensor's units.
    pub scale: f64,
    /// Largest acceptable `max_error / scale`.
    pub tolerance: f64,
}

impl Comparison {
    /// Error in units of the scale.
    pub fn relative(&self) -> f64 {
        self.max_error / self.scale
    }

    /// Whether the result is near enough. Not a number is not.
    pub fn passes(&self) -> bool {
        self.relative() <= self.tolerance
    }
}

impl Model {
    /// The folders of its text encoders, each with its tokenizer's.
    pub(crate) fn text_encoders(&self) -> &'static [(&'static str, &'static str)] {
        match self.pipeline.as_str() {
            "StableDiffusionXLPipeline" => &[("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")],
            _ => &[("text_encoder", "tokenizer")],
        }
    }

    /// The folders of what it has besides what paints, each with its file of weights.
    pub(crate) fn optional_parts(&self) -> &'static [(&'static str, &'static str)] {
        match self.folder.as_str() {
            "tiny_flow" => &[
                (upscaler::COMPONENT, "diffusion_pytorch_model.safetensors"),
                (scorer::COMPONENT, "model.safetensors"),
            ],
            _ => &[],
        }
    }

    fn files(&self) -> Vec<String> {
        let mut files = run::MODEL_FILES.map(|file| format!("{}/{file}", self.folder)).to_vec();
        for (encoder, tokenizer) in self.text_encoders() {
            files.extend(run::TEXT_ENCODER_FILES.map(|file| format!("{}/{encoder}/{file}", self.folder)));
            files.extend(run::TOKENIZER_FILES.map(|file| format!("{}/{tokenizer}/{file}", self.folder)));
        }
        for (part, weights) in self.optional_parts() {
            files.extend(["config.json", weights].map(|file| format!("{}/{part}/{file}", self.folder)));
        }
        files
    }
}

impl Case {
    /// The files that [`run_case`] wants, below `tests/parity/goldens`.
    pub fn files(&self) -> Vec<String> {
        let mut files = vec![self.golden.clone()];
        match &self.subject {
            Subject::Module { config, weights } => files.extend([config.clone(), weights.clone()]),
            Subject::Model(model) => files.extend(model.files()),
            Subject::Text(subject) => files.extend(subject.files()),
            Subject::Score(subject) => files.extend(subject.files()),
        }
        files
    }
}

/// All cases.
///
/// # Errors
/// [`Error::Manifest`] where the index is not what this module expects.
pub fn cases() -> Result<Vec<Case>> {
    #[derive(Deserialize)]
    struct Index {
        cases: Vec<Case>,
    }
    let mut cases = Vec::new();
    for text in [
        &include_bytes!("../../../../tests/parity/goldens/index.json")[..],
        include_bytes!("../../../../tests/parity/goldens/text_index.json"),
        include_bytes!("../../../../tests/parity/goldens/optional_index.json"),
        include_bytes!("../../../../tests/parity/goldens/patch_index.json"),
        include_bytes!("../../../../tests/parity/goldens/start_index.json"),
    ] {
        cases.extend(json::<Index>("index.json", text)?.cases);
    }
    Ok(cases)
}

/// Computes case `name` on `device` and compares it with the reference.
///
/// # Errors
/// [`Error::Request`] for an unknown name or a file that is not there; otherwise whatever building the module reports.
pub async fn run_case(name: &str, files: &Files, device: &Device) -> Result<Vec<Comparison>> {
    let case = cases()?.into_iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| Error::request("case", format!("there is none named {name}")))?;
    let golden = Golden::read(&case.golden, files)?;
    let (config, weights) = match &case.subject {
        Subject::Module { config, weights } => (file(files, config)?, file(files, weights)?),
        Subject::Model(model) => return run::compare(&case.name, &golden, model, files, device).await,
        Subject::Text(subject) => return text::compare(&case.name, &golden, subject, files, device).await,
        Subject::Score(subject) => return score::compare(&case.name, &golden, subject, files, device).await,
    };
    let output = match case.kind {
        Kind::ClipText => {
            let model = build(weights, "", device, |w| config_of::<ClipTextConfig>(config)?.init(&mut w.root()))?;
            Output::from(model.forward(&golden.ids()?)?)
        }
        Kind::ClipTextWithProjection => {
            let config = config_of::<ClipTextConfig>(config)?;
            let model = build(weights, "", device, |w| config.init_with_projection(&mut w.root()))?;
            return text::compare_projected(&case.name, &golden, model.forward(&golden.ids()?)?).await;
        }
        Kind::Unet => unet(config, weights, (&golden, case.border), device)?.into(),
        Kind::TinyDecoder => {
            let config = config_of::<AutoencoderTinyConfig>(config)?;
            let decoder = build(weights, "decoder.", device, |w| config.init_decoder(&mut w.root()))?;
            decoder.forward(golden.tensor("latents", device)?, case.border).into()
        }
        Kind::TinyEncoder => {
            let config = config_of::<AutoencoderTinyConfig>(config)?;
            let encoder = build(weights, "encoder.", device, |w| config.init_encoder(&mut w.root()))?;
            encoder.forward(golden.tensor("image", device)?).into()
        }
        Kind::KlDecoder => {
            let config = config_of::<AutoencoderKlConfig>(config)?;
            let decoder = build(weights, "", device, |w| config.init_decoder(&mut w.root()))?;
            decoder.forward(golden.tensor("latents", device)?, case.border).into()
        }
        Kind::KlEncoder => {
            let config = config_of::<AutoencoderKlConfig>(config)?;
            let encoder = build(weights, "", device, |w| config.init_encoder(&mut w.root()))?;
            encoder.forward(golden.tensor("image", device)?).into()
        }
        Kind::PatchDecoder => {
            let config = config_of::<AutoencoderPatchConfig>(config)?;
            let decoder = build(weights, "decoder.", device, |w| config.init_decoder(&mut w.root()))?;
            decoder.forward(golden.tensor("latents", device)?, case.border).into()
        }
        Kind::PatchEncoder => {
            let config = config_of::<AutoencoderPatchConfig>(config)?;
            let encoder = build(weights, "encoder.", device, |w| config.init_encoder(&mut w.root()))?;
            encoder.forward(golden.tensor("image", device)?).into()
        }
        Kind::Upscaler => {
            let config = config_of::<UpscalerConfig>(config)?;
            let upscaler = build(weights, "", device, |w| config.init(&mut w.root()))?;
            upscaler.forward(golden.tensor("image", device)?).into()
        }
        Kind::Run | Kind::Conditioning | Kind::Scorer => {
            return Err(Error::request("case", "needs more than one module"));
        }
    };
    let expected = golden.values("output")?;
    let scale = largest(&expected);
    let name = format!("{name}.output");
    Ok(vec![compare(name, &output.read().await?, &expected, Bound { scale, tolerance: MODULE_TOLERANCE })?])
}

fn unet(config: &[u8], weights: &[u8], (golden, border): (&Golden, Border), device: &Device) -> Result<Tensor<4>> {
    let config = config_of::<UNet2DConditionConfig>(config)?;
    let unet = build(weights, "", device, |w| config.init(&mut w.root()))?;
    let timestep = golden.values("timestep")?.first().copied().unwrap_or_default();
    let guidance_embedding =
        if golden.has("timestep_cond") { Some(golden.tensor("timestep_cond", device)?) } else { None };
    let added_embedding = match (golden.has("text_embeds"), golden.has("time_ids")) {
        (true, true) => {
            let ids = golden.values("time_ids")?;
            let ids: [f32; TIME_IDS] = ids.try_into().map_err(|_| Error::request("time_ids", "are not six"))?;
            unet.added_embedding(golden.tensor("text_embeds", device)?, ids.map(f64::from))
        }
        _ => None,
    };
    let context = golden.tensor("encoder_hidden_states", device)?;
    let conditions = Conditions { context, guidance_embedding, added_embedding, border };
    let prepared = unet.prepare(&conditions, &[f64::from(timestep)]);
    Ok(unet.forward(golden.tensor("sample", device)?, 0, &prepared))
}

/// Loads the tensors whose names start with `prefix`, builds a module from them, and checks that it took them all.
fn build<M>(file: &[u8], prefix: &str, device: &Device, init: impl FnOnce(&mut Weights) -> Result<M>) -> Result<M> {
    let tensors = parse(file)?;
    let mut builder = WeightsBuilder::new("parity", &BTreeMap::new(), device);
    for (name, view) in tensors.iter().filter(|(name, _)| name.starts_with(prefix)) {
        let bytes = view.data().len();
        builder.begin(&TensorInfo { name: name.into(), dtype: view.dtype(), shape: view.shape().to_vec(), bytes })?;
        builder.write(view.data())?;
        builder.end()?;
    }
    let mut weights = builder.finish()?;
    let module = init(&mut weights)?;
    weights.finish()?;
    Ok(module)
}

/// A module's output, whatever its rank.
struct Output(Tensor<1>);

impl<const D: usize> From<Tensor<D>> for Output {
    fn from(tensor: Tensor<D>) -> Self {
        let count: usize = tensor.dims().iter().product();
        Self(tensor.reshape([count]))
    }
}

impl Output {
    /// Reads back without blocking, as browsers require.
    async fn read(self) -> Result<Vec<f32>> {
        let failed = |reason: String| Error::Storage { operation: "reading a result".into(), reason };
        let data = self.0.into_data_async().await.map_err(|error| failed(format!("{error:?}")))?;
        data.try_into_vec::<f32>().map_err(|error| failed(format!("{error:?}")))
    }
}

/// A tensor's values, read back without blocking.
///
/// # Errors
/// [`Error::Storage`] where the device does not give them.
pub async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    Output::from(tensor).read().await
}

/// A reference file.
struct Golden<'a>(SafeTensors<'a>);

impl<'a> Golden<'a> {
    fn read(path: &str, files: &'a Files) -> Result<Self> {
        Ok(Self(parse(file(files, path)?)?))
    }

    fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    fn view(&self, name: &str, dtype: Dtype) -> Result<safetensors::tensor::TensorView<'_>> {
        match self.0.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok(view),
            _ => Err(Error::request("golden", format!("has no tensor `{name}` of type {dtype}"))),
        }
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        let view = self.view(name, Dtype::F32)?;
        Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>> {
        let shape = self.view(name, Dtype::F32)?.shape().to_vec();
        Ok(Tensor::from_data(TensorData::new(self.values(name)?, shape), device))
    }

    /// Token ids, one sequence per prompt.
    fn ids(&self) -> Result<Vec<Vec<u32>>> {
        let view = self.view("input_ids", Dtype::I32)?;
        let ids: Vec<u32> = view.data().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(ids.chunks(view.shape()[1]).map(<[u32]>::to_vec).collect())
    }
}

/// What an error is measured by.
#[derive(Clone, Copy)]
struct Bound {
    scale: f64,
    tolerance: f64,
}

fn compare(name: String, found: &[f32], expected: &[f32], bound: Bound) -> Result<Comparison> {
    if found.len() != expected.len() {
        let reason = format!("has {} elements where the reference has {}", found.len(), expected.len());
        return Err(Error::request(&name, reason));
    }
    // Not `f64::max`, which would drop a NaN.
    let max_error = found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from(a - b).abs())
        .fold(0.0, |largest, error| if error <= largest { largest } else { error });
    Ok(Comparison { name, max_error, scale: bound.scale, tolerance: bound.tolerance })
}

fn largest(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max)
}

fn file<'a>(files: &'a Files, path: &str) -> Result<&'a [u8]> {
    files.get(path).map(Vec::as_slice).ok_or_else(|| Error::request("files", format!("{path} is not there")))
}

fn parse(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes).map_err(|error| Error::request("files", error.to_string()))
}

fn json<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::manifest(name, error.to_string()))
}

fn config_of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    json("config.json", bytes)
}
