//! Resizing by a triangle as wide as what a pixel of the result covers.

/// Resizes a plane of `size` (rows, columns) to `target`.
///
/// Source: PyTorch's `F.interpolate(mode="bilinear", antialias=True, align_corners=False)`.
pub fn bilinear(plane: &[f32], size: [usize; 2], target: [usize; 2]) -> Vec<f32> {
    let [rows, columns] = [0, 1].map(|axis| taps(size[axis], target[axis]));
    let narrow: Vec<f32> =
        plane.chunks_exact(size[1]).flat_map(|row| columns.iter().map(|tap| tap.of(row, 1))).collect();
    let narrow = &narrow;
    rows.iter().flat_map(|tap| (0..target[1]).map(move |x| tap.of(&narrow[x..], target[1]))).collect()
}

/// Weights of neighbouring values.
struct Tap {
    start: usize,
    weights: Vec<f32>,
}

impl Tap {
    /// The weighted sum of values that stand `stride` apart.
    fn of(&self, values: &[f32], stride: usize) -> f32 {
        self.weights.iter().enumerate().map(|(index, weight)| weight * values[(self.start + index) * stride]).sum()
    }
}

/// Where each of `target` results looks among `length` values.
fn taps(length: usize, target: usize) -> Vec<Tap> {
    let scale = length as f64 / target as f64;
    let reach = scale.max(1.0);
    let tap = |index: usize| {
        let center = scale * (index as f64 + 0.5);
        let start = (center - reach + 0.5).max(0.0) as usize;
        let end = ((center + reach + 0.5) as usize).min(length);
        let weight = |at: usize| (1.0 - ((at as f64 - center + 0.5) / reach).abs()).max(0.0);
        let total: f64 = (start..end).map(weight).sum();
        Tap { start, weights: (start..end).map(|at| (weight(at) / total) as f32).collect() }
    };
    (0..target).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::bilinear;

    #[test]
    fn the_same_size_is_the_same_picture() {
        let plane: Vec<f32> = (0..12).map(|value| value as f32).collect();
        assert_eq!(bilinear(&plane, [3, 4], [3, 4]), plane);
    }

    #[test]
    fn halves_are_weighted_by_a_triangle_and_edges_by_what_is_there() {
        // The triangle over four values: 1/8, 3/8, 3/8, 1/8; at the edge 3/7, 3/7, 1/7.
        let row = bilinear(&[0.0, 0.0, 8.0, 8.0, 0.0, 0.0], [1, 6], [1, 3]);
        let expected = [8.0 / 7.0, 6.0, 8.0 / 7.0];
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{row:?}");
    }

    #[test]
    fn one_pixel_fills_everything() {
        assert_eq!(bilinear(&[0.25], [1, 1], [2, 3]), [0.25; 6]);
    }
}
