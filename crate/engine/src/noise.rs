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

/// Noise on the arc from one to another: `strength` 0 gives the first to the bit, 1 the second. Unlike their mixture,
/// what lies between is as strong as they are.
///
/// Over all of the noise at once, where AUTOMATIC1111's web UI, whose variation seed this is, goes column by column.
///
/// Source: Shoemake, *Animating Rotation with Quaternion Curves* (1985), "slerp".
pub fn slerp(from: &[f32], to: &[f32], strength: f64) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let angle = (dot(from, to) / (dot(from, from) * dot(to, to)).sqrt()).clamp(-1.0, 1.0).acos();
    let (start, end) = match angle.sin() {
        sine if sine > 1e-6 => (((1.0 - strength) * angle).sin() / sine, (strength * angle).sin() / sine),
        // Of one direction, or of none.
        _ => (1.0 - strength, strength),
    };
    from.iter().zip(to).map(|(a, b)| (start * f64::from(*a) + end * f64::from(*b)) as f32).collect()
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

    /// What these lines of torch 2.15 give:
    ///
    /// ```python
    /// a, b = torch.tensor([1.0, -2.0, 0.5, 0.25]), torch.tensor([0.5, 1.0, -1.5, 2.0])
    /// omega = torch.acos((a / a.norm() * b / b.norm()).sum())
    /// (torch.sin(0.7 * omega) * a + torch.sin(0.3 * omega) * b) / torch.sin(omega)
    /// ```
    #[test]
    fn slerp_is_torchs() {
        let (a, b) = ([1.0, -2.0, 0.5, 0.25], [0.5, 1.0, -1.5, 2.0]);
        let expected = [1.276_254_9, -1.454_713_8, -0.322_443_93, 1.348_247_3];
        let found = slerp(&a, &b, 0.3);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        assert_eq!(slerp(&a, &b, 0.0), a, "to the bit");
        assert!(slerp(&a, &b, 1.0).iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(slerp(&a, &a, 0.4), a);
        assert_eq!(slerp(&[0.0; 2], &[0.0; 2], 0.4), [0.0; 2]);
    }

    #[test]
    fn noise_on_the_way_to_another_seed_stays_standard_normal() {
        let [from, to] = [1, 2].map(|seed| NoiseStream::new(seed).normal(10_000));
        let mut before = 0.0;
        for strength in [0.1, 0.3, 0.5, 0.8, 1.0] {
            let values = slerp(&from, &to, strength);
            let variance = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / 1e4;
            assert!((variance - 1.0).abs() < 0.05, "{strength}: {variance}");
            let distance: f64 = values.iter().zip(&from).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            assert!(distance > before, "further with every step");
            before = distance;
        }
    }

    #[test]
    fn empty_draw_leaves_the_stream_alone() {
        let mut stream = NoiseStream::new(3);
        assert!(stream.normal(0).is_empty());
        assert_eq!(stream.normal(20), NoiseStream::new(3).normal(20));
    }
}
