//! A run that is dropped gives its GPU memory back, and the pipeline that it belonged to still paints.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;
use std::rc::Rc;

use burn::tensor::Device;
use fraise_engine::parity::{self, Kind, Packed, Subject};
use fraise_engine::pipeline::{Pipeline, Step};
use fraise_engine::request::Request;
use fraise_engine::store::Sha2Digest;
use fraise_engine::weights::Scheme;
use futures::StreamExt;

fn bytes_in_use(device: &Device) -> u64 {
    device.sync().unwrap();
    device.memory_pool_usage().unwrap().bytes_in_use
}

/// The latents after `steps` steps of a new run, which is then dropped.
fn paint(pipeline: &Rc<Pipeline>, steps: usize) -> Vec<f32> {
    let request = pipeline.resolve(&Request { prompt: "a cat".into(), seed: 7, ..Request::default() }).unwrap();
    let mut run = Box::pin(pipeline.generate(request));
    let mut latents = Vec::new();
    for _ in 0..steps {
        let step: Step = pollster::block_on(run.next()).unwrap().unwrap();
        latents = common::read(step.latents);
    }
    latents
}

#[test]
fn a_dropped_run_frees_the_gpu() {
    let Some(device) = common::gpu() else { return };
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens");
    let case =
        parity::cases().unwrap().into_iter().find(|case| case.kind == Kind::Run && case.name == "run_flow").unwrap();
    let files = case.files().into_iter().map(|file| (file.clone(), fs::read(goldens.join(&file)).unwrap())).collect();
    let pipeline = pollster::block_on(async {
        let Subject::Model(model) = &case.subject else { panic!("run_flow is not a run") };
        let Packed { manifest, store } = parity::pack_model(model, &files, Scheme::Q8).await.unwrap();
        Pipeline::load(&manifest, &store, &Sha2Digest, &device, &mut |_| {}).await.unwrap()
    });
    let pipeline = Rc::new(pipeline);

    let whole = paint(&pipeline, 4);
    let loaded = bytes_in_use(&device);
    assert!(loaded >= pipeline.memory().device_bytes, "{loaded} bytes in use cannot hold the weights");
    for steps in [1, 2, 3, 1] {
        paint(&pipeline, steps);
        assert_eq!(bytes_in_use(&device), loaded, "after a run dropped at step {steps}");
    }
    assert_eq!(paint(&pipeline, 4), whole, "the same seed after dropped runs");
    drop(pipeline);
    let left = bytes_in_use(&device);
    assert!(left < loaded / 4, "{left} of {loaded} bytes are still in use after the pipeline was dropped");
}
