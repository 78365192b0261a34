//! Words to leave out, painted: said in the prompt where the pack has a phrase for that, else by guidance alone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::rc::Rc;

use burn::tensor::Device;
use common::{packed, read};
use fraise_engine::parity::Packed;
use fraise_engine::pipeline::Pipeline;
use fraise_engine::request::{PromptSyntax, Request};
use fraise_engine::store::Sha2Digest;
use fraise_engine::weights::Scheme;
use futures::TryStreamExt;

const PROMPT: &str = "a photo of the red sea";
const NEGATIVE: &str = "grass, a strawberry";

fn pipeline(run: &str, phrase: Option<&str>) -> Rc<Pipeline> {
    let Packed { mut manifest, store } = packed(run, Scheme::F16);
    manifest.negative_phrase = phrase.map(str::to_owned);
    let load = async { Pipeline::load(&manifest, &store, &Sha2Digest, &Device::flex(), &mut |_| ()).await.unwrap() };
    Rc::new(pollster::block_on(load))
}

/// The finished latents' numbers.
fn paint(
    pipeline: &Rc<Pipeline>,
    prompt: &str,
    negative: Option<&str>,
    guidance: f64,
    syntax: PromptSyntax,
) -> Vec<f32> {
    let request = Request {
        prompt: prompt.to_owned(),
        negative: negative.map(str::to_owned),
        steps: Some(2),
        guidance: Some(guidance),
        width: Some(48),
        height: Some(32),
        prompt_syntax: syntax,
        ..Request::default()
    };
    let effective = pipeline.resolve(&request).unwrap();
    assert_eq!((effective.prompt.as_str(), effective.negative.as_deref()), (prompt, negative), "kept as typed");
    let steps: Vec<_> = pollster::block_on(pipeline.generate(effective).try_collect()).unwrap();
    read(steps.last().unwrap().latents.clone())
}

#[test]
fn with_a_phrase_it_is_the_picture_of_the_prompt_that_says_so() {
    for run in ["run_flow", "run_ddim", "run_sdxl", "run_lcm"] {
        let pipeline = pipeline(run, Some(" without "));
        for (guidance, syntax) in [(1.0, PromptSyntax::Plain), (3.0, PromptSyntax::Plain), (1.0, PromptSyntax::A1111)] {
            let paint = |prompt: &str, negative| paint(&pipeline, prompt, negative, guidance, syntax);
            let spoken = paint(PROMPT, Some(NEGATIVE));
            assert!(spoken == paint(&format!("{PROMPT} without {NEGATIVE}"), None), "{run}, {guidance}, {syntax:?}");
            assert!(spoken != paint(PROMPT, None), "{run}, {guidance}, {syntax:?}");
        }
    }
}

#[test]
fn without_a_phrase_it_counts_with_guidance_alone() {
    for run in ["run_flow", "run_ddim", "run_sdxl"] {
        let pipeline = pipeline(run, None);
        let paint = |negative, guidance| paint(&pipeline, PROMPT, negative, guidance, PromptSyntax::Plain);
        assert!(paint(Some(NEGATIVE), 1.0) == paint(None, 1.0), "{run}");
        assert!(paint(Some(NEGATIVE), 3.0) != paint(None, 3.0), "{run}");
    }
}
