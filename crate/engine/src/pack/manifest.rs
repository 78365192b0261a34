//! `manifest.json`: what a pack holds. Untrusted input: [`Manifest::parse`] checks every name and number.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::request::{MAX_GUIDANCE, MAX_SIDE_PX, MAX_STEPS};
use crate::sampler::SchedulerConfig;
use crate::scorer::ClipVisionConfig;
use crate::upscaler::{self, UpscalerConfig};
use crate::{Error, Result};

/// The format version that this engine writes and reads.
pub const FORMAT: u32 = 1;
/// Longest manifest accepted, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// Largest piece accepted, in bytes.
pub const MAX_PIECE_BYTES: u64 = 64 << 20;
/// Most pieces accepted in one component.
pub const MAX_PIECES: usize = 4096;
/// Largest pack accepted, in bytes.
pub const MAX_PACK_BYTES: u64 = 32 << 30;
/// Most components accepted.
pub const MAX_COMPONENTS: usize = 16;
/// Components that no pipeline can do without.
pub const REQUIRED_COMPONENTS: [&str; 4] = ["text_encoder", "tokenizer", "unet", "vae_decoder"];

/// Longest model name accepted, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
const MAX_TEXT_BYTES: usize = 16 << 10;
const MAX_EXAMPLES: usize = 64;
const MAX_EXAMPLE_BYTES: usize = 1024;
/// Longest phrase accepted that says what is to be left out, in bytes.
pub const MAX_PHRASE_BYTES: usize = 64;
const MAX_CONFIG_DEPTH: usize = 16;
const MAX_CONFIG_NUMBER: f64 = 1e9;
const MAX_TRAINING_STEPS: u64 = 100_000;

/// What a pack holds, and what its publisher recommends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version; [`FORMAT`] is the only one there is.
    pub format: u32,
    /// The model's name, for people.
    pub name: String,
    /// The weights' licence, as SPDX where there is an identifier.
    pub license: String,
    /// What the licence forbids, for people; empty where it forbids nothing.
    #[serde(default)]
    pub license_restrictions: String,
    /// Where the weights come from.
    #[serde(default)]
    pub source: String,
    /// diffusers' pipeline class.
    pub pipeline: String,
    /// Components by name: `text_encoder`, `tokenizer`, `unet`, `vae_decoder` and, optional, others.
    #[serde(deserialize_with = "unique_map")]
    pub components: BTreeMap<String, Component>,
    /// `scheduler_config.json`, verbatim.
    pub scheduler: Value,
    /// What a request gets where it names nothing else.
    pub recommended: Recommended,
    /// Prompts to try.
    #[serde(default)]
    pub examples: Examples,
    /// Where the model understands a spoken negation: what stands between a prompt and the words to leave out, which are
    /// then said in the prompt, whatever the guidance. 1 to [`MAX_PHRASE_BYTES`] bytes, such as ` without `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_phrase: Option<String>,
    /// Sum of all components' bytes.
    pub total_bytes: u64,
}

/// One component: a safetensors file cut into pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// The component's diffusers configuration, verbatim.
    pub config: Value,
    /// The file's pieces in order.
    pub pieces: Vec<Piece>,
    /// The file's length: the sum of the pieces'.
    pub bytes: u64,
    /// Whether pictures can be painted without it; such components are not downloaded with the pack.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// One piece, kept in the file `<sha256>.bin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// SHA-256 of the bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Length, 1 to [`MAX_PIECE_BYTES`].
    pub bytes: u64,
}

/// The publisher's recommended settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recommended {
    /// Denoising steps.
    pub steps: u32,
    /// Classifier-free guidance scale.
    pub guidance: f64,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
    /// Whether finished pictures should go through the pack's upscaler, which then comes with the pack.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upscale: bool,
}

/// Prompts to try, by language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Examples {
    /// In English.
    pub en: Vec<String>,
    /// In Chinese.
    pub zh: Vec<String>,
}

