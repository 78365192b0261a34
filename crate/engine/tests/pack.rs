//! Packs as they are written, and as any safetensors tool reads them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod small_pack;

use std::collections::BTreeMap;

use fraise_engine::pack::quantize::decode_scheme;
use fraise_engine::pack::{Manifest, Quantization, TensorInfo};
use fraise_engine::store::{MemoryStore, Sha2Digest, Store};
use fraise_engine::weights::Scheme;
use fraise_engine::{Error, loader};
use safetensors::{Dtype, SafeTensors};
use small_pack::{PIECE_BYTES, SmallPack, bytes, small_pack, weights, write};

fn concatenated(pack: &SmallPack, component: &str) -> Vec<u8> {
    pack.manifest.components[component].pieces.iter().flat_map(|piece| pack.pieces[&piece.sha256].clone()).collect()
}

fn store_of(pack: &SmallPack) -> MemoryStore {
    let store = MemoryStore::default();
    for (name, bytes) in &pack.pieces {
        pollster::block_on(store.put(name, bytes.clone())).unwrap();
    }
    store
}

#[test]
fn the_same_weights_make_the_same_bytes() {
    let (first, second) = (small_pack(Scheme::Q8), small_pack(Scheme::Q8));
    assert_eq!(first.manifest.to_bytes().unwrap(), second.manifest.to_bytes().unwrap());
    assert_eq!(first.pieces, second.pieces);
}

#[test]
fn the_order_of_the_tensors_in_the_source_does_not_matter() {
    let tensors: Vec<_> = weights().into_iter().map(|(info, values)| (info, bytes(&values))).collect();
    let reversed: Vec<_> = tensors.iter().rev().cloned().collect();
    let (mut pieces, mut again) = (BTreeMap::new(), BTreeMap::new());
    let first = write("unet", Scheme::Q8, &tensors, &mut pieces).unwrap();
    assert_eq!(first.pieces, write("unet", Scheme::Q8, &reversed, &mut again).unwrap().pieces);
}

#[test]
fn a_manifest_reads_back_as_it_was() {
    let manifest = small_pack(Scheme::Q4).manifest;
    assert_eq!(Manifest::parse(&manifest.to_bytes().unwrap()).unwrap(), manifest);
}

#[test]
fn concatenated_pieces_are_a_safetensors_file_with_the_weights_in_it() {
    for (scheme, bound) in [(Scheme::F32, 0.0), (Scheme::F16, 5e-4), (Scheme::Q8, 6e-3), (Scheme::Q4, 0.1)] {
        let pack = small_pack(scheme);
        for (piece, last) in pack.manifest.components["unet"].pieces.iter().rev().zip(0..) {
            assert!(piece.bytes == PIECE_BYTES || last == 0, "{piece:?}");
        }
        let file = concatenated(&pack, "unet");
        let tensors = SafeTensors::deserialize(&file).unwrap();
        for (info, values) in weights() {
            let stored = tensors.tensor(&info.name).unwrap();
            let scales = tensors.tensor(&format!("{}.scales", info.name));
            let found = match (stored.dtype(), &scales) {
                (Dtype::F32, Err(_)) => Scheme::F32,
                (Dtype::F16, Err(_)) => Scheme::F16,
                (Dtype::I8, Ok(_)) => Scheme::Q8,
                (Dtype::U8, Ok(_)) => Scheme::Q4,
                other => panic!("{}: {other:?}", info.name),
            };
            assert!(found == scheme || info.shape.len() == 1 || info.name.starts_with("conv_"));
            let scales = scales.map(|scales| scales.data().to_vec()).unwrap_or_default();
            let decoded = decode_scheme(found, stored.data(), &scales);
            let greatest = values.iter().fold(0f32, |most, value| most.max(value.abs()));
            for (value, decoded) in values.iter().zip(&decoded) {
                let value = value * 4.0; // the factor of the component named "unet"
                assert!((value - decoded).abs() <= bound * greatest * 4.0, "{} {scheme:?}", info.name);
            }
        }
    }
}

#[test]
fn every_tensor_starts_on_four_bytes_and_the_metadata_names_the_quantized() {
    let pack = small_pack(Scheme::Q4);
    let header =
        pollster::block_on(loader::load_header(&pack.manifest, "unet", &store_of(&pack), &Sha2Digest)).unwrap();
    let schemes = header.schemes("components.unet").unwrap();
    let expected = ["mid_block.attentions.0.proj_in.weight", "mid_block.resnets.0.conv1.weight"];
    assert_eq!(schemes, expected.map(|name| (name.to_owned(), Scheme::Q4)).into());
    assert_eq!(header.metadata["format"], "pt");
    let mut start = header.data_start;
    for tensor in &header.tensors {
        assert_eq!(start % 4, 0, "{}", tensor.name);
        start += tensor.bytes as u64;
    }
}

#[test]
fn reports_what_rounding_cost() {
    let tensors: Vec<_> = weights().into_iter().map(|(info, values)| (info, bytes(&values))).collect();
    let written = write("unet", Scheme::Q4, &tensors, &mut BTreeMap::new()).unwrap();
    for tensor in &written.tensors {
        let (least, most) = match tensor.scheme.unwrap() {
            Scheme::F32 => (0.0, 0.0),
            Scheme::F16 => (1e-5, 5e-4),
            Scheme::Q8 => (1e-3, 1e-2),
            Scheme::Q4 => (2e-2, 2e-1),
        };
        let error = tensor.relative_error;
        assert!((least..=most).contains(&error), "{} {error}", tensor.name);
    }
}

