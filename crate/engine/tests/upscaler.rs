//! The upscaler: its tiles are exact, its weights may be quantized, and packs bring it along or load it when asked.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use burn::tensor::{Device, Tensor};
use common::{Random, difference, gpu, packed, read, tensor};
use fraise_engine::Error;
use fraise_engine::kernels::Border;
use fraise_engine::limits::{DEFAULT_BINDING_BYTES, DeviceLimits};
use fraise_engine::pack::Quantization;
use fraise_engine::parity::Packed;
use fraise_engine::pipeline::Pipeline;
use fraise_engine::request::Request;
use fraise_engine::requirements::ModelShape;
use fraise_engine::store::Sha2Digest;
use fraise_engine::upscaler::{self, Upscaler};
use fraise_engine::weights::Scheme;

fn load(Packed { manifest, store }: &Packed, device: &Device) -> Upscaler {
    pollster::block_on(Upscaler::load(manifest, store, &Sha2Digest, device)).unwrap().0
}

#[test]
fn tiles_give_the_same_picture() {
    let values = Random::new(1).values(3 * 37 * 21);
    let packed = packed("run_flow", Scheme::F16);
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        let upscaler = load(&packed, &device);
        let image = || tensor(&values, [1, 3, 37, 21], &device) * 0.5 + 0.5;
        let whole = upscaler.forward(image());
        assert_eq!(whole.dims(), [1, 3, 74, 42]);
        let whole = read(whole);
        for side in [1, 8, 20, 36] {
            let (error, _) = difference(&read(upscaler.forward_in_tiles(image(), side)), &whole);
            println!("tiles of {side} on {device:?}: {error:.1e}");
            assert!(error <= 1e-6, "tiles of {side} on {device:?}: {error:e}");
        }
    }
}

/// A tiled picture is still one when it is larger: moved, its larger picture moves along.
#[test]
fn wrapped_pictures_become_wrapped_ones() {
    let values = Random::new(4).values(3 * 20 * 24);
    let packed = packed("run_flow", Scheme::F16);
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        let upscaler = load(&packed, &device);
        let moved = |x: Tensor<4>, by: usize| {
            let height = x.dims()[2];
            Tensor::cat(vec![x.clone().narrow(2, height - by, by), x.narrow(2, 0, height - by)], 2)
        };
        let image = tensor(&values, [1, 3, 20, 24], &device) * 0.5 + 0.5;
        let larger = |image, border| upscaler.forward_beyond(image, border);
        let error = |border| {
            let expected = read(moved(larger(image.clone(), border), 6));
            difference(&read(larger(moved(image.clone(), 3), border)), &expected).0
        };
        assert!(error(Border::Circular) <= 1e-6 && error(Border::Zeros) > 1e-3, "on {device:?}");
    }
}

#[test]
fn quantized_weights_give_nearly_the_same_picture() {
    let values = Random::new(2).values(3 * 24 * 24);
    let picture = |quantization: Quantization, device: &Device| {
        let upscaler = load(&packed("run_flow", quantization), device);
        read(upscaler.forward(tensor(&values, [1, 3, 24, 24], device) * 0.5 + 0.5))
    };
    let exact = picture(Scheme::F32.into(), &Device::flex());
    let cases =
        [(Scheme::F16.into(), 1e-6), (Scheme::Q8.into(), 0.02), (Quantization::Mixed, 0.02), (Scheme::Q4.into(), 0.3)];
    for (quantization, most) in cases {
        let on_cpu = picture(quantization, &Device::flex());
        let (error, _) = difference(&on_cpu, &exact);
        println!("{quantization:?}: {error:.1e}");
        assert!(error <= most, "{quantization:?}: {error:e}");
        if let Some(gpu) = gpu() {
            let (error, _) = difference(&picture(quantization, &gpu), &on_cpu);
            assert!(error <= 1e-5, "{quantization:?} on the GPU: {error:e}");
        }
    }
}

