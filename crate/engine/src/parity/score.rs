//! The scorer: pictures and a prompt to scores, without a pack.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Bound, Comparison, Files, Golden, MODULE_TOLERANCE, build, compare as compare_values, config_of, file};
use super::{largest, text};
use crate::Result;
use crate::conditioning::TextConditioner;
use crate::picture::Picture;
use crate::scorer::{ClipVisionConfig, Scorer};

/// A model's folder with a scorer in it, and what its pictures are scored by.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct ScoreSubject {
    scorer_of: String,
    prompt: String,
}

/// Largest error of a score, which is in [−1, 1].
const SCORE_TOLERANCE: f64 = 1e-4;

impl ScoreSubject {
    pub(super) fn files(&self) -> Vec<String> {
        [
            "scorer/config.json",
            "scorer/model.safetensors",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "tokenizer/tokenizer_config.json",
        ]
        .map(|file| format!("{}/{file}", self.scorer_of))
        .to_vec()
    }
}

/// Scores the case's pictures and compares every step with what the reference saved.
pub(super) async fn compare(
    name: &str,
    golden: &Golden<'_>,
    subject: &ScoreSubject,
    files: &Files,
    device: &Device,
) -> Result<Vec<Comparison>> {
    let folder = &subject.scorer_of;
    let (text_config, text_weights) = text::encoder_files(files, &format!("{folder}/text_encoder"))?;
    let text_encoder = build(text_weights, "", device, |weights| text_config.init(&mut weights.root()))?;
    let tokenizer = text::clip_tokenizer(files, &format!("{folder}/tokenizer"))?;
    let pooled = TextConditioner::new(tokenizer, text_encoder, None)?.pooled(&subject.prompt)?;

    let config: ClipVisionConfig = config_of(file(files, &format!("{folder}/scorer/config.json"))?)?;
    let weights = file(files, &format!("{folder}/scorer/model.safetensors"))?;
    let scorer = build(weights, "", device, |weights| Scorer::init(&config, text_config.hidden_size, weights, device))?;
    let mut pictures = Vec::new();
    while golden.has(&format!("picture_{}", pictures.len())) {
        pictures.push(Picture::read(golden.tensor(&format!("picture_{}", pictures.len()), &Device::flex())?).await?);
    }
    let (mut resized, mut image_embeds) = (Vec::new(), Vec::new());
    for picture in &pictures {
        resized.extend(scorer.pixels(picture));
        image_embeds.extend(super::read(scorer.image_embeds(picture)).await?);
    }
    let text_embeds = super::read(scorer.text_embeds(pooled.clone())).await?;
    let scores = scorer.score(pooled, &pictures).await?;
    let compared = |tensor: &str, found: &[f32]| {
        let expected = golden.values(tensor)?;
        let bound = match tensor {
            "scores" => Bound { scale: 1.0, tolerance: SCORE_TOLERANCE },
            _ => Bound { scale: largest(&expected), tolerance: MODULE_TOLERANCE },
        };
        compare_values(format!("{name}.{tensor}"), found, &expected, bound)
    };
    Ok(vec![
        compared("resized", &resized)?,
        compared("image_embeds", &image_embeds)?,
        compared("text_embeds", &text_embeds)?,
        compared("scores", &scores)?,
    ])
}
