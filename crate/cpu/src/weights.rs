//! Rows of weights as a pack stores them, unpacked a few at a time.

use std::ops::Range;

use crate::lanes::Lanes;

/// Numbers that share a scale.
const BLOCK: usize = 32;

/// A matrix [rows, columns] of weights, row by row. 16-bit floats are given by their bits.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats.
    F16(&'a [u16]),
    /// 8-bit integers and a 16-bit float for every 32 of them, by which they are multiplied.
    Q8(&'a [i8], &'a [u16]),
    /// 4-bit integers plus 8, two in a byte with the first in the lower half, and scales as for `Q8`.
    Q4(&'a [u8], &'a [u16]),
}

impl<'a> Rows<'a> {
    /// Numbers `numbers` of the matrix, whose ends are multiples of 32 where there are scales, as a matrix of their own.
    pub fn part(&self, numbers: Range<usize>) -> Self {
        let blocks = numbers.start / BLOCK..numbers.end / BLOCK;
        match *self {
            Self::F32(values) => Self::F32(&values[numbers]),
            Self::F16(bits) => Self::F16(&bits[numbers]),
            Self::Q8(values, scales) => Self::Q8(&values[numbers], &scales[blocks]),
            Self::Q4(bytes, scales) => Self::Q4(&bytes[numbers.start / 2..numbers.end / 2], &scales[blocks]),
        }
    }

    /// Copies the numbers from `start` on, which is a multiple of 32 where there are scales, as the length is.
    pub fn copy(&self, start: usize, y: &mut [f32]) {
        match self {
            Self::F32(values) => y.copy_from_slice(&values[start..start + y.len()]),
            _ => {
                self.unpack(start, y);
            }
        }
    }

    /// Numbers `start..start + buffer.len()` of the matrix; start and length are multiples of 32 where there are
    /// scales. Floats that need no unpacking are not copied.
    #[inline]
    pub(crate) fn unpack<'b>(&self, start: usize, buffer: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        let end = start + buffer.len();
        match *self {
            Self::F32(values) => return &values[start..end],
            Self::F16(bits) => buffer.iter_mut().zip(&bits[start..end]).for_each(|(x, bits)| *x = float(*bits)),
            Self::Q8(values, scales) => {
                let (blocks, _) = values[start..end].as_chunks::<BLOCK>();
                let blocks = blocks.iter().zip(&scales[start / BLOCK..]);
                for (target, (block, scale)) in buffer.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
                    scaled(block, *scale, target);
                }
            }
            Self::Q4(bytes, scales) => {
                let (blocks, _) = bytes[start / 2..end / 2].as_chunks::<{ BLOCK / 2 }>();
                let blocks = blocks.iter().zip(&scales[start / BLOCK..]);
                for (target, (bytes, scale)) in buffer.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
                    let mut block = [0; BLOCK];
                    for (pair, byte) in block.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                        *pair = [byte & 15, byte >> 4].map(|nibble| nibble as i8 - 8);
                    }
                    scaled(&block, *scale, target);
                }
            }
        }
        buffer
    }
}

/// A block's integers times its scale.
#[inline(always)]
fn scaled(block: &[i8; BLOCK], scale: u16, target: &mut [f32; BLOCK]) {
    let scale = Lanes::splat(float(scale));
    for (values, target) in block.as_chunks().0.iter().zip(target.as_chunks_mut().0) {
        (Lanes::integers(values) * scale).store(target);
    }
}

/// The value of a finite 16-bit float. Infinities and NaN, which no weight may be, come out as 65536 and more.
#[inline(always)]
fn float(bits: u16) -> f32 {
    /// 2^112, the difference of the exponents' biases.
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * REBIAS;
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bit_floats_are_exact() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
        ];
        for (bits, value) in cases {
            assert_eq!(float(bits), value, "{bits:#06x}");
        }
    }
}