impl Manifest {
    /// Reads and checks a manifest. Fields that format 1 does not know are ignored.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the first field that breaks a rule.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(Error::manifest(
                "manifest.json",
                format!("is {} bytes long, at most {MAX_MANIFEST_BYTES} are allowed", bytes.len()),
            ));
        }
        check_format(bytes)?;
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let manifest: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { "manifest.json".to_owned() } else { printable(&path) };
            Error::manifest(field, error.into_inner().to_string())
        })?;
        json.end().map_err(|error| Error::manifest("manifest.json", error.to_string()))?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// A component's configuration, read as the type that the module is built from.
    ///
    /// # Errors
    /// [`Error::Manifest`] where there is no such component, or its configuration is of another kind.
    pub fn config<T: DeserializeOwned>(&self, component: &str) -> Result<T> {
        from_json(&format!("components.{component}.config"), &self.component(component)?.config)
    }

    /// The scheduler's configuration as diffusers' pipeline of this class uses it.
    ///
    /// # Errors
    /// [`Error::Manifest`] where it is no object.
    pub fn scheduler_config(&self) -> Result<SchedulerConfig> {
        let config: SchedulerConfig = from_json("scheduler", &self.scheduler)?;
        Ok(if self.pipeline == "StableDiffusionPipeline" { config.brought_up_to_date() } else { config })
    }

    /// Checks every rule that the types alone do not express.
    ///
    /// # Errors
    /// [`Error::Manifest`] naming the first field that breaks a rule.
    pub fn validate(&self) -> Result<()> {
        if self.format != FORMAT {
            return Err(unknown_format(self.format.into()));
        }
        check_text("name", &self.name, 1, MAX_NAME_BYTES)?;
        if self.name.chars().any(char::is_control) {
            return Err(Error::manifest("name", "holds control characters"));
        }
        check_text("license", &self.license, 1, MAX_NAME_BYTES)?;
        check_text("license_restrictions", &self.license_restrictions, 0, MAX_TEXT_BYTES)?;
        check_text("source", &self.source, 0, MAX_TEXT_BYTES)?;
        check_text("pipeline", &self.pipeline, 1, MAX_NAME_BYTES)?;
        if !self.pipeline.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Error::manifest("pipeline", "is not a class name"));
        }
        check_config("scheduler", &self.scheduler, false)?;
        check_training_steps(&self.scheduler)?;
        self.recommended.validate()?;
        check_examples("examples.en", &self.examples.en)?;
        check_examples("examples.zh", &self.examples.zh)?;
        self.negative_phrase.as_deref().map_or(Ok(()), check_phrase)?;
        self.validate_components()?;
        self.validate_optional()
    }

    /// What a pack may bring besides what paints.
    fn validate_optional(&self) -> Result<()> {
        UpscalerConfig::of(self)?;
        ClipVisionConfig::of(self)?;
        match self.components.get(upscaler::COMPONENT) {
            None if self.recommended.upscale => {
                Err(Error::manifest("recommended.upscale", "is true where the pack has no upscaler"))
            }
            Some(component) if self.recommended.upscale && component.optional => {
                Err(Error::manifest("components.upscaler.optional", "is true where `recommended.upscale` asks for it"))
            }
            _ => Ok(()),
        }
    }

    fn validate_components(&self) -> Result<()> {
        if self.components.len() > MAX_COMPONENTS {
            return Err(Error::manifest("components", format!("are more than {MAX_COMPONENTS}")));
        }
        if let Some(name) = REQUIRED_COMPONENTS.iter().find(|name| !self.components.contains_key(**name)) {
            return Err(Error::manifest(format!("components.{name}"), "is missing"));
        }
        let mut total_bytes = 0u64;
        let mut bytes_of = BTreeMap::new();
        for (name, component) in &self.components {
            let field = format!("components.{name}");
            check_component_name(&field, name)?;
            component.validate(&field, name)?;
            for (index, piece) in component.pieces.iter().enumerate() {
                if *bytes_of.entry(piece.sha256.as_str()).or_insert(piece.bytes) != piece.bytes {
                    return Err(Error::manifest(
                        format!("{field}.pieces[{index}].bytes"),
                        "differs from another piece with the same hash",
                    ));
                }
            }
            total_bytes += component.bytes; // at most 16 components of at most 2^38 bytes
        }
        if total_bytes > MAX_PACK_BYTES {
            return Err(Error::manifest(
                "total_bytes",
                format!("the components hold {total_bytes}, at most {MAX_PACK_BYTES} are allowed"),
            ));
        }
        if total_bytes != self.total_bytes {
            return Err(Error::manifest(
                "total_bytes",
                format!("is {} where the components hold {total_bytes}", self.total_bytes),
            ));
        }
        Ok(())
    }

    /// The component of that name.
    ///
    /// # Errors
    /// [`Error::Manifest`] where the pack has none.
    pub fn component(&self, name: &str) -> Result<&Component> {
        self.components.get(name).ok_or_else(|| Error::manifest(format!("components.{name}"), "is missing"))
    }

    /// The pieces that painting needs, in loading order, each once even where components share it.
    pub fn required_pieces(&self) -> Vec<&Piece> {
        let mut seen = std::collections::BTreeSet::new();
        self.components
            .values()
            .filter(|component| !component.optional)
            .flat_map(|component| &component.pieces)
            .filter(|piece| seen.insert(piece.sha256.as_str()))
            .collect()
    }

    /// The manifest as the bytes of `manifest.json`: the same for the same contents.
    ///
    /// # Errors
    /// [`Error::Manifest`] where it breaks a rule, so that nothing unreadable is written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.validate()?;
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|error| Error::manifest("manifest.json", error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl Component {
    fn validate(&self, field: &str, name: &str) -> Result<()> {
        // A tokenizer's `model_max_length` may be transformers' "no limit", 1e30; nothing is sized by it.
        check_config(&format!("{field}.config"), &self.config, name.starts_with("tokenizer"))?;
        if self.pieces.is_empty() || self.pieces.len() > MAX_PIECES {
            return Err(Error::manifest(
                format!("{field}.pieces"),
                format!("holds {} pieces, 1 to {MAX_PIECES} are allowed", self.pieces.len()),
            ));
        }
        for (index, piece) in self.pieces.iter().enumerate() {
            if !is_sha256(&piece.sha256) {
                return Err(Error::manifest(
                    format!("{field}.pieces[{index}].sha256"),
                    "is not 64 lower-case hexadecimal digits",
                ));
            }
            if piece.bytes == 0 || piece.bytes > MAX_PIECE_BYTES {
                return Err(Error::manifest(
                    format!("{field}.pieces[{index}].bytes"),
                    format!("{} is outside 1 to {MAX_PIECE_BYTES}", piece.bytes),
                ));
            }
        }
        let sum: u64 = self.pieces.iter().map(|piece| piece.bytes).sum();
        if sum != self.bytes {
            return Err(Error::manifest(
                format!("{field}.bytes"),
                format!("is {} where the pieces hold {sum}", self.bytes),
            ));
        }
        Ok(())
    }
}

impl Recommended {
    fn validate(&self) -> Result<()> {
        if !(1..=MAX_STEPS).contains(&self.steps) {
            return Err(Error::manifest("recommended.steps", format!("{} is outside 1 to {MAX_STEPS}", self.steps)));
        }
        if !(0.0..=MAX_GUIDANCE).contains(&self.guidance) {
            return Err(Error::manifest(
                "recommended.guidance",
                format!("{} is outside 0 to {MAX_GUIDANCE}", self.guidance),
            ));
        }
        for (field, side_px) in [("recommended.width", self.width), ("recommended.height", self.height)] {
            if side_px == 0 || side_px > MAX_SIDE_PX {
                return Err(Error::manifest(field, format!("{side_px} is outside 1 to {MAX_SIDE_PX}")));
            }
        }
        Ok(())
    }
}

/// Whether a piece's name is 64 lower-case hexadecimal digits.
pub fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Refuses another format before the rest is read: another format may look quite different.
fn check_format(bytes: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::manifest("manifest.json", "is not a JSON object"));
    }
    match serde_json::from_slice::<Format>(bytes) {
        Ok(Format { format }) if format == u64::from(FORMAT) => Ok(()),
        Ok(Format { format }) => Err(unknown_format(format)),
        Err(error) if error.is_data() => Err(Error::manifest("format", error.to_string())),
        Err(error) => Err(Error::manifest("manifest.json", error.to_string())),
    }
}

