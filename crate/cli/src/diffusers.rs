//! A diffusers folder as it is saved or downloaded: configurations, and weights in safetensors files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use fraise_engine::pack::writer::TensorSource;
use fraise_engine::pack::{Header, HeaderReader, TensorInfo};
use fraise_engine::{Error, Result};
use serde_json::Value;

use crate::folder::{failed, read_bounded};

/// Longest configuration or vocabulary file that is read, in bytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// Bytes of a file's beginning that are read at once.
const HEADER_CHUNK_BYTES: u64 = 1 << 16;

/// A folder with `model_index.json`.
#[derive(Debug)]
pub struct DiffusersFolder {
    root: PathBuf,
    /// The pipeline's class, from `model_index.json`.
    pub pipeline: String,
}

impl DiffusersFolder {
    /// Opens the folder at `root`.
    ///
    /// # Errors
    /// [`Error::Request`] where it is no diffusers folder, or one of a pipeline that cannot be packed.
    pub fn open(root: &Path) -> Result<Self> {
        if root.is_file() {
            refuse_pickle(root)?;
            let advice = "is a single file; give a diffusers folder (diffusers can save one from a checkpoint)";
            return Err(Error::request("SRC", format!("{} {advice}", root.display())));
        }
        let mut folder = Self { root: root.to_owned(), pipeline: String::new() };
        let Some(index) = folder.json("", "model_index.json")? else {
            let advice = "holds no model_index.json; give the folder of a diffusers pipeline";
            return Err(Error::request("SRC", format!("{} {advice}", root.display())));
        };
        folder.pipeline = index["_class_name"].as_str().unwrap_or_default().to_owned();
        match folder.pipeline.as_str() {
            "StableDiffusionPipeline" | "LatentConsistencyModelPipeline" => Ok(folder),
            other => Err(Error::request(
                "SRC",
                format!("pipelines of class `{other}` cannot be packed yet; StableDiffusionPipeline can"),
            )),
        }
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

    /// Opens a subfolder's weights: one safetensors file or several with an index, full or half precision.
    ///
    /// # Errors
    /// [`Error::Request`] where there are none, or only pickles; [`Error::Manifest`] where a file is damaged;
    /// [`Error::MissingTensor`] where the index names a tensor that no file holds.
    pub fn weights(&self, folder: &str) -> Result<WeightFiles> {
        let directory = self.root.join(folder);
        for stem in ["diffusion_pytorch_model", "model"] {
            for variant in ["", ".fp16"] {
                let single = directory.join(format!("{stem}{variant}.safetensors"));
                if single.is_file() {
                    return WeightFiles::open(&[single]);
                }
                let index = format!("{stem}.safetensors.index{variant}.json");
                if let Some(index) = self.json(folder, &index)? {
                    return WeightFiles::open_sharded(&directory, folder, &index);
                }
            }
        }
        refuse_pickles_in(&directory)?;
        Err(Error::request("SRC", format!("{} holds no weights as safetensors", directory.display())))
    }
}

/// The tensors of one or several safetensors files.
#[derive(Debug)]
pub struct WeightFiles {
    files: Vec<(PathBuf, File)>,
    /// The tensors, with the file that holds each and where it starts there.
    pub tensors: Vec<(TensorInfo, usize, u64)>,
}

impl WeightFiles {
    fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut files = Vec::new();
        let mut tensors = Vec::new();
        for path in paths {
            let (file, header) = open_safetensors(path)?;
            let mut start = header.data_start;
            for tensor in header.tensors {
                let bytes = tensor.bytes as u64;
                tensors.push((tensor, files.len(), start));
                start += bytes;
            }
            files.push((path.clone(), file));
        }
        let mut names = BTreeSet::new();
        match tensors.iter().find(|(tensor, ..)| !names.insert(tensor.name.as_str())) {
            Some((tensor, file, _)) => {
                let (path, _) = &files[*file];
                Err(Error::manifest(path.display().to_string(), format!("holds `{}` a second time", tensor.name)))
            }
            None => Ok(Self { files, tensors }),
        }
    }

