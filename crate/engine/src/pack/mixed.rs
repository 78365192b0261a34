//! The `mixed` quantization: which weights take 4 bits, which 8, and which 16, by what rounding would cost.
//!
//! Every weight that may be quantized is read once and rounded to `q8` and `q4`; its relative error is the root mean
//! square of the rounding over that of the weight. Then, within one component:
//!
//! 1. All start at `q8`, or at F16 where the error of `q8` is above [`MOST_Q8_ERROR`].
//! 2. Weights step down to `q4` one by one, those first that save most bytes for the square of their error, as long as
//!    the component's error stays within [`MOST_ERROR`]: the root mean square of its weights' relative errors, each
//!    weight counting once whatever its size, and by its place. So large weights give up bits, and small ones and those
//!    with outliers keep them.
//! 3. The place counts 1 at the outermost level of a U-shaped model and a [`quarter`](LEVEL_FACTOR) as much for each
//!    level further in, the mid block being the innermost.
//! 4. Autoencoders and upscalers stay at `q8`: what they round is in the picture, and no later step mends it.
//!
//! Measured on the default model, one weight to `q4` at a time: the relative errors all lie between 0.07 and 0.10, yet
//! the harm to the picture differs by five orders of magnitude, and by about ten for each level. The factor of four is
//! the cautious end of that, and what counting would have: a level further in has a quarter of the positions.
//! `tests/bench/quantization.py` measures pictures, schemes and levels; the README beside it has its tables.

use super::header::TensorInfo;
use super::layout::Layout;
use super::quantize::{self, Rounding};
use super::streams::{TensorSource, chunks};
use crate::Result;
use crate::upscaler;
use crate::weights::Scheme;

/// Greatest error of a component. All of it at `q4` has about 0.09, at `q8` 0.005.
pub const MOST_ERROR: f64 = 0.03;
/// Greatest relative error of one weight at `q4`; normally distributed numbers have 0.09.
pub const MOST_Q4_ERROR: f64 = 0.15;
/// Greatest relative error of one weight at `q8`: twice what normally distributed numbers have.
pub const MOST_Q8_ERROR: f64 = 0.01;
/// How much less an error counts one level further in.
pub const LEVEL_FACTOR: f64 = 0.25;
/// Levels beyond this one count as this one.
const MOST_LEVEL: i32 = 8;

/// The schemes of a component's tensors as `mixed` chooses them; U8 tensors are files and have none.
///
/// # Errors
/// [`crate::Error::Manifest`] naming a tensor that holds no finite floats; whatever `source` reports.
pub async fn schemes(
    component: &str,
    tensors: &[TensorInfo],
    layout: &Layout,
    source: &mut impl TensorSource,
) -> Result<Vec<Option<Scheme>>> {
    let mut schemes: Vec<Option<Scheme>> = tensors.iter().map(|tensor| layout.scheme(tensor, Scheme::Q8)).collect();
    let mut candidates = Vec::new();
    for (index, tensor) in tensors.iter().enumerate().filter(|(_, tensor)| layout.is_quantizable(tensor)) {
        let name = format!("{component}.{}", tensor.name);
        let (mut q8, mut q4) = (Rounding::default(), Rounding::default());
        for range in chunks(tensor) {
            let values = quantize::decode(&name, tensor.dtype, &source.read(index, range).await?)?;
            q8.add(&values, &quantize::rounded(&name, Scheme::Q8, &values)?);
            q4.add(&values, &quantize::rounded(&name, Scheme::Q4, &values)?);
        }
        candidates.push(Candidate {
            index,
            name: &tensor.name,
            elements: tensor.shape.iter().product(),
            q8: q8.relative_error(),
            q4: q4.relative_error(),
        });
    }
    for (index, scheme) in choose(&candidates, !component.starts_with("vae") && component != upscaler::COMPONENT) {
        schemes[index] = Some(scheme);
    }
    Ok(schemes)
}

/// A weight that may be quantized, and the relative errors of doing so.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    index: usize,
    name: &'a str,
    elements: usize,
    q8: f64,
    q4: f64,
}

/// A scheme for every candidate, with its index.
fn choose(candidates: &[Candidate], may_take_q4: bool) -> Vec<(usize, Scheme)> {
    let levels = Levels::new(candidates);
    let mut chosen = Vec::with_capacity(candidates.len());
    let mut steps: Vec<(f64, &Candidate)> = Vec::new();
    let (mut places, mut squares) = (0.0, 0.0);
    for candidate in candidates {
        let place = levels.place(candidate.name);
        places += place;
        if candidate.q8 > MOST_Q8_ERROR {
            chosen.push((candidate.index, Scheme::F16));
            continue;
        }
        chosen.push((candidate.index, Scheme::Q8));
        squares += place * candidate.q8.powi(2);
        if may_take_q4 && candidate.q4 <= MOST_Q4_ERROR {
            steps.push((place * (candidate.q4.powi(2) - candidate.q8.powi(2)), candidate));
        }
    }
    let per_element = |(cost, candidate): &(f64, &Candidate)| cost / candidate.elements as f64;
    steps.sort_by(|a, b| per_element(a).total_cmp(&per_element(b)).then_with(|| a.1.name.cmp(b.1.name)));
    let budget = places * MOST_ERROR.powi(2);
    for (cost, candidate) in steps {
        if squares + cost <= budget {
            squares += cost;
            chosen.push((candidate.index, Scheme::Q4)); // after its q8, and so instead of it
        }
    }
    chosen
}

/// The levels of a U-shaped model, from the names of its weights.
struct Levels {
    /// Index of the innermost block that is numbered.
    innermost: i32,
}

