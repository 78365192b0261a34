//! From a request to a picture: **read this file first**.
//!
//! [`Pipeline::load`] builds the modules from a pack; [`Pipeline::generate`] encodes the prompt, then denoises step by
//! step; [`Pipeline::decode`] turns latents into pixels on the device.
//!
//! Source: Rombach et al. (2022); Ho and Salimans, "Classifier-free diffusion guidance" (2022); diffusers 0.42.1
//! `StableDiffusionPipeline`.

use std::rc::Rc;

use burn::tensor::{Device, Tensor, TensorData};
use futures::{Stream, stream};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Error, Result,
    autoencoder::{AutoencoderKlConfig, AutoencoderTinyConfig, KlDecoder, TinyDecoder},
    limits::DeviceLimits,
    loader::{Phase, Progress, load_component, load_files},
    noise::NoiseStream,
    pack::{Manifest, Recommended},
    request::{EffectiveRequest, Request, RequestLimits},
    requirements::{ModelShape, Requirements},
    sampler::{self, Sampler, SchedulerConfig},
    store::{Digest, Store},
    text_encoder::{ClipTextConfig, ClipTextModel},
    tokenizer::{ClipTokenizer, TokenizerConfig},
    unet::{UNet2DCondition, UNet2DConditionConfig},
    weights::Weights,
};

/// A loaded pack, ready to paint.
#[derive(Debug)]
pub struct Pipeline {
    tokenizer: ClipTokenizer,
    text_encoder: ClipTextModel,
    unet: UNet2DCondition,
    unet_config: UNet2DConditionConfig,
    decoder: Decoder,
    scheduler: SchedulerConfig,
    limits: RequestLimits,
    memory: MemoryReport,
    shape: ModelShape,
    device_limits: DeviceLimits,
    device: Device,
}

/// What a pack weighs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Bytes of the loaded components' files.
    pub pack_bytes: u64,
    /// Bytes of device buffers that hold their weights.
    pub device_bytes: u64,
}

/// One denoising step's result.
#[derive(Debug, Clone)]
pub struct Step {
    /// Counts from 0.
    pub index: u32,
    /// Steps of the run.
    pub total: u32,
    /// The sample after this step, [1, C, h, w]; after the last step, the finished latents.
    pub latents: Tensor<4>,
    /// The sampler's present guess of the finished latents, [1, C, h, w], for previews.
    pub denoised: Tensor<4>,
}