fn from_json<T: DeserializeOwned>(field: &str, value: &Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|error| Error::manifest(field, error.to_string()))
}

fn unknown_format(format: u64) -> Error {
    Error::manifest("format", format!("{format} is not known, this engine reads format {FORMAT}"))
}

fn check_component_name(field: &str, name: &str) -> Result<()> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !plain || !name.starts_with(|first: char| first.is_ascii_lowercase()) || name.len() > 32 {
        return Err(Error::manifest(
            printable(field),
            "is not a component name: a lower-case letter, then at most 31 of a-z, 0-9 and _",
        ));
    }
    Ok(())
}

fn check_text(field: &str, text: &str, least: usize, most: usize) -> Result<()> {
    if text.len() < least || text.len() > most {
        return Err(Error::manifest(field, format!("is {} bytes long, {least} to {most} are allowed", text.len())));
    }
    Ok(())
}

fn check_examples(field: &str, prompts: &[String]) -> Result<()> {
    if prompts.len() > MAX_EXAMPLES {
        return Err(Error::manifest(field, format!("holds {} prompts, at most {MAX_EXAMPLES}", prompts.len())));
    }
    prompts
        .iter()
        .enumerate()
        .try_for_each(|(index, prompt)| check_text(&format!("{field}[{index}]"), prompt, 1, MAX_EXAMPLE_BYTES))
}

