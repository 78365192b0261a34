//! What a caller may ask for, validated before any work begins.

use serde::{Deserialize, Serialize};

use crate::kernels::Border;
use crate::picture::Picture;
use crate::{Error, Result};

/// Longest prompt accepted, in bytes. Far above any text encoder's context; bounds the tokenizer's work.
pub const MAX_PROMPT_BYTES: usize = 8192;
/// Most denoising steps accepted.
pub const MAX_STEPS: u32 = 150;
/// Largest guidance scale accepted.
pub const MAX_GUIDANCE: f64 = 30.0;
/// Largest picture side accepted, in pixels.
pub const MAX_SIDE_PX: u32 = 2048;
/// Most pictures that are painted at once.
pub const MAX_BATCH: usize = 4;
/// How much of the schedule is run from a start picture where the caller does not say.
pub const DEFAULT_STRENGTH: f64 = 0.6;

/// How a prompt is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptSyntax {
    /// As diffusers reads it: tokenized as it stands, cut off at the text encoder's length.
    #[default]
    Plain,
    /// As AUTOMATIC1111's web UI reads it: weights, and as many chunks as the text needs. See [`crate::prompt`].
    A1111,
}

/// The end of a text that found no room in the text encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Truncated {
    /// The request's field: `prompt` or `negative`.
    pub field: String,
    /// How many tokens were cut off.
    pub tokens: usize,
    /// What they say, in lower case.
    pub text: String,
}

/// A picture to start from instead of noise alone, of any size; see [`crate::pipeline::Start`].
#[derive(Debug, Clone, PartialEq)]
pub struct StartPicture {
    /// The picture.
    pub image: Picture,
    /// Where it is painted anew: white; where it is kept: black; greys blend.
    pub mask: Option<Picture>,
}

/// Another seed, and how far the noise goes from the request's own to that seed's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variation {
    /// The other seed.
    pub seed: u64,
    /// 0 for the request's own noise, 1 for the other seed's.
    pub strength: f64,
}

/// Which noise a picture begins with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// As [`Request::seed`].
    pub seed: u64,
    /// As [`Request::variation`].
    pub variation: Option<Variation>,
}

/// One of several pictures painted at once: what it has for itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchPicture {
    /// As [`Request::seed`].
    pub seed: u64,
    /// As [`Request::variation`].
    #[serde(default)]
    pub variation: Option<Variation>,
    /// What to paint, instead of [`Request::prompt`].
    #[serde(default)]
    pub prompt: Option<String>,
}

/// A request for one picture, or for several that differ in their noise and their prompts. Fields left out take the pack's recommendation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Request {
    /// What to paint.
    pub prompt: String,
    /// What to keep out of the picture; used only with guidance above 1, unless the pack has a
    /// [`negative_phrase`](crate::pack::Manifest::negative_phrase). Absent and empty differ for SDXL, see
    /// [`crate::conditioning::Negative`].
    pub negative: Option<String>,
    /// Seed of the noise, the same numbers as `torch.Generator("cpu").manual_seed(seed)`.
    pub seed: u64,
    /// Denoising steps, 1 to [`MAX_STEPS`].
    pub steps: Option<u32>,
    /// Classifier-free guidance scale, 0 to [`MAX_GUIDANCE`]; at 1 or below one forward pass a step is enough.
    pub guidance: Option<f64>,
    /// Picture width in pixels, a multiple of the autoencoder's scale, at most [`MAX_SIDE_PX`].
    pub width: Option<u32>,
    /// Picture height in pixels, a multiple of the autoencoder's scale, at most [`MAX_SIDE_PX`].
    pub height: Option<u32>,
    /// Sampler name; the pack's own scheduler where absent.
    pub sampler: Option<String>,
    /// How `prompt` and `negative` are read.
    pub prompt_syntax: PromptSyntax,
    /// Whether the finished picture goes through the pack's upscaler, and so becomes larger than `width` x `height`.
    pub upscale: bool,
    /// What to start from instead of noise alone.
    #[serde(skip)]
    pub start: Option<StartPicture>,
    /// How much of the schedule is run from the start picture, 0 to 1; [`DEFAULT_STRENGTH`] where absent. At least one
    /// step is run.
    pub strength: Option<f64>,
    /// Whether opposite edges of the picture fit together.
    pub tiling: bool,
    /// Noise on the way to another seed's.
    pub variation: Option<Variation>,
    /// Where several pictures are painted at once, what each has instead of `seed`, `variation` and, if it says one,
    /// `prompt`; at most [`MAX_BATCH`].
    pub batch: Vec<BatchPicture>,
}

/// What a pack recommends and requires of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestLimits {
    /// Steps used where the caller names none.
    pub steps: u32,
    /// Guidance used where the caller names none.
    pub guidance: f64,
    /// Width used where the caller names none, in pixels.
    pub width_px: u32,
    /// Height used where the caller names none, in pixels.
    pub height_px: u32,
    /// Pixels per latent along one side; sizes must be multiples of it.
    pub scale_px: u32,
}