impl Pipeline {
    /// Builds the pipeline from a pack whose pieces are in the store.
    ///
    /// # Errors
    /// [`Error::Manifest`], [`Error::MissingTensor`], [`Error::UnexpectedTensor`], [`Error::ShapeMismatch`] where the
    /// pack does not fit together; [`Error::DeviceLimit`], before anything is loaded, where the device cannot paint at
    /// the pack's recommended size; what [`load_component`] reports.
    pub async fn load(
        manifest: &Manifest,
        store: &impl Store,
        digest: &impl Digest,
        device: &Device,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let (shape, device_limits) = (ModelShape::of(manifest)?, DeviceLimits::of(device));
        let Recommended { width, height, .. } = manifest.recommended;
        shape.requirements(width, height, &device_limits).check()?;
        let names = ["tokenizer", "text_encoder", "unet", "vae_decoder"];
        let sizes = names.map(|name| manifest.component(name).map_or(0, |component| component.bytes));
        let mut memory = MemoryReport { pack_bytes: sizes.iter().sum(), device_bytes: 0 };
        let mut loaded_bytes = 0;
        let mut report = |bytes: u64| {
            loaded_bytes += bytes;
            on_progress(Progress { phase: Phase::Upload, loaded_bytes, total_bytes: memory.pack_bytes });
        };
        report(0);

        let text_config: ClipTextConfig = config(manifest, "text_encoder")?;
        let tokenizer = load_tokenizer(manifest, store, digest, text_config.max_position_embeddings).await?;
        report(sizes[0]);

        let mut weights = load_component(manifest, "text_encoder", store, digest, device).await?;
        memory.device_bytes += weights.device_bytes();
        let text_encoder = text_config.init(&mut weights.root())?;
        ignore_text_buffers(&mut weights);
        weights.finish()?;
        report(sizes[1]);

        let unet_config: UNet2DConditionConfig = config(manifest, "unet")?;
        let mut weights = load_component(manifest, "unet", store, digest, device).await?;
        memory.device_bytes += weights.device_bytes();
        let unet = unet_config.init(&mut weights.root())?;
        weights.finish()?;
        report(sizes[2]);

        let mut weights = load_component(manifest, "vae_decoder", store, digest, device).await?;
        memory.device_bytes += weights.device_bytes();
        let decoder = Decoder::init(manifest, &mut weights)?;
        weights.finish()?;
        report(sizes[3]);

        if decoder.latent_channels() != unet_config.in_channels {
            return Err(Error::manifest(
                "components.vae_decoder.config.latent_channels",
                "differs from the UNet's in_channels",
            ));
        }
        let recommended = manifest.recommended;
        let limits = RequestLimits {
            steps: recommended.steps,
            guidance: recommended.guidance,
            width_px: recommended.width,
            height_px: recommended.height,
            scale_px: decoder.scale_px(),
        };
        let scheduler = from_json("scheduler", &manifest.scheduler)?;
        let device = device.clone();
        Ok(Self {
            tokenizer,
            text_encoder,
            unet,
            unet_config,
            decoder,
            scheduler,
            limits,
            memory,
            shape,
            device_limits,
            device,
        })
    }

    /// What the pack weighs in its files and on the device.
    pub fn memory(&self) -> MemoryReport {
        self.memory
    }

    /// What painting at a size takes.
    pub fn requirements(&self, width_px: u32, height_px: u32) -> Requirements {
        self.shape.requirements(width_px, height_px, &self.device_limits)
    }

    /// Decides every value of a request.
    ///
    /// # Errors
    /// [`Error::Request`] naming the field; [`Error::DeviceLimit`] for a size that the device cannot paint.
    pub fn resolve(&self, request: &Request) -> Result<EffectiveRequest> {
        let effective = request.resolve(&self.limits)?;
        self.sampler(&effective)?;
        self.requirements(effective.width, effective.height).check()?;
        Ok(effective)
    }

    /// Paints: a stream of steps, each computed when it is asked for. Dropping the stream cancels the run and frees
    /// what it holds on the device.
    pub fn generate(self: &Rc<Self>, request: EffectiveRequest) -> impl Stream<Item = Result<Step>> + 'static {
        self.generate_from(request, None)
    }

    /// As [`Pipeline::generate`], from given initial latents ~ N(0, 1), [1, C, h, w], instead of the seed's.
    pub fn generate_from(
        self: &Rc<Self>,
        request: EffectiveRequest,
        latents: Option<Tensor<4>>,
    ) -> impl Stream<Item = Result<Step>> + 'static {
        let start = (Rc::clone(self), request, latents);
        stream::try_unfold(Progression::Start(Box::new(start)), |progression| async move {
            let mut run = match progression {
                Progression::Start(start) => Box::new(Run::new(start.0, &start.1, start.2)?),
                Progression::Running(run) => run,
            };
            Ok(run.step().map(|step| (step, Progression::Running(run))))
        })
    }

    /// Latents to a picture on the device.
    ///
    /// # Shapes
    /// [1, C, h, w] → [1, 3, H, W], pixels in [0, 1].
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let most_bytes = self.shape.decoding_bytes(&self.device_limits);
        (self.decoder.forward(latents, most_bytes) / 2.0 + 0.5).clamp(0.0, 1.0)
    }

    fn sampler(&self, request: &EffectiveRequest) -> Result<Box<dyn Sampler>> {
        sampler::from_config(request.sampler.as_deref(), &self.scheduler, request.steps as usize)
    }

    /// The text embeddings of a run: [negative; prompt] where it is guided, else [prompt].
    fn encode(&self, request: &EffectiveRequest, guided: bool) -> Result<Tensor<3>> {
        let ids = |text: &str| self.tokenizer.encode_padded(text).ids;
        let prompt = ids(&request.prompt);
        self.text_encoder.forward(&if guided { vec![ids(&request.negative), prompt] } else { vec![prompt] })
    }
}