fn check_phrase(phrase: &str) -> Result<()> {
    let field = "negative_phrase";
    check_text(field, phrase, 1, MAX_PHRASE_BYTES)?;
    if phrase.chars().any(char::is_control) {
        return Err(Error::manifest(field, "holds control characters"));
    }
    match phrase.trim().is_empty() {
        true => Err(Error::manifest(field, "says nothing")),
        false => Ok(()),
    }
}

/// A configuration is an object of bounded depth whose numbers a model's sizes can be computed from without overflow.
fn check_config(field: &str, config: &Value, any_number: bool) -> Result<()> {
    if !config.is_object() {
        return Err(Error::manifest(field, "is not an object"));
    }
    check_value(config, MAX_CONFIG_DEPTH, any_number)
        .map_err(|(path, reason)| Error::manifest(format!("{field}{path}"), reason))
}

/// Returns the offending value's path below `value`, written only once there is one, and the rule it breaks.
fn check_value(value: &Value, depth: usize, any_number: bool) -> Result<(), (String, String)> {
    if depth == 0 {
        return Err((String::new(), format!("is nested deeper than {MAX_CONFIG_DEPTH}")));
    }
    match value {
        Value::Number(number) => {
            let size = number.as_f64().map_or(f64::INFINITY, f64::abs);
            if size > MAX_CONFIG_NUMBER && !any_number {
                return Err((String::new(), format!("{number} is beyond {MAX_CONFIG_NUMBER}")));
            }
            Ok(())
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            check_value(item, depth - 1, any_number).map_err(|(path, reason)| (format!("[{index}]{path}"), reason))
        }),
        Value::Object(fields) => fields.iter().try_for_each(|(name, item)| {
            let below = |(path, reason)| (format!(".{}{path}", printable(name)), reason);
            check_value(item, depth - 1, any_number).map_err(below)
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// A sampler makes tables of this length before anything else is known.
fn check_training_steps(scheduler: &Value) -> Result<()> {
    match scheduler.get("num_train_timesteps") {
        None => Ok(()),
        Some(steps) if steps.as_u64().is_some_and(|steps| (1..=MAX_TRAINING_STEPS).contains(&steps)) => Ok(()),
        Some(_) => Err(Error::manifest(
            "scheduler.num_train_timesteps",
            format!("is not a whole number from 1 to {MAX_TRAINING_STEPS}"),
        )),
    }
}

/// A foreign name, fit to stand in a message.
fn printable(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(80).collect()
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A map whose keys must differ; serde's own keeps the last of two equal ones without a word.
fn unique_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Component>, D::Error> {
    struct UniqueMap;

    impl<'de> Visitor<'de> for UniqueMap {
        type Value = BTreeMap<String, Component>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("an object of components")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((name, component)) = access.next_entry::<String, Component>()? {
                match map.entry(name) {
                    Entry::Vacant(entry) => entry.insert(component),
                    Entry::Occupied(entry) => {
                        return Err(A::Error::custom(format!("component `{}` appears twice", entry.key())));
                    }
                };
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(UniqueMap)
}
