//! Adding up a product whose sum over `k` was cut into spans, so that a small one fills a big GPU.

use burn::tensor::Tensor;

use crate::kernels::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// Shortest span, in places of `k`: writing its result and reading it again costs as much as some.
pub const LEAST_SPAN: usize = 128;
/// Spans are whole blocks of weights that share a scale, and whole slabs of every tile.
const STEP: usize = 32;

/// The length of so many spans along `k`; `k` or more where it is not cut.
pub fn span(spans: usize, k: usize) -> usize {
    k.div_ceil(spans).next_multiple_of(STEP)
}

/// The result of `shape`: the sum of the `spans` results of that size in `parts`; `None` on the CPU.
pub fn sum<const D: usize>(parts: &Tensor<1>, spans: usize, shape: [usize; D]) -> Option<Tensor<D>> {
    let parts = on_gpu(parts)?;
    let count = shape.iter().product::<usize>();
    // As vectors, where each span has whole ones.
    let width = if count.is_multiple_of(4) { 4 } else { 1 };
    let elements = count / width;
    let kernel = Wgsl::new(("gemm sum", vec![width as u32]), text, vec![elements as u32, spans as u32]);
    Some(launch(kernel, elements, &[&parts], shape))
}

fn text(key: &[u32]) -> String {
    let element = if key[0] == 4 { "vec4<f32>" } else { "f32" };
    prelude(&[("x", element), ("y", element)], &["count", "spans"])
        + &entry("info.count")
        + "var sum = x[i];\n\
           for (var span = 1u; span < info.spans; span++) { sum += x[span * info.count + i]; }\n\
           y[i] = sum;\n}\n"
}
