//! Nearest-neighbour enlargement and zero padding in one pass.

/// How planes are enlarged and framed.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Height and width before.
    pub size: [usize; 2],
    /// Whole factor by which both grow first.
    pub enlarge: usize,
    /// Rows of zeros above and columns to the left; negative ones are cut off.
    pub before: [isize; 2],
    /// Height and width after.
    pub result: [usize; 2],
}

impl Frame {
    /// Whether nothing is added or cut off.
    pub(crate) fn is_none(&self) -> bool {
        self.enlarge == 1 && self.before == [0, 0] && self.size == self.result
    }

    /// Fills the framed plane `y`: with zeros outside, and by `line`, which gets what it needs of a row of `x`, where in `y`
    /// that goes, and how many of the enlarged row's columns come before.
    #[inline]
    pub(crate) fn fill(&self, x: &[f32], y: &mut [f32], line: impl Fn(&[f32], &mut [f32], usize)) {
        let ([height, width], [_, out_w]) = (self.size, self.result);
        let [above, left] = self.before;
        // The columns of the result that come from the plane: from `start` on, beginning with the enlarged plane's `skip`.
        let (start, skip) = (left.max(0) as usize, left.min(0).unsigned_abs());
        let inside = (width * self.enlarge).saturating_sub(skip).min(out_w.saturating_sub(start));
        for (row, y) in y.chunks_exact_mut(out_w).enumerate() {
            let of_plane = row.checked_add_signed(-above).map(|row| row / self.enlarge).filter(|row| *row < height);
            let Some(of_plane) = of_plane else {
                y.fill(0.0);
                continue;
            };
            y[..start].fill(0.0);
            y[start + inside..].fill(0.0);
            let count = (skip % self.enlarge + inside).div_ceil(self.enlarge);
            line(&x[of_plane * width + skip / self.enlarge..][..count], &mut y[start..start + inside], skip);
        }
    }
}

/// Enlarges the planes of `x` [N, height, width], then surrounds each with zeros, into `y` [N, result].
pub fn pad(x: &[f32], frame: &Frame, y: &mut [f32]) {
    let (pixels, results) = (frame.size.iter().product(), frame.result.iter().product());
    for (x, y) in x.chunks_exact(pixels).zip(y.chunks_exact_mut(results)) {
        frame.fill(x, y, |x, y, skip| match frame.enlarge {
            1 => y.copy_from_slice(x),
            enlarge => y.iter_mut().enumerate().for_each(|(column, y)| *y = x[(skip % enlarge + column) / enlarge]),
        });
    }
}
