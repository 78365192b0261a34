//! The converter: a checkpoint that the visitor has becomes a pack in this browser.

use fraise_engine::convert::{
    ByteSource, CheckpointInfo, ConvertOptions, ConvertProgress, Family, Inputs, Prediction, Publication, Vocabulary,
    convert_checkpoint, inspect_checkpoint,
};
use fraise_engine::pack::Manifest;
use fraise_engine::pack::layout::Quantization;
use fraise_engine::pack::writer::PackOptions;
use fraise_engine::store::{Completion, Digest, hex};
use fraise_engine::weights::Scheme;
use fraise_engine::{Error, Result};
use js_sys::{Function, Reflect, Uint8Array};
use serde::Serialize;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::FraiseEngine;
use crate::cancel::until_aborted;
use crate::checkpoint::Checkpoint;
use crate::error::{failure, serialize, serialize_or_throw, set, to_js};
use crate::library::{Journal, JournalSink, local_address};
use crate::report::PackInfo;

/// Length of a piece: what `fraise pack` cuts too, so that both make the same packs.
const PIECE_BYTES: u64 = 16 << 20;
/// Longest name of a model.
const MAX_NAME_BYTES: usize = 128;
/// The ways of storing weights, by name.
const QUANTS: [&str; 4] = ["mixed", "f16", "q8", "q4"];

/// What a checkpoint is and what converting it takes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    family: &'static str,
    prediction: Prediction,
    checkpoint_bytes: u64,
    available_bytes: Option<u64>,
    unfinished: Vec<Unfinished>,
}

/// A conversion of the same checkpoint that can go on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unfinished {
    address: String,
    name: String,
    quant: String,
    done_bytes: u64,
}

/// A finished conversion.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Converted<'a> {
    address: &'a str,
    pieces_made: u32,
    #[serde(flatten)]
    pack: PackInfo<'a>,
}

#[wasm_bindgen]
impl FraiseEngine {
    /// Looks into a checkpoint, a `File` or an absolute URL, without converting it. `vocabulary`: CLIP's `merges.txt`.
    ///
    /// # Errors
    /// `Request` where it is none that can be converted, saying what to do instead; `Cancelled` once `signal` aborts.
    pub async fn inspect(
        &self,
        source: JsValue,
        vocabulary: Uint8Array,
        signal: AbortSignal,
    ) -> Result<JsValue, JsValue> {
        until_aborted(&signal, self.look(source, vocabulary)).await.map_err(|error| to_js(&error))
    }

    /// Converts a checkpoint into a pack in this browser's store. `options`: `{name, quant, prediction?,
    /// vocabulary}`.
    ///
    /// `on_progress("convert", doneBytes, totalBytes)` counts the checkpoint's bytes.
    ///
    /// # Errors
    /// As [`FraiseEngine::inspect`]; `Quota` before anything is written. What was made is kept for the next attempt
    /// where the caller cancelled or the network failed, and removed where anything else went wrong.
    pub async fn convert(
        &self,
        source: JsValue,
        options: JsValue,
        on_progress: Function,
        signal: AbortSignal,
    ) -> Result<JsValue, JsValue> {
        let options = ConversionOptions::from_js(&options).map_err(|error| to_js(&error))?;
        let address = local_address(&options.name);
        let converting = self.convert_source(source, &options, &address, on_progress);
        let (manifest, pieces_made) = until_aborted(&signal, converting).await.map_err(|error| to_js(&error))?;
        serialize_or_throw(&Converted { address: &address, pieces_made, pack: PackInfo::of(&manifest) })
    }

    /// The packs and unfinished conversions in this browser's store.
    ///
    /// # Errors
    /// `Storage` where the store fails.
    pub async fn models(&self) -> Result<JsValue, JsValue> {
        serialize_or_throw(&self.store.models().await.map_err(|error| to_js(&error))?)
    }

    /// Removes a pack, or an unfinished conversion, from this browser's store.
    ///
    /// # Errors
    /// `Storage` where the store fails.
    pub async fn remove(&self, address: String) -> Result<(), JsValue> {
        self.store.forget(&address).await.map_err(|error| to_js(&error))
    }
}

/// What a conversion is asked for.
struct ConversionOptions {
    name: String,
    quant: String,
    prediction: Option<Prediction>,
    vocabulary: Vocabulary,
}

impl ConversionOptions {
    fn from_js(options: &JsValue) -> Result<Self> {
        let field = |name: &str| Reflect::get(options, &name.into()).unwrap_or(JsValue::UNDEFINED);
        let text = |name: &str| field(name).as_string().ok_or_else(|| Error::request(name, "it must be text"));
        let (name, quant) = (text("name")?, text("quant")?);
        // What the manifest allows; it is written last, when everything else is done.
        if name.trim().is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(Error::request(
                "name",
                format!("it must be 1 to {MAX_NAME_BYTES} bytes without control characters"),
            ));
        }
        let prediction = match field("prediction").as_string().as_deref() {
            None => None,
            Some("epsilon") => Some(Prediction::Epsilon),
            Some("v_prediction") => Some(Prediction::VPrediction),
            Some(other) => {
                return Err(Error::request("prediction", format!("`{other}` is not one of epsilon and v_prediction")));
            }
        };
        let vocabulary: Uint8Array =
            field("vocabulary").dyn_into().map_err(|_| Error::request("vocabulary", "it must be bytes"))?;
        Ok(Self { name, quant, prediction, vocabulary: Vocabulary::from_merges(&vocabulary.to_vec())? })
    }

    fn engine(&self) -> Result<ConvertOptions> {
        Ok(ConvertOptions { prediction: self.prediction, ..options_for(&self.quant, Some(self.name.clone()))? })
    }
}

