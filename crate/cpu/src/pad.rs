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

/// Enlarges the planes of `x` [N, height, width], then surrounds each with zeros, into `y` [N, result].
pub fn pad(x: &[f32], frame: &Frame, y: &mut [f32]) {
    let ([height, width], [out_h, out_w]) = (frame.size, frame.result);
    let [above, left] = frame.before;
    // The columns of the result that come from the plane: from `start` on, beginning with the enlarged plane's `skip`.
    let (start, skip) = (left.max(0) as usize, left.min(0).unsigned_abs());
    let inside = (width * frame.enlarge).saturating_sub(skip).min(out_w.saturating_sub(start));
    for (x, y) in x.chunks_exact(height * width).zip(y.chunks_exact_mut(out_h * out_w)) {
        for (row, y) in y.chunks_exact_mut(out_w).enumerate() {
            let line = row.checked_add_signed(-above).map(|row| row / frame.enlarge).filter(|line| *line < height);
            let Some(line) = line else {
                y.fill(0.0);
                continue;
            };
            let x = &x[line * width..][..width];
            y[..start].fill(0.0);
            y[start + inside..].fill(0.0);
            let y = &mut y[start..start + inside];
            match frame.enlarge {
                1 => y.copy_from_slice(&x[skip..][..inside]),
                enlarge => y.iter_mut().enumerate().for_each(|(column, y)| *y = x[(skip + column) / enlarge]),
            }
        }
    }
}
