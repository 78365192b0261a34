//! Inside the limits of small devices: weights and feature maps in parts give the numbers of the whole, nothing larger
//! than a binding is ever made, and what a pack needs is said beforehand.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use common::{Random, StoredWeight, difference, gpu, read, small_gpu, tensor};
use fraise_engine::autoencoder::{AutoencoderKlConfig, AutoencoderTinyConfig, KlDecoder, TinyDecoder};
use fraise_engine::bands::Bands;
use fraise_engine::kernels::{self, AttentionShape, Border, Conv2dShape};
use fraise_engine::pack::{TensorInfo, TensorSink};
use fraise_engine::parity::{self, Case, Kind};
use fraise_engine::weights::{Scheme, Weights, WeightsBuilder};
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens")
}

/// The CPU, and the GPU where there is one.
fn devices() -> Vec<Device> {
    [Some(Device::flex()), gpu()].into_iter().flatten().collect()
}

/// The tensors of a golden module's folder whose names start with `prefix`, cut for a small device.
fn weights(folder: &str, prefix: &str, binding_bytes: u64, device: &Device) -> Weights {
    let file = fs::read(goldens().join(folder).join("diffusion_pytorch_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let mut builder = WeightsBuilder::new("vae", &BTreeMap::new(), device).with_binding_bytes(binding_bytes);
    for (name, view) in file.iter().filter(|(name, _)| name.starts_with(prefix)) {
        let bytes = view.data().len();
        let info = TensorInfo { name: name.into(), dtype: view.dtype(), shape: view.shape().to_vec(), bytes };
        builder.begin(&info).unwrap();
        builder.write(view.data()).unwrap();
        builder.end().unwrap();
    }
    builder.finish().unwrap()
}

fn config<T: DeserializeOwned>(folder: &str) -> T {
    serde_json::from_slice(&fs::read(goldens().join(folder).join("config.json")).unwrap()).unwrap()
}

fn kl_decoder(folder: &str, binding_bytes: u64, device: &Device) -> KlDecoder {
    let mut weights = weights(folder, "", binding_bytes, device);
    config::<AutoencoderKlConfig>(folder).init_decoder(&mut weights.root()).unwrap()
}

fn tiny_decoder(folder: &str, binding_bytes: u64, device: &Device) -> TinyDecoder {
    let mut weights = weights(folder, "decoder.", binding_bytes, device);
    config::<AutoencoderTinyConfig>(folder).init_decoder(&mut weights.root()).unwrap()
}

#[test]
fn cut_weights_give_the_same_numbers() {
    let mut random = Random::new(1);
    for scheme in Scheme::ALL {
        let linear = StoredWeight::random(scheme, &[45, 64], &mut random);
        let conv = StoredWeight::random(scheme, &[27, 32, 3, 3], &mut random);
        let (x, bias) = (random.values(7 * 64), random.values(45));
        let image = random.values(2 * 32 * 5 * 6);
        for device in devices() {
            // Room for 16 rows and a little, which leaves 45 = 16 + 16 + 13 and 27 = 16 + 11.
            let row_bytes = |columns: u64| columns * [8, 4, 2, 1][scheme as usize] / 2;
            let forward = |binding_bytes: [u64; 2]| {
                let weight = linear.load_within(binding_bytes[0], &device);
                let kernel = conv.load_within(binding_bytes[1], &device);
                let bias = tensor(&bias, [45], &device);
                let y = kernels::linear(tensor(&x, [7, 64], &device), &weight, Some(&bias));
                let image = tensor(&image, [2, 32, 5, 6], &device);
                let bias = bias.narrow(0, 0, 27);
                let z = kernels::conv2d(image, &kernel, Some(&bias), Conv2dShape::SAME, Border::Zeros);
                ([weight.parts.len(), kernel.parts.len()], [read(y), read(z)].concat())
            };
            let (one, whole) = forward([u64::MAX; 2]);
            let (several, cut) = forward([row_bytes(64) * 17, row_bytes(32 * 9) * 17]);
            assert_eq!((one, several), ([1, 1], [3, 2]), "{scheme:?}");
            assert_eq!(cut, whole, "{scheme:?}");
        }
    }
}

#[test]
fn cut_embeddings_give_the_same_rows() {
    let mut random = Random::new(2);
    for scheme in [Scheme::F32, Scheme::F16] {
        for columns in [31, 32] {
            let table = StoredWeight::random(scheme, &[40, columns], &mut random);
            let ids: Vec<u32> = (0..40).rev().collect();
            for device in devices() {
                let cut = table.load_within(16 * 4 * columns as u64, &device);
                assert_eq!(cut.parts.len(), if scheme == Scheme::F32 { 3 } else { 2 });
                let whole = kernels::embedding(&table.load(&device), &ids);
                assert_eq!(read(kernels::embedding(&cut, &ids)), read(whole), "{scheme:?} {columns}");
            }
        }
    }
}

#[test]
fn a_row_that_fits_no_binding_is_refused() {
    let mut builder = WeightsBuilder::new("unet", &BTreeMap::new(), &Device::flex()).with_binding_bytes(1000);
    let info = TensorInfo { name: "w".into(), dtype: safetensors::Dtype::F32, shape: vec![16, 64], bytes: 4096 };
    let error = builder.begin(&info).unwrap_err();
    assert_eq!(error.code(), "DeviceLimit");
    assert!(error.to_string().contains("2048") && error.to_string().contains("1000"), "{error}");
}

/// 3e-6 of the largest pixel: the group norms' moments, and on the CPU the convolutions' products, are summed in another
/// order. One wrong row of zeros at a seam gives 1e-2.
#[test]
fn bands_give_the_whole_picture() {
    let mut random = Random::new(3);
    let check = |what: &str, banded: Tensor<4>, whole: Tensor<4>| {
        let (error, scale) = difference(&read(banded), &read(whole));
        println!("{what}: {:.1e}", error / scale);
        assert!(error <= 3e-6 * scale, "{what}: {error:e} where the scale is {scale:e}");
    };
    let (latents, image) = (random.values(4 * 9 * 7), random.values(3 * 18 * 14));
    for device in devices() {
        let latents = || tensor(&latents, [1, 4, 9, 7], &device);
        for border in [Border::Zeros, Border::Circular] {
            let bands = |band_bytes: usize| Bands::new(latents(), band_bytes).bordered(border);
            let sizes = if border == Border::Zeros { &[1, 9_000, 25_000][..] } else { &[9_000] };
            for folder in ["tiny_lcm/vae", "kl_decoder_without_attention"] {
                let decoder = kl_decoder(folder, u64::MAX, &device);
                for &band_bytes in sizes {
                    let what = format!("{folder} in bands of {band_bytes} bytes, {border:?}, on {device:?}");
                    check(&what, decoder.forward_bands(bands(band_bytes)), decoder.forward_bands(bands(usize::MAX)));
                }
            }
            let decoder = tiny_decoder("tiny_sd/vae", u64::MAX, &device);
            for &band_bytes in sizes {
                let what = format!("tiny decoder in bands of {band_bytes} bytes, {border:?}, on {device:?}");
                check(&what, decoder.forward_bands(bands(band_bytes)), decoder.forward_bands(bands(usize::MAX)));
            }
        }
        let mut weights = weights("kl_encoder", "", u64::MAX, &device);
        let encoder = config::<AutoencoderKlConfig>("kl_encoder").init_encoder(&mut weights.root()).unwrap();
        let encode = |bytes: usize| encoder.forward_bands(Bands::new(tensor(&image, [1, 3, 18, 14], &device), bytes));
        for band_bytes in [1, 9_000] {
            check(
                &format!("encoder in bands of {band_bytes} bytes on {device:?}"),
                encode(band_bytes),
                encode(usize::MAX),
            );
        }
    }
}

/// `tests/parity/make_tiles.py` wrote the golden.
#[test]
fn tiles_are_blended_as_diffusers_blends_them() {
    let file = fs::read(goldens().join("tiles.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let values = |name: &str| -> Vec<f32> {
        file.tensor(name).unwrap().data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    for device in devices() {
        let decoder = kl_decoder("tiny_lcm/vae", u64::MAX, &device);
        let latents = || tensor(&values("latents"), [1, 4, 13, 21], &device);
        let whole = decoder.forward(latents(), Border::Zeros);
        assert_eq!(
            read(decoder.forward_tiled(latents(), 24, Border::Zeros)),
            read(whole.clone()),
            "one tile is the whole"
        );
        let wrapped = decoder.forward_tiled(latents(), 8, Border::Circular);
        let exact = read(decoder.forward(latents(), Border::Circular));
        let mean = |found: &[f32], expected: &[f32]| {
            found.iter().zip(expected).map(|(a, b)| (a - b).abs()).sum::<f32>() / found.len() as f32
        };
        let (error, usual) = (mean(&read(wrapped), &exact), mean(&values("tiled"), &values("whole")));
        println!("wrapped tiles are off by {error:.1e}, others by {usual:.1e}");
        assert!(error <= 1.5 * usual, "{error}");
        for (name, pixels) in [("tiled", decoder.forward_tiled(latents(), 8, Border::Zeros)), ("whole", whole)] {
            let (error, scale) = difference(&read(pixels), &values(name));
            println!("{name} on {device:?}: {:.1e}", error / scale);
            assert!(error <= 1e-5 * scale, "{name} on {device:?}: {error:e} where the scale is {scale:e}");
        }
    }
}

#[test]
fn attention_by_groups_of_queries_is_attention() {
    let mut random = Random::new(4);
    for (heads, causal) in [(3, false), (3, true), (1, false)] {
        let (batch, n, m, channels) = (2, 23, if causal { 23 } else { 17 }, 24);
        let shape = AttentionShape { heads, causal };
        let [q, k, v] =
            [n, m, m].map(|n| tensor(&random.values(batch * n * channels), [batch, n, channels], &Device::flex()));
        let attend =
            |bytes| read(kernels::attention::attention_reference(q.clone(), k.clone(), v.clone(), (shape, bytes)));
        let whole = attend(usize::MAX);
        for bytes in [1, 5 * batch * heads * m * 4] {
            let (error, scale) = difference(&attend(bytes), &whole);
            assert!(error <= 1e-6 * scale, "{heads} heads, causal {causal}, {bytes} bytes: {error:e} of {scale:e}");
        }
    }
}

#[test]
fn wide_heads_attend_too() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(5);
    for (batch, heads, size, queries, keys) in
        [(1, 1, 512, 70, 70), (2, 2, 164, 33, 50), (2, 1, 200, 1, 3), (2, 3, 160, 40, 30), (1, 2, 84, 9, 77)]
    {
        let channels = heads * size;
        let q: Vec<f32> = random.values(batch * queries * channels).iter().map(|value| 8.0 * value).collect();
        let [k, v] = [0; 2].map(|_| random.values(batch * keys * channels));
        let attend = |device: &Device| {
            let q = tensor(&q, [batch, queries, channels], device);
            let [k, v] = [&k, &v].map(|values| tensor(values, [batch, keys, channels], device));
            read(kernels::attention(q, k, v, AttentionShape { heads, causal: false }))
        };
        let (error, scale) = difference(&attend(&gpu), &attend(&Device::flex()));
        println!("attention of {heads} heads of {size}: {:.1e}", error / scale);
        assert!(error <= 1e-5 * scale, "{heads} heads of {size}: {error:e} where the scale is {scale:e}");
    }
}

/// Everything at once: on a device whose bindings end at 128 KiB, weights are cut, feature maps are banded, tokens
/// and queries go in groups, and the goldens are still met. A launch with a larger tensor panics (`kernels/launch.rs`).
/// Packs whose recommended size takes more, for a UNet's concatenation cannot be cut, are refused there.
#[test]
fn goldens_are_met_on_a_device_with_tiny_bindings() {
    let devices = [128 << 10, 1 << 20].map(small_gpu);
    let [Some(tiny), Some(small)] = devices else { return };
    let (mut met, mut refused) = (0, 0);
    // Painting needs no encoder, which is not in bands.
    let is_painting = |case: &Case| case.kind != Kind::TinyEncoder;
    for case in parity::cases().unwrap().into_iter().filter(is_painting) {
        let files = case.files().into_iter().map(|file| (file.clone(), fs::read(goldens().join(&file)).unwrap()));
        let files = files.collect();
        let run = |device| pollster::block_on(parity::run_case(&case.name, &files, device));
        let comparisons = match run(&tiny) {
            Err(error) if error.code() == "DeviceLimit" => {
                refused += 1;
                run(&small).unwrap()
            }
            comparisons => {
                met += 1;
                comparisons.unwrap()
            }
        };
        for comparison in comparisons {
            println!("{}: {:.1e} of {:.0e}", comparison.name, comparison.relative(), comparison.tolerance);
            assert!(comparison.passes(), "{}: {:.1e}", comparison.name, comparison.relative());
        }
    }
    println!("{met} goldens met with bindings of 128 KiB; {refused} refused there, and met with 1 MiB");
    assert!(met >= 8);
}
