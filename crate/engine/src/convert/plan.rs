//! What a pack will hold, and where every byte of it comes from.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde_json::Value;

use super::ByteSource;
use super::file::{Place, SafetensorsFile};
use super::vocabulary::{Vocabulary, tokenizer_config};
use crate::pack::TensorInfo;
use crate::pack::layout::place;
use crate::pack::writer::{PackOptions, component_bytes};
use crate::{Error, Result};

/// A pack before it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// diffusers' pipeline class.
    pub pipeline: String,
    /// `scheduler_config.json`.
    pub scheduler: Value,
    /// The components, in the order in which they are written.
    pub components: Vec<PlannedComponent>,
}

/// One component of a [`Plan`].
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedComponent {
    /// Its name in the manifest.
    pub name: String,
    /// Its configuration.
    pub config: Value,
    /// Its tensors.
    pub tensors: Vec<PlannedTensor>,
}

/// One tensor of a [`PlannedComponent`].
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTensor {
    /// Its name in the pack, and its shape, type and length as [`super::write`] hands it to the writer.
    pub info: TensorInfo,
    /// Where its contents come from.
    pub content: Content,
    /// What is added to the contents, which makes numbers F32.
    pub deltas: Vec<Delta>,
}

/// Where a tensor's contents come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A part of a file.
    Stored(Stored),
    /// A matrix of a file with rows and columns exchanged; the shape is that of the result.
    Transposed(Stored, [usize; 2]),
    /// Numbers of a file, followed by these.
    Extended(Stored, Vec<f32>),
}

/// Bytes of one of the files that a plan is carried out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Index of the file.
    pub file: usize,
    /// First byte, from the start of the file.
    pub start: u64,
    /// Number of bytes.
    pub bytes: usize,
    /// Type of the numbers.
    pub dtype: Dtype,
}

/// A LoRA's difference for one tensor: `factor · up · down`, or `factor · up · mid · down`.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// Index of the file.
    pub file: usize,
    /// Name of the matrix [outputs, rank].
    pub up: String,
    /// Name of the matrix [rank, inputs].
    pub down: String,
    /// Name of a kernel [rank, rank, ky, kx] between the two.
    pub mid: Option<String>,
    /// The caller's weight times α over the rank.
    pub factor: f32,
}

impl PlannedTensor {
    /// A weight of the file of index `file`, as it is there.
    ///
    /// # Errors
    /// [`Error::Manifest`] where it is of a type that packs have no numbers of.
    pub fn stored(name: impl Into<String>, place: Place<'_>, file: usize) -> Result<Self> {
        let Place { info, start } = place;
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let reason = format!("weights of type {} cannot be packed; F32, F16 and BF16 can", info.dtype);
            return Err(Error::manifest(&info.name, reason));
        }
        let stored = Stored { file, start, bytes: info.bytes, dtype: info.dtype };
        let info = TensorInfo { name: name.into(), ..info.clone() };
        Ok(Self { info, content: Content::Stored(stored), deltas: Vec::new() })
    }

    /// A whole file as a tensor of bytes.
    pub fn file(name: &str, content: Vec<u8>) -> Self {
        let bytes = content.len();
        let info = TensorInfo { name: name.to_owned(), dtype: Dtype::U8, shape: vec![bytes], bytes };
        Self { info, content: Content::Bytes(content), deltas: Vec::new() }
    }

    /// Declares the contents to be F32, as they become when something is added to them.
    pub fn widen(&mut self) {
        self.info.dtype = Dtype::F32;
        self.info.bytes = self.info.shape.iter().product::<usize>() * 4;
    }
}

impl PlannedComponent {
    /// Its tensors' descriptions, for the writer.
    pub fn infos(&self) -> Vec<TensorInfo> {
        self.tensors.iter().map(|tensor| tensor.info.clone()).collect()
    }

    /// Input bytes that it is made of.
    pub fn input_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.info.bytes as u64).sum()
    }

    /// Length of the file that it becomes.
    ///
    /// # Errors
    /// As [`component_bytes`].
    pub fn pack_bytes(&self, options: PackOptions) -> Result<u64> {
        component_bytes(&self.infos(), options)
    }

    /// The tensor of that name.
    pub fn tensor_mut(&mut self, name: &str) -> Option<&mut PlannedTensor> {
        self.tensors.iter_mut().find(|tensor| tensor.info.name == name)
    }
}

impl Plan {
    /// The component of that name.
    pub fn component_mut(&mut self, name: &str) -> Option<&mut PlannedComponent> {
        self.components.iter_mut().find(|component| component.name == name)
    }

    /// The component of that name.
    pub fn component(&self, name: &str) -> Option<&PlannedComponent> {
        self.components.iter().find(|component| component.name == name)
    }

    /// Adds the weights of a diffusers part (`unet`, `vae`, …), whose tensors lie in the files of index `first` and up,
    /// as the components that the pack keeps them in.
    ///
    /// # Errors
    /// As [`place`]; [`Error::Manifest`] for a tensor that two files hold.
    pub fn add_part<B: ByteSource>(
        &mut self,
        part: &str,
        config: &Value,
        first: usize,
        files: &[SafetensorsFile<B>],
    ) -> Result<()> {
        let mut components: BTreeMap<String, BTreeMap<String, PlannedTensor>> = BTreeMap::new();
        for (index, file) in files.iter().enumerate().skip(first) {
            for found in file.places() {
                let Some((component, name)) = place(part, &found.info.name)? else { continue };
                let tensor = PlannedTensor::stored(&name, found.clone(), index)?;
                if components.entry(component).or_default().insert(name, tensor).is_some() {
                    return Err(Error::manifest(file.name(), format!("holds `{}` a second time", found.info.name)));
                }
            }
        }
        for (name, tensors) in components {
            let tensors = tensors.into_values().collect();
            self.components.push(PlannedComponent { name, config: config.clone(), tensors });
        }
        Ok(())
    }

    /// Adds a tokenizer made of its files.
    pub fn add_tokenizer(&mut self, name: &str, config: Value, merges_txt: Vec<u8>, vocab_json: Vec<u8>) {
        let tensors =
            vec![PlannedTensor::file("merges.txt", merges_txt), PlannedTensor::file("vocab.json", vocab_json)];
        self.components.push(PlannedComponent { name: name.to_owned(), config, tensors });
    }

    /// Adds a tokenizer of CLIP's vocabulary.
    pub(super) fn add_clip_tokenizer(&mut self, name: &str, vocabulary: &Vocabulary, pad_token: &str) {
        let (merges, vocab) = (vocabulary.merges_txt().to_vec(), vocabulary.vocab_json().to_vec());
        self.add_tokenizer(name, tokenizer_config(pad_token), merges, vocab);
    }
}
