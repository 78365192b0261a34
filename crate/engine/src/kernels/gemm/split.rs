//! Adding up a product whose sum over `k` was cut into spans, so that a small one fills a big GPU.

use burn::tensor::Tensor;

use crate::kernels::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// Shortest span, in places of `k`: writing its result and reading it again costs as much as some.
const LEAST_SPAN: usize = 128;
/// Spans are whole blocks of weights that share a scale, and whole slabs of every tile.
const STEP: usize = 32;

/// The span along `k` for a grid of so many invocations where `wanted` fill the GPU; `k` or more where it is not cut.
pub fn span(invocations: usize, wanted: usize, k: usize) -> usize {
    let spans = (wanted / invocations.max(1)).min(k / LEAST_SPAN).max(1);
    k.div_ceil(spans).next_multiple_of(STEP)
}

/// The result of `shape`: the sum of the `spans` results of that size in `parts`; `None` on the CPU.
pub fn sum<const D: usize>(parts: &Tensor<1>, spans: usize, shape: [usize; D]) -> Option<Tensor<D>> {
    let parts = on_gpu(parts)?;
    let count = shape.iter().product::<usize>();
    let kernel = Wgsl::new(("gemm sum", Vec::new()), text, vec![count as u32, spans as u32]);
    Some(launch(kernel, count, &[&parts], shape))
}

fn text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "spans"])
        + &entry("info.count")
        + "var sum = x[i];\n\
           for (var span = 1u; span < info.spans; span++) { sum += x[span * info.count + i]; }\n\
           y[i] = sum;\n}\n"
}
