//! Feature maps cut into horizontal bands, for results larger than a device lets one buffer be.
//!
//! An operation on bands gives the numbers that it gives on the whole: a convolution takes the rows that it overlaps
//! from the neighbouring bands, and a group norm combines the moments of all bands. A map of one band is computed
//! exactly as one tensor. Bands also keep the temporary copies small (normalized and padded inputs), and a map that is
//! used up can be dropped from the top while its successor grows, so memory stays near the two maps themselves.

use std::collections::VecDeque;
use std::ops::Range;

use burn::tensor::Tensor;

use crate::kernels::{self, Border, Conv2dShape, Finish, GroupNorm, Moments, Padding};
use crate::layers::Conv2d;
use crate::limits::piece_bytes;

/// A feature map [B, C, H, W] as tensors [B, C, h, W] from top to bottom.
#[derive(Debug, Clone)]
pub struct Bands {
    bands: VecDeque<Tensor<4>>,
    /// Row of the map at which the first band starts; rows above were dropped.
    first_row: usize,
    /// Size that no band, and no temporary copy of one, should exceed.
    band_bytes: usize,
    /// What convolutions find beyond the map's edges.
    border: Border,
}

/// What happens to a convolution's input on its way into it.
#[derive(Debug, Clone, Copy)]
pub struct NormSilu<'a> {
    /// The norm that is applied, then SiLU.
    pub norm: &'a GroupNorm,
    /// The moments of the whole map.
    pub moments: &'a Moments,
}

impl Bands {
    /// A map of one tensor, whose successors are cut where one would exceed `band_bytes`.
    pub fn new(map: Tensor<4>, band_bytes: usize) -> Self {
        Self { bands: VecDeque::from([map]), first_row: 0, band_bytes, border: Border::Zeros }
    }

    /// The map, with something else beyond its edges.
    pub fn bordered(self, border: Border) -> Self {
        Self { border, ..self }
    }

    /// As [`Bands::new`], by the limits of the map's device.
    pub fn within_limits(map: Tensor<4>) -> Self {
        let band_bytes = piece_bytes(&map);
        Self::new(map, band_bytes)
    }

    /// The map as one tensor.
    pub fn join(self) -> Tensor<4> {
        stacked(Vec::from(self.bands))
    }

    /// Batch, channels, rows (dropped ones included) and columns.
    pub fn dims(&self) -> [usize; 4] {
        let [batch, channels, _, width] = self.bands[0].dims();
        [batch, channels, self.first_row + self.bands.iter().map(|band| band.dims()[2]).sum::<usize>(), width]
    }

    /// An empty map of the same limit, to be filled from the top.
    fn successor(&self) -> Self {
        Self { bands: VecDeque::new(), first_row: 0, band_bytes: self.band_bytes, border: self.border }
    }

    /// Rows of the map, which must not have been dropped.
    fn rows(&self, rows: Range<usize>) -> Tensor<4> {
        let mut start = self.first_row;
        let mut parts = Vec::new();
        for band in &self.bands {
            let height = band.dims()[2];
            let (from, to) = (rows.start.max(start), rows.end.min(start + height));
            if from < to {
                // A band that is wanted whole is not copied.
                let whole = to - from == height;
                parts.push(if whole { band.clone() } else { band.clone().narrow(2, from - start, to - from) });
            }
            start += height;
        }
        stacked(parts)
    }

    /// As [`Bands::rows`], which may lie beyond the edges where there are `ends`, the first and the last rows of a map that
    /// goes on at its other end.
    fn rows_around(&self, start: isize, end: isize, ends: Option<&[Tensor<4>; 2]>) -> Tensor<4> {
        let height = self.dims()[2] as isize;
        let mut parts = vec![self.rows(start.max(0) as usize..end.min(height) as usize)];
        if let Some([first, last]) = ends {
            let (above, below, held) = ((-start).max(0) as usize, (end - height).max(0) as usize, last.dims()[2]);
            if above > 0 {
                parts.insert(0, last.clone().narrow(2, held - above, above));
            }
            if below > 0 {
                parts.push(first.clone().narrow(2, 0, below));
            }
        }
        stacked(parts)
    }

