//! A diffusers folder as it is saved or downloaded: configurations, and weights in safetensors files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fraise_engine::convert::file::pickle;
use fraise_engine::convert::{Plan, SafetensorsFile, preview};
use fraise_engine::{Error, Result, scorer, upscaler};
use serde_json::Value;

use crate::disk::DiskFile;
use crate::folder::read_bounded;

/// Longest configuration or vocabulary file that is read, in bytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// The pipeline with two text encoders.
const XL: &str = "StableDiffusionXLPipeline";
const FORCE_ZEROS: &str = "force_zeros_for_empty_prompt";
/// Parts that a folder may have besides those that paint, where its index names them.
const OPTIONAL_PARTS: [&str; 2] = [upscaler::COMPONENT, scorer::COMPONENT];

/// A folder with `model_index.json`.
#[derive(Debug)]
pub struct DiffusersFolder {
    root: PathBuf,
    /// The pipeline's class, from `model_index.json`.
    pub pipeline: String,
    /// A setting of the pipeline that belongs to no part; packs keep it with the second text encoder.
    force_zeros: Option<Value>,
    /// What it has besides what paints.
    optional: Vec<&'static str>,
}

impl DiffusersFolder {
    /// Opens the folder at `root`.
    ///
    /// # Errors
    /// [`Error::Request`] where it is no diffusers folder, or one of a pipeline that cannot be packed.
    pub fn open(root: &Path) -> Result<Self> {
        let mut folder = Self::at(root);
        let Some(index) = folder.json("", "model_index.json")? else {
            refuse_pickles_in(root)?;
            let advice = "holds no model_index.json; give the folder of a diffusers pipeline, or one .safetensors file";
            return Err(Error::request("SRC", format!("{} {advice}", root.display())));
        };
        // diffusers writes [null, null] for a part that is left out.
        folder.optional.extend(OPTIONAL_PARTS.into_iter().filter(|part| index[part][1].is_string()));
        folder.force_zeros = index.get(FORCE_ZEROS).cloned();
        folder.pipeline = index["_class_name"].as_str().unwrap_or_default().to_owned();
        match folder.pipeline.as_str() {
            "StableDiffusionPipeline" | "LatentConsistencyModelPipeline" | XL => Ok(folder),
            other => Err(Error::request(
                "SRC",
                format!("pipelines of class `{other}` cannot be packed; StableDiffusionPipeline and {XL} can"),
            )),
        }
    }

    fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), pipeline: String::new(), force_zeros: None, optional: Vec::new() }
    }

    /// The folder's own name.
    pub fn name(&self) -> Option<String> {
        let path = fs::canonicalize(&self.root).ok()?;
        path.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// A JSON file of a subfolder, `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Request`] where it is no JSON.
    pub fn json(&self, folder: &str, file: &str) -> Result<Option<Value>> {
        let Some(bytes) = self.file(folder, file)? else { return Ok(None) };
        let path = self.root.join(folder).join(file);
        serde_json::from_slice(&without_infinities(bytes))
            .map(Some)
            .map_err(|error| Error::request("SRC", format!("{} is no JSON: {error}", path.display())))
    }

    /// A JSON file of a subfolder that has to be there.
    ///
    /// # Errors
    /// [`Error::Request`] where it is missing or no JSON.
    pub fn config(&self, folder: &str, file: &str) -> Result<Value> {
        let missing = || Error::request("SRC", format!("{} holds no {folder}/{file}", self.root.display()));
        self.json(folder, file)?.ok_or_else(missing)
    }

    /// A small file of a subfolder, `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Request`] where it is too large, [`Error::Storage`] where it cannot be read.
    pub fn file(&self, folder: &str, file: &str) -> Result<Option<Vec<u8>>> {
        let path = self.root.join(folder).join(file);
        let bytes = read_bounded(&path, MAX_TEXT_BYTES)?;
        if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 > MAX_TEXT_BYTES) {
            return Err(Error::request("SRC", format!("{} is beyond {MAX_TEXT_BYTES} bytes", path.display())));
        }
        Ok(bytes)
    }

    /// The pack that the folder becomes; opens its weight files behind those in `files`.
    ///
    /// # Errors
    /// [`Error::Request`] where a part is missing or holds only pickles; [`Error::Manifest`] where a file is damaged;
    /// [`Error::MissingTensor`] where an index names a tensor that no file holds.
    pub async fn plan(&self, files: &mut Vec<SafetensorsFile<DiskFile>>) -> Result<Plan> {
        let scheduler = self.config("scheduler", "scheduler_config.json")?;
        let mut plan = Plan { pipeline: self.pipeline.clone(), scheduler, components: Vec::new() };
        let is_xl = self.pipeline == XL;
        for part in if is_xl { &["tokenizer", "tokenizer_2"][..] } else { &["tokenizer"] } {
            let [merges_txt, vocab_json] = self.tokenizer_files(part)?;
            plan.add_tokenizer(part, self.config(part, "tokenizer_config.json")?, merges_txt, vocab_json);
        }
        for part in if is_xl { &["text_encoder", "text_encoder_2"][..] } else { &["text_encoder"] } {
            self.add_part(part, &mut plan, files).await?;
        }
        for part in ["unet", "vae"].iter().chain(&self.optional) {
            self.add_part(part, &mut plan, files).await?;
        }
        Ok(plan)
    }

    async fn add_part(&self, part: &str, plan: &mut Plan, files: &mut Vec<SafetensorsFile<DiskFile>>) -> Result<()> {
        let mut config = self.config(part, "config.json")?;
        if let ("text_encoder_2", Some(flag)) = (part, &self.force_zeros) {
            config[FORCE_ZEROS] = flag.clone();
        }
        let (first, shards) = (files.len(), self.weights(part)?);
        for path in &shards.paths {
            files.push(SafetensorsFile::open("SRC", DiskFile::open(path)?).await?);
        }
        let is_there = |name: &&String| files[first..].iter().any(|file| file.get(name).is_some());
        if let Some(name) = shards.promised.iter().find(|name| !is_there(name)) {
            return Err(Error::MissingTensor { name: format!("{part}.{name}") });
        }
        plan.add_part(part, &config, first, files)
    }

    /// A subfolder's weights: one safetensors file or several with an index, full or half precision.
    fn weights(&self, folder: &str) -> Result<Shards> {
        let directory = self.root.join(folder);
        for stem in ["diffusion_pytorch_model", "model"] {
            for variant in ["", ".fp16"] {
                let single = directory.join(format!("{stem}{variant}.safetensors"));
                if single.is_file() {
                    return Ok(Shards { paths: vec![single], promised: Vec::new() });
                }
                let index = format!("{stem}.safetensors.index{variant}.json");
                if let Some(index) = self.json(folder, &index)? {
                    return shards(&directory, folder, &index);
                }
            }
        }
        refuse_pickles_in(&directory)?;
        Err(Error::request("SRC", format!("{} holds no weights as safetensors", directory.display())))
    }

    /// `merges.txt` and `vocab.json`, made from `tokenizer.json` where newer transformers saved that alone.
    fn tokenizer_files(&self, part: &str) -> Result<[Vec<u8>; 2]> {
        if let (Some(vocabulary), Some(merges)) = (self.file(part, "vocab.json")?, self.file(part, "merges.txt")?) {
            return Ok([merges, vocabulary]);
        }
        let wrong = |reason: &str| Error::request("SRC", format!("{part}/tokenizer.json {reason}"));
        let json = self.json(part, "tokenizer.json")?.ok_or_else(|| {
            Error::request("SRC", format!("{part} holds neither vocab.json with merges.txt nor tokenizer.json"))
        })?;
        let mut vocabulary =
            json["model"]["vocab"].as_object().ok_or_else(|| wrong("has no byte-pair vocabulary"))?.clone();
        for token in json["added_tokens"].as_array().into_iter().flatten() {
            if let Some(content) = token["content"].as_str() {
                vocabulary.entry(content).or_insert_with(|| token["id"].clone());
            }
        }
        let mut merges = "#version: 0.2\n".to_owned();
        for merge in json["model"]["merges"].as_array().ok_or_else(|| wrong("has no merges"))? {
            let line = match (merge.as_str(), merge[0].as_str(), merge[1].as_str()) {
                (Some(line), ..) => line.to_owned(),
                (None, Some(left), Some(right)) => format!("{left} {right}"),
                _ => return Err(wrong("holds a merge that is none")),
            };
            merges += &line;
            merges.push('\n');
        }
        let vocabulary = serde_json::to_vec(&vocabulary).map_err(|error| wrong(&error.to_string()))?;
        Ok([merges.into_bytes(), vocabulary])
    }

    /// Adds the tiny autoencoder in the folder itself as a plan's preview decoder.
    ///
    /// # Errors
    /// As [`DiffusersFolder::plan`] and [`preview::add`].
    pub async fn add_preview(root: &Path, plan: &mut Plan, files: &mut Vec<SafetensorsFile<DiskFile>>) -> Result<()> {
        let folder = Self::at(root);
        let config = folder.config("", "config.json")?;
        match folder.weights("")?.paths.as_slice() {
            [path] => files.push(SafetensorsFile::open("preview-decoder", DiskFile::open(path)?).await?),
            _ => return Err(Error::request("preview-decoder", "a tiny autoencoder is one file")),
        }
        preview::add(plan, files, Some(config))
    }
}

