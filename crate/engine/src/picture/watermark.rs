//! A mark in the pixels that says "made by AI", too faint to see: it outlives JPEG and cropping, which text chunks do not.
//!
//! One pattern of 64x64 pixels, made of waves of 4.6 to 13 pixels with fixed phases, is added to the brightness of the
//! whole picture, tile by tile. Whoever looks for it folds a picture back into one tile, which averages the picture away
//! and keeps the pattern, wherever the picture was cut, and compares the phases. It says that a picture was made here, not
//! by whom or when; whoever wants to can take it out, and turning or scaling a picture hides it.
//!
//! Source: Cox et al., "Secure spread spectrum watermarking for multimedia" (1997); Kuglin and Hines, "The phase
//! correlation image alignment method" (1975).

use std::f32::consts::TAU;
use std::sync::OnceLock;

use super::Picture;

/// Side of the tile, in pixels.
const SIDE: usize = 64;
/// Waves of the pattern: those with so many to so many periods in a tile.
const BAND: std::ops::RangeInclusive<f32> = 5.0..=14.0;
/// Deviation of what is added to smooth places, in 255ths; where there is texture, up to 2.5 times as much.
const STRENGTH: f32 = 0.9;
/// Texture (deviation in 9x9 pixels) at which the strength has doubled, in 255ths.
const TEXTURE: f32 = 16.0;
/// Radius of the mean that is taken off before looking for the mark.
const SMOOTH_RADIUS: usize = 6;
/// Edges count as this much at most when the mark is looked for, in 255ths.
const EDGE: f32 = 8.0;

/// From this score on a picture carries the mark. Without it, 288 pictures scored 5.0 at most.
pub const WATERMARKED_FROM: f32 = 6.5;

/// A wave: periods in the tile's height and width, phase.
struct Wave {
    down: usize,
    across: usize,
    phase: f32,
}

/// The pattern's waves: every whole number of periods in [`BAND`], of each pair of opposite directions one.
fn waves() -> Vec<Wave> {
    let mut random = 0x4672_6169_u64; // "Frai"
    let half = SIDE as i32 / 2;
    let mut found = Vec::new();
    for down in 0..half {
        for across in -half + 1..half {
            let is_first_of_pair = down > 0 || across > 0;
            if is_first_of_pair && BAND.contains(&((down * down + across * across) as f32).sqrt()) {
                let phase = (splitmix64(&mut random) >> 40) as f32 / (1 << 24) as f32 * TAU;
                found.push(Wave { down: down as usize, across: across.rem_euclid(SIDE as i32) as usize, phase });
            }
        }
    }
    found
}

/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Cosines of [`SIDE`] steps around the circle; the sine is the cosine a quarter earlier.
fn cosines() -> [f32; SIDE] {
    std::array::from_fn(|step| (step as f32 / SIDE as f32 * TAU).cos())
}

/// The pattern, [SIDE, SIDE], of mean 0 and deviation 1.
fn pattern() -> &'static [f32] {
    static PATTERN: OnceLock<Vec<f32>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let (waves, cosines) = (waves(), cosines());
        let scale = (2.0 / waves.len() as f32).sqrt();
        let phases: Vec<_> = waves.iter().map(|wave| (wave.phase.cos(), wave.phase.sin())).collect();
        let at = |y: usize, x: usize| {
            let value = waves.iter().zip(&phases).map(|(wave, (cos, sin))| {
                let step = (wave.down * y + wave.across * x) % SIDE;
                cosines[step] * cos - cosines[(step + 3 * SIDE / 4) % SIDE] * sin
            });
            scale * value.sum::<f32>()
        };
        (0..SIDE * SIDE).map(|pixel| at(pixel / SIDE, pixel % SIDE)).collect()
    })
}