/// A request with every value decided: what the picture's metadata records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveRequest {
    /// What to paint.
    pub prompt: String,
    /// What to keep out of the picture, where that was said.
    pub negative: Option<String>,
    /// Seed of the noise.
    pub seed: u64,
    /// Denoising steps.
    pub steps: u32,
    /// Classifier-free guidance scale.
    pub guidance: f64,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
    /// Sampler name.
    pub sampler: Option<String>,
    /// How `prompt` and `negative` are read.
    #[serde(default)]
    pub prompt_syntax: PromptSyntax,
    /// Whether the picture was made larger by the pack's upscaler; `width` and `height` are those before.
    #[serde(default)]
    pub upscale: bool,
    /// How much of the schedule was run from a start picture, where there was one.
    #[serde(default)]
    pub strength: Option<f64>,
    /// Whether a mask said which part of the start picture to paint anew.
    #[serde(default)]
    pub masked: bool,
    /// Whether opposite edges of the picture fit together.
    #[serde(default)]
    pub tiling: bool,
    /// The other seed that the noise went towards.
    #[serde(default)]
    pub variation: Option<Variation>,
    /// What of `prompt` and `negative` the text encoder has no room for; mostly nothing.
    #[serde(default)]
    pub truncated: Vec<Truncated>,
}

impl EffectiveRequest {
    /// What convolutions find beyond the picture's edges.
    pub fn border(&self) -> Border {
        if self.tiling { Border::Circular } else { Border::Zeros }
    }

    /// Which noise the picture begins with.
    pub fn noise(&self) -> Noise {
        Noise { seed: self.seed, variation: self.variation }
    }

    /// The same request for another picture of its batch; what of its words finds no room is not known yet.
    pub fn of_picture(&self, picture: &BatchPicture) -> Self {
        let BatchPicture { seed, variation, ref prompt } = *picture;
        let prompt = prompt.clone().unwrap_or_else(|| self.prompt.clone());
        Self { seed, variation, prompt, truncated: Vec::new(), ..self.clone() }
    }
}

impl Request {
    /// What each picture asked for has for itself; one or more.
    fn pictures(&self) -> Vec<BatchPicture> {
        match self.batch.is_empty() {
            true => vec![BatchPicture { seed: self.seed, variation: self.variation, prompt: None }],
            false => self.batch.clone(),
        }
    }

    /// Fills in what the caller left out and checks the rest. Of a batch, gives its first picture's.
    ///
    /// # Errors
    /// [`Error::Request`] naming the field and the allowed range.
    pub fn resolve(&self, limits: &RequestLimits) -> Result<EffectiveRequest> {
        self.resolve_batch(limits).map(|mut pictures| pictures.swap_remove(0))
    }

    /// As [`Request::resolve`], of each picture: one or more.
    ///
    /// # Errors
    /// As [`Request::resolve`].
    pub fn resolve_batch(&self, limits: &RequestLimits) -> Result<Vec<EffectiveRequest>> {
        let pictures = self.pictures();
        let negative = self.negative.as_ref().map(|negative| ("negative", negative));
        let prompts =
            pictures.iter().filter_map(|picture| picture.prompt.as_ref()).map(|prompt| ("batch.prompt", prompt));
        for (field, text) in negative.into_iter().chain([("prompt", &self.prompt)]).chain(prompts) {
            check_prompt(field, text)?;
        }
        let steps = self.steps.unwrap_or(limits.steps);
        if !(1..=MAX_STEPS).contains(&steps) {
            return Err(Error::request("steps", format!("{steps} is outside 1 to {MAX_STEPS}")));
        }
        let guidance = self.guidance.unwrap_or(limits.guidance);
        if !(0.0..=MAX_GUIDANCE).contains(&guidance) {
            return Err(Error::request("guidance", format!("{guidance} is outside 0 to {MAX_GUIDANCE}")));
        }
        if pictures.len() > MAX_BATCH {
            return Err(Error::request("batch", format!("{} are too many, {MAX_BATCH} are the most", pictures.len())));
        }
        for variation in pictures.iter().filter_map(|picture| picture.variation) {
            check_fraction("variation.strength", variation.strength)?;
        }
        let request = EffectiveRequest {
            prompt: self.prompt.clone(),
            negative: self.negative.clone(),
            seed: self.seed,
            steps,
            guidance,
            width: side("width", self.width.unwrap_or(limits.width_px), limits.scale_px)?,
            height: side("height", self.height.unwrap_or(limits.height_px), limits.scale_px)?,
            sampler: self.sampler.clone(),
            prompt_syntax: self.prompt_syntax,
            upscale: self.upscale,
            strength: self.strength()?,
            masked: self.start.as_ref().is_some_and(|start| start.mask.is_some()),
            tiling: self.tiling,
            variation: self.variation,
            truncated: Vec::new(),
        };
        Ok(pictures.iter().map(|picture| request.of_picture(picture)).collect())
    }

    fn strength(&self) -> Result<Option<f64>> {
        let strength = match (&self.start, self.strength) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(Error::request("strength", "needs an `image` to start from")),
            (Some(_), strength) => strength.unwrap_or(DEFAULT_STRENGTH),
        };
        check_fraction("strength", strength)?;
        Ok(Some(strength))
    }
}

