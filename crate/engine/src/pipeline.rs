//! From a request to a picture: **read this file first**.
//!
//! [`Pipeline::load`] builds the modules from a pack; [`Pipeline::generate`] encodes the prompt, then denoises step by
//! step; [`Pipeline::decode`] turns latents into pixels on the device.
//!
//! Source: Rombach et al. (2022); Ho and Salimans, "Classifier-free diffusion guidance" (2022); diffusers 0.42.1
//! `StableDiffusionPipeline`.

mod batch;
mod loading;
#[cfg(feature = "parity")]
mod modules;
mod optional;
mod previewer;
mod start;
mod warm_up;

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use burn::tensor::{Device, Tensor, TensorData};
use futures::{Stream, stream};

pub use previewer::Previewer;
pub use start::Start;

use batch::Batch;
use loading::{Loading, check_widths, comes_with};

use crate::{
    Error, Result,
    conditioning::{Conditioning, Negative, TextConditioner, Words},
    decoder::Decoder,
    encoder::{self, Encoder},
    kernels::{Blend, Border},
    limits::DeviceLimits,
    loader::Progress,
    pack::{Manifest, Recommended},
    request::{EffectiveRequest, Request, RequestLimits},
    requirements::{ModelShape, Requirements},
    sampler::{self, Sampler, SchedulerConfig},
    scorer::Scorer,
    store::{Digest, Store},
    unet::{Conditions, Prepared, UNet2DCondition, UNet2DConditionConfig},
    upscaler::{self, Upscaler},
    weights::Weights,
};

