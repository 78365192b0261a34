//! `fraise generate`: a prompt in, a picture out, by the same pipeline that runs in browsers.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use burn::tensor::{DType, Device, Tensor, TensorData};
use clap::{Args, ValueEnum};
use fraise_engine::kernels::Precision;
use fraise_engine::picture::{Picture, PictureInfo};
use fraise_engine::pipeline::{Origin, Pipeline};
use fraise_engine::request::{EffectiveRequest, PromptSyntax, Request, StartPicture, Variation};
use fraise_engine::store::Sha2Digest;
use fraise_engine::{Error, Result};
use futures::StreamExt;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::device::{DeviceKind, PrecisionName};
use crate::folder::{FolderStore, read_bounded, write_whole};
use crate::output::{self, mebibytes};
use crate::upscale::read_png;

/// Where the picture goes when neither `-o` nor `--save` says.
const DEFAULT_OUT: &str = "fraise.png";
/// Longest file of initial latents that is read, in bytes.
const MAX_LATENTS_BYTES: u64 = 64 << 20;

/// Arguments of `fraise generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    /// Folder of the pack, or its manifest.json
    #[arg(long, value_name = "PACK")]
    model: PathBuf,
    /// What to paint
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// What to keep out of the picture; without guidance, only where the pack says how to tell the model
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    negative: Option<String>,
    /// Sampler, such as ddim, euler, lcm or flow_euler [default: the pack's own]
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// Denoising steps [default: the pack's]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Guidance scale [default: the pack's]
    #[arg(long, value_name = "G")]
    guidance: Option<f64>,
    /// Seed of the noise: the numbers of torch.Generator("cpu").manual_seed(S)
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Width in pixels [default: the pack's]
    #[arg(long, value_name = "W")]
    width: Option<u32>,
    /// Height in pixels [default: the pack's]
    #[arg(long, value_name = "H")]
    height: Option<u32>,
    /// Start from this picture, a PNG, scaled and cut to the size
    #[arg(long, value_name = "FILE.png")]
    image: Option<PathBuf>,
    /// How much of the schedule is run from --image, 0 to 1 [default: 0.6]
    #[arg(long, value_name = "S", requires = "image")]
    strength: Option<f64>,
    /// Where --image is painted anew, a PNG: white; where it is kept: black
    #[arg(long, value_name = "FILE.png", requires = "image")]
    mask: Option<PathBuf>,
    /// Make opposite edges fit together
    #[arg(long)]
    tiling: bool,
    /// Another seed, towards whose noise that of --seed is turned
    #[arg(long, value_name = "N", requires = "variation_strength")]
    variation_seed: Option<u64>,
    /// How far it is turned, 0 to 1
    #[arg(long, value_name = "S", requires = "variation_seed")]
    variation_strength: Option<f64>,
    /// Start from the tensor `init_latents` [1, C, h, w] of this file instead of the seed's noise
    #[arg(long, value_name = "F.safetensors")]
    init_latents: Option<PathBuf>,
    /// Write `final_latents`, `image` [1, 3, H, W] in [0, 1] (larger with --upscale), and `steps` [N, C, h, w]
    #[arg(long, value_name = "F.safetensors")]
    save: Option<PathBuf>,
    /// What computes
    #[arg(long, value_enum, default_value_t = DeviceKind::Gpu)]
    device: DeviceKind,
    /// Arithmetic of the UNet on a GPU
    #[arg(long, value_enum, default_value_t = PrecisionName::Float32)]
    precision: PrecisionName,
    /// How the prompt is read
    #[arg(long, value_enum, default_value_t = Syntax::Plain)]
    prompt_syntax: Syntax,
    /// Make the picture larger by the pack's upscaler
    #[arg(long)]
    upscale: bool,
    /// Where the picture goes [default: fraise.png, unless there is --save]
    #[arg(short, value_name = "OUT.png")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Syntax {
    /// As diffusers: tokenized as it is, truncated at the text encoder's length
    Plain,
    /// Weights and chunks as in AUTOMATIC1111's web UI
    A1111,
}

