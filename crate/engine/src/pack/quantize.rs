//! The number formats of a pack's weights, and the way back.
//!
//! `q8` and `q4` cut a row-major weight into blocks of 32 along its flattened input axis. A block is symmetric: one f16
//! scale, the greatest magnitude over 127 (or 7), and integers in ±127 (or ±7). The scale is rounded to f16 first and
//! the integers are computed with the rounded one, so that its rounding costs nothing.

use half::{bf16, f16};
use safetensors::Dtype;

use crate::weights::Scheme;
use crate::{Error, Result};

/// Numbers that share one scale.
pub const BLOCK: usize = 32;

/// Decodes little-endian floats of a tensor.
///
/// # Errors
/// [`Error::Manifest`] naming the tensor where its type is none of F32, F16 and BF16, or a number is not finite.
pub fn decode(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>> {
    let values: Vec<f32> = match dtype {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        other => return Err(Error::manifest(name, format!("weights of type {other} cannot be packed"))),
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::manifest(name, format!("holds {value}: the weights are damaged"))),
        None => Ok(values),
    }
}

/// Numbers encoded as F32 or F16, or the integers of a quantized scheme; whole blocks of 32 for the latter.
///
/// # Errors
/// [`Error::Manifest`] naming the tensor where a number is beyond what F16 holds.
pub fn encode(name: &str, scheme: Scheme, values: &[f32]) -> Result<Vec<u8>> {
    match scheme {
        Scheme::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Scheme::F16 => {
            let mut bytes = Vec::with_capacity(values.len() * 2);
            for &value in values {
                bytes.extend(finite_f16(name, value)?.to_le_bytes());
            }
            Ok(bytes)
        }
        Scheme::Q8 => {
            let mut bytes = Vec::with_capacity(values.len());
            for block in values.chunks(BLOCK) {
                let scale = block_scale(name, scheme, block)?;
                bytes.extend(block.iter().map(|&value| integer(value, scale, 127.0) as u8)); // two's complement
            }
            Ok(bytes)
        }
        Scheme::Q4 => {
            let mut bytes = Vec::with_capacity(values.len() / 2);
            for block in values.chunks(BLOCK) {
                let scale = block_scale(name, scheme, block)?;
                let nibble = |value: f32| (integer(value, scale, 7.0) + 8) as u8;
                bytes.extend(block.chunks(2).map(|pair| nibble(pair[0]) | nibble(pair[1]) << 4));
            }
            Ok(bytes)
        }
    }
}

/// The scales of whole blocks of 32, as F16.
///
/// # Errors
/// [`Error::Manifest`] naming the tensor where a scale is beyond what F16 holds.
pub fn scales(name: &str, scheme: Scheme, values: &[f32]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.len() / BLOCK * 2);
    for block in values.chunks(BLOCK) {
        bytes.extend(block_scale(name, scheme, block)?.to_le_bytes());
    }
    Ok(bytes)
}

/// The numbers that `encode`d bytes, with their `scales` where quantized, stand for.
pub fn decode_scheme(scheme: Scheme, bytes: &[u8], scales: &[u8]) -> Vec<f32> {
    let scales = scales.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
    match scheme {
        Scheme::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Scheme::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Scheme::Q8 => bytes
            .chunks(BLOCK)
            .zip(scales)
            .flat_map(|(block, scale)| block.iter().map(move |&byte| f32::from(byte as i8) * scale))
            .collect(),
        Scheme::Q4 => bytes
            .chunks(BLOCK / 2)
            .zip(scales)
            .flat_map(|(block, scale)| {
                block
                    .iter()
                    .flat_map(|byte| [byte & 15, byte >> 4])
                    .map(move |nibble| (f32::from(nibble) - 8.0) * scale)
            })
            .collect(),
    }
}

fn block_scale(name: &str, scheme: Scheme, block: &[f32]) -> Result<f16> {
    let greatest = block.iter().fold(0f32, |greatest, value| greatest.max(value.abs()));
    finite_f16(name, greatest / if scheme == Scheme::Q4 { 7.0 } else { 127.0 })
}

fn finite_f16(name: &str, value: f32) -> Result<f16> {
    let rounded = f16::from_f32(value);
    if rounded.is_finite() {
        Ok(rounded)
    } else {
        Err(Error::manifest(name, format!("holds {value}, which is beyond 16-bit floats")))
    }
}

fn integer(value: f32, scale: f16, most: f32) -> i8 {
    let scale = scale.to_f32();
    if scale == 0.0 {
        return 0; // the whole block is below what F16 can express
    }
    (value / scale).round_ties_even().clamp(-most, most) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * 0.731).sin() * (1.0 + (i / 32) as f32) * 0.02).collect()
    }

    fn round_trip(scheme: Scheme, values: &[f32]) -> Vec<f32> {
        decode_scheme(scheme, &encode("w", scheme, values).unwrap(), &scales("w", scheme, values).unwrap())
    }

    #[test]
    fn round_trip_stays_within_half_a_step() {
        let values = wave(32 * 40);
        for (scheme, levels) in [(Scheme::Q8, 127.0), (Scheme::Q4, 7.0)] {
            for (block, back) in values.chunks(BLOCK).zip(round_trip(scheme, &values).chunks(BLOCK)) {
                let step = block.iter().fold(0f32, |most, value| most.max(value.abs())) / levels;
                for (value, found) in block.iter().zip(back) {
                    // Half a step, plus the f16 scale's own rounding of 2^-11 at full deflection.
                    let bound = step * 0.5 + value.abs() * 4.9e-4;
                    assert!((value - found).abs() <= bound, "{scheme:?}: {value} became {found}");
                }
            }
        }
        assert_eq!(round_trip(Scheme::F32, &values), values);
        let halves: Vec<f32> = values.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
        assert_eq!(round_trip(Scheme::F16, &values), halves);
    }

    #[test]
    fn q4_keeps_the_low_nibble_first() {
        let mut values = vec![0.0; 32];
        (values[0], values[1], values[31]) = (-7.0, 3.0, 7.0);
        let bytes = encode("w", Scheme::Q4, &values).unwrap();
        assert_eq!((bytes[0], bytes[1], bytes[15]), (0xb1, 0x88, 0xf8));
    }

    #[test]
    fn a_block_of_zeros_or_of_dust_stays_zero() {
        for values in [[0.0; 32], [1e-9; 32]] {
            assert_eq!(round_trip(Scheme::Q8, &values), [0.0; 32]);
        }
    }

    #[test]
    fn refuses_numbers_that_are_none_and_types_that_are_no_weights() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            match decode("unet.conv.weight", Dtype::F32, &value.to_le_bytes()) {
                Err(Error::Manifest { field, .. }) => assert_eq!(field, "unet.conv.weight"),
                other => panic!("{value}: {other:?}"),
            }
        }
        assert!(decode("w", Dtype::I64, &[0; 8]).is_err());
        assert!(encode("w", Scheme::F16, &[7e4]).is_err());
        assert!(encode("w", Scheme::Q8, &[9e6; 32]).is_err());
        let bytes: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        assert_eq!(decode("w", Dtype::BF16, &bytes).unwrap(), [1.5, -2.0]);
    }
}
