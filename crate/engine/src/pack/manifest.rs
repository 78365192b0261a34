//! `manifest.json`: what a pack holds. Untrusted input: [`Manifest::parse`] checks every name and number, by the rules in `rules`.

mod rules;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::sampler::SchedulerConfig;
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
/// Longest phrase accepted that says what is to be left out, in bytes.
pub const MAX_PHRASE_BYTES: usize = 64;

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
