//! One original-layout checkpoint → a plan: which family, which components, which scheduler.

use serde_json::{Value, json};

use super::file::SafetensorsFile;
use super::plan::{Content, Plan, PlannedComponent, PlannedTensor};
use super::table::{Form, Row, Table};
use super::text_table::{Layout, TextShape};
use super::unet_table::UnetShape;
use super::unknown;
use super::vae_table::{VaeShape, fits};
use super::{ByteSource, Family, Prediction, Vocabulary};
use crate::pack::TensorInfo;
use crate::pack::layout::place;
use crate::{Error, Result};

const UNET: &str = "model.diffusion_model.";
const CLIP: &str = "cond_stage_model.transformer.";
const OPEN_CLIP: &str = "cond_stage_model.model.";
const FIRST_EMBEDDER: &str = "conditioner.embedders.0.transformer.";
/// Stable Diffusion 2's encoder in SD-Turbo's layout, and SDXL's refiner.
const FIRST_OPEN_EMBEDDER: &str = "conditioner.embedders.0.model.";
const SECOND_EMBEDDER: &str = "conditioner.embedders.1.model.";
/// Width of Stable Diffusion 2's text embeddings.
const SD2_CONTEXT: usize = 1024;
/// Empty tensors by which fine-tuned SDXL models say that they predict velocity, with zero terminal SNR.
const VELOCITY_MARK: &str = "v_pred";
const ZERO_SNR_MARK: &str = "ztsnr";

/// A checkpoint, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The family its tensors belong to.
    pub family: Family,
    /// What it is taken to predict.
    pub prediction: Prediction,
    /// The pack that it becomes.
    pub plan: Plan,
}

/// Plans the conversion of the first of `files`, from its header alone.
///
/// # Errors
/// [`Error::Request`] for what is no such checkpoint or cannot be converted; [`Error::MissingTensor`],
/// [`Error::UnexpectedTensor`], [`Error::ShapeMismatch`] naming the tensor.
pub fn plan<B: ByteSource>(
    file: &SafetensorsFile<B>,
    vocabulary: &Vocabulary,
    prediction: Option<Prediction>,
) -> Result<Checkpoint> {
    let find = |name: &str| file.get(name).or_else(|| file.get(&without_text_model(name)));
    let view = View { shape_of: &|name| find(name).map(|place| place.info.shape.as_slice()) };
    let unet = UnetShape::infer(view.below(UNET)).map_err(|error| unknown::explain(file.header(), error))?;
    unet.check()?;
    let (family, encoders) = view.family(file.header(), unet.context)?;
    let is_vae_prefix = |prefix: &&&str| view.below(prefix)("decoder.conv_in.weight").is_some();
    let vae_prefix = ["first_stage_model.", "vae."].iter().find(is_vae_prefix).ok_or_else(|| {
        Error::request("checkpoint", "holds no autoencoder; give a complete checkpoint (UNet, VAE, text encoder)")
    })?;
    let vae = VaeShape::infer(view.below(vae_prefix))?;
    vae.check()?;
    let is_velocity = family == Family::Sd2 || file.get(VELOCITY_MARK).is_some();
    let inferred = if is_velocity { Prediction::VPrediction } else { Prediction::Epsilon };
    let prediction = prediction.unwrap_or(inferred);
    let mut builder = Builder { file, used: Vec::new(), plan: empty_plan(family, &unet, prediction) };
    builder.plan.scheduler_zero_snr(file.get(ZERO_SNR_MARK).is_some());
    for (component, prefix, layout) in encoders {
        let text = TextShape::infer(layout, prefix, view.below(prefix))?;
        text.check(vocabulary.tokens())?;
        builder.add(component, prefix, &text.table(), text.config())?;
    }
    let side = family.sample_side();
    builder.add("unet", UNET, &unet.table(), unet.config(side))?;
    builder.add("vae", vae_prefix, &vae.table(), vae.config(side * 8, family.scaling_factor()))?;
    builder.check_unused()?;
    let mut plan = builder.plan;
    check_widths(&plan, &unet)?;
    let pad_token = if family == Family::Sd2 { "!" } else { "<|endoftext|>" };
    plan.add_clip_tokenizer("tokenizer", vocabulary, pad_token);
    if family == Family::Sdxl {
        plan.add_clip_tokenizer("tokenizer_2", vocabulary, "!");
    }
    Ok(Checkpoint { family, prediction, plan })
}