#[test]
fn a_pack_loads_its_upscaler_when_asked_or_brings_it_along() {
    let mut packed = packed("run_flow", Scheme::Q8);
    let device = Device::flex();
    assert!(packed.manifest.components[upscaler::COMPONENT].optional);
    let load = |Packed { manifest, store }: &Packed| {
        pollster::block_on(Pipeline::load(manifest, store, &Sha2Digest, &device, &mut |_| ())).unwrap()
    };
    let pipeline = load(&packed);
    let without = pipeline.memory();
    let image = || tensor(&[0.5; 3 * 16], [1, 3, 4, 4], &device);
    assert_eq!(pipeline.upscale(image(), Border::Zeros).unwrap_err().code(), "Request", "it is not loaded yet");
    for _ in 0..2 {
        pollster::block_on(pipeline.load_upscaler(&packed.manifest, &packed.store, &Sha2Digest)).unwrap();
    }
    assert_eq!(pipeline.upscale(image(), Border::Zeros).unwrap().dims(), [1, 3, 8, 8]);
    let bytes = packed.manifest.components[upscaler::COMPONENT].bytes;
    assert_eq!(pipeline.memory().pack_bytes, without.pack_bytes + bytes, "counted once");
    assert!(pipeline.memory().device_bytes > without.device_bytes);

    let request = Request { prompt: "p".into(), upscale: true, ..Request::default() };
    let effective = pipeline.resolve(&request).unwrap();
    let latents = tensor(&Random::new(3).values(16 * 4 * 4), [1, 16, 4, 4], &device);
    assert_eq!(pipeline.decode(latents.clone(), Border::Zeros).dims(), [1, 3, 64, 64]);
    assert_eq!(pipeline.finish(latents, &effective, None).unwrap().dims(), [1, 3, 128, 128]);

    packed.manifest.recommended.upscale = true;
    let field = "components.upscaler.optional";
    assert!(matches!(packed.manifest.validate(), Err(Error::Manifest { field: found, .. }) if found == field));
    packed.manifest.components.get_mut(upscaler::COMPONENT).unwrap().optional = false;
    packed.manifest.validate().unwrap();
    let brought = load(&packed);
    assert!(brought.has_upscaler());
    assert_eq!(brought.memory(), pipeline.memory());
}

#[test]
fn what_no_upscaler_can_do_is_refused() {
    let plain = packed("run_ddim", Scheme::F16);
    let pipeline =
        pollster::block_on(Pipeline::load(&plain.manifest, &plain.store, &Sha2Digest, &Device::flex(), &mut |_| ()));
    let request = Request { prompt: "p".into(), upscale: true, ..Request::default() };
    let refused = pipeline.unwrap().resolve(&request).unwrap_err();
    assert!(matches!(&refused, Error::Request { field, .. } if field == "upscale"), "{refused}");
    let mut manifest = plain.manifest;
    manifest.recommended.upscale = true;
    assert!(matches!(manifest.validate(), Err(Error::Manifest { field, .. }) if field == "recommended.upscale"));

    let mut manifest = packed("run_flow", Scheme::F16).manifest;
    let shape = ModelShape::of(&manifest).unwrap();
    let limits = DeviceLimits { binding_bytes: DEFAULT_BINDING_BYTES, memory_bytes: None };
    shape.requirements(1024, 1024, &limits).check_upscaling().unwrap();
    // 4096 x 4096 pixels of three floats are 192 MiB.
    let Err(Error::DeviceLimit { needed, .. }) = shape.requirements(2048, 2048, &limits).check_upscaling() else {
        panic!("a picture larger than a binding");
    };
    assert_eq!(needed, 4096 * 4096 * 12);
    let optional = shape.requirements(64, 64, &limits).upscaling.unwrap().live_bytes;
    manifest.components.get_mut(upscaler::COMPONENT).unwrap().optional = false;
    let along = ModelShape::of(&manifest).unwrap().requirements(64, 64, &limits);
    let bytes = manifest.components[upscaler::COMPONENT].bytes;
    assert_eq!(
        along.upscaling.unwrap().live_bytes + bytes,
        optional,
        "weights that come along are counted with the pack's"
    );

    manifest.components.get_mut(upscaler::COMPONENT).unwrap().config["num_feat"] = 4096.into();
    let refused = manifest.validate().unwrap_err();
    assert!(refused.to_string().contains("components.upscaler.config.num_feat"), "{refused}");
}
