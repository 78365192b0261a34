//! Feature maps cut into horizontal bands, for results larger than a device lets one buffer be.
//!
//! An operation on bands gives the numbers that it gives on the whole: a convolution takes the rows that it overlaps
//! from the neighbouring bands, and a group norm combines the moments of all bands. A map of one band is computed
//! exactly as one tensor. Bands also keep the temporary copies small (normalized and padded inputs), and a map that is
//! used up can be dropped from the top while its successor grows, so memory stays near the two maps themselves.

use std::collections::VecDeque;
use std::ops::Range;

use burn::tensor::Tensor;

use crate::kernels::{self, GroupNorm, Moments, Padding};
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
        Self { bands: VecDeque::from([map]), first_row: 0, band_bytes }
    }

    /// As [`Bands::new`], by the limits of the map's device.
    pub fn within_limits(map: Tensor<4>) -> Self {
        let band_bytes = piece_bytes(&map);
        Self::new(map, band_bytes)
    }

    /// The map as one tensor.
    pub fn join(self) -> Tensor<4> {
        let mut bands = Vec::from(self.bands);
        if bands.len() == 1 { bands.swap_remove(0) } else { Tensor::cat(bands, 2) }
    }

    /// Batch, channels, rows (dropped ones included) and columns.
    pub fn dims(&self) -> [usize; 4] {
        let [batch, channels, _, width] = self.bands[0].dims();
        [batch, channels, self.first_row + self.bands.iter().map(|band| band.dims()[2]).sum::<usize>(), width]
    }

    /// An empty map of the same limit, to be filled from the top.
    fn successor(&self) -> Self {
        Self { bands: VecDeque::new(), first_row: 0, band_bytes: self.band_bytes }
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
        if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, 2) }
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

    /// A convolution of stride 1 and "same" size over the map, doubled in size if the layer's shape says so.
    ///
    /// Consumes the map from the top. `finish` gets each finished band and the rows of the result that it holds.
    pub fn conv(
        mut self,
        conv: &Conv2d,
        before: Option<NormSilu>,
        mut finish: impl FnMut(Tensor<4>, Range<usize>) -> Tensor<4>,
    ) -> Self {
        let [batch, channels, height, width] = self.dims();
        let (enlarge, halo) = (conv.shape().enlarge, conv.shape().kernel / 2);
        let row_bytes = batch * channels.max(conv.outputs()) * (width * enlarge + 2 * halo) * size_of::<f32>();
        let most = (self.band_bytes / row_bytes).saturating_sub(2 * halo) / enlarge;
        let count = height.div_ceil(most.max(1));
        let mut result = self.successor();
        for index in 0..count {
            let (start, end) = (height * index / count, height * (index + 1) / count);
            let (above, below) = (start.min(halo), (height - end).min(halo));
            let mut x = self.rows(start - above..end + below);
            self.release_above(end - halo.min(end));
            if let Some(NormSilu { norm, moments }) = before {
                x = kernels::normalize(x, moments, norm, true);
            }
            let side = |present: usize| halo as isize - (present * enlarge) as isize;
            let sides = halo as isize;
            let padding = Padding { rows: (side(above), side(below)), columns: (sides, sides) };
            let y = conv.forward_padded(kernels::pad(x, enlarge, padding));
            result.bands.push_back(finish(y, start * enlarge..end * enlarge));
        }
        result
    }

    /// Adds rows of the map to a result that has them, and drops what lies above.
    pub fn add_to(&mut self, result: Tensor<4>, rows: Range<usize>) -> Tensor<4> {
        self.release_above(rows.start);
        self.rows(rows) + result
    }

    /// As [`Bands::add_to`], of the map after a 1x1 convolution.
    pub fn add_conv_to(&mut self, conv: &Conv2d, result: Tensor<4>, rows: Range<usize>) -> Tensor<4> {
        self.release_above(rows.start);
        conv.forward(self.rows(rows)) + result
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