/// A loaded pack, ready to paint.
#[derive(Debug)]
pub struct Pipeline {
    conditioner: TextConditioner,
    unet: UNet2DCondition,
    unet_config: UNet2DConditionConfig,
    decoder: Decoder,
    preview_decoder: Option<Decoder>,
    encoder: OnceCell<Encoder>,
    /// Whether the pack has an encoder at all.
    can_encode: bool,
    upscaler: OnceCell<Upscaler>,
    scorer: OnceCell<Scorer>,
    scheduler: SchedulerConfig,
    limits: RequestLimits,
    memory: Cell<MemoryReport>,
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

/// One denoising step's result, of the N pictures that are painted together: mostly one.
#[derive(Debug, Clone)]
pub struct Step {
    /// Counts from 0.
    pub index: u32,
    /// Steps of the run.
    pub total: u32,
    /// The sample after this step, [N, C, h, w]; after the last step, the finished latents.
    pub latents: Tensor<4>,
    /// The sampler's present guess of the finished latents, [N, C, h, w], for previews.
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
        let mut loading = Loading::new(manifest, (store, digest, device), on_progress);
        let mut on_loaded = |name: &str, device_bytes: u64| loading.add(name, device_bytes);
        let conditioner = TextConditioner::load(manifest, store, digest, device, &mut on_loaded).await?;
        let unet_config: UNet2DConditionConfig = manifest.config("unet")?;
        let unet = loading.module("unet", |weights| unet_config.init(&mut weights.root())).await?;
        let decoder = loading.module("vae_decoder", |weights| Decoder::init(manifest, "vae_decoder", weights)).await?;
        let preview_decoder = match comes_with("preview_decoder", manifest) {
            true => {
                let init = |weights: &mut Weights| Decoder::init(manifest, "preview_decoder", weights);
                Some(loading.module("preview_decoder", init).await?)
            }
            false => None,
        };
        let upscaler = OnceCell::new();
        if comes_with(upscaler::COMPONENT, manifest) {
            let (loaded, device_bytes) = Upscaler::load(manifest, store, digest, device).await?;
            upscaler.get_or_init(|| loaded);
            loading.add(upscaler::COMPONENT, device_bytes);
        }
        let memory = Cell::new(loading.memory);
        check_widths(&conditioner, &unet_config, [Some(&decoder), preview_decoder.as_ref()])?;
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
            conditioner,
            unet,
            unet_config,
            decoder,
            preview_decoder,
            encoder: OnceCell::new(),
            can_encode: manifest.components.contains_key(encoder::COMPONENT),
            upscaler,
            scorer: OnceCell::new(),
            scheduler,
            limits,
            memory,
            shape,
            device_limits,
            device,
        })
    }

    /// What the pack weighs in its files and on the device, as far as it is loaded.
    pub fn memory(&self) -> MemoryReport {
        self.memory.get()
    }

    /// What painting at a size takes.
    pub fn requirements(&self, width_px: u32, height_px: u32) -> Requirements {
        self.shape.requirements(width_px, height_px, &self.device_limits)
    }

    /// Decides every value of a request. Of a batch, gives its first picture's.
    ///
    /// # Errors
    /// [`Error::Request`] naming the field; [`Error::DeviceLimit`] for a size that the device cannot paint.
    pub fn resolve(&self, request: &Request) -> Result<EffectiveRequest> {
        self.resolve_batch(request).map(|mut pictures| pictures.swap_remove(0))
    }

    /// As [`Pipeline::resolve`], of each picture: one or more.
    ///
    /// # Errors
    /// As [`Pipeline::resolve`].
    pub fn resolve_batch(&self, request: &Request) -> Result<Vec<EffectiveRequest>> {
        let mut pictures = request.resolve_batch(&self.limits)?;
        let first = &pictures[0]; // of whose size and sampler all are
        self.sampler(first)?;
        let needs = self.requirements(first.width, first.height);
        needs.check()?;
        if first.upscale {
            needs.check_upscaling()?;
        }
        if first.strength.is_some() {
            if !self.can_encode {
                return Err(encoder::missing());
            }
            needs.check_encoding()?;
        }
        for picture in &mut pictures {
            let (negative, words) = self.words(picture);
            picture.truncated = self.conditioner.truncation(negative, words, picture.prompt_syntax)?;
        }
        Ok(pictures)
    }

    /// Paints: a stream of steps, each computed when it is asked for. Dropping the stream cancels the run and frees
    /// what it holds on the device.
    pub fn generate(self: &Rc<Self>, request: EffectiveRequest) -> impl Stream<Item = Result<Step>> + 'static {
        self.generate_from(vec![request], Origin::default())
    }

    /// As [`Pipeline::generate`], from more than the seed's noise, or several pictures together, which differ in their noise
    /// and their prompts alone, as those of [`Pipeline::resolve_batch`] do.
    pub fn generate_from(
        self: &Rc<Self>,
        pictures: Vec<EffectiveRequest>,
        origin: Origin,
    ) -> impl Stream<Item = Result<Step>> + 'static {
        let start = (Rc::clone(self), pictures, origin);
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
    pub fn decode(&self, latents: Tensor<4>, border: Border) -> Tensor<4> {
        self.decoder.forward(latents, self.shape.decoding_bytes(&self.device_limits), border)
    }

    /// A quick look at unfinished latents: by the preview decoder where the pack has one, else as
    /// [`Decoder::preview`] does.
    ///
    /// # Shapes
    /// [1, C, h, w] → [1, 3, H, W], pixels in [0, 1]; H and W are the preview decoder's own.
    pub fn preview(&self, latents: Tensor<4>, border: Border) -> Tensor<4> {
        let decoder = self.preview_decoder.as_ref().unwrap_or(&self.decoder);
        decoder.preview(latents, self.shape.decoding_bytes(&self.device_limits), border)
    }

    fn sampler(&self, request: &EffectiveRequest) -> Result<Box<dyn Sampler>> {
        sampler::from_config(request.sampler.as_deref(), &self.scheduler, request.steps as usize)
    }

    /// Whether each step needs a prediction without the prompt; consistency models are guided by an embedding instead.
    fn is_guided(&self, request: &EffectiveRequest) -> bool {
        request.guidance > 1.0 && self.unet_config.time_cond_proj_dim.is_none()
    }

    /// What a run is guided away from, and what it is told, which has the negative prompt in it where the pack says it so.
    fn words<'a>(&'a self, request: &'a EffectiveRequest) -> (Negative<'a>, Words<'a>) {
        let words = self.conditioner.words(&request.prompt, request.negative.as_deref());
        let negative = match &request.negative {
            _ if !self.is_guided(request) => Negative::Unguided,
            Some(negative) if words.negation.is_none() => Negative::Prompt(negative),
            _ => Negative::Unspecified,
        };
        (negative, words)
    }

    /// What the UNet is told in every step of a run: of [negative; prompt] where it is guided, else of [prompt].
    fn conditions(&self, request: &EffectiveRequest) -> Result<Conditions> {
        let (negative, words) = self.words(request);
        let Conditioning { context, pooled } = self.conditioner.encode(negative, words, request.prompt_syntax)?;
        let width = self.unet_config.time_cond_proj_dim;
        let guidance_embedding = width.map(|width| guidance_embedding(request.guidance - 1.0, width, &self.device));
        // The whole picture, not cropped out of a larger one.
        let [height, width] = [f64::from(request.height), f64::from(request.width)];
        let time_ids = [height, width, 0.0, 0.0, height, width];
        let added_embedding = pooled.and_then(|pooled| self.unet.added_embedding(pooled, time_ids));
        Ok(Conditions { context, guidance_embedding, added_embedding, border: request.border() })
    }
}