    /// Drops bands that end at or above `row`.
    fn release_above(&mut self, row: usize) {
        while self.bands.len() > 1 && self.first_row + self.bands[0].dims()[2] <= row {
            self.first_row += self.bands[0].dims()[2];
            self.bands.pop_front();
        }
    }

    /// The moments of each group over the whole map.
    pub fn moments(&self, groups: usize) -> Moments {
        let mut moments: Vec<_> = self.bands.iter().map(|band| kernels::moments(band, groups)).collect();
        if moments.len() == 1 { moments.swap_remove(0) } else { kernels::combine(moments) }
    }

    /// A convolution over the map, doubled or halved in size if the layer's shape says so.
    ///
    /// Consumes the map from the top. `plus` says what is added to rows of the result.
    pub fn conv(
        mut self,
        conv: &Conv2d,
        before: Option<NormSilu>,
        mut plus: impl FnMut(Range<usize>) -> Option<Tensor<4>>,
    ) -> Self {
        let [batch, channels, height, width] = self.dims();
        let Conv2dShape { kernel, stride, padding, enlarge } = conv.shape();
        let out_height = (height * enlarge + padding.0 + padding.1 - kernel) / stride + 1;
        let row_bytes =
            batch * channels.max(conv.outputs()) * (width * enlarge + padding.0 + padding.1) * size_of::<f32>();
        // The result is cut where a row of the map begins.
        let most = (self.band_bytes / row_bytes + stride).saturating_sub(kernel) / (enlarge * stride);
        let units = out_height / enlarge;
        let count = units.div_ceil(most.max(1));
        let halo = padding.0.max(padding.1).min(height);
        let wraps = halo > 0 && count > 1 && self.border == Border::Circular;
        let ends = wraps.then(|| [self.rows(0..halo), self.rows(height - halo..height)]);
        let mut result = self.successor();
        // In rows of the enlarged map, those beyond its edges included.
        let row_of = |unit: usize| (unit * enlarge * stride) as isize - padding.0 as isize;
        let scale = enlarge as isize;
        for index in 0..count {
            let (start, end) = (units * index / count, units * (index + 1) / count);
            let (from, to) = (row_of(start), row_of(end) + kernel as isize - stride as isize);
            let (mut first, mut last) = (from.div_euclid(scale), -(-to).div_euclid(scale));
            if ends.is_none() {
                (first, last) = (first.max(0), last.min(height as isize));
            }
            let x = self.rows_around(first, last, ends.as_ref());
            self.release_above(row_of(end).div_euclid(scale).max(0) as usize);
            let columns = (padding.0 as isize, padding.1 as isize);
            let padding = Padding { rows: (first * scale - from, to - last * scale), columns };
            let padded = match before {
                Some(NormSilu { norm, moments }) if enlarge == 1 => {
                    kernels::normalize(x, moments, norm, Finish { silu: true, padding, border: self.border })
                }
                Some(NormSilu { norm, moments }) => {
                    let x = kernels::normalize(x, moments, norm, Finish::silu(true));
                    kernels::pad(x, enlarge, padding, self.border)
                }
                None => kernels::pad(x, enlarge, padding, self.border),
            };
            let plus = plus(start * enlarge..end * enlarge);
            result.bands.push_back(conv.forward_padded(padded, plus));
        }
        result
    }

    /// Rows of the map, to be added to a result; drops what lies above.
    pub fn take_rows(&mut self, rows: Range<usize>) -> Tensor<4> {
        self.release_above(rows.start);
        self.rows(rows)
    }

    /// Applies a function to the map as one tensor.
    pub fn whole(self, function: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Self {
        let mut result = self.successor();
        result.bands.push_back(function(self.join()));
        result
    }

    /// Applies a function of single elements to every band.
    pub fn map(mut self, function: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        let mut result = self.successor();
        result.first_row = self.first_row;
        while let Some(band) = self.bands.pop_front() {
            result.bands.push_back(function(band));
        }
        result
    }
}

/// Maps one above the other; one alone is not copied.
fn stacked(mut parts: Vec<Tensor<4>>) -> Tensor<4> {
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, 2) }
}