/// A text encoder: its component, the prefix of its tensors, and whose names they have.
type Encoder = (&'static str, &'static str, Layout);

/// The shapes of a file's tensors.
struct View<'a> {
    shape_of: &'a dyn Fn(&str) -> Option<&'a [usize]>,
}

impl<'a> View<'a> {
    fn below<'b>(&'b self, prefix: &'b str) -> impl Fn(&str) -> Option<&'a [usize]> + 'b {
        move |name| (self.shape_of)(&format!("{prefix}{name}"))
    }

    /// The family, and its text encoders.
    fn family(&self, header: &crate::pack::Header, context: usize) -> Result<(Family, Vec<Encoder>)> {
        let is_open = |prefix: &str| self.below(prefix)("token_embedding.weight").is_some();
        let is_clip = |prefix: &str| self.below(prefix)("text_model.embeddings.token_embedding.weight").is_some();
        if (self.shape_of)("edm_mean").is_some() {
            return Err(Error::request(
                "checkpoint",
                "is trained by the EDM recipe (Playground 2.5), which is not supported",
            ));
        }
        if is_open(SECOND_EMBEDDER) && is_clip(FIRST_EMBEDDER) {
            let first = ("text_encoder", FIRST_EMBEDDER, Layout::Clip);
            return Ok((Family::Sdxl, vec![first, ("text_encoder_2", SECOND_EMBEDDER, Layout::OpenClipProjected)]));
        }
        for prefix in [OPEN_CLIP, FIRST_OPEN_EMBEDDER] {
            if is_open(prefix) && (prefix == OPEN_CLIP || context == SD2_CONTEXT) {
                return Ok((Family::Sd2, vec![("text_encoder", prefix, Layout::OpenClipPenultimate)]));
            }
        }
        if is_open(FIRST_OPEN_EMBEDDER) {
            return Err(Error::request(
                "checkpoint",
                "is SDXL's refiner, which paints no pictures alone; give the base model",
            ));
        }
        if is_clip(CLIP) {
            return Ok((Family::Sd1, vec![("text_encoder", CLIP, Layout::Clip)]));
        }
        Err(unknown::no_text_encoder(header))
    }
}

impl Family {
    /// Side of the latents that the family's UNet was trained at.
    fn sample_side(self) -> usize {
        match self {
            Self::Sd1 => 64,
            Self::Sd2 => 96,
            Self::Sdxl => 128,
        }
    }

    fn scaling_factor(self) -> f64 {
        if self == Self::Sdxl { 0.13025 } else { 0.18215 }
    }
}

impl Prediction {
    /// diffusers' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::VPrediction => "v_prediction",
        }
    }
}

/// The pipeline and the scheduler of the configurations that diffusers' `from_single_file` takes for the family.
fn empty_plan(family: Family, unet: &UnetShape, prediction: Prediction) -> Plan {
    let pipeline = match family {
        Family::Sdxl => "StableDiffusionXLPipeline",
        _ if unet.guidance.is_some() => "LatentConsistencyModelPipeline",
        _ => "StableDiffusionPipeline",
    };
    let (class, special) = match family {
        _ if unet.guidance.is_some() => (
            "LCMScheduler",
            json!({ "original_inference_steps": 50, "timestep_scaling": 10.0, "set_alpha_to_one": true,
                    "timestep_spacing": "leading" }),
        ),
        Family::Sd1 => ("PNDMScheduler", json!({ "skip_prk_steps": true })),
        Family::Sd2 => ("DDIMScheduler", json!({})),
        Family::Sdxl => (
            "EulerDiscreteScheduler",
            json!({ "interpolation_type": "linear", "timestep_spacing": "leading", "use_karras_sigmas": false }),
        ),
    };
    let mut scheduler = json!({
        "_class_name": class,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": prediction.name(),
        "set_alpha_to_one": false,
        "steps_offset": 1,
        "trained_betas": null,
    });
    if let (Some(scheduler), Value::Object(special)) = (scheduler.as_object_mut(), special) {
        scheduler.extend(special);
    }
    Plan { pipeline: pipeline.to_owned(), scheduler, components: Vec::new() }
}

