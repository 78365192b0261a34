//! Scaled dot-product attention. The scores of a few queries at a time are kept, in the layout of a product's inputs,
//! so that both products run on the same tile.

use std::ops::Range;

use crate::lanes::LANES;
use crate::math::exp;
use crate::product::{ROWS, add};
use crate::weights::Rows;

/// Scores that are kept at once, unless those of one panel of queries are more.
const SCORES: usize = 1 << 16;

/// Sizes of an attention.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Images.
    pub batch: usize,
    /// Queries of an image.
    pub queries: usize,
    /// Keys of an image, as many as its values.
    pub keys: usize,
    /// Number of heads.
    pub heads: usize,
    /// Channels of one head.
    pub size: usize,
    /// Whether query i sees only keys up to i.
    pub causal: bool,
}

/// `softmax(q·kᵀ / √size)·v` per head: `q` [B, N, C], `k` and `v` [B, M, C] into `y` [B, N, C], heads side by side in C.
pub fn attention(q: &[f32], k: &[f32], v: &[f32], shape: Attention, y: &mut [f32]) {
    let channels = shape.heads * shape.size;
    let (queries, keys) = (shape.queries * channels, shape.keys * channels);
    for image in 0..shape.batch {
        let [q, k, v] = [&q[image * queries..][..queries], &k[image * keys..][..keys], &v[image * keys..][..keys]];
        for head in 0..shape.heads {
            let part = head * shape.size..(head + 1) * shape.size;
            attend(q, k, v, (shape, part), &mut y[image * queries..][..queries]);
        }
    }
}

/// One head of one image, whose channels are `part` of all.
fn attend(q: &[f32], k: &[f32], v: &[f32], (shape, part): (Attention, Range<usize>), y: &mut [f32]) {
    let Attention { queries, keys, size, .. } = shape;
    let channels = shape.heads * size;
    let k: Vec<f32> = k.chunks_exact(channels).flat_map(|row| &row[part.clone()]).copied().collect(); // [M, size]
    let mut values = vec![0.0; size * keys]; // [size, M]
    for (key, row) in v.chunks_exact(channels).enumerate() {
        row[part.clone()].iter().enumerate().for_each(|(channel, value)| values[channel * keys + key] = *value);
    }
    let scale = 1.0 / (size as f32).sqrt();
    let stride = keys.next_multiple_of(ROWS);
    let panels = (SCORES / keys / LANES).clamp(1, queries.div_ceil(LANES));
    for first in (0..queries).step_by(panels * LANES) {
        let count = queries.min(first + panels * LANES) - first;
        let panels = count.div_ceil(LANES);
        let mut inputs = vec![[0.0; LANES]; panels * size];
        for lane in 0..count {
            let query = &q[(first + lane) * channels..][part.clone()];
            let panel = &mut inputs[lane / LANES * size..][..size];
            panel.iter_mut().zip(query).for_each(|(row, value)| row[lane % LANES] = value * scale);
        }
        let mut scores = vec![[0.0; LANES]; panels * stride];
        add(&Rows::F32(&k), 0..keys, (&inputs, size, size), (&mut scores, stride));
        let seen = |lane: usize| if shape.causal { (first + lane + 1).min(keys) } else { keys };
        let mut totals = Vec::with_capacity(panels);
        for (panel, scores) in scores.chunks_exact_mut(stride).enumerate() {
            totals.push(softmax(&mut scores[..keys], |lane| seen(panel * LANES + lane)));
        }
        let stride_out = size.next_multiple_of(ROWS);
        let mut sums = vec![[0.0; LANES]; panels * stride_out];
        add(&Rows::F32(&values), 0..size, (&scores, keys, stride), (&mut sums, stride_out));
        for lane in 0..count {
            let (sums, total) = (&sums[lane / LANES * stride_out..], totals[lane / LANES][lane % LANES]);
            let y = &mut y[(first + lane) * channels..][part.clone()];
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum[lane % LANES] / total);
        }
    }
}

/// The exponentials of scores [M, lanes] less each lane's greatest, and their sums. A lane sees its first `seen` scores.
fn softmax(scores: &mut [[f32; LANES]], seen: impl Fn(usize) -> usize) -> [f32; LANES] {
    for lane in 0..LANES {
        scores[seen(lane)..].iter_mut().for_each(|row| row[lane] = f32::NEG_INFINITY);
    }
    let mut top = [f32::NEG_INFINITY; LANES];
    for row in &*scores {
        top = std::array::from_fn(|lane| if row[lane] > top[lane] { row[lane] } else { top[lane] });
    }
    let mut totals = [0.0; LANES];
    for row in scores {
        *row = std::array::from_fn(|lane| exp(row[lane] - top[lane]));
        totals = std::array::from_fn(|lane| totals[lane] + row[lane]);
    }
    totals
}
