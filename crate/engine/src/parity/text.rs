//! Text conditioning: prompts through tokenizers and text encoders, without a pack.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Bound, Comparison, Files, Golden, MODULE_TOLERANCE, Output, build, compare as compare_values, config_of};
use super::{file, json, largest};
use crate::conditioning::{Negative, SecondEncoder, TextConditioner};
use crate::request::PromptSyntax;
use crate::text_encoder::{ClipTextConfig, ProjectedText};
use crate::tokenizer::{ClipTokenizer, TokenizerConfig};
use crate::{Error, Result};

/// Folders of tokenizers and text encoders, one or two of each, and what is asked of them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct TextSubject {
    tokenizers: Vec<String>,
    text_encoders: Vec<String>,
    prompt: String,
    guided: bool,
    negative: Option<String>,
    prompt_syntax: PromptSyntax,
    force_zeros_for_empty_prompt: bool,
}

impl TextSubject {
    pub(super) fn files(&self) -> Vec<String> {
        let below = |folders: &[String], names: &[&str]| -> Vec<String> {
            folders.iter().flat_map(|folder| names.iter().map(move |name| format!("{folder}/{name}"))).collect()
        };
        let mut files = below(&self.tokenizers, &["vocab.json", "merges.txt", "tokenizer_config.json"]);
        files.extend(below(&self.text_encoders, &["config.json", "model.safetensors"]));
        files
    }

    fn conditioner(&self, files: &Files, device: &Device) -> Result<TextConditioner> {
        let [tokenizer, ..] = &self.tokenizers[..] else { return Err(Error::request("case", "has no tokenizer")) };
        let [encoder, ..] = &self.text_encoders[..] else { return Err(Error::request("case", "has no text encoder")) };
        let (config, weights) = encoder_files(files, encoder)?;
        let text_encoder = build(weights, "", device, |weights| config.init(&mut weights.root()))?;
        let second = match (self.tokenizers.get(1), self.text_encoders.get(1)) {
            (Some(tokenizer), Some(encoder)) => {
                let (config, weights) = encoder_files(files, encoder)?;
                Some(SecondEncoder {
                    tokenizer: clip_tokenizer(files, tokenizer)?,
                    text_encoder: build(weights, "", device, |weights| {
                        config.init_with_projection(&mut weights.root())
                    })?,
                    force_zeros_for_empty_prompt: self.force_zeros_for_empty_prompt,
                })
            }
            _ => None,
        };
        TextConditioner::new(clip_tokenizer(files, tokenizer)?, text_encoder, second)
    }
}

pub(super) fn encoder_files<'a>(files: &'a Files, folder: &str) -> Result<(ClipTextConfig, &'a [u8])> {
    let config = config_of(file(files, &format!("{folder}/config.json"))?)?;
    Ok((config, file(files, &format!("{folder}/model.safetensors"))?))
}

pub(super) fn clip_tokenizer(files: &Files, folder: &str) -> Result<ClipTokenizer> {
    let read = |name: &str| file(files, &format!("{folder}/{name}"));
    let config = TokenizerConfig::from_json(&json("tokenizer_config.json", read("tokenizer_config.json")?)?)?;
    ClipTokenizer::from_files(read("vocab.json")?, read("merges.txt")?, &config)
}

/// Encodes as the case asks and compares what the reference saved.
pub(super) async fn compare(
    name: &str,
    golden: &Golden<'_>,
    subject: &TextSubject,
    files: &Files,
    device: &Device,
) -> Result<Vec<Comparison>> {
    let conditioner = subject.conditioner(files, device)?;
    let negative = match &subject.negative {
        _ if !subject.guided => Negative::Unguided,
        Some(negative) => Negative::Prompt(negative),
        None => Negative::Unspecified,
    };
    let found = conditioner.encode(negative, subject.prompt.as_str(), subject.prompt_syntax)?;
    let mut comparisons = vec![compare_tensor(name, "context", golden, found.context).await?];
    match found.pooled {
        Some(pooled) => comparisons.push(compare_tensor(name, "pooled", golden, pooled).await?),
        None if golden.has("pooled") => return Err(Error::request("pooled", "the reference has it")),
        None => (),
    }
    Ok(comparisons)
}

pub(super) async fn compare_projected(
    name: &str,
    golden: &Golden<'_>,
    found: ProjectedText,
) -> Result<Vec<Comparison>> {
    Ok(vec![
        compare_tensor(name, "output", golden, found.penultimate).await?,
        compare_tensor(name, "text_embeds", golden, found.text_embeds).await?,
    ])
}

/// Relative to the largest value, as every module's output.
async fn compare_tensor<const D: usize>(
    name: &str,
    tensor: &str,
    golden: &Golden<'_>,
    found: Tensor<D>,
) -> Result<Comparison> {
    let expected = golden.values(tensor)?;
    let bound = Bound { scale: largest(&expected), tolerance: MODULE_TOLERANCE };
    compare_values(format!("{name}.{tensor}"), &Output::from(found).read().await?, &expected, bound)
}