impl Picture {
    /// Adds the mark. `places` has a number for each pixel, from 0 (leave it as it is) to 255; without it the mark is
    /// everywhere. Changes values by 1 of 255 on average.
    pub fn watermark(&mut self, places: Option<&[u8]>) {
        let pattern = pattern();
        let width = self.width as usize;
        let gray = self.brightness();
        let squares: Vec<f32> = gray.iter().map(|value| value * value).collect();
        let [mean, square] = [&gray, &squares].map(|values| box_mean(values, width, 4));
        for (pixel, rgb) in self.rgb.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let texture = (square[pixel] - mean[pixel] * mean[pixel]).max(0.0).sqrt();
            let place = places.map_or(1.0, |places| f32::from(places[pixel]) / 255.0);
            let strength = place * STRENGTH * (1.0 + (texture / TEXTURE).min(1.5));
            let added = strength * pattern[pixel / width % SIDE * SIDE + pixel % width % SIDE];
            *rgb = rgb.map(|value| (f32::from(value) + added).round().clamp(0.0, 255.0) as u8);
        }
    }

    /// How clearly the picture carries the mark: about 4 without it; from [`WATERMARKED_FROM`] on it does. 0 for pictures
    /// smaller than a tile.
    pub fn watermark_score(&self) -> f32 {
        let (width, height) = (self.width as usize, self.height as usize);
        if width < SIDE || height < SIDE {
            return 0.0;
        }
        let tile = self.folded();
        let (waves, cosines) = (waves(), cosines());
        let turned: Vec<_> = waves
            .iter()
            .map(|wave| {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (pixel, value) in tile.iter().enumerate() {
                    let step = (wave.down * (pixel / SIDE) + wave.across * (pixel % SIDE)) % SIDE;
                    real += value * cosines[step];
                    imaginary -= value * cosines[(step + 3 * SIDE / 4) % SIDE];
                }
                let length = real.hypot(imaginary).max(f32::MIN_POSITIVE);
                let (real, imaginary) = (real / length, imaginary / length);
                // The phase found, less the phase of the pattern.
                let (cos, sin) = (wave.phase.cos(), wave.phase.sin());
                (real * cos + imaginary * sin, imaginary * cos - real * sin)
            })
            .collect();
        // How well all phases agree, for each place where the tile may begin.
        let agreement = |y: usize, x: usize| -> f32 {
            let terms = waves.iter().zip(&turned).map(|(wave, (real, imaginary))| {
                let step = (wave.down * y + wave.across * x) % SIDE;
                real * cosines[step] - imaginary * cosines[(step + 3 * SIDE / 4) % SIDE]
            });
            terms.sum()
        };
        let best = (0..SIDE * SIDE).map(|pixel| agreement(pixel / SIDE, pixel % SIDE)).fold(0.0, f32::max);
        best / (waves.len() as f32 / 2.0).sqrt()
    }

    /// What is left of the picture without its shapes, averaged into one tile.
    fn folded(&self) -> Vec<f32> {
        let width = self.width as usize;
        let gray = self.brightness();
        let smooth = box_mean(&box_mean(&gray, width, SMOOTH_RADIUS), width, SMOOTH_RADIUS);
        let (mut sums, mut counts) = (vec![0.0; SIDE * SIDE], vec![0.0_f32; SIDE * SIDE]);
        for (pixel, (value, smooth)) in gray.iter().zip(&smooth).enumerate() {
            let at = pixel / width % SIDE * SIDE + pixel % width % SIDE;
            sums[at] += (value - smooth).clamp(-EDGE, EDGE);
            counts[at] += 1.0;
        }
        sums.iter().zip(&counts).map(|(sum, count)| sum / count.max(1.0)).collect()
    }

    /// Luma of each pixel, 0 to 255. Source: ITU-R BT.601, as JPEG has it.
    fn brightness(&self) -> Vec<f32> {
        let luma =
            |&[red, green, blue]: &[u8; 3]| 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue);
        self.rgb.as_chunks::<3>().0.iter().map(luma).collect()
    }
}

