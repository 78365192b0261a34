//! Several pictures painted together: each is the one that it would be alone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use std::rc::Rc;

use burn::tensor::{Device, Tensor};
use common::{Random, difference, gpu, packed, read, small_gpu};
use fraise_engine::parity::Packed;
use fraise_engine::picture::Picture;
use fraise_engine::pipeline::{Origin, Pipeline, Step};
use fraise_engine::request::{BatchPicture, PromptSyntax, Request, StartPicture, Variation};
use fraise_engine::store::Sha2Digest;
use fraise_engine::weights::Scheme;
use futures::TryStreamExt;

/// Largest difference of a picture in a batch from the same one alone, as a part of the largest latent: kernels divide
/// their work by its size, and so add in another order.
const TOLERANCE: f32 = 1e-5;

fn pipeline(run: &str, device: &Device) -> Rc<Pipeline> {
    let Packed { manifest, store } = packed(run, Scheme::F16);
    let load = async {
        let pipeline = Pipeline::load(&manifest, &store, &Sha2Digest, device, &mut |_| ()).await.unwrap();
        if manifest.components["vae_decoder"].config["_class_name"] == "AutoencoderTiny" {
            pipeline.load_encoder(&manifest, &store, &Sha2Digest).await.unwrap();
        }
        Rc::new(pipeline)
    };
    pollster::block_on(load)
}

fn paint(pipeline: &Rc<Pipeline>, request: &Request) -> Vec<Step> {
    let pictures = pipeline.resolve_batch(request).unwrap();
    let start = request.start.as_ref().map(|start| pipeline.start(start, &pictures[0]).unwrap());
    let origin = Origin { start, latents: None };
    pollster::block_on(pipeline.generate_from(pictures, origin).try_collect()).unwrap()
}

/// Pictures with noise of their own, of one prompt.
fn noises() -> Vec<BatchPicture> {
    let variation = Some(Variation { seed: 5, strength: 0.4 });
    let of = |seed, variation| BatchPicture { seed, variation, prompt: None };
    vec![of(3, None), of(8, variation), of(u64::MAX, None)]
}

/// The largest difference between a batch's pictures, at any step, and the same ones painted alone.
fn apart(pipeline: &Rc<Pipeline>, request: &Request, batch: &[BatchPicture]) -> f32 {
    let together = paint(pipeline, &Request { batch: batch.to_vec(), ..request.clone() });
    let mut largest = 0f32;
    for (row, BatchPicture { seed, variation, prompt }) in batch.iter().cloned().enumerate() {
        let prompt = prompt.unwrap_or_else(|| request.prompt.clone());
        let alone = paint(pipeline, &Request { seed, variation, prompt, ..request.clone() });
        assert_eq!(alone.len(), together.len());
        for (step, expected) in together.iter().zip(alone) {
            assert_eq!((step.index, step.total), (expected.index, expected.total));
            let row = |batch: &Tensor<4>| read(batch.clone().narrow(0, row, 1));
            for (batch, single) in [(&step.latents, expected.latents), (&step.denoised, expected.denoised)] {
                let (error, scale) = difference(&row(batch), &read(single));
                largest = largest.max(error / scale);
            }
        }
    }
    largest
}

fn request(steps: u32) -> Request {
    let (width, height) = (Some(48), Some(32));
    Request { prompt: "p".into(), steps: Some(steps), width, height, ..Request::default() }
}

#[test]
fn every_picture_of_a_batch_is_the_one_that_it_is_alone() {
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        for (run, sampler, guidance) in [
            ("run_ddim", None, 4.0),
            ("run_ddim", Some("euler_a"), 4.0),
            ("run_ddim", Some("dpmpp_sde"), 1.0),
            ("run_lcm", None, 1.0),
            ("run_sdxl", None, 3.0),
            ("run_flow", None, 1.0),
        ] {
            let request = Request { sampler: sampler.map(str::to_owned), guidance: Some(guidance), ..request(3) };
            let error = apart(&pipeline(run, &device), &request, &noises());
            println!("{run}, {sampler:?} on {device:?}: {error:.1e}");
            assert!(error <= TOLERANCE, "{run}, {sampler:?} on {device:?}: {error:e}");
        }
    }
}

/// The third prompt is of two chunks, so that its text is twice as long as the others'.
#[test]
fn every_picture_of_a_batch_has_words_of_its_own() {
    let of = |seed, prompt: &str| BatchPicture { seed, variation: None, prompt: Some(prompt.into()) };
    let batch = [of(3, "a red cat"), of(3, "(a red cat:0.5), (a dog:1.5)"), of(4, "a BREAK b"), of(3, "a dog")];
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        for (run, guidance, negative) in
            [("run_ddim", 4.0, Some("rain")), ("run_lcm", 1.0, None), ("run_sdxl", 3.0, None), ("run_flow", 1.0, None)]
        {
            let (prompt_syntax, negative) = (PromptSyntax::A1111, negative.map(str::to_owned));
            let request = Request { prompt_syntax, negative, guidance: Some(guidance), ..request(3) };
            let error = apart(&pipeline(run, &device), &request, &batch);
            println!("{run} on {device:?}: {error:.1e}");
            assert!(error <= TOLERANCE, "{run} on {device:?}: {error:e}");
        }
    }
}

#[test]
fn a_batch_starts_from_one_picture_and_keeps_what_its_mask_keeps() {
    let picture = |seed| {
        let rgb = Random::new(seed).values(48 * 32 * 3).iter().map(|value| (128.0 + 60.0 * value) as u8).collect();
        Picture { width: 48, height: 32, rgb }
    };
    let half = (0..48 * 32).flat_map(|index| [if index % 48 < 24 { 0 } else { 255 }; 3]).collect();
    let mask = Picture { width: 48, height: 32, rgb: half };
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        let pipeline = pipeline("run_ddim", &device);
        for mask in [None, Some(mask.clone())] {
            let start = Some(StartPicture { image: picture(1), mask });
            let request = Request { start, strength: Some(0.7), guidance: Some(3.0), ..request(4) };
            let error = apart(&pipeline, &request, &noises());
            assert!(error <= TOLERANCE, "{device:?}: {error:e}");
        }
    }
}

#[test]
fn where_the_rows_do_not_fit_together_they_are_computed_in_parts() {
    let Some(device) = small_gpu(128 << 10) else { return };
    let pipeline = pipeline("run_ddim", &device);
    let request = Request { width: Some(96), height: Some(64), guidance: Some(3.0), ..request(2) };
    let needs = pipeline.requirements(96, 64);
    let most = (1..=6).rev().find(|&rows| needs.fits_batch(rows)).unwrap();
    assert!((1..6).contains(&most), "{most} rows fit at once");
    let error = apart(&pipeline, &request, &noises());
    assert!(error <= TOLERANCE, "{error:e}");
}
