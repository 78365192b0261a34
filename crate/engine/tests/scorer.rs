//! The scorer: loaded when it is first asked for, and nearly the same with quantized weights.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use burn::tensor::Device;
use common::{Random, gpu, packed};
use fraise_engine::Error;
use fraise_engine::limits::{DEFAULT_BINDING_BYTES, DeviceLimits};
use fraise_engine::pack::Quantization;
use fraise_engine::parity::Packed;
use fraise_engine::picture::Picture;
use fraise_engine::pipeline::Pipeline;
use fraise_engine::requirements::Requirements;
use fraise_engine::scorer::{self, MAX_PICTURES};
use fraise_engine::store::Sha2Digest;
use fraise_engine::weights::Scheme;

fn load(Packed { manifest, store }: &Packed, device: &Device) -> Pipeline {
    pollster::block_on(Pipeline::load(manifest, store, &Sha2Digest, device, &mut |_| ())).unwrap()
}

fn pictures(count: usize) -> Vec<Picture> {
    let mut random = Random::new(7);
    let picture =
        |_| Picture { width: 40, height: 24, rgb: (0..40 * 24 * 3).map(|_| random.between(0, 255) as u8).collect() };
    (0..count).map(picture).collect()
}

#[test]
fn quantized_weights_give_nearly_the_same_scores() {
    let pictures = pictures(3);
    let scores = |quantization: Quantization, device: &Device| {
        let packed = packed("run_flow", quantization);
        assert!(packed.manifest.components[scorer::COMPONENT].optional);
        let pipeline = load(&packed, device);
        pollster::block_on(pipeline.load_scorer(&packed.manifest, &packed.store, &Sha2Digest)).unwrap();
        pollster::block_on(pipeline.score("a red strawberry", &pictures)).unwrap()
    };
    let exact = scores(Scheme::F32.into(), &Device::flex());
    assert!(exact.iter().all(|score| score.abs() <= 1.0));
    let cases =
        [(Scheme::F16.into(), 1e-6), (Scheme::Q8.into(), 0.02), (Quantization::Mixed, 0.1), (Scheme::Q4.into(), 0.2)];
    for (quantization, most) in cases {
        let on_cpu = scores(quantization, &Device::flex());
        let (error, _) = common::difference(&on_cpu, &exact);
        println!("{quantization:?}: {error:.1e}");
        assert!(error <= most, "{quantization:?}: {error:e}");
        if let Some(gpu) = gpu() {
            let (error, _) = common::difference(&scores(quantization, &gpu), &on_cpu);
            assert!(error <= 1e-5, "{quantization:?} on the GPU: {error:e}");
        }
    }
}

#[test]
fn it_is_loaded_when_asked_for_and_counted_then() {
    let packed = packed("run_flow", Scheme::Q8);
    let Packed { manifest, store } = &packed;
    let pipeline = load(&packed, &Device::flex());
    let without = pipeline.memory();
    let score = |pictures: &[Picture]| pollster::block_on(pipeline.score("p", pictures));
    assert_eq!(score(&[]).unwrap_err().code(), "Request", "it is not loaded yet");
    for _ in 0..2 {
        pollster::block_on(pipeline.load_scorer(manifest, store, &Sha2Digest)).unwrap();
    }
    let bytes = manifest.components[scorer::COMPONENT].bytes;
    assert_eq!(pipeline.memory().pack_bytes, without.pack_bytes + bytes, "counted once");
    assert!(score(&[]).unwrap().is_empty());
    assert_eq!(score(&pictures(2)).unwrap().len(), 2);
    let refused = score(&vec![pictures(1).remove(0); MAX_PICTURES + 1]).unwrap_err();
    assert!(matches!(&refused, Error::Request { field, .. } if field == "pictures"), "{refused}");

    let limits = DeviceLimits { binding_bytes: DEFAULT_BINDING_BYTES, memory_bytes: None };
    let needs = Requirements::recommended(manifest, &limits).unwrap();
    needs.check_scoring().unwrap();
    assert!(needs.scoring.unwrap().live_bytes > bytes, "its weights count with it");
    let short = DeviceLimits { memory_bytes: Some(needs.weights_bytes + bytes), ..limits };
    let refused = Requirements::recommended(manifest, &short).unwrap().check_scoring().unwrap_err();
    assert_eq!(refused.code(), "DeviceLimit");
}

#[test]
fn what_no_pack_may_say_is_refused() {
    let mut manifest = packed("run_flow", Scheme::F16).manifest;
    manifest.components.get_mut(scorer::COMPONENT).unwrap().config["hidden_size"] = 1_000_000.into();
    let refused = manifest.validate().unwrap_err();
    assert!(refused.to_string().contains("components.scorer.config.hidden_size"), "{refused}");
    manifest.components.remove(scorer::COMPONENT);
    manifest.total_bytes = manifest.components.values().map(|component| component.bytes).sum();
    manifest.validate().unwrap();
    let limits = DeviceLimits { binding_bytes: DEFAULT_BINDING_BYTES, memory_bytes: None };
    let refused = Requirements::recommended(&manifest, &limits).unwrap().check_scoring().unwrap_err();
    assert_eq!(refused.code(), "Request");
}