    fn open_sharded(directory: &Path, folder: &str, index: &Value) -> Result<Self> {
        let wrong = |reason: &str| Error::manifest(format!("{folder}/*.safetensors.index.json"), reason);
        let map = index["weight_map"].as_object().ok_or_else(|| wrong("has no weight_map"))?;
        let mut shards = BTreeSet::new();
        for file in map.values() {
            let file = file.as_str().ok_or_else(|| wrong("names a file that is no text"))?;
            if !file.ends_with(".safetensors") || file.contains(['/', '\\']) || file.starts_with('.') {
                return Err(wrong("names a file outside its folder"));
            }
            shards.insert(directory.join(file));
        }
        let opened = Self::open(&shards.into_iter().collect::<Vec<_>>())?;
        let found: BTreeSet<&str> = opened.tensors.iter().map(|(tensor, ..)| tensor.name.as_str()).collect();
        match map.keys().find(|name| !found.contains(name.as_str())) {
            Some(name) => Err(Error::MissingTensor { name: format!("{folder}.{name}") }),
            None => Ok(opened),
        }
    }

    /// Reads parts of the tensors at `places`, given as file and start.
    pub fn reader(&mut self, places: Vec<(usize, u64)>) -> WeightReader<'_> {
        WeightReader { files: &mut self.files, places }
    }
}

/// Reads some of the tensors of [`WeightFiles`].
#[derive(Debug)]
pub struct WeightReader<'a> {
    files: &'a mut [(PathBuf, File)],
    places: Vec<(usize, u64)>,
}

impl TensorSource for WeightReader<'_> {
    async fn read(&mut self, index: usize, range: Range<usize>) -> Result<Vec<u8>> {
        let (file, start) = self.places[index];
        let (path, file) = &mut self.files[file];
        let mut bytes = vec![0; range.len()];
        file.seek(SeekFrom::Start(start + range.start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| failed("reading", path, &error))?;
        Ok(bytes)
    }
}

fn open_safetensors(path: &Path) -> Result<(File, Header)> {
    refuse_pickle(path)?;
    let mut file = File::open(path).map_err(|error| failed("reading", path, &error))?;
    let file_bytes = file.metadata().map_err(|error| failed("reading", path, &error))?.len();
    let field = path.display().to_string();
    let mut reader = HeaderReader::new(&field, file_bytes);
    let mut chunk = Vec::new();
    loop {
        chunk.clear();
        let read = file.by_ref().take(HEADER_CHUNK_BYTES).read_to_end(&mut chunk);
        read.map_err(|error| failed("reading", path, &error))?;
        if chunk.is_empty() {
            return Err(Error::manifest(field, "ends within its safetensors header"));
        }
        if let Some(header) = reader.feed(&mut chunk.as_slice())? {
            return Ok((file, header));
        }
    }
}

/// Refuses pickles by their first bytes, whatever they are named: reading one runs what its author wrote.
fn refuse_pickle(path: &Path) -> Result<()> {
    let mut magic = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4).read_to_end(&mut magic))
        .map_err(|error| failed("reading", path, &error))?;
    let is_zip = magic == *b"PK\x03\x04";
    let is_bare_pickle = matches!(magic[..], [0x80, 2..=5, ..]);
    if is_zip || is_bare_pickle { Err(pickle(path)) } else { Ok(()) }
}

fn refuse_pickles_in(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let is_pickle = |path: &PathBuf| {
        path.extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| matches!(extension, "bin" | "pt" | "pth" | "ckpt"))
    };
    match entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_pickle) {
        Some(path) => Err(pickle(&path)),
        None => Ok(()),
    }
}

fn pickle(path: &Path) -> Error {
    let advice = "is a pickle, which can run code when it is opened; save the model again with safe_serialization=True \
                  and give that folder";
    Error::request("SRC", format!("{} {advice}", path.display()))
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
