//! The noise stream against `torch.Generator("cpu")`; goldens by `tests/parity/make_noise.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where a golden is malformed")]

use fraise_engine::noise::NoiseStream;
use safetensors::SafeTensors;

/// torch's vectorised logarithm, sine and cosine are single precision; the largest normals are about 5.
const TOLERANCE: f32 = 2e-6;

#[derive(serde::Deserialize)]
struct About {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    seed: String,
    lengths: Vec<usize>,
}

fn f32s(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn f64s(tensors: &SafeTensors, name: &str) -> Vec<f64> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::F64, "{name}");
    view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= TOLERANCE, "{what}[{index}]: {found} where torch draws {expected}");
    }
}

#[test]
fn equals_torch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/parity/goldens/noise_torch.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let About { cases } = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["golden"]).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    for case in cases {
        let mut stream = NoiseStream::new(case.seed.parse().unwrap());
        for (index, &len) in case.lengths.iter().enumerate() {
            let key = format!("{}.{index}", case.name);
            let values = stream.normal(len);
            assert_eq!(values.len(), len, "{key}");
            if len <= 1024 {
                assert_close(&values, &f32s(&tensors, &key), &key);
                continue;
            }
            assert_close(&values[..256], &f32s(&tensors, &format!("{key}.head")), &key);
            assert_close(&values[len - 256..], &f32s(&tensors, &format!("{key}.tail")), &key);
            let mut sums = [0.0; 3];
            for (i, &value) in values.iter().enumerate() {
                let value = f64::from(value);
                sums[0] += value;
                sums[1] += value * value;
                sums[2] += value * i as f64 / len as f64;
            }
            // Rounding differences are independent and below 1e-6, so their sum over 16,384 numbers stays below 1e-3;
            // a wrong number anywhere moves the sums by far more, two exchanged ones the weighted sum.
            for (found, expected) in sums.iter().zip(f64s(&tensors, &format!("{key}.sums"))) {
                assert!((found - expected).abs() < 1e-3, "{key}: sums {sums:?}");
            }
        }
    }
}
