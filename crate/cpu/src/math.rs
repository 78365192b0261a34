//! Functions of single numbers, without branches and calls, so that loops over slices become vector code.

/// e^x within 2 units in the last place; 0 below -87.3, e^88 above 88.
///
/// Source: the range reduction and polynomial of Cephes' `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let top = if x < 88.0 { x } else { 88.0 };
    let bounded = if top > -87.3 { top } else { -87.3 };
    let rounded = bounded * std::f32::consts::LOG2_E + ROUND;
    let power = (rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits());
    let whole = rounded - ROUND;
    let r = bounded - whole * LN2_HIGH - whole * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let value = (p * r * r + r + 1.0) * f32::from_bits(power);
    if x > -87.3 { value } else { 0.0 }
}

/// The error function, within 3e-7.
///
/// Source: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 7.1.26.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = p * t + coefficient;
    }
    (1.0 - p * t * exp(-a * a)).copysign(x)
}

#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
pub fn silu_of(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// x·sigmoid(x) of every element.
pub fn silu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = silu_of(*x));
}

/// x·Φ(x) of every element, with Φ within 2e-7.
pub fn gelu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = gelu_of(*x));
}

/// x·sigmoid(1.702·x) of every element.
pub fn quick_gelu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x /= 1.0 + exp(-1.702 * *x));
}

/// `value · gelu(gate)` of rows of `x` [N, 2·inner], whose first half is the value and whose second is the gate, into
/// `y` [N, inner].
pub fn geglu(x: &[f32], inner: usize, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(2 * inner).zip(y.chunks_exact_mut(inner)) {
        let (values, gates) = x.split_at(inner);
        for ((y, value), gate) in y.iter_mut().zip(values).zip(gates) {
            *y = value * gelu_of(*gate);
        }
    }
}
