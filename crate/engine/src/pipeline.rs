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

use crate::{
    Error, Result,
    decoder::Decoder,
    loader::{Phase, Progress, load_component, load_files},
    noise::NoiseStream,
    pack::Manifest,
    request::{EffectiveRequest, Request, RequestLimits},
    sampler::{self, Sampler, SchedulerConfig},
    store::{Digest, Store},
    text_encoder::{ClipTextConfig, ClipTextModel},
    tokenizer::{ClipTokenizer, TokenizerConfig},
    unet::{Conditions, UNet2DCondition, UNet2DConditionConfig},
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
    preview_decoder: Option<Decoder>,
    scheduler: SchedulerConfig,
    limits: RequestLimits,
    memory: MemoryReport,
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
    /// pack does not fit together; what [`load_component`] reports.
    pub async fn load(
        manifest: &Manifest,
        store: &impl Store,
        digest: &impl Digest,
        device: &Device,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let names = ["tokenizer", "text_encoder", "unet", "vae_decoder", "preview_decoder"];
        let sizes = names.map(|name| manifest.component(name).map_or(0, |component| component.bytes));
        let mut memory = MemoryReport { pack_bytes: sizes.iter().sum(), device_bytes: 0 };
        let mut loaded_bytes = 0;
        let mut report = |bytes: u64| {
            loaded_bytes += bytes;
            on_progress(Progress { phase: Phase::Upload, loaded_bytes, total_bytes: memory.pack_bytes });
        };
        report(0);

        let text_config: ClipTextConfig = manifest.config("text_encoder")?;
        let tokenizer = load_tokenizer(manifest, store, digest, text_config.max_position_embeddings).await?;
        report(sizes[0]);

        let mut weights = load_component(manifest, "text_encoder", store, digest, device).await?;
        memory.device_bytes += weights.device_bytes();
        let text_encoder = text_config.init(&mut weights.root())?;
        ignore_text_buffers(&mut weights);
        weights.finish()?;
        report(sizes[1]);

        let unet_config: UNet2DConditionConfig = manifest.config("unet")?;
        let mut weights = load_component(manifest, "unet", store, digest, device).await?;
        memory.device_bytes += weights.device_bytes();
        let unet = unet_config.init(&mut weights.root())?;
        weights.finish()?;
        report(sizes[2]);

        let mut weights = load_component(manifest, "vae_decoder", store, digest, device).await?;
        memory.device_bytes += weights.device_bytes();
        let decoder = Decoder::init(manifest, "vae_decoder", &mut weights)?;
        weights.finish()?;
        report(sizes[3]);
        let preview_decoder =
            match manifest.components.get("preview_decoder").is_some_and(|component| !component.optional) {
                true => {
                    let mut weights = load_component(manifest, "preview_decoder", store, digest, device).await?;
                    memory.device_bytes += weights.device_bytes();
                    let decoder = Decoder::init(manifest, "preview_decoder", &mut weights)?;
                    weights.finish()?;
                    report(sizes[4]);
                    Some(decoder)
                }
                false => None,
            };

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
        let scheduler = manifest.scheduler_config()?;
        let device = device.clone();
        Ok(Self {
            tokenizer,
            text_encoder,
            unet,
            unet_config,
            decoder,
            preview_decoder,
            scheduler,
            limits,
            memory,
            device,
        })
    }

    /// What the pack weighs in its files and on the device.
    pub fn memory(&self) -> MemoryReport {
        self.memory
    }

    /// Decides every value of a request.
    ///
    /// # Errors
    /// [`Error::Request`] naming the field.
    pub fn resolve(&self, request: &Request) -> Result<EffectiveRequest> {
        let effective = request.resolve(&self.limits)?;
        self.sampler(&effective)?;
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
        self.decoder.forward(latents)
    }

    /// A quick look at unfinished latents: by the preview decoder where the pack has one, else as
    /// [`Decoder::preview`] does.
    ///
    /// # Shapes
    /// [1, C, h, w] → [1, 3, H, W], pixels in [0, 1]; H and W are the preview decoder's own.
    pub fn preview(&self, latents: Tensor<4>) -> Tensor<4> {
        self.preview_decoder.as_ref().unwrap_or(&self.decoder).preview(latents)
    }

    fn sampler(&self, request: &EffectiveRequest) -> Result<Box<dyn Sampler>> {
        sampler::from_config(request.sampler.as_deref(), &self.scheduler, request.steps as usize)
    }

    /// What the UNet is told in every step of a run: of [negative; prompt] where it is guided, else of [prompt].
    fn conditions(&self, request: &EffectiveRequest, guided: bool) -> Result<Conditions> {
        let ids = |text: &str| self.tokenizer.encode_padded(text).ids;
        let prompt = ids(&request.prompt);
        let prompts = if guided { vec![ids(&request.negative), prompt] } else { vec![prompt] };
        let context = self.text_encoder.forward(&prompts)?;
        let guidance_embedding = self
            .unet_config
            .time_cond_proj_dim
            .map(|width| guidance_embedding(request.guidance - 1.0, width, &self.device));
        Ok(Conditions { context, guidance_embedding, added_embedding: None })
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
    /// Of two rows, without and with the prompt, where guided, else of one.
    conditions: Conditions,
    /// Guidance scale where two predictions are to be combined.
    guidance: Option<f64>,
    noise: NoiseStream,
    sample: Tensor<4>,
    index: usize,
}

impl Run {
    fn new(pipeline: Rc<Pipeline>, request: &EffectiveRequest, latents: Option<Tensor<4>>) -> Result<Self> {
        let sampler = pipeline.sampler(request)?;
        let embeds_guidance = pipeline.unet_config.time_cond_proj_dim.is_some();
        let guidance = (request.guidance > 1.0 && !embeds_guidance).then_some(request.guidance);
        let conditions = pipeline.conditions(request, guidance.is_some())?;
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
        Ok(Self { pipeline, sampler, conditions, guidance, noise, sample, index: 0 })
    }

    /// Computes the next step, or `None` after the last.
    fn step(&mut self) -> Option<Step> {
        let index = self.index;
        let timestep = *self.sampler.timesteps().get(index)?;
        let input = self.sampler.scale_model_input(self.sample.clone(), index);
        let output = self.predict(input, timestep);
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

    /// The UNet's output for the prompt, moved away from the one without it where the run is guided.
    fn predict(&self, input: Tensor<4>, timestep: f64) -> Tensor<4> {
        let unet = &self.pipeline.unet;
        let Some(scale) = self.guidance else { return unet.forward(input, timestep, &self.conditions) };
        let output = unet.forward(input.repeat_dim(0, 2), timestep, &self.conditions);
        let (without, with) = (output.clone().narrow(0, 0, 1), output.narrow(0, 1, 1));
        without.clone() + (with - without) * scale
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
    let config: TokenizerConfig = manifest.config("tokenizer")?;
    ClipTokenizer::from_files(file("vocab.json")?, file("merges.txt")?, &config.capped(positions))
}

/// Index buffers that older files carry beside the weights.
fn ignore_text_buffers(weights: &mut Weights) {
    weights.ignore("embeddings.position_ids");
    weights.ignore("text_model.embeddings.position_ids");
}