/// Where a run is between two polls of its stream.
enum Progression {
    Start(Box<(Rc<Pipeline>, EffectiveRequest, Option<Tensor<4>>)>),
    Running(Box<Run>),
}

/// A run's state between two steps.
struct Run {
    pipeline: Rc<Pipeline>,
    sampler: Box<dyn Sampler>,
    /// Text embeddings, [2, tokens, width] where guided, else [1, tokens, width].
    context: Tensor<3>,
    /// Guidance scale where two predictions are to be combined.
    guidance: Option<f64>,
    /// The guidance scale as LCM models take it.
    guidance_embedding: Option<Tensor<2>>,
    noise: NoiseStream,
    sample: Tensor<4>,
    index: usize,
}

impl Run {
    fn new(pipeline: Rc<Pipeline>, request: &EffectiveRequest, latents: Option<Tensor<4>>) -> Result<Self> {
        let sampler = pipeline.sampler(request)?;
        let embedding_width = pipeline.unet_config.time_cond_proj_dim;
        let guided = request.guidance > 1.0 && embedding_width.is_none();
        let context = pipeline.encode(request, guided)?;
        let guidance_embedding =
            embedding_width.map(|width| guidance_embedding(request.guidance - 1.0, width, &pipeline.device));

        let scale = pipeline.limits.scale_px;
        let shape =
            [1, pipeline.unet_config.in_channels, (request.height / scale) as usize, (request.width / scale) as usize];
        let mut noise = NoiseStream::new(request.seed);
        let latents = match latents {
            Some(latents) if latents.dims() == shape => latents,
            Some(latents) => {
                return Err(Error::request(
                    "init_latents",
                    format!("have shape {:?}, this size needs {shape:?}", latents.dims()),
                ));
            }
            None => draw(&mut noise, shape, &pipeline.device),
        };
        let sample = latents * sampler.init_noise_sigma();
        let guidance = guided.then_some(request.guidance);
        Ok(Self { pipeline, sampler, context, guidance, guidance_embedding, noise, sample, index: 0 })
    }

    /// Computes the next step, or `None` after the last.
    fn step(&mut self) -> Option<Step> {
        let index = self.index;
        let timestep = *self.sampler.timesteps().get(index)?;
        let input = self.sampler.scale_model_input(self.sample.clone(), index);
        let input = if self.guidance.is_some() { input.repeat_dim(0, 2) } else { input };
        let output = self.pipeline.unet.forward(input, timestep, &self.context, self.guidance_embedding.clone());
        let output = match self.guidance {
            Some(scale) => {
                let (unconditional, conditional) = (output.clone().narrow(0, 0, 1), output.narrow(0, 1, 1));
                unconditional.clone() + (conditional - unconditional) * scale
            }
            None => output,
        };
        let (shape, device) = (self.sample.dims(), &self.pipeline.device);
        let noise = &mut self.noise;
        let stepped = self.sampler.step(output, index, self.sample.clone(), &mut || draw(noise, shape, device));
        self.sample = stepped.prev_sample;
        self.index += 1;
        Some(Step {
            index: index as u32,
            total: self.sampler.timesteps().len() as u32,
            latents: self.sample.clone(),
            denoised: stepped.pred_original_sample,
        })
    }
}

/// One `torch.randn(shape)` of the stream.
fn draw(noise: &mut NoiseStream, shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(noise.normal(shape.iter().product()), shape), device)
}