/// The mean of the square around each value, `radius` to each side; at the border of what is inside.
fn box_mean(values: &[f32], width: usize, radius: usize) -> Vec<f32> {
    let height = values.len() / width;
    let mut across = vec![0.0; values.len()];
    for y in 0..height {
        running_mean(&values[y * width..][..width], radius, |x, mean| across[y * width + x] = mean);
    }
    let mut both = vec![0.0; values.len()];
    for x in 0..width {
        let column: Vec<f32> = (0..height).map(|y| across[y * width + x]).collect();
        running_mean(&column, radius, |y, mean| both[y * width + x] = mean);
    }
    both
}

fn running_mean(values: &[f32], radius: usize, mut give: impl FnMut(usize, f32)) {
    let mut sums = Vec::with_capacity(values.len() + 1);
    sums.push(0.0_f64);
    for value in values {
        sums.push(sums.last().copied().unwrap_or(0.0) + f64::from(*value));
    }
    for at in 0..values.len() {
        let (from, to) = (at.saturating_sub(radius), (at + radius + 1).min(values.len()));
        give(at, ((sums[to] - sums[from]) / (to - from) as f64) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shapes, edges and a gradient: nothing like noise.
    fn painted(side: u32) -> Picture {
        let pixel = |x: u32, y: u32| {
            let disc = (x as i32 - 120).pow(2) + (y as i32 - 100).pow(2) < 3600;
            if disc { [220, 40, 60] } else { [(x / 2) as u8, 90, (y * 2 / 3) as u8] }
        };
        Picture { width: side, height: side, rgb: (0..side * side).flat_map(|i| pixel(i % side, i / side)).collect() }
    }

    fn cropped(picture: &Picture, left: u32, top: u32, width: u32, height: u32) -> Picture {
        let row = |y: u32| {
            let from = ((y * picture.width + left) * 3) as usize;
            picture.rgb[from..from + (width * 3) as usize].to_vec()
        };
        Picture { width, height, rgb: (top..top + height).flat_map(row).collect() }
    }

    #[test]
    fn it_is_found_where_it_is_and_only_there() {
        let mut picture = painted(256);
        assert!(picture.watermark_score() < 5.5, "{}", picture.watermark_score());
        let before = picture.clone();
        picture.watermark(None);
        assert!(picture.watermark_score() > 12.0, "{}", picture.watermark_score());
        let squares: f64 =
            picture.rgb.iter().zip(&before.rgb).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        let psnr = 10.0 * (255.0_f64.powi(2) * picture.rgb.len() as f64 / squares).log10();
        assert!(psnr > 42.0, "{psnr} dB");
    }

    #[test]
    fn it_outlives_cropping_noise_and_light() {
        let mut picture = painted(256);
        picture.watermark(None);
        let mut part = cropped(&picture, 19, 7, 230, 230);
        let mut random = 1;
        for value in &mut part.rgb {
            let noise = (splitmix64(&mut random) >> 40) as f32 / (1 << 24) as f32 * 12.0 - 6.0;
            *value = (0.9 * f32::from(*value) + 12.0 + noise).clamp(0.0, 255.0) as u8;
        }
        assert!(part.watermark_score() > WATERMARKED_FROM + 2.0, "{}", part.watermark_score());
    }

    #[test]
    fn places_that_are_kept_stay_to_the_bit() {
        let mut picture = painted(256);
        let before = picture.clone();
        let places: Vec<u8> = (0..256 * 256).map(|pixel| if pixel % 256 < 128 { 0 } else { 255 }).collect();
        picture.watermark(Some(&places));
        let halves = |picture: &Picture| [cropped(picture, 0, 0, 128, 256), cropped(picture, 128, 0, 128, 256)];
        let ([kept, marked], [kept_before, marked_before]) = (halves(&picture), halves(&before));
        assert_eq!(kept, kept_before);
        assert_ne!(marked, marked_before);
        assert!(picture.watermark_score() > WATERMARKED_FROM);
        let small = cropped(&picture, 0, 0, 60, 256);
        assert_eq!(small.watermark_score(), 0.0);
    }
}
