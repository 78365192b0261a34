//! The seed → noise stream: the numbers of `torch.Generator("cpu")`, so that a seed means the same picture here and in
//! diffusers.
//!
//! Source: PyTorch 2.15, `aten/src/ATen/core/MT19937RNGEngine.h`, `DistributionsHelper.h` and
//! `native/cpu/DistributionTemplates.h` (`normal_fill`); Matsumoto and Nishimura, *Mersenne Twister* (1998).

use core::f32;
use core::f64::consts::TAU;

use rand_mt::Mt;

/// Elements that one Box–Muller block turns from uniform to normal at a time.
const BLOCK: usize = 16;

/// A stream of standard normal numbers, as `torch.randn(..., generator=torch.Generator("cpu").manual_seed(seed))`.
///
/// Every [`NoiseStream::normal`] is one `torch.randn` call on the same generator. How many numbers a call asks for is
/// part of the stream: torch draws 16 or more numbers in another way than fewer, so two calls of 32 do not give the
/// numbers of one call of 64.
///
/// Values agree with torch within 2e-6: torch takes logarithm, sine and cosine from single-precision vector code
/// that differs between processors, where this takes them in double precision and rounds once.
#[derive(Debug, Clone)]
pub struct NoiseStream {
    engine: Mt,
    /// Second half of the last Box–Muller pair, kept between calls as torch's generator keeps it.
    next_normal: Option<f64>,
}

impl NoiseStream {
    /// Starts the stream of a seed. As in torch, only the seed's lower 32 bits count.
    pub fn new(seed: u64) -> Self {
        Self { engine: Mt::new((seed & 0xffff_ffff) as u32), next_normal: None }
    }

    /// Draws `len` numbers ~ N(0, 1), what `torch.randn` gives for any float32 shape of `len` elements.
    pub fn normal(&mut self, len: usize) -> Vec<f32> {
        if len < BLOCK {
            return (0..len).map(|_| self.next_normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..len).map(|_| self.uniform_24()).collect();
        for block in values.chunks_exact_mut(BLOCK) {
            box_muller(block);
        }
        if !len.is_multiple_of(BLOCK) {
            // torch draws the last 16 again rather than padding, overwriting what the block before left there.
            let tail = &mut values[len - BLOCK..];
            tail.fill_with(|| self.uniform_24());
            box_muller(tail);
        }
        values
    }

    /// Uniform in [0, 1) on a grid of 2⁻²⁴.
    fn uniform_24(&mut self) -> f32 {
        (self.engine.next_u32() & 0x00ff_ffff) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [0, 1) on a grid of 2⁻⁵³.
    fn uniform_53(&mut self) -> f64 {
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// One number of the path for short tensors: pairs in double precision, the second of a pair kept for later.
    fn next_normal(&mut self) -> f64 {
        if let Some(value) = self.next_normal.take() {
            return value;
        }
        let angle = TAU * self.uniform_53();
        let radius = (-2.0 * (-self.uniform_53()).ln_1p()).sqrt();
        self.next_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Turns 16 uniform numbers into normal ones in place: the first eight give the radii, the last eight the angles.
fn box_muller(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * f64::from(1.0 - *first).ln()).sqrt();
        // The angle is rounded to single precision as torch rounds it: near 2π that moves the result by up to 2e-6.
        let angle = f64::from(f32::consts::TAU * *second);
        *first = (radius * angle.cos()) as f32;
        *second = (radius * angle.sin()) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_standard_normal() {
        let values = NoiseStream::new(7).normal(100_000);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 1e5;
        // Three standard errors of the mean (0.0032) and of the variance (0.0045).
        assert!(mean.abs() < 0.0095, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.0135, "variance {variance}");
    }

    #[test]
    fn empty_draw_leaves_the_stream_alone() {
        let mut stream = NoiseStream::new(3);
        assert!(stream.normal(0).is_empty());
        assert_eq!(stream.normal(20), NoiseStream::new(3).normal(20));
    }
}