/// A UNet of which three inner weights have a size and a place in common, but not the spread of their numbers.
fn uneven_weights() -> Vec<(TensorInfo, Vec<u8>)> {
    let mut random = common::Random::new(7);
    let mut weight = |name: &str, shape: &[usize], shaped: fn(usize, f32) -> f32| {
        let len: usize = shape.iter().product();
        let bell = (0..len).map(|_| (0..6).map(|_| random.signed()).sum::<f32>() / 2f32.sqrt()).collect::<Vec<_>>();
        let values: Vec<f32> = bell.into_iter().enumerate().map(|(index, value)| shaped(index, value)).collect();
        let info = TensorInfo { name: name.into(), dtype: Dtype::F32, shape: shape.into(), bytes: len * 4 };
        (info, bytes(&values))
    };
    vec![
        weight("down_blocks.0.attentions.0.to_q.weight", &[64, 32], |_, value| value),
        weight("down_blocks.0.attentions.0.to_k.weight", &[64, 32], |_, value| value),
        weight("mid_block.resnets.0.conv1.weight", &[64, 32, 3, 3], |_, value| value),
        weight("mid_block.resnets.0.conv2.weight", &[64, 32, 3, 3], |_, value| value.powi(3)),
        weight("mid_block.resnets.1.conv1.weight", &[64, 32, 3, 3], |index, value| {
            if index.is_multiple_of(32) { 1.0 } else { value * 0.01 }
        }),
        weight("mid_block.resnets.1.conv1.bias", &[64], |_, value| value),
    ]
}

#[test]
fn mixed_gives_the_more_bits_the_more_rounding_would_cost() {
    let tensors = uneven_weights();
    let mut pieces = BTreeMap::new();
    let written = write("unet", Quantization::Mixed, &tensors, &mut pieces).unwrap();
    let found: Vec<_> = written.tensors.iter().map(|tensor| tensor.scheme.unwrap()).collect();
    assert_eq!(found, [Scheme::Q8, Scheme::Q8, Scheme::Q4, Scheme::Q8, Scheme::F16, Scheme::F16], "{written:?}");

    let mut again = BTreeMap::new();
    let reversed: Vec<_> = tensors.iter().rev().cloned().collect();
    assert_eq!(write("unet", Quantization::Mixed, &reversed, &mut again).unwrap().pieces, written.pieces);
    assert_eq!(again, pieces);
    for name in ["vae_decoder", "vae_encoder"] {
        let written = write(name, Quantization::Mixed, &tensors, &mut BTreeMap::new()).unwrap();
        assert!(written.tensors.iter().all(|tensor| tensor.scheme != Some(Scheme::Q4)), "{name}");
    }
}

#[test]
fn reports_are_what_is_in_the_file() {
    let tensors = uneven_weights();
    let mut pieces = BTreeMap::new();
    let written = write("unet", Quantization::Mixed, &tensors, &mut pieces).unwrap();
    let file: Vec<u8> = written.pieces.iter().flat_map(|piece| pieces[&piece.sha256].clone()).collect();
    let stored = SafeTensors::deserialize(&file).unwrap();
    for (report, (info, content)) in written.tensors.iter().zip(&tensors) {
        assert_eq!((&report.name, &report.shape), (&info.name, &info.shape));
        assert_eq!(report.elements, content.len() / 4);
        let numbers = stored.tensor(&report.name).unwrap().data();
        let scales = stored.tensor(&format!("{}.scales", report.name));
        let scales = scales.map(|scales| scales.data()).unwrap_or_default();
        assert_eq!(report.bytes, numbers.len() + scales.len());
        let decoded = decode_scheme(report.scheme.unwrap(), numbers, scales);
        let (mut difference, mut original) = (0.0, 0.0);
        for (bytes, decoded) in content.chunks(4).zip(decoded) {
            let value = f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
            difference += (value - f64::from(decoded)).powi(2);
            original += value.powi(2);
        }
        let expected = (difference / original).sqrt();
        assert!((report.relative_error - expected).abs() <= expected * 1e-9, "{report:?}: {expected}");
    }
}

#[test]
fn files_come_back_as_they_were() {
    let pack = small_pack(Scheme::F16);
    let files =
        pollster::block_on(loader::load_files(&pack.manifest, "tokenizer", &store_of(&pack), &Sha2Digest)).unwrap();
    assert_eq!(files["vocab.json"], b"{\"a</w>\":0}");
    assert_eq!(files["merges.txt"], b"#version: 0.2\n");
}

#[test]
fn damaged_weights_are_refused_by_name() {
    for (dtype, content) in [
        (Dtype::F32, f32::NAN.to_le_bytes().to_vec()),
        (Dtype::F32, f32::INFINITY.to_le_bytes().to_vec()),
        (Dtype::I32, vec![0; 4]),
    ] {
        let info = TensorInfo { name: "conv_in.bias".into(), dtype, shape: vec![1], bytes: 4 };
        match write("unet", Scheme::Q8, &[(info, content)], &mut BTreeMap::new()) {
            Err(Error::Manifest { field, .. }) => assert_eq!(field, "unet.conv_in.bias"),
            other => panic!("{other:?}"),
        }
    }
}
