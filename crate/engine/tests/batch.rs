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
use fraise_engine::request::{Noise, Request, StartPicture, Variation};
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
    let effective = pipeline.resolve(request).unwrap();
    let start = request.start.as_ref().map(|start| pipeline.start(start, &effective).unwrap());
    let origin = Origin { batch: request.batch.clone(), start, latents: None };
    pollster::block_on(pipeline.generate_from(effective, origin).try_collect()).unwrap()
}

fn noises() -> Vec<Noise> {
    let variation = Some(Variation { seed: 5, strength: 0.4 });
    vec![Noise { seed: 3, variation: None }, Noise { seed: 8, variation }, Noise { seed: u64::MAX, variation: None }]
}

/// The largest difference between a batch's pictures, at any step, and the same ones painted alone.
fn apart(pipeline: &Rc<Pipeline>, request: &Request) -> f32 {
    let together = paint(pipeline, &Request { batch: noises(), ..request.clone() });
    let mut largest = 0f32;
    for (row, Noise { seed, variation }) in noises().into_iter().enumerate() {
        let alone = paint(pipeline, &Request { seed, variation, ..request.clone() });
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
            let error = apart(&pipeline(run, &device), &request);
            println!("{run}, {sampler:?} on {device:?}: {error:.1e}");
            assert!(error <= TOLERANCE, "{run}, {sampler:?} on {device:?}: {error:e}");
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
            let error = apart(&pipeline, &request);
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
    let error = apart(&pipeline, &request);
    assert!(error <= TOLERANCE, "{error:e}");
}