impl Plan {
    fn scheduler_zero_snr(&mut self, is_zero: bool) {
        if let (true, Some(scheduler)) = (is_zero, self.scheduler.as_object_mut()) {
            scheduler.insert("rescale_betas_zero_snr".to_owned(), json!(true));
            scheduler.insert("timestep_spacing".to_owned(), json!("trailing"));
        }
    }
}

/// Collects components and remembers which tensors went into them.
struct Builder<'a, B> {
    file: &'a SafetensorsFile<B>,
    used: Vec<String>,
    plan: Plan,
}

impl<B: ByteSource> Builder<'_, B> {
    fn add(&mut self, part: &str, prefix: &str, table: &Table, config: Value) -> Result<()> {
        let mut components: Vec<PlannedComponent> = Vec::new();
        for row in &table.rows {
            let Some((component, _)) = place(part, &row.name)? else { continue };
            let source = format!("{prefix}{}", row.source);
            let tensor = self.tensor(row, &source)?;
            self.used.push(source);
            match components.iter_mut().find(|planned| planned.name == component) {
                Some(planned) => planned.tensors.push(tensor),
                None => {
                    let config = config.clone();
                    components.push(PlannedComponent { name: component, config, tensors: vec![tensor] });
                }
            }
        }
        self.plan.components.append(&mut components);
        Ok(())
    }

    fn tensor(&self, row: &Row, source: &str) -> Result<PlannedTensor> {
        let found = self.file.get(source).or_else(|| self.file.get(&without_text_model(source)));
        let Some(found) = found else { return Err(Error::MissingTensor { name: source.to_owned() }) };
        if !fits(&found.info.shape, &row.shape, row.form) {
            let expected = match row.form {
                Form::Whole => row.shape.clone(),
                Form::Third(_) => {
                    row.shape.iter().enumerate().map(|(at, &n)| if at == 0 { n * 3 } else { n }).collect()
                }
                Form::Transposed => row.shape.iter().rev().copied().collect(),
            };
            return Err(Error::ShapeMismatch { name: source.to_owned(), expected, found: found.info.shape.clone() });
        }
        let mut tensor = PlannedTensor::stored(&row.name, found, 0)?;
        tensor.info = TensorInfo { shape: row.shape.clone(), ..tensor.info };
        match (row.form, &mut tensor.content) {
            (Form::Third(third), Content::Stored(stored)) => {
                stored.bytes /= 3;
                stored.start += (third * stored.bytes) as u64;
                tensor.info.bytes = stored.bytes;
            }
            (Form::Transposed, Content::Stored(stored)) => {
                tensor.content = Content::Transposed(*stored, [row.shape[0], row.shape[1]]);
            }
            _ => {}
        }
        Ok(tensor)
    }

    /// Refuses tensors that belong to no component and are not known to be superfluous.
    fn check_unused(&mut self) -> Result<()> {
        self.used.sort_unstable();
        let is_used = |name: &str| self.used.binary_search_by(|used| used.as_str().cmp(name)).is_ok();
        let unused = self
            .file
            .places()
            .map(|place| place.info.name.as_str())
            .find(|name| !is_used(name) && !is_used(&with_text_model(name)) && !unknown::is_superfluous(name));
        match unused {
            Some(name) => Err(Error::UnexpectedTensor { name: name.to_owned() }),
            None => Ok(()),
        }
    }
}

/// Text encoders and UNet must be of one kind.
fn check_widths(plan: &Plan, unet: &UnetShape) -> Result<()> {
    let width = |component: &str, field: &str| {
        plan.component(component).and_then(|component| component.config[field].as_u64()).unwrap_or(0) as usize
    };
    let context = width("text_encoder", "hidden_size") + width("text_encoder_2", "hidden_size");
    if context != unet.context {
        let reason =
            format!("has a UNet for text embeddings of width {}, its text encoders give {context}", unet.context);
        return Err(Error::request("checkpoint", reason));
    }
    let pooled = plan.component("text_encoder_2").map(|_| width("text_encoder_2", "projection_dim"));
    if pooled != unet.pooled_width() {
        return Err(Error::request("checkpoint", "has a UNet whose added conditioning does not fit its text encoders"));
    }
    Ok(())
}

/// Some early fine-tunes keep the text encoder's tensors one level higher.
fn without_text_model(source: &str) -> String {
    source.replacen("transformer.text_model.", "transformer.", 1)
}

fn with_text_model(source: &str) -> String {
    source.replacen("transformer.", "transformer.text_model.", 1)
}