impl From<Syntax> for PromptSyntax {
    fn from(syntax: Syntax) -> Self {
        match syntax {
            Syntax::Plain => Self::Plain,
            Syntax::A1111 => Self::A1111,
        }
    }
}

/// Paints one picture.
///
/// # Errors
/// [`Error::Request`] for what cannot be asked, [`Error::NoWebGpu`] where there is no GPU; what the pipeline reports.
pub async fn run(arguments: &GenerateArguments) -> Result<()> {
    let started = Instant::now();
    let store = FolderStore::new(&arguments.model);
    let manifest = store.manifest()?;
    let device = arguments.device.open()?;
    arguments.device.tune(&device, &manifest, arguments.precision.into()).await?;
    let bar = output::bytes_bar(manifest.total_bytes, "loading");
    let mut on_progress = |progress: fraise_engine::loader::Progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.loaded_bytes);
    };
    let pipeline = Rc::new(Pipeline::load(&manifest, &store, &Sha2Digest, &device, &mut on_progress).await?);
    bar.finish_and_clear();
    let wanted = request(arguments)?;
    let request = pipeline.resolve(&wanted)?;
    for cut in &request.truncated {
        let missed = if cut.field == "negative" { "not left out" } else { "not painted" };
        output::print_note(&format!("the {} is too long by {} tokens; {missed}: {}", cut.field, cut.tokens, cut.text));
    }
    if request.upscale {
        pipeline.load_upscaler(&manifest, &store, &Sha2Digest).await?;
    }
    let start = match &wanted.start {
        Some(picture) => {
            pipeline.load_encoder(&manifest, &store, &Sha2Digest).await?;
            Some(pipeline.start(picture, &request)?)
        }
        None => None,
    };
    let latents = arguments.init_latents.as_deref().map(|path| init_latents(path, &device)).transpose()?;
    let loaded = started.elapsed();

    let painted = paint(&pipeline, &request, Origin { latents, start }, arguments.save.is_some()).await?;
    let picture = Picture::read(painted.image.clone()).await?;
    let painting = started.elapsed() - loaded;
    let mut written = Vec::new();
    if let Some(path) = &arguments.save {
        write_whole(path, &painted.to_safetensors().await?)?;
        written.push(path.display().to_string());
    }
    let default_out = arguments.save.is_none().then(|| PathBuf::from(DEFAULT_OUT));
    if let Some(path) = arguments.out.clone().or(default_out) {
        let (model, precision) = (manifest.name.clone(), Precision::on(&device));
        let info = PictureInfo { request: request.clone(), model, precision };
        write_whole(&path, &picture.to_png(Some(&info))?)?;
        written.push(path.display().to_string());
    }
    let size_px = [picture.width, picture.height];
    output::print(&summary(&written, size_px, &request, &pipeline, [loaded, painting]))
}

fn request(arguments: &GenerateArguments) -> Result<Request> {
    let picture = |argument, path| Picture::from_png(&read_png(argument, path)?);
    let start = match &arguments.image {
        Some(image) => Some(StartPicture {
            image: picture("--image", image)?,
            mask: arguments.mask.as_deref().map(|mask| picture("--mask", mask)).transpose()?,
        }),
        None => None,
    };
    let variation = arguments.variation_seed.zip(arguments.variation_strength);
    Ok(Request {
        prompt: arguments.prompt.clone(),
        negative: arguments.negative.clone(),
        seed: arguments.seed,
        steps: arguments.steps,
        guidance: arguments.guidance,
        width: arguments.width,
        height: arguments.height,
        sampler: arguments.sampler.clone(),
        prompt_syntax: arguments.prompt_syntax.into(),
        upscale: arguments.upscale,
        start,
        strength: arguments.strength,
        tiling: arguments.tiling,
        variation: variation.map(|(seed, strength)| Variation { seed, strength }),
        batch: Vec::new(),
    })
}

