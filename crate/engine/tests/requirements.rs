//! What a pack needs is said before anything is loaded, is true, and is refused where the device has less.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use burn::tensor::Device;
use common::{Random, gpu, read, tensor};
use fraise_engine::Error;
use fraise_engine::autoencoder::{AutoencoderKlConfig, AutoencoderTinyConfig};
use fraise_engine::kernels::{Border, Tuning, Variant};
use fraise_engine::limits::{DEFAULT_BINDING_BYTES, DeviceLimits, TRANSFORMED_BYTES};
use fraise_engine::pack::{Component, Examples, Manifest, Piece, Recommended, TensorInfo, TensorSink};
use fraise_engine::requirements::{ModelShape, Requirements};
use fraise_engine::upscaler::UpscalerConfig;
use fraise_engine::weights::{Weights, WeightsBuilder};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const DEFAULT: DeviceLimits = DeviceLimits { binding_bytes: DEFAULT_BINDING_BYTES, memory_bytes: None };

/// `unet/config.json` of Stable Diffusion 1.5 and of SDXL, and the autoencoder's of both.
fn sd15() -> Value {
    json!({ "cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64 })
}
fn sdxl() -> Value {
    json!({
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10],
        "cross_attention_dim": 2048, "use_linear_projection": true, "sample_size": 128,
    })
}
fn kl() -> Value {
    json!({ "_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2 })
}

fn manifest(unet: Value, decoder: Value, unet_bytes: u64) -> Manifest {
    let component = |config: Value, bytes: u64| Component {
        config,
        pieces: vec![Piece { sha256: "0".repeat(64), bytes }],
        bytes,
        optional: false,
    };
    let components = BTreeMap::from([
        ("tokenizer".to_owned(), component(json!({}), MIB)),
        ("text_encoder".to_owned(), component(json!({}), 246 * MIB)),
        ("unet".to_owned(), component(unet, unet_bytes)),
        ("vae_decoder".to_owned(), component(decoder, 99 * MIB)),
    ]);
    Manifest {
        format: 1,
        name: "made up".into(),
        license: "CC0-1.0".into(),
        license_restrictions: String::new(),
        source: String::new(),
        pipeline: "StableDiffusionPipeline".into(),
        total_bytes: 0,
        components,
        scheduler: json!({}),
        recommended: Recommended { steps: 4, guidance: 3.0, width: 512, height: 512, upscale: false },
        examples: Examples::default(),
        negative_phrase: None,
    }
}

fn needs(unet: Value, side_px: u32, limits: &DeviceLimits) -> Requirements {
    ModelShape::of(&manifest(unet, kl(), 1640 * MIB)).unwrap().requirements(side_px, side_px, limits)
}

#[test]
fn stable_diffusion_stays_within_the_default_binding() {
    for (name, unet, sides) in [("SD 1.5", sd15(), [256, 512, 768, 1024]), ("SDXL", sdxl(), [256, 512, 768, 1024])] {
        for side in sides {
            let needs = needs(unet.clone(), side, &DEFAULT);
            println!(
                "{name} {side}x{side}: denoising {} MiB, guided {} MiB; decoding {} MiB, in tiles {} MiB; largest {} MiB",
                needs.denoising[0].live_bytes / MIB,
                needs.denoising[1].live_bytes / MIB,
                needs.whole_decoding.live_bytes / MIB,
                needs.tiled_decoding.unwrap().live_bytes / MIB,
                needs.largest_binding_bytes(2) / MIB,
            );
            assert!(needs.largest_binding_bytes(2) <= DEFAULT_BINDING_BYTES, "{name} at {side}: {needs:?}");
            assert_eq!(needs.weights_bytes, (246 + 1640 + 99) * MIB);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    needs(sd15(), 512, &DEFAULT).check().unwrap();
    let refusal = needs(sd15(), 2048, &DEFAULT).check().unwrap_err();
    let Error::DeviceLimit { limit, needed, available } = &refusal else { panic!("{refusal}") };
    assert_eq!((limit.as_str(), *available), ("maxStorageBufferBindingSize", DEFAULT_BINDING_BYTES));
    assert!(*needed > *available && *needed == needs(sd15(), 2048, &DEFAULT).denoising[0].binding_bytes);

    let with = |memory_bytes| needs(sd15(), 1024, &DeviceLimits { memory_bytes: Some(memory_bytes), ..DEFAULT });
    let Requirements { weights_bytes, denoising: [one_by_one, at_once, ..], .. } = needs(sd15(), 1024, &DEFAULT);
    assert!(one_by_one.live_bytes < at_once.live_bytes);
    assert!(with(weights_bytes + at_once.live_bytes).fits_batch(2));
    assert!(!with(weights_bytes + at_once.live_bytes - 1).fits_batch(2));
    assert!(with(weights_bytes + at_once.live_bytes - 1).fits_batch(1));
    // Decoded whole where there is room, and in tiles where there is not.
    let plenty = with(64 << 30);
    assert_eq!(plenty.decoding(), plenty.whole_decoding);
    let little = with(weights_bytes + 100 * MIB);
    assert_eq!(Some(little.decoding()), little.tiled_decoding);
    let (needed, available) = (weights_bytes + one_by_one.live_bytes, weights_bytes + 100 * MIB);
    assert_eq!(little.check().unwrap_err(), Error::DeviceLimit { limit: "memory".into(), needed, available });
}

#[test]
fn configurations_that_would_take_for_ever_are_refused() {
    let refused = |unet: Value, decoder: Value| ModelShape::of(&manifest(unet, decoder, MIB)).unwrap_err().code();
    assert_eq!(refused(json!({ "layers_per_block": 1_000_000_000 }), kl()), "Manifest");
    assert_eq!(refused(json!({ "block_out_channels": vec![32; 100] }), kl()), "Manifest");
    assert_eq!(refused(json!({ "block_out_channels": "wide" }), kl()), "Manifest");
    assert_eq!(refused(sd15(), json!({ "block_out_channels": [] })), "Manifest");
    assert_eq!(refused(json!({ "block_out_channels": [] }), kl()), "Manifest");
    assert_eq!(refused(json!({ "block_out_channels": [32, 0, 32, 32] }), kl()), "Manifest");
    assert_eq!(refused(sd15(), json!({ "block_out_channels": [0, 32] })), "Manifest");
    // The widest numbers that a manifest may hold add up without overflow.
    let wide = json!({ "block_out_channels": vec![1_000_000_000; 8], "layers_per_block": 16 });
    let shape = ModelShape::of(&manifest(wide.clone(), wide, MIB)).unwrap();
    shape.requirements(2048, 2048, &DeviceLimits::of(&Device::flex())).check().unwrap();
}

/// A golden module's weights and configuration.
fn golden(folder: &str, prefix: &str, device: &Device) -> (Weights, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens").join(folder);
    let file = fs::read(folder.join("diffusion_pytorch_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let mut builder = WeightsBuilder::new("golden", &BTreeMap::new(), device);
    for (name, view) in file.iter().filter(|(name, _)| name.starts_with(prefix)) {
        let (shape, bytes) = (view.shape().to_vec(), view.data().len());
        builder.begin(&TensorInfo { name: name.into(), dtype: view.dtype(), shape, bytes }).unwrap();
        builder.write(view.data()).unwrap();
        builder.end().unwrap();
    }
    let config = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    (builder.finish().unwrap(), config)
}

/// What the device's pool reserves is only one test's while no other test paints on that device.
fn alone() -> MutexGuard<'static, ()> {
    static PAINTING: Mutex<()> = Mutex::new(());
    PAINTING.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The most that the device's pool had to reserve for `run`, beyond what it held before.
fn reserved_by(device: &Device, run: impl FnOnce() -> Vec<f32>) -> u64 {
    let reserved = || {
        device.sync().unwrap();
        device.memory_pool_usage().unwrap().bytes_reserved
    };
    device.memory_cleanup();
    let before = reserved();
    let values = run();
    assert!(values.iter().all(|value| value.is_finite()));
    reserved() - before
}

/// The tiny decoders at sizes whose maps are as large as a large model's: the formulas against what the pool reserves,
/// which has gaps. A tiny UNet fits the pool's smallest pages; at full width, Stable Diffusion 1.5 made Mesa's software
/// driver reserve 33 MiB for a pass at 256x256 and 99 MiB at 512x512, where 31 and 105 MiB were foretold.
#[test]
fn the_formulas_tell_what_a_gpu_is_made_to_reserve() {
    let Some(device) = gpu() else { return };
    let _alone = alone();
    let mut random = Random::new(1);
    let check = |what: &str, expected: u64, run: &dyn Fn() -> Vec<f32>| {
        // As a GPU computes; then as a software adapter does, by Winograd's tiles.
        for (tiles, more_bytes) in [(Variant::Tiles32, 0), (Variant::Registers, 3 * TRANSFORMED_BYTES)] {
            Tuning { variant: tiles, ..Tuning::default() }.set_for(&device);
            let reserved = reserved_by(&device, run);
            let ratio = reserved as f64 / expected as f64;
            println!("{what}: {} MiB reserved where {} MiB were foretold, {ratio:.2}", reserved / MIB, expected / MIB);
            let most = 1.4 * expected as f64 + more_bytes as f64;
            assert!(ratio >= 0.7 && reserved as f64 <= most, "{what} by {tiles:?}: {ratio}");
        }
        Tuning::default().set_for(&device);
    };

    let (mut weights, tiny) = golden("tiny_sd/vae", "decoder.", &device);
    let tiny_decoder = AutoencoderTinyConfig::deserialize(&tiny).unwrap().init_decoder(&mut weights.root()).unwrap();
    for (folder, side) in [("tiny_lcm/vae", 64), ("kl_decoder_without_attention", 544)] {
        let (mut weights, kl) = golden(folder, "", &device);
        let decoder = AutoencoderKlConfig::deserialize(&kl).unwrap().init_decoder(&mut weights.root()).unwrap();
        let shape = ModelShape::of(&manifest(sd15(), kl, MIB)).unwrap();
        let latents = tensor(&random.values(4 * side * side), [1, 4, side, side], &device);
        let px = if folder == "tiny_lcm/vae" { 2 * side } else { side } as u32;
        check(folder, shape.requirements(px, px, &DEFAULT).decoding().live_bytes, &|| {
            read(decoder.forward(latents.clone(), Border::Zeros))
        });
    }
    let shape = ModelShape::of(&manifest(sd15(), tiny, MIB)).unwrap();
    let latents = tensor(&random.values(4 * 64 * 64), [1, 4, 64, 64], &device);
    check("tiny decoder 512", shape.requirements(512, 512, &DEFAULT).decoding().live_bytes, &|| {
        read(tiny_decoder.forward(latents.clone(), Border::Zeros))
    });
}

/// As above, of an upscaler.
#[test]
fn the_formula_tells_what_upscaling_takes() {
    let Some(device) = gpu() else { return };
    let _alone = alone();
    let config = UpscalerConfig { num_feat: 12, num_conv: 1, upscale: 4, ..UpscalerConfig::default() };
    let (mut weights, found) = golden("upscaler_x4", "", &device);
    assert_eq!(UpscalerConfig::deserialize(&found).unwrap(), config);
    let upscaler = config.init(&mut weights.root()).unwrap();
    let mut manifest = manifest(sd15(), kl(), MIB);
    let component = manifest.components["unet"].clone();
    manifest.components.insert("upscaler".into(), Component { config: found, ..component });
    let side = 256;
    let image = tensor(&Random::new(2).values(3 * side * side), [1, 3, side, side], &device);
    Tuning { variant: Variant::Tiles32, ..Tuning::default() }.set_for(&device);
    let reserved = reserved_by(&device, || read(upscaler.forward(image)));
    Tuning::default().set_for(&device);
    let expected = ModelShape::of(&manifest).unwrap().requirements(side as u32, side as u32, &DEFAULT).upscaling;
    let ratio = reserved as f64 / expected.unwrap().live_bytes as f64;
    println!("{} MiB reserved, {ratio:.2} of what was foretold", reserved / MIB);
    assert!((0.7..=1.4).contains(&ratio), "{ratio}");
}

#[test]
fn a_step_computes_what_others_counted() {
    let counted = |unet: Value, side_px: u32| {
        let shape = ModelShape::of(&manifest(unet, kl(), 860 * MIB)).unwrap();
        shape.step_multiplications(side_px, side_px) as f64 / 1e9
    };
    // Kim et al., "BK-SDM" (2023), table 1: 339 thousand million for Stable Diffusion 1.4 and 1.5, in convolutions and linear
    // layers (338.61 by hooks on diffusers' module). Attention's scores and sums come on top.
    let attention = |count: f64, width: f64, tokens: f64| count * 2.0 * width * tokens * (tokens + 77.0) / 1e9;
    let scores = [(5.0, 320.0, 4096.0), (5.0, 640.0, 1024.0), (5.0, 1280.0, 256.0), (1.0, 1280.0, 64.0)];
    let expected = 338.61 + scores.map(|(count, width, tokens)| attention(count, width, tokens)).iter().sum::<f64>();
    let sd15 = counted(sd15(), 512);
    println!("{sd15:.2}, expected {expected:.2}; SDXL {:.1}", counted(sdxl(), 1024));
    assert!((sd15 / expected - 1.0).abs() < 1e-3, "{sd15}");
}
