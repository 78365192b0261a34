//! `scheduler_config.json`: the fields of any diffusers scheduler, bounded as they are read.

use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Most training timesteps accepted; every known model has 1000.
const MAX_TRAIN_TIMESTEPS: usize = 10_000;

/// A scheduler's configuration, verbatim.
///
/// Which fields count and what their defaults are depends on the class that is built from it, as with
/// `Scheduler.from_config` in diffusers. A field that is null, or named in `_use_default_values`, counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchedulerConfig(Map<String, Value>);

impl SchedulerConfig {
    /// The diffusers class that wrote the file.
    pub fn class_name(&self) -> Option<&str> {
        self.0.get("_class_name").and_then(Value::as_str)
    }

    /// Length of the training schedule.
    pub(super) fn num_train_timesteps(&self) -> Result<usize> {
        self.integer("num_train_timesteps", 1000, 1..=MAX_TRAIN_TIMESTEPS)
    }

    /// This configuration with a field set, as a keyword argument of `from_config` sets it.
    pub(super) fn with(&self, field: &str, value: Value) -> Self {
        let mut fields = self.0.clone();
        if let Some(defaulted) = fields.get_mut("_use_default_values").and_then(Value::as_array_mut) {
            defaulted.retain(|name| name != field);
        }
        fields.insert(field.to_owned(), value);
        Self(fields)
    }

    /// With what `StableDiffusionPipeline` overrides in schedulers from before these fields were agreed on.
    ///
    /// Source: diffusers 0.42.1 `StableDiffusionPipeline.__init__`.
    pub fn brought_up_to_date(&self) -> Self {
        let config = self.with("steps_offset", 1.into());
        let knows_clipping = self.0.contains_key("clip_sample") || self.class_name() == Some("DDIMScheduler");
        if knows_clipping { config.with("clip_sample", false.into()) } else { config }
    }

    fn get(&self, field: &str) -> Option<&Value> {
        let defaulted = self.0.get("_use_default_values").and_then(Value::as_array);
        if defaulted.is_some_and(|fields| fields.iter().any(|name| name == field)) {
            return None;
        }
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn integer(&self, field: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize> {
        let Some(value) = self.get(field) else { return Ok(default) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            invalid(field, format!("{value} is not a whole number from {} to {}", range.start(), range.end()))
        })
    }

    pub(super) fn number(&self, field: &str, default: f64, range: RangeInclusive<f64>) -> Result<f64> {
        Ok(self.optional_number(field, range)?.unwrap_or(default))
    }

    pub(super) fn optional_number(&self, field: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = value.as_f64().filter(|number| range.contains(number));
        let reason = || format!("{value} is not a number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| invalid(field, reason()))
    }

    /// A list of `len` numbers.
    pub(super) fn optional_numbers(
        &self,
        field: &str,
        len: usize,
        range: RangeInclusive<f64>,
    ) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let numbers: Option<Vec<f64>> = value
            .as_array()
            .filter(|list| list.len() == len)
            .and_then(|list| list.iter().map(|item| item.as_f64().filter(|number| range.contains(number))).collect());
        let reason = || format!("not a list of {len} numbers from {} to {}", range.start(), range.end());
        numbers.map(Some).ok_or_else(|| invalid(field, reason()))
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| invalid(field, format!("{value} is not true or false")))
    }

    pub(super) fn choice<T: Copy>(&self, field: &str, default: &str, choices: &[(&str, T)]) -> Result<T> {
        let default = Value::from(default);
        let value = self.get(field).unwrap_or(&default);
        let found = choices.iter().find(|(name, _)| value.as_str() == Some(name));
        found.map(|&(_, choice)| choice).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
            invalid(field, format!("{value} is not one of {}", names.join(", ")))
        })
    }

    /// Refuses a configuration that switches `field` on.
    pub(super) fn unsupported(&self, field: &str, reason: &str) -> Result<()> {
        match self.flag(field, false)? {
            true => Err(invalid(field, reason)),
            false => Ok(()),
        }
    }

    /// Refuses a configuration that sets `field` at all.
    pub(super) fn refuse(&self, field: &str, reason: &str) -> Result<()> {
        match self.get(field) {
            Some(_) => Err(invalid(field, reason)),
            None => Ok(()),
        }
    }
}

/// An error about a field of this file.
pub(super) fn invalid(field: &str, reason: impl Into<String>) -> Error {
    Error::manifest(format!("scheduler.{field}"), reason)
}