/// The sinusoidal embedding of `guidance_scale − 1` that LCM models add to their time embedding, [1, width].
///
/// Source: diffusers 0.42.1 `StableDiffusionPipeline.get_guidance_scale_embedding`.
fn guidance_embedding(scale: f64, width: usize, device: &Device) -> Tensor<2> {
    let half = width / 2;
    let step = 10_000f32.ln() / (half as f32 - 1.0);
    let angles = (0..half).map(|i| scale as f32 * 1000.0 * (i as f32 * -step).exp());
    let (mut sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
    sines.extend(cosines);
    sines.resize(width, 0.0);
    Tensor::from_data(TensorData::new(sines, [1, width]), device)
}

/// Either autoencoder's decoder.
#[derive(Debug)]
enum Decoder {
    Tiny(Box<TinyDecoder>, AutoencoderTinyConfig),
    Kl(Box<KlDecoder>, AutoencoderKlConfig),
}

impl Decoder {
    fn init(manifest: &Manifest, weights: &mut Weights) -> Result<Self> {
        let class =
            manifest.component("vae_decoder")?.config.get("_class_name").and_then(Value::as_str).unwrap_or("none");
        match class {
            "AutoencoderTiny" => {
                let config: AutoencoderTinyConfig = config(manifest, "vae_decoder")?;
                Ok(Self::Tiny(Box::new(config.init_decoder(&mut weights.root())?), config))
            }
            "AutoencoderKL" => {
                let config: AutoencoderKlConfig = config(manifest, "vae_decoder")?;
                Ok(Self::Kl(Box::new(config.init_decoder(&mut weights.root())?), config))
            }
            other => Err(Error::manifest(
                "components.vae_decoder.config._class_name",
                format!("`{other}` is not supported; AutoencoderTiny and AutoencoderKL are"),
            )),
        }
    }

    /// Scaled latents to pixels in about [−1, 1]; in tiles where decoding them whole would take more than `most_bytes`.
    fn forward(&self, latents: Tensor<4>, most_bytes: u64) -> Tensor<4> {
        match self {
            Self::Tiny(decoder, config) => decoder.forward(latents / config.scaling_factor),
            Self::Kl(decoder, config) => decoder.forward_within(latents / config.scaling_factor, most_bytes),
        }
    }

    fn latent_channels(&self) -> usize {
        match self {
            Self::Tiny(_, config) => config.latent_channels,
            Self::Kl(_, config) => config.latent_channels,
        }
    }

    /// Pixels per latent along one side.
    fn scale_px(&self) -> u32 {
        let levels = match self {
            Self::Tiny(_, config) => config.decoder_block_out_channels.len(),
            Self::Kl(_, config) => config.block_out_channels.len(),
        };
        1 << (levels - 1)
    }
}

/// A component's configuration.
fn config<T: DeserializeOwned>(manifest: &Manifest, component: &str) -> Result<T> {
    from_json(&format!("components.{component}.config"), &manifest.component(component)?.config)
}

fn from_json<T: DeserializeOwned>(field: &str, value: &Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|error| Error::manifest(field, error.to_string()))
}

async fn load_tokenizer(
    manifest: &Manifest,
    store: &impl Store,
    digest: &impl Digest,
    positions: usize,
) -> Result<ClipTokenizer> {
    let files = load_files(manifest, "tokenizer", store, digest).await?;
    let file = |name: &str| {
        let missing = || Error::MissingTensor { name: format!("tokenizer.{name}") };
        files.get(name).map(Vec::as_slice).ok_or_else(missing)
    };
    let config: TokenizerConfig = config(manifest, "tokenizer")?;
    ClipTokenizer::from_files(file("vocab.json")?, file("merges.txt")?, &config.capped(positions))
}

/// Index buffers that older files carry beside the weights.
fn ignore_text_buffers(weights: &mut Weights) {
    weights.ignore("embeddings.position_ids");
    weights.ignore("text_model.embeddings.position_ids");
}