/// Refuses what is outside 0 to 1.
pub(crate) fn check_fraction(field: &str, value: f64) -> Result<()> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(Error::request(field, format!("{value} is outside 0 to 1"))),
    }
}

/// Refuses a text that is longer than any tokenizer should be given.
pub(crate) fn check_prompt(field: &str, text: &str) -> Result<()> {
    match text.len() > MAX_PROMPT_BYTES {
        true => {
            Err(Error::request(field, format!("{} bytes long, at most {MAX_PROMPT_BYTES} are allowed", text.len())))
        }
        false => Ok(()),
    }
}

fn side(field: &str, px: u32, scale_px: u32) -> Result<u32> {
    if px == 0 || px > MAX_SIDE_PX || !px.is_multiple_of(scale_px) {
        return Err(Error::request(
            field,
            format!("{px} is not a multiple of {scale_px} between {scale_px} and {MAX_SIDE_PX}"),
        ));
    }
    Ok(px)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits =
        RequestLimits { steps: 12, guidance: 3.0, width_px: 128, height_px: 128, scale_px: 16 };

    #[test]
    fn fills_in_the_packs_recommendation() {
        let request = Request { prompt: "a strawberry".into(), seed: 7, ..Request::default() };
        let effective = request.resolve(&LIMITS).unwrap();
        assert_eq!((effective.steps, effective.guidance, effective.width, effective.seed), (12, 3.0, 128, 7));
        assert_eq!((effective.strength, effective.masked), (None, false));
        let image = Picture { width: 1, height: 1, rgb: vec![0; 3] };
        let start = Some(StartPicture { mask: Some(image.clone()), image });
        let effective = Request { start, ..request }.resolve(&LIMITS).unwrap();
        assert_eq!((effective.strength, effective.masked), (Some(DEFAULT_STRENGTH), true));
    }

    #[test]
    fn the_pictures_of_a_batch_have_their_own_words_where_they_say_some() {
        let variation = Some(Variation { seed: 9, strength: 0.5 });
        let batch = vec![
            BatchPicture { seed: 1, variation, prompt: None },
            BatchPicture { seed: 2, variation: None, prompt: Some("a cat".into()) },
        ];
        let request = Request { prompt: "a dog".into(), seed: 7, batch, ..Request::default() };
        let resolved = request.resolve_batch(&LIMITS).unwrap();
        let told = resolved.iter().map(|picture| (picture.prompt.as_str(), picture.seed, picture.variation));
        assert_eq!(told.collect::<Vec<_>>(), [("a dog", 1, variation), ("a cat", 2, None)]);
    }

    #[test]
    fn settings_from_before_start_pictures_are_read() {
        let old =
            r#"{"prompt":"p","negative":null,"seed":1,"steps":2,"guidance":1.0,"width":8,"height":8,"sampler":null}"#;
        let request: EffectiveRequest = serde_json::from_str(old).unwrap();
        assert_eq!((request.strength, request.masked, request.tiling, request.variation), (None, false, false, None));
    }

    #[test]
    fn names_the_field_out_of_range() {
        let start = Some(StartPicture { image: Picture { width: 1, height: 1, rgb: vec![0; 3] }, mask: None });
        let cases = [
            (Request { steps: Some(0), ..Request::default() }, "steps"),
            (Request { steps: Some(151), ..Request::default() }, "steps"),
            (Request { guidance: Some(f64::NAN), ..Request::default() }, "guidance"),
            (Request { guidance: Some(-1.0), ..Request::default() }, "guidance"),
            (Request { width: Some(130), ..Request::default() }, "width"),
            (Request { height: Some(4096), ..Request::default() }, "height"),
            (Request { prompt: "x".repeat(MAX_PROMPT_BYTES + 1), ..Request::default() }, "prompt"),
            (Request { strength: Some(0.5), ..Request::default() }, "strength"),
            (Request { start: start.clone(), strength: Some(1.1), ..Request::default() }, "strength"),
            (Request { start: start.clone(), strength: Some(f64::NAN), ..Request::default() }, "strength"),
            (
                Request { variation: Some(Variation { seed: 1, strength: -0.1 }), ..Request::default() },
                "variation.strength",
            ),
            (
                Request {
                    batch: vec![BatchPicture {
                        variation: Some(Variation { seed: 1, strength: 2.0 }),
                        ..BatchPicture::default()
                    }],
                    ..Request::default()
                },
                "variation.strength",
            ),
            (
                Request {
                    batch: vec![BatchPicture {
                        prompt: Some("x".repeat(MAX_PROMPT_BYTES + 1)),
                        ..BatchPicture::default()
                    }],
                    ..Request::default()
                },
                "batch.prompt",
            ),
            (Request { batch: vec![BatchPicture::default(); MAX_BATCH + 1], ..Request::default() }, "batch"),
        ];
        for (request, expected) in cases {
            match request.resolve(&LIMITS) {
                Err(Error::Request { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}