impl FraiseEngine {
    async fn look(&self, source: JsValue, vocabulary: Uint8Array) -> Result<JsValue> {
        let vocabulary = Vocabulary::from_merges(&vocabulary.to_vec())?;
        let mut checkpoint = Checkpoint::open(&self.scope, source).await?;
        let pack_bytes = js_sys::Object::new();
        let mut first: Option<CheckpointInfo> = None;
        for quant in QUANTS {
            let options = options_for(quant, None)?;
            let info = inspect_checkpoint(Inputs::new(&mut checkpoint), &vocabulary, &options).await?;
            set(&pack_bytes, quant, &(info.pack_bytes as f64).into());
            first.get_or_insert(info);
        }
        let info = first.ok_or_else(|| Error::request("quant", "there is no way to store weights"))?;
        let source = self.identity(&mut checkpoint).await?;
        let journals = self.store.journals().await?.into_iter().filter(|(_, journal)| journal.source == source);
        let unfinished = journals.map(|(address, journal)| Unfinished {
            address,
            done_bytes: journal.done_bytes(),
            name: journal.name,
            quant: journal.quant,
        });
        let inspection = serialize(&Inspection {
            family: family_name(info.family),
            prediction: info.prediction,
            checkpoint_bytes: checkpoint.len_bytes(),
            available_bytes: self.store.available_bytes().await,
            unfinished: unfinished.collect(),
        });
        let inspection = inspection.map_err(|error| failure("passing a value to JavaScript", &error.into()))?;
        set(&inspection, "packBytes", &pack_bytes);
        Ok(inspection)
    }

    async fn convert_source(
        &self,
        source: JsValue,
        options: &ConversionOptions,
        address: &str,
        on_progress: Function,
    ) -> Result<(Manifest, u32)> {
        let engine_options = options.engine()?;
        let vocabulary = &options.vocabulary;
        let mut checkpoint = Checkpoint::open(&self.scope, source).await?;
        // Everything that headers tell is known before anything is written.
        let info = inspect_checkpoint(Inputs::new(&mut checkpoint), vocabulary, &engine_options).await?;
        let fresh = Journal {
            source: self.identity(&mut checkpoint).await?,
            name: options.name.clone(),
            quant: options.quant.clone(),
            pieces: Default::default(),
        };
        let mut sink = JournalSink::open(&self.store, address.to_owned(), fresh).await?;
        let needed_bytes = info.pack_bytes.saturating_sub(sink.kept_bytes());
        if let Some(available_bytes) = self.store.available_bytes().await.filter(|&available| available < needed_bytes)
        {
            return Err(Error::Quota { needed_bytes, available_bytes });
        }
        let mut report = |progress: ConvertProgress| {
            let (done, total) = (progress.done_bytes as f64, progress.total_bytes as f64);
            let _ = on_progress.call3(&JsValue::NULL, &"convert".into(), &done.into(), &total.into());
        };
        let inputs = Inputs::new(&mut checkpoint);
        let converted = async {
            let manifest = convert_checkpoint(inputs, vocabulary, &engine_options, &mut sink, &mut report).await?;
            let bytes = manifest.to_bytes()?;
            let manifest_sha256 = hex(&self.digest.sha256(&bytes).await?);
            let completion = Completion { manifest_sha256, manifest: bytes };
            self.store.finish_conversion(address, &manifest, completion).await?;
            Ok(manifest)
        };
        match converted.await {
            Ok(manifest) => Ok((manifest, sink.made())),
            Err(error) => {
                // The network may come back; anything else would go wrong again.
                if !matches!(error, Error::Network { .. }) {
                    self.store.forget_conversion(address).await?;
                }
                Err(error)
            }
        }
    }

    /// What an unfinished conversion must agree in to be gone on with: the checkpoint, and the program that made its
    /// pieces.
    async fn identity(&self, checkpoint: &mut Checkpoint) -> Result<String> {
        let fingerprint = checkpoint.fingerprint(&self.digest).await?;
        Ok(format!("{fingerprint} {}", env!("CARGO_PKG_VERSION")))
    }
}

/// A family as people call it.
fn family_name(family: Family) -> &'static str {
    match family {
        Family::Sd1 => "Stable Diffusion 1.x",
        Family::Sd2 => "Stable Diffusion 2.x",
        Family::Sdxl => "Stable Diffusion XL",
    }
}

fn options_for(quant: &str, name: Option<String>) -> Result<ConvertOptions> {
    let quantization = match quant {
        "mixed" => Quantization::Mixed,
        "q8" => Scheme::Q8.into(),
        "q4" => Scheme::Q4.into(),
        "f16" => Scheme::F16.into(),
        other => return Err(Error::request("quant", format!("`{other}` is not one of {}", QUANTS.join(", ")))),
    };
    Ok(ConvertOptions {
        pack: PackOptions { quantization, piece_bytes: PIECE_BYTES },
        prediction: None,
        publication: Publication { name, ..Publication::default() },
    })
}
