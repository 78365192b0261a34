//! What a picture begins with and how its edges meet: start pictures, masks, variations and tiling, on tiny models.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;
mod small_pack;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use burn::tensor::{Device, Tensor};
use common::{Random, difference, gpu, packed, read, tensor};
use fraise_engine::encoder::Encoder;
use fraise_engine::kernels::Border;
use fraise_engine::pack::{Component, Manifest, TensorInfo};
use fraise_engine::parity::Packed;
use fraise_engine::picture::Picture;
use fraise_engine::pipeline::{Origin, Pipeline, Step};
use fraise_engine::request::{EffectiveRequest, Request, StartPicture, Variation};
use fraise_engine::store::{Sha2Digest, Store};
use fraise_engine::weights::Scheme;
use fraise_engine::{Error, encoder};
use futures::TryStreamExt;
use safetensors::SafeTensors;

/// The CPU, and the GPU where there is one.
fn devices() -> Vec<Device> {
    [Some(Device::flex()), gpu()].into_iter().flatten().collect()
}

/// A golden run's model, with its encoder loaded where it has one.
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

/// A picture with no two pixels alike.
fn picture(width: u32, height: u32, seed: u64) -> Picture {
    let values = Random::new(seed).values((width * height * 3) as usize);
    let rgb = values.iter().map(|value| (128.0 + 60.0 * value) as u8).collect();
    Picture { width, height, rgb }
}

/// White right of column `from`, black left of it.
fn mask(width: u32, height: u32, from: u32) -> Picture {
    let pixels = (0..height).flat_map(|_| (0..width).map(|x| if x < from { 0 } else { 255 }));
    Picture { width, height, rgb: pixels.flat_map(|grey| [grey; 3]).collect() }
}

/// Everything that a request gives: its steps, and the finished picture.
fn paint(pipeline: &Rc<Pipeline>, request: &Request) -> (EffectiveRequest, Vec<Step>, Picture) {
    let effective = pipeline.resolve(request).unwrap();
    let start = request.start.as_ref().map(|start| pipeline.start(start, &effective).unwrap());
    let origin = Origin { start: start.clone(), latents: None };
    pollster::block_on(async {
        let steps: Vec<_> = pipeline.generate_from(vec![effective.clone()], origin).try_collect().await.unwrap();
        let latents = steps.last().unwrap().latents.clone();
        let image = Picture::read(pipeline.finish(latents, &effective, start.as_ref()).unwrap()).await.unwrap();
        (effective, steps, image)
    })
}

fn request(steps: u32) -> Request {
    let size = (Some(48), Some(32));
    Request { prompt: "p".into(), steps: Some(steps), width: size.0, height: size.1, seed: 3, ..Request::default() }
}

fn started(image: Picture, mask: Option<Picture>, strength: f64) -> Request {
    Request { start: Some(StartPicture { image, mask }), strength: Some(strength), ..request(5) }
}

#[test]
fn strength_says_how_many_steps_are_run_and_at_least_one() {
    let pipeline = pipeline("run_ddim", &Device::flex());
    for (sampler, strength, expected) in [
        ("ddim", 0.0, 1),
        ("ddim", 0.3, 1),
        ("ddim", 0.6, 3),
        ("ddim", 1.0, 5),
        ("heun", 0.4, 3),
        ("heun", 1.0, 9),
        ("pndm", 0.4, 3),
        ("dpmpp_2m", 0.2, 1),
    ] {
        let sampler = Some(sampler.to_owned());
        let (_, steps, _) = paint(&pipeline, &Request { sampler, ..started(picture(48, 32, 1), None, strength) });
        let counted: Vec<_> = steps.iter().map(|step| (step.index, step.total)).collect();
        assert_eq!(counted, (0..expected).map(|index| (index, expected)).collect::<Vec<_>>(), "{strength}");
    }
}