impl Levels {
    fn new(candidates: &[Candidate]) -> Self {
        let indices = candidates.iter().filter_map(|candidate| match block(candidate.name)? {
            Block::Down(index) | Block::Up(index) => Some(index),
            Block::Middle => None,
        });
        Self { innermost: indices.max().unwrap_or(0) }
    }

    /// How much an error of that weight counts.
    fn place(&self, name: &str) -> f64 {
        let level = match block(name) {
            Some(Block::Down(index)) => index,
            Some(Block::Up(index)) => self.innermost - index,
            Some(Block::Middle) => self.innermost + 1,
            None => 0,
        };
        LEVEL_FACTOR.powi(level.min(MOST_LEVEL))
    }
}

enum Block {
    /// `down_blocks.N`, of which the first is outermost.
    Down(i32),
    /// `up_blocks.N`, of which the last is outermost.
    Up(i32),
    /// `mid_block`.
    Middle,
}

fn block(name: &str) -> Option<Block> {
    let mut parts = name.split('.');
    while let Some(part) = parts.next() {
        let mut index = || parts.next()?.parse::<u16>().ok().map(i32::from);
        match part {
            "down_blocks" => return index().map(Block::Down),
            "up_blocks" => return index().map(Block::Up),
            "mid_block" => return Some(Block::Middle),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOOTH: (f64, f64) = (0.005, 0.09);

    fn candidates<'a>(weights: &[(&'a str, usize, (f64, f64))]) -> Vec<Candidate<'a>> {
        let candidate = |(index, &(name, elements, (q8, q4))): (usize, &(&'a str, usize, (f64, f64)))| Candidate {
            index,
            name,
            elements,
            q8,
            q4,
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    /// The scheme of each of `weights`.
    fn chosen(weights: &[(&str, usize, (f64, f64))]) -> Vec<Scheme> {
        let chosen: std::collections::BTreeMap<_, _> = choose(&candidates(weights), true).into_iter().collect();
        chosen.into_values().collect()
    }

    #[test]
    fn large_weights_step_down_and_small_ones_do_not() {
        let mut weights = vec![("small.weight", 1024, SMOOTH); 11];
        weights.push(("large.weight", 1 << 20, SMOOTH));
        let schemes = chosen(&weights);
        assert_eq!(schemes[..11], [Scheme::Q8; 11]);
        assert_eq!(schemes[11], Scheme::Q4);
    }

    #[test]
    fn of_two_of_a_size_the_one_with_outliers_keeps_its_bits() {
        let mut weights = vec![("small.weight", 1024, SMOOTH); 14];
        weights.extend([("a.weight", 1 << 20, (0.009, 0.14)), ("b.weight", 1 << 20, SMOOTH)]);
        assert_eq!(chosen(&weights)[14..], [Scheme::Q8, Scheme::Q4]);
        weights[14].2 = SMOOTH;
        weights[15].2 = (0.009, 0.14);
        assert_eq!(chosen(&weights)[14..], [Scheme::Q4, Scheme::Q8]);
    }

    #[test]
    fn no_bound_is_ever_crossed() {
        for (errors, scheme) in [((0.005, 0.151), Scheme::Q8), ((0.011, 0.09), Scheme::F16), ((0.0, 0.0), Scheme::Q4)] {
            assert_eq!(chosen(&[("mid_block.w.weight", 1 << 20, errors)]), [scheme], "{errors:?}");
        }
        // Alone, one smooth weight would be all of the component's error.
        assert_eq!(chosen(&[("w.weight", 1 << 20, SMOOTH)]), [Scheme::Q8]);
        let weights = vec![("w.weight", 1024, SMOOTH); 1000];
        let schemes = chosen(&weights);
        let square = |scheme: &Scheme| if *scheme == Scheme::Q4 { SMOOTH.1 } else { SMOOTH.0 }.powi(2);
        let error = (schemes.iter().map(square).sum::<f64>() / 1000.0).sqrt();
        assert!((MOST_ERROR * 0.99..=MOST_ERROR).contains(&error), "{error}");
    }

    #[test]
    fn the_inner_levels_step_down_first() {
        let names = ["down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1", "time_embedding"];
        let names = names.map(|block| format!("{block}.linear.weight"));
        let weights: Vec<_> = names.iter().map(|name| (name.as_str(), 4096, SMOOTH)).collect();
        let levels = Levels::new(&candidates(&weights));
        assert_eq!(
            weights.iter().map(|(name, ..)| levels.place(name)).collect::<Vec<_>>(),
            [1.0, 0.25, 0.0625, 0.25, 1.0, 1.0]
        );
        // The budget holds the mid block and one of the two blocks around it, the first by name.
        assert_eq!(chosen(&weights), [Scheme::Q8, Scheme::Q4, Scheme::Q4, Scheme::Q8, Scheme::Q8, Scheme::Q8]);
    }

    #[test]
    fn autoencoders_keep_eight_bits_and_names_are_not_trusted() {
        let weights = [("decoder.mid_block.w.weight", 1 << 20, SMOOTH), ("w.weight", 1 << 20, (0.5, 0.5))];
        assert_eq!(choose(&candidates(&weights), false), [(0, Scheme::Q8), (1, Scheme::F16)]);
        let names = ["up_blocks.65535.w", "up_blocks.99999999999999.w", "down_blocks", "up_blocks..w", "mid_block"];
        let weights = names.map(|name| (name, 1024, SMOOTH));
        let levels = Levels::new(&candidates(&weights));
        let places: Vec<f64> = names.iter().map(|name| levels.place(name)).collect();
        assert_eq!(places, [1.0, 1.0, 1.0, 1.0, LEVEL_FACTOR.powi(MOST_LEVEL)]);
    }
}