/// What a run leaves on the device.
struct Painted {
    image: Tensor<4>,
    final_latents: Tensor<4>,
    /// The sample after each step, where they are to be saved.
    steps: Vec<Tensor<4>>,
}

async fn paint(
    pipeline: &Rc<Pipeline>,
    request: &EffectiveRequest,
    origin: Origin,
    keep_steps: bool,
) -> Result<Painted> {
    let bar = output::steps_bar(u64::from(request.steps), "painting");
    let start = origin.start.clone();
    let mut stream = pin!(pipeline.generate_from(vec![request.clone()], origin));
    let mut steps = Vec::new();
    let mut last = None;
    while let Some(step) = stream.next().await {
        let step = step?;
        bar.set_length(u64::from(step.total));
        bar.set_position(u64::from(step.index) + 1);
        if keep_steps {
            steps.push(step.latents.clone());
        }
        last = Some(step.latents);
    }
    bar.finish_and_clear();
    let final_latents = last.ok_or_else(|| Error::request("steps", "the sampler made no step"))?;
    let image = pipeline.finish(final_latents.clone(), request, start.as_ref())?;
    Ok(Painted { image, final_latents, steps })
}

impl Painted {
    async fn to_safetensors(&self) -> Result<Vec<u8>> {
        let steps = Tensor::cat(self.steps.clone(), 0);
        let mut tensors = Vec::new();
        for (name, tensor) in [("final_latents", &self.final_latents), ("image", &self.image), ("steps", &steps)] {
            let values = values(tensor.clone()).await?;
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            tensors.push((name, tensor.dims().to_vec(), bytes));
        }
        let failed = |error: safetensors::SafeTensorError| Error::Storage {
            operation: "writing tensors".to_owned(),
            reason: error.to_string(),
        };
        let views: Vec<(&str, TensorView)> = tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        safetensors::serialize(views, None).map_err(failed)
    }
}

async fn values(tensor: Tensor<4>) -> Result<Vec<f32>> {
    let data = tensor.into_data_async().await.map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
    data.convert_dtype(DType::F32)
        .try_into_vec::<f32>()
        .map_err(|error| Error::DeviceLost { reason: format!("a tensor came back unreadable: {error:?}") })
}

/// The tensor `init_latents` of a safetensors file, F32 or F16.
fn init_latents(path: &Path, device: &Device) -> Result<Tensor<4>> {
    let refuse = |reason: String| Error::request("init-latents", format!("{} {reason}", path.display()));
    let bytes = read_bounded(path, MAX_LATENTS_BYTES)?.ok_or_else(|| refuse("is not there".to_owned()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| refuse(format!("is no safetensors file: {error}")))?;
    let tensor = file.tensor("init_latents").map_err(|_| refuse("holds no tensor `init_latents`".to_owned()))?;
    let shape: [usize; 4] = tensor
        .shape()
        .try_into()
        .map_err(|_| refuse(format!("holds init_latents of shape {:?}, four dimensions are needed", tensor.shape())))?;
    let values = fraise_engine::pack::quantize::decode("init_latents", tensor.dtype(), tensor.data())?;
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

fn summary(
    written: &[String],
    [width_px, height_px]: [u32; 2],
    request: &EffectiveRequest,
    pipeline: &Pipeline,
    times: [Duration; 2],
) -> String {
    let memory = pipeline.memory();
    let [loading_s, painting_s] = times.map(|time| time.as_secs_f64());
    format!(
        "{}: {width_px}x{height_px}, {} steps, guidance {}, seed {}; loaded in {loading_s:.2} s, painted in {painting_s:.2} s; \
         weights {} on the device, {} in the pack\n",
        written.join(", "),
        request.steps,
        request.guidance,
        request.seed,
        mebibytes(memory.device_bytes),
        mebibytes(memory.pack_bytes),
    )
}
