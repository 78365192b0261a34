//! What the invocations of a workgroup have together: for GPUs, where one invocation that walks over all of a row waits for
//! memory at every step.

/// Invocations for a long sum.
pub const LONG: u32 = 256;
/// Invocations for a row of a few hundred numbers.
pub const SHORT: u32 = 64;

/// Declares `total(v, lane)` and `greatest(v, lane)`, which every one of `size` invocations (a power of 2) gets, and which all
/// have to call.
pub fn reductions(size: u32) -> String {
    let reduction = |name: &str, both: &str| {
        format!(
            "fn {name}(v: f32, lane: u32) -> f32 {{\n\
             shared_[lane] = v; workgroupBarrier();\n\
             for (var apart = {half}u; apart > 0u; apart >>= 1u) {{\n\
             if (lane < apart) {{ let a = shared_[lane]; let b = shared_[lane + apart]; shared_[lane] = {both}; }}\n\
             workgroupBarrier(); }}\n\
             let all = shared_[0]; workgroupBarrier(); return all; }}\n",
            half = size / 2
        )
    };
    format!("var<workgroup> shared_: array<f32, {size}>;\n")
        + &reduction("total", "a + b")
        + &reduction("greatest", "max(a, b)")
}