#[test]
fn kept_pixels_are_the_start_pictures_to_the_bit() {
    for device in devices() {
        let pipeline = pipeline("run_ddim", &device);
        // One that has to be fitted: scaled down by half, and cut above and below.
        let image = picture(96, 80, 2);
        let fitted = image.fitted(48, 32);
        for strength in [0.5, 1.0] {
            let request = started(image.clone(), Some(mask(96, 80, 40)), strength);
            let (effective, _, painted) = paint(&pipeline, &request);
            assert_eq!((effective.masked, effective.strength), (true, Some(strength)));
            let mut changed = 0;
            for (index, (found, kept)) in painted.rgb.iter().zip(&fitted.rgb).enumerate() {
                // Antialiasing blends the mask's edge, at column 20.
                match index / 3 % 48 {
                    column if column < 19 => assert_eq!(found, kept, "column {column} on {device:?}"),
                    column if column > 20 => changed += usize::from(found != kept),
                    _ => (),
                }
            }
            assert!(changed > 27 * 32 * 2, "{changed} values were painted anew");
        }
        let all = paint(&pipeline, &started(image.clone(), Some(mask(96, 80, 96)), 0.5)).2;
        assert_eq!(all, fitted, "a black mask keeps everything");
        let none = paint(&pipeline, &started(image.clone(), Some(mask(96, 80, 0)), 0.5)).2;
        assert_eq!(none, paint(&pipeline, &started(image, None, 0.5)).2, "a white mask keeps nothing");
    }
}

#[test]
fn what_cannot_be_started_from_is_refused() {
    let Packed { mut manifest, store } = packed("run_ddim", Scheme::F16);
    let load = |manifest: &Manifest| {
        pollster::block_on(Pipeline::load(manifest, &store, &Sha2Digest, &Device::flex(), &mut |_| ())).unwrap()
    };
    let request = started(picture(8, 8, 1), None, 0.5);
    let pipeline = load(&manifest);
    let (effective, before) = (pipeline.resolve(&request).unwrap(), pipeline.memory());
    let unloaded = pipeline.start(request.start.as_ref().unwrap(), &effective).unwrap_err();
    assert_eq!(unloaded.code(), "Request", "it is not loaded yet");
    for _ in 0..2 {
        pollster::block_on(pipeline.load_encoder(&manifest, &store, &Sha2Digest)).unwrap();
    }
    let bytes = manifest.components[encoder::COMPONENT].bytes;
    assert_eq!(pipeline.memory().pack_bytes, before.pack_bytes + bytes, "counted once");
    let without = pollster::block_on(Rc::new(load(&manifest)).generate(effective).try_collect::<Vec<_>>());
    assert!(matches!(without, Err(Error::Request { field, .. }) if field == "image"), "a strength without its picture");

    let component = manifest.components.get_mut(encoder::COMPONENT).unwrap();
    component.config["encoder_block_out_channels"] = serde_json::json!([32, 32, 32]);
    let misfit = pollster::block_on(load(&manifest).load_encoder(&manifest, &store, &Sha2Digest)).unwrap_err();
    assert!(misfit.code() != "Request", "{misfit}");

    manifest.components.remove(encoder::COMPONENT);
    let refused = load(&manifest).resolve(&request).unwrap_err();
    assert!(matches!(&refused, Error::Request { field, reason } if field == "image" && reason.contains("vae_encoder")));
}

/// As the UNet has them: times the scaling factor, from pixels in [0, 1]. The golden has neither.
#[test]
fn a_kl_encoder_gives_scaled_means() {
    let Packed { mut manifest, store } = packed("run_lcm", Scheme::F16);
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens/kl_encoder");
    let read_file = |name: &str| fs::read(goldens.join(name)).unwrap();
    let (weights, golden) =
        (read_file("diffusion_pytorch_model.safetensors"), read_file("golden/kl_encoder.safetensors"));
    let tensors: Vec<_> = SafeTensors::deserialize(&weights)
        .unwrap()
        .iter()
        .map(|(name, view)| {
            let (bytes, shape) = (view.data().to_vec(), view.shape().to_vec());
            (TensorInfo { name: name.to_owned(), dtype: view.dtype(), shape, bytes: bytes.len() }, bytes)
        })
        .collect();
    let mut pieces = BTreeMap::new();
    let written = small_pack::write(encoder::COMPONENT, Scheme::F16, &tensors, &mut pieces).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&read_file("config.json")).unwrap();
    let scaling_factor = config["scaling_factor"].as_f64().unwrap() as f32;
    let component = Component { config, pieces: written.pieces, bytes: written.bytes, optional: true };
    manifest.components.insert(encoder::COMPONENT.to_owned(), component);
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let bytes = golden.tensor(name).unwrap().data().to_vec();
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let device = Device::flex();
    let load = async {
        for (name, bytes) in pieces {
            store.put(&name, bytes).await.unwrap();
        }
        Encoder::load(&manifest, &store, &Sha2Digest, &device).await.unwrap().0
    };
    let latents = pollster::block_on(load).forward(tensor(&values("image"), [2, 3, 16, 22], &device) / 2.0 + 0.5);
    let expected: Vec<f32> = values("output").iter().map(|value| value * scaling_factor).collect();
    let (error, scale) = difference(&read(latents), &expected);
    assert!(error <= 1e-5 * scale, "{error:e} where the scale is {scale:e}");
}

