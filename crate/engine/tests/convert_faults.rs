//! Files that are no checkpoint, or a bad one: each with its error, and nothing written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;

use std::collections::BTreeMap;

use checkpoints::{Family, MemoryFile, Pieces, Tensor, checkpoint, convert, options, run, serialized};
use fraise_engine::Error;
use fraise_engine::convert::Inputs;
use fraise_engine::weights::Scheme;
use safetensors::Dtype;

type Tensors = BTreeMap<String, Tensor>;
type Tamper = Box<dyn Fn(&mut Tensors)>;

/// Converts a checkpoint whose tensors were tampered with.
fn tampered(family: &str, tamper: impl Fn(&mut Tensors)) -> Error {
    let mut tensors = Family::load(family).tensors();
    tamper(&mut tensors);
    let mut file = MemoryFile::new("bad.safetensors", serialized(&tensors, Dtype::F32));
    convert(&mut file, Scheme::Q8).map(|_| ()).unwrap_err()
}

#[test]
fn missing_extra_misshapen_and_damaged_tensors_are_named() {
    let conv = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight";
    let cases: [(&str, &str, &str, Tamper); 6] = [
        ("sd1", "MissingTensor", conv, Box::new(move |tensors| drop(tensors.remove(conv)))),
        (
            "sdxl",
            "MissingTensor",
            "ln_final.bias",
            Box::new(|tensors| drop(tensors.remove("conditioner.embedders.1.model.ln_final.bias"))),
        ),
        (
            "sd1",
            "UnexpectedTensor",
            "control",
            Box::new(|tensors| drop(tensors.insert("model.diffusion_model.control".into(), Tensor::of("c", &[4])))),
        ),
        (
            "sd1",
            "ShapeMismatch",
            conv,
            Box::new(move |tensors| drop(tensors.insert(conv.into(), Tensor::of(conv, &[32, 32, 3, 4])))),
        ),
        (
            "sd2",
            "ShapeMismatch",
            "in_proj_weight",
            Box::new(|tensors| {
                let name = "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight";
                tensors.insert(name.into(), Tensor::of(name, &[128, 64]));
            }),
        ),
        (
            "sd1",
            "Manifest",
            "unet.down_blocks.0.resnets.0.conv1.weight",
            Box::new(move |tensors| {
                tensors.get_mut(conv).unwrap().values[77] = f32::NAN;
            }),
        ),
    ];
    for (family, code, name, tamper) in cases {
        let error = tampered(family, tamper);
        assert!(error.code() == code && error.to_string().contains(name), "{code} {name}: {error}");
    }
}

#[test]
fn what_is_no_complete_text_to_image_checkpoint_is_refused_with_the_reason() {
    let without =
        |prefix: &'static str| move |tensors: &mut Tensors| tensors.retain(|name, _| !name.starts_with(prefix));
    let input = "model.diffusion_model.input_blocks.0.0.weight";
    let cases: [(&str, &str, Tamper); 7] = [
        ("sd1", "no autoencoder", Box::new(without("first_stage_model."))),
        ("sd1", "no text encoder", Box::new(without("cond_stage_model."))),
        ("sdxl", "no second text encoder", Box::new(without("conditioner.embedders.1."))),
        (
            "sd1",
            "inpainting",
            Box::new(move |tensors| drop(tensors.insert(input.into(), Tensor::of(input, &[32, 9, 3, 3])))),
        ),
        (
            "sd1",
            "an autoencoder alone",
            Box::new(|tensors| tensors.retain(|name, _| name.starts_with("first_stage_model."))),
        ),
        (
            "sd1",
            "Flux",
            Box::new(|tensors| {
                tensors.clear();
                let name = "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale";
                tensors.insert(name.into(), Tensor::of(name, &[128]));
            }),
        ),
        (
            "sd1",
            "not known",
            Box::new(|tensors| {
                tensors.clear();
                tensors.insert("w".into(), Tensor::of("w", &[4]));
            }),
        ),
    ];
    for (family, reason, tamper) in cases {
        let error = tampered(family, tamper);
        assert!(error.code() == "Request" && error.to_string().contains(reason), "{reason}: {error}");
    }
}

#[test]
fn damaged_files_and_pickles_are_refused_before_anything_is_written() {
    let good = checkpoint(&Family::load("sd1"), Dtype::F16).bytes;
    let mut overlap = good.clone();
    let second = good.windows(16).enumerate().filter(|(_, window)| window == b"\"data_offsets\":[").nth(1).unwrap().0;
    overlap[second + 16] = b'0';
    let cases = [
        ("cut short", good[..good.len() / 2].to_vec(), "Manifest"),
        ("one byte short", good[..good.len() - 1].to_vec(), "Manifest"),
        ("100 GB header", [&(100u64 << 30).to_le_bytes()[..], &good[8..]].concat(), "Manifest"),
        ("overlap", overlap, "Manifest"),
        ("zipped pickle", b"PK\x03\x04\x00\x00archive/data.pkl".to_vec(), "Request"),
        ("bare pickle", b"\x80\x02}q\x00(X\x05\x00\x00\x00model".to_vec(), "Request"),
        ("empty", Vec::new(), "Manifest"),
    ];
    for (what, bytes, code) in cases {
        let (mut file, mut pieces) = (MemoryFile::new("model.safetensors", bytes), Pieces::default());
        let error = run(Inputs::new(&mut file), &options(Scheme::Q8), &mut pieces).unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
        assert_eq!(error.to_string().contains("is a pickle"), what.contains("pickle"), "{error}");
        assert!(pieces.bytes.is_empty(), "{what}");
    }
}

#[test]
fn weights_of_other_types_and_sizes_are_refused_by_the_header() {
    let name = "model.diffusion_model.input_blocks.1.0.out_layers.3.weight";
    let good = checkpoint(&Family::load("sd1"), Dtype::F16).bytes;
    let header_bytes = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(good[8..8 + header_bytes].to_vec()).unwrap();
    let entry = &header[header.find(&format!("\"{name}\"")).unwrap()..];
    let entry = &entry[..=entry.find('}').unwrap()];
    for (tampered, code) in [
        (entry.replace("F16", "I16"), "Manifest"),
        (entry.replace("[32,32,3,3]", "[32,3,32,3]"), "ShapeMismatch"),
        (entry.replace("[32,32,3,3]", "[9216,1]"), "Request"),
        (entry.replace("[32,32,3,3]", "[1,9216]"), "Request"),
    ] {
        let mut header = header.replace(entry, &tampered);
        header.extend(std::iter::repeat_n(' ', header_bytes.max(header.len()) - header.len()));
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &good[8 + header_bytes..]].concat();
        let mut pieces = Pieces::default();
        let mut file = MemoryFile::new("model.safetensors", bytes);
        let error = run(Inputs::new(&mut file), &options(Scheme::Q8), &mut pieces).unwrap_err();
        assert_eq!(error.code(), code, "{tampered}: {error}");
        assert!(pieces.bytes.is_empty() && file.read_bytes < 1 << 18);
    }
}