/// The files that a sharded model's index names, in the order of their names, and the tensors that it promises.
fn shards(directory: &Path, folder: &str, index: &Value) -> Result<Shards> {
    let wrong = |reason: &str| Error::manifest(format!("{folder}/*.safetensors.index.json"), reason);
    let map = index["weight_map"].as_object().ok_or_else(|| wrong("has no weight_map"))?;
    let mut paths = BTreeSet::new();
    for file in map.values() {
        let file = file.as_str().ok_or_else(|| wrong("names a file that is no text"))?;
        if !file.ends_with(".safetensors") || file.contains(['/', '\\']) || file.starts_with('.') {
            return Err(wrong("names a file outside its folder"));
        }
        paths.insert(directory.join(file));
    }
    Ok(Shards { paths: paths.into_iter().collect(), promised: map.keys().cloned().collect() })
}

/// A model's weight files.
#[derive(Debug)]
struct Shards {
    paths: Vec<PathBuf>,
    /// Tensors that must be in one of them.
    promised: Vec<String>,
}

fn refuse_pickles_in(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let is_pickle = |path: &PathBuf| {
        path.extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| matches!(extension, "bin" | "pt" | "pth" | "ckpt"))
    };
    match entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_pickle) {
        Some(path) => Err(pickle("SRC", &path.display().to_string())),
        None => Ok(()),
    }
}

/// Python writes numbers that JSON has no words for (`-Infinity` in DPM-Solver's configuration). They stand for "no
/// bound", as `null` does; inside strings they are left alone.
fn without_infinities(json: Vec<u8>) -> Vec<u8> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let (mut clean, mut rest, mut in_string) = (Vec::with_capacity(json.len()), json.as_slice(), false);
    while let Some((&byte, tail)) = rest.split_first() {
        if let (false, Some(word)) = (in_string, WORDS.iter().find(|word| rest.starts_with(word))) {
            clean.extend(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        clean.push(byte);
        rest = tail;
        match (byte, tail.split_first()) {
            (b'"', _) => in_string = !in_string,
            (b'\\', Some((&escaped, after))) if in_string => {
                clean.push(escaped);
                rest = after;
            }
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_become_null_outside_strings_only() {
        let json = br#"{"a": -Infinity, "b": [Infinity, NaN, -1], "c": "NaN \" -Infinity", "d\\": NaN}"#;
        let expected = br#"{"a": null, "b": [null, null, -1], "c": "NaN \" -Infinity", "d\\": null}"#;
        assert_eq!(String::from_utf8(without_infinities(json.to_vec())).unwrap(), String::from_utf8_lossy(expected));
        assert!(serde_json::from_slice::<Value>(&without_infinities(json.to_vec())).is_ok());
    }
}