/// What a run begins with besides its request.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Noise ~ N(0, 1), [N, C, h, w], instead of the seeds' and their variations'.
    pub latents: Option<Tensor<4>>,
    /// The start picture, where the request has a strength.
    pub start: Option<Start>,
}

/// Where a run is between two polls of its stream.
enum Progression {
    Start(Box<(Rc<Pipeline>, Vec<EffectiveRequest>, Origin)>),
    Running(Box<Run>),
}

/// A run's state between two steps.
struct Run {
    pipeline: Rc<Pipeline>,
    sampler: Box<dyn Sampler>,
    /// What the UNet is told of a row for each picture, where guided without and then with the prompt; in as many passes as
    /// it takes.
    passes: Vec<Prepared>,
    /// Guidance scale where two predictions are to be combined.
    guidance: Option<f64>,
    batch: Batch,
    /// What the run began with, and the noise that it was given.
    start: Option<(Start, Tensor<4>)>,
    sample: Tensor<4>,
    /// Evaluation at which the run began, and the next.
    begin: usize,
    index: usize,
}

impl Run {
    fn new(pipeline: Rc<Pipeline>, pictures: &[EffectiveRequest], origin: Origin) -> Result<Self> {
        let request = pictures.first().ok_or_else(|| Error::request("batch", "has no pictures"))?;
        let mut sampler = pipeline.sampler(request)?;
        let guidance = pipeline.is_guided(request).then_some(request.guidance);
        let mut batch = pipeline.batch(pictures);
        let initial = batch.initial(origin.latents)?;
        let (begin, sample, start) = match (origin.start, request.strength) {
            (None, None) => (0, initial * sampler.init_noise_sigma(), None),
            (Some(start), Some(strength)) => {
                let begin = sampler.begin_after(sampler::skipped_steps(request.steps as usize, strength))?;
                let begin = begin.min(sampler.timesteps().len().saturating_sub(1));
                // What is painted anew altogether need not remember what was there.
                let sample = match start.is_masked() && strength == 1.0 {
                    true => initial.clone() * sampler.init_noise_sigma(),
                    false => sampler.add_noise(start.latents.clone(), initial.clone(), begin),
                };
                (begin, sample, Some((start, initial)))
            }
            _ => return Err(Error::request("image", "a start picture and a strength go together")),
        };
        let passes = pipeline.passes(pictures, sampler.timesteps())?;
        Ok(Self { pipeline, sampler, passes, guidance, batch, start, sample, begin, index: begin })
    }

    /// Computes the next step, or `None` after the last.
    fn step(&mut self) -> Option<Step> {
        let index = self.index;
        let total = self.sampler.timesteps().len();
        if index == total {
            return None;
        }
        let input = self.sampler.scale_model_input(self.sample.clone(), index);
        let output = self.predict(input, index);
        let batch = &mut self.batch;
        let stepped = self.sampler.step(output, index, self.sample.clone().into(), &mut || batch.draw());
        let (mut sample, mut denoised) = (stepped.prev_sample.compute(), stepped.pred_original_sample.compute());
        self.index += 1;
        if let Some((start, noise)) = &self.start {
            let keep = |sample, index| start.keep(sample, noise, index, self.sampler.as_ref());
            sample = keep(sample, self.index);
            denoised = keep(denoised, total);
        }
        self.sample = sample;
        Some(Step {
            index: (index - self.begin) as u32,
            total: (total - self.begin) as u32,
            latents: self.sample.clone(),
            denoised,
        })
    }

    /// The UNet's output for the prompt, moved away from the one without it where the run is guided.
    fn predict(&self, input: Tensor<4>, index: usize) -> Blend {
        let Some(scale) = self.guidance else { return self.forward(input, index).into() };
        let [without, with] = Blend::halves(self.forward(input.repeat_dim(0, 2), index));
        without.clone() + (with - without).mul_scalar(scale)
    }

    /// The UNet's output for all rows, pass by pass.
    fn forward(&self, rows: Tensor<4>, index: usize) -> Tensor<4> {
        let unet = &self.pipeline.unet;
        if let [pass] = &self.passes[..] {
            return unet.forward(rows, index, pass);
        }
        let mut first = 0;
        let passes = self.passes.iter().map(|pass| {
            first += pass.rows();
            unet.forward(rows.clone().narrow(0, first - pass.rows(), pass.rows()), index, pass)
        });
        Tensor::cat(passes.collect(), 0)
    }
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