#[test]
fn a_variation_begins_at_the_same_picture_and_goes_away_from_it() {
    let pipeline = pipeline("run_ddim", &Device::flex());
    let paint = |strength: Option<f64>| {
        let variation = strength.map(|strength| Variation { seed: 9, strength });
        read(paint(&pipeline, &Request { variation, ..request(2) }).1.pop().unwrap().latents)
    };
    let original = paint(None);
    assert_eq!(paint(Some(0.0)), original);
    let other = read(self::paint(&pipeline, &Request { seed: 9, ..request(2) }).1.pop().unwrap().latents);
    assert!(difference(&paint(Some(1.0)), &other).0 < 1e-4, "all the way is the other seed's picture");
    let distance = |strength| {
        let squares = paint(Some(strength)).iter().zip(&original).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        squares.sqrt()
    };
    let distances = [0.05, 0.2, 0.5, 1.0].map(distance);
    assert!(distances.is_sorted() && distances[0] > 0.0, "{distances:?}");
}

/// A map moved down and right, what falls off coming back at the other end.
fn rolled(x: Tensor<4>, by: usize) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let roll = |x: Tensor<4>, dim, length: usize| {
        let by = by % length;
        Tensor::cat(vec![x.clone().narrow(dim, length - by, by), x.narrow(dim, 0, length - by)], dim)
    };
    roll(roll(x, 2, height), 3, width)
}

#[test]
fn wrapped_decoders_do_not_know_where_the_edges_are() {
    let latents = Random::new(5).values(16 * 6 * 8);
    for device in devices() {
        for (run, channels, scale) in [("run_ddim", 4, 8), ("run_lcm", 4, 2), ("run_flow", 16, 16)] {
            let pipeline = pipeline(run, &device);
            let latents = tensor(&latents[..channels * 48], [1, channels, 6, 8], &device);
            let decode = |latents: Tensor<4>, border| pipeline.decode(latents, border);
            let moved = read(decode(rolled(latents.clone(), 2), Border::Circular));
            let expected = read(rolled(decode(latents.clone(), Border::Circular), 2 * scale));
            let (error, _) = difference(&moved, &expected);
            println!("{run} on {device:?}: {error:.1e}");
            assert!(error <= 1e-5, "{run} on {device:?}: {error:e}");
            let bounded = read(decode(rolled(latents.clone(), 2), Border::Zeros));
            let (error, _) = difference(&bounded, &read(rolled(decode(latents, Border::Zeros), 2 * scale)));
            assert!(error > 1e-3, "{run}: with zeros around it does");
        }
    }
}

/// Mean differences of neighbouring rows, the last and the first among them at the end.
fn row_steps(image: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let row = |channel: usize, y: usize| &image[(channel * height + y % height) * width..][..width];
    let step = |y: usize| {
        let of = |channel| row(channel, y).iter().zip(row(channel, y + 1)).map(|(a, b)| (a - b).abs()).sum::<f32>();
        (0..3).map(of).sum::<f32>() / (3 * width) as f32
    };
    (0..height).map(step).collect()
}

#[test]
fn edges_of_a_tiled_picture_meet() {
    for device in devices() {
        let pipeline = pipeline("run_ddim", &device);
        let image = |tiling: bool| {
            let request = Request { tiling, guidance: Some(3.0), ..request(3) };
            let (effective, steps, _) = paint(&pipeline, &request);
            assert_eq!(effective.tiling, tiling);
            pipeline.decode(steps.last().unwrap().latents.clone(), effective.border())
        };
        let (tiled, bounded) = (image(true), image(false));
        for axes in [[0, 1, 2, 3], [0, 1, 3, 2]] {
            let steps = |image: &Tensor<4>| {
                let [_, _, height, width] = image.clone().permute(axes).dims();
                row_steps(&read(image.clone().permute(axes)), [height, width])
            };
            let (mut inner, edge) = (steps(&tiled), steps(&tiled).pop().unwrap());
            inner.pop();
            let largest = inner.iter().copied().fold(0.0, f32::max);
            let bounded = steps(&bounded).pop().unwrap();
            println!("edge {edge:.4}, inside at most {largest:.4}; without tiling {bounded:.4}");
            assert!(edge <= largest, "an edge of {edge} where the picture's own steps reach {largest}");
            assert!(edge < bounded, "{edge} is no less than without tiling, {bounded}");
        }
    }
}
