//! The rules of a manifest that its types alone do not express.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Component, FORMAT, MAX_COMPONENTS, MAX_NAME_BYTES, MAX_PACK_BYTES, MAX_PHRASE_BYTES, MAX_PIECE_BYTES, MAX_PIECES,
    Manifest, REQUIRED_COMPONENTS, Recommended, is_sha256, printable, unknown_format,
};
use crate::request::{MAX_GUIDANCE, MAX_SIDE_PX, MAX_STEPS};
use crate::scorer::ClipVisionConfig;
use crate::upscaler::{self, UpscalerConfig};
use crate::{Error, Result};

const MAX_TEXT_BYTES: usize = 16 << 10;
const MAX_EXAMPLES: usize = 64;
const MAX_EXAMPLE_BYTES: usize = 1024;
const MAX_CONFIG_DEPTH: usize = 16;
const MAX_CONFIG_NUMBER: f64 = 1e9;
const MAX_TRAINING_STEPS: u64 = 100_000;

impl Manifest {
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
