//! Eight floats that are computed on at once: two vectors of 128 bits.
//!
//! With the feature `relaxed-simd`, WebAssembly multiplies and adds in one instruction, which rounds once or twice as the
//! machine likes. A function that is to do so must be compiled for it: see [`Lanes::multiply_add`].

use std::ops::{Add, Mul, Sub};

/// Floats side by side: the width of a panel.
pub const LANES: usize = 8;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vector {
    pub use std::arch::wasm32::{
        f32x4_add as add, f32x4_mul as mul, f32x4_splat as splat, f32x4_sub as sub, v128 as Vector,
    };
    use std::arch::wasm32::{
        f32x4_convert_i32x4, i16x8_load_extend_i8x8, i32x4_extend_high_i16x8, i32x4_extend_low_i16x8, v128_load,
        v128_store,
    };

    pub fn load(values: &[f32; 4]) -> Vector {
        // SAFETY: the reference is to 16 readable bytes, and the instruction takes any alignment.
        unsafe { v128_load(values.as_ptr().cast()) }
    }

    pub fn store(values: &mut [f32; 4], vector: Vector) {
        // SAFETY: the reference is to 16 writable bytes, and the instruction takes any alignment.
        unsafe { v128_store(values.as_mut_ptr().cast(), vector) }
    }

    #[cfg(feature = "relaxed-simd")]
    pub use std::arch::wasm32::f32x4_relaxed_madd as multiply_add;

    #[cfg(not(feature = "relaxed-simd"))]
    pub fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
        add(mul(a, b), c)
    }

    pub fn integers(values: &[i8; 8]) -> [Vector; 2] {
        // SAFETY: the reference is to 8 readable bytes, and the instruction takes any alignment.
        let wide = unsafe { i16x8_load_extend_i8x8(values.as_ptr()) };
        [i32x4_extend_low_i16x8(wide), i32x4_extend_high_i16x8(wide)].map(|half| f32x4_convert_i32x4(half))
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod vector {
    pub type Vector = [f32; 4];

    pub fn splat(value: f32) -> Vector {
        [value; 4]
    }

    pub fn load(values: &[f32; 4]) -> Vector {
        *values
    }

    pub fn store(values: &mut [f32; 4], vector: Vector) {
        *values = vector;
    }

    pub fn integers(values: &[i8; 8]) -> [Vector; 2] {
        [0, 4].map(|first| std::array::from_fn(|lane| f32::from(values[first + lane])))
    }

    pub fn add(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    pub fn mul(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    pub fn sub(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }

    pub fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
        add(mul(a, b), c)
    }
}

/// Eight floats in registers.
#[derive(Clone, Copy)]
pub struct Lanes(vector::Vector, vector::Vector);

impl Lanes {
    #[inline(always)]
    pub fn splat(value: f32) -> Self {
        Self(vector::splat(value), vector::splat(value))
    }

    #[inline(always)]
    pub fn load(values: &[f32; LANES]) -> Self {
        let (halves, _) = values.as_chunks();
        Self(vector::load(&halves[0]), vector::load(&halves[1]))
    }

    /// Those of two halves.
    #[inline(always)]
    pub fn halves(low: &[f32; LANES / 2], high: &[f32; LANES / 2]) -> Self {
        Self(vector::load(low), vector::load(high))
    }

    /// Whole numbers as floats.
    #[inline(always)]
    pub fn integers(values: &[i8; LANES]) -> Self {
        let [low, high] = vector::integers(values);
        Self(low, high)
    }

    #[inline(always)]
    pub fn store(self, values: &mut [f32; LANES]) {
        let (halves, _) = values.as_chunks_mut();
        vector::store(&mut halves[0], self.0);
        vector::store(&mut halves[1], self.1);
    }

    /// `self · by + sum`. Inlined only into functions with the same attribute.
    #[cfg_attr(all(feature = "relaxed-simd", target_arch = "wasm32"), target_feature(enable = "relaxed-simd"))]
    #[inline]
    pub fn multiply_add(self, by: Self, sum: Self) -> Self {
        Self(vector::multiply_add(self.0, by.0, sum.0), vector::multiply_add(self.1, by.1, sum.1))
    }

    /// The sum of all lanes.
    pub fn sum(self) -> f32 {
        let mut values = [0.0; LANES];
        self.store(&mut values);
        values.iter().sum()
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(vector::add(self.0, other.0), vector::add(self.1, other.1))
    }
}

impl Mul for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(vector::mul(self.0, other.0), vector::mul(self.1, other.1))
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(vector::sub(self.0, other.0), vector::sub(self.1, other.1))
    }
}
