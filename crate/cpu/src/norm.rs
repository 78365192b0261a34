//! Group norm, with SiLU in the same pass, and layer norm. Mean and variance take two passes, as accuracy asks for.

use crate::lanes::{LANES, Lanes};
use crate::math::silu_of;
use crate::pad::Frame;

/// Numbers that are added up at 32 bits before their sum joins the others at 64.
const RUN: usize = 4096;

/// `Σ term(x)`.
fn sum(x: &[f32], term: impl Fn(Lanes) -> Lanes) -> f64 {
    let run = |x: &[f32]| {
        let (whole, rest) = x.as_chunks::<LANES>();
        let sum = whole.iter().fold(Lanes::splat(0.0), |sum, lanes| sum + term(Lanes::load(lanes))).sum();
        let rest = rest.iter().map(|value| {
            let mut lanes = [0.0; LANES];
            term(Lanes::splat(*value)).store(&mut lanes);
            lanes[0]
        });
        f64::from(sum) + f64::from(rest.sum::<f32>())
    };
    x.chunks(RUN).map(run).sum()
}

/// Mean, and sum of squared differences from it.
fn moments(x: &[f32]) -> [f32; 2] {
    let mean = (sum(x, |x| x) / x.len() as f64) as f32;
    let squares = sum(x, |x| {
        let centred = x + Lanes::splat(-mean);
        centred * centred
    });
    [mean, squares as f32]
}

/// Mean, sum of squared differences from it and number of elements of each group, one after the other.
pub fn group_moments(x: &[f32], members: usize) -> Vec<f32> {
    let group = |x: &[f32]| {
        let [mean, squares] = moments(x);
        [mean, squares, members as f32]
    };
    x.chunks_exact(members).flat_map(group).collect()
}

/// Several slices' mean, squares and count as one mean and variance.
///
/// Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
fn combine(slices: &[f32]) -> [f64; 2] {
    let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
    for slice in slices.as_chunks::<3>().0 {
        let [slice_mean, slice_squares, slice_count] = slice.map(f64::from);
        let next = count + slice_count;
        let offset = slice_mean - mean;
        squares += slice_squares + offset * offset * count * slice_count / next.max(1.0);
        mean += offset * slice_count / next.max(1.0);
        count = next;
    }
    [mean, squares / count]
}

/// Normalizes the planes of `x` [B, C, height, width] by the `moments` [B, groups, slices, 3] of their groups, scales and
/// shifts each channel, takes SiLU if `silu`, and frames them, into `y` [B, C, result]. Nothing is enlarged.
pub fn normalize_groups(
    (x, frame): (&[f32], &Frame),
    (moments, groups, eps): (&[f32], usize, f64),
    (weight, bias): (&[f32], &[f32]),
    silu: bool,
    y: &mut [f32],
) {
    let members = weight.len() / groups;
    let [pixels, results] = [frame.size, frame.result].map(|[height, width]| height * width);
    let images = x.len() / pixels / weight.len();
    let slices = moments.len() / (images * groups);
    let channels = x.chunks_exact(pixels).zip(y.chunks_exact_mut(results)).enumerate();
    for (row, (x, y)) in channels {
        let channel = row % weight.len();
        let [mean, variance] = combine(&moments[row / members * slices..][..slices]);
        let scale = f64::from(weight[channel]) / (variance + eps).sqrt();
        let (shift, scale) = ((f64::from(bias[channel]) - mean * scale) as f32, scale as f32);
        let normalize = |x: &[f32], y: &mut [f32]| match silu {
            true => y.iter_mut().zip(x).for_each(|(y, x)| *y = silu_of(x * scale + shift)),
            false => y.iter_mut().zip(x).for_each(|(y, x)| *y = x * scale + shift),
        };
        match frame.is_none() {
            true => normalize(x, y),
            false => frame.fill(x, y, |x, y, _| normalize(x, y)),
        }
    }
}

/// Layer normalization of rows of `x` [N, C] into `y`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64, y: &mut [f32]) {
    let columns = weight.len();
    for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
        let [mean, squares] = moments(x);
        let scale = (1.0 / (f64::from(squares) / columns as f64 + eps).sqrt()) as f32;
        for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
            *y = (x - mean) * scale * weight + bias;
        }
    }
}
