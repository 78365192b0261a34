//! Scaled dot-product attention that never stores the score matrix.
//!
//! One invocation holds one query and its running output in registers and walks over the keys with the online
//! softmax (running maximum and sum), so memory grows with the sequence, not with its square.
//!
//! Source: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), section 3.

use burn::tensor::{Bool, Tensor, activation};

use super::launch::{Wgsl, entry, launch, on_gpu, prelude};

/// How the flat channels of queries, keys and values are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Number of heads; channels = heads · head size, and the head size is a multiple of 4.
    pub heads: usize,
    /// Whether position i sees only keys up to i.
    pub causal: bool,
}

/// `softmax(q·kᵀ / √d)·v` per head.
///
/// # Shapes
/// `q` [B, N, C], `k` and `v` [B, M, C] → [B, N, C], heads side by side in C.
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, shape: AttentionShape) -> Tensor<3> {
    let [batch, queries, channels] = q.dims();
    let [_, keys, _] = k.dims();
    let (Some(gq), Some(gk), Some(gv)) = (on_gpu(&q), on_gpu(&k), on_gpu(&v)) else {
        return attention_reference(q, k, v, shape);
    };
    let lanes = channels / shape.heads / 4;
    let info = [batch * shape.heads * queries, queries, keys, channels / 4, shape.heads];
    let kernel = Wgsl {
        key: ("attention", vec![lanes as u32, u32::from(shape.causal)]),
        text,
        info: info.map(|value| value as u32).to_vec(),
    };
    launch(kernel, batch * shape.heads * queries, &[&gq, &gk, &gv], [batch, queries, channels])
}

/// Plain-tensor twin of [`attention`].
pub fn attention_reference(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, shape: AttentionShape) -> Tensor<3> {
    let [batch, queries, channels] = q.dims();
    let keys = k.dims()[1];
    let size = channels / shape.heads;
    let device = q.device();
    let split = |x: Tensor<3>, n: usize| x.reshape([batch, n, shape.heads, size]).swap_dims(1, 2); // [B, heads, n, size]
    let (q, k, v) = (split(q, queries), split(k, keys), split(v, keys));
    let mut scores = q.matmul(k.swap_dims(2, 3)) / (size as f64).sqrt(); // [B, heads, N, M]
    if shape.causal {
        let hidden = Tensor::<2, Bool>::tril_mask([queries, keys], 0, &device); // true where key > query
        scores =
            scores.mask_fill(hidden.unsqueeze::<4>().expand([batch, shape.heads, queries, keys]), f32::NEG_INFINITY);
    }
    activation::softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([batch, queries, channels])
}

fn text(key: &[u32]) -> String {
    let [lanes, causal] = *key else { return String::new() };
    let scale = 1.0 / f64::from(lanes * 4).sqrt();
    let seen = if causal == 1 { "query + 1u" } else { "info.keys" };
    let each = |line: &str| (0..lanes).map(|l| line.replace('#', &l.to_string())).collect::<String>();
    let dot = (0..lanes).map(|l| format!("dot(q{l}, k[kb + {l}u])")).collect::<Vec<_>>().join(" + ");
    let buffers = [("q", "vec4<f32>"), ("k", "vec4<f32>"), ("v", "vec4<f32>"), ("y", "vec4<f32>")];
    prelude(&buffers, &["count", "queries", "keys", "row", "heads"])
        + &entry("info.count")
        + &format!(
            "let head = i % info.heads; let query = (i / info.heads) % info.queries;\n\
             let b = i / (info.heads * info.queries);\n\
             let qb = (b * info.queries + query) * info.row + head * {lanes}u;\n\
             let keys0 = b * info.keys * info.row + head * {lanes}u;\n"
        )
        + &each("let q# = q[qb + #u];\nvar o# = vec4<f32>(0.0);\n")
        + &format!(
            "var top = -3.0e38; var sum = 0.0;\n\
             for (var j = 0u; j < {seen}; j++) {{\n\
             let kb = keys0 + j * info.row;\n\
             let score = ({dot}) * {scale:?};\n\
             let next = max(top, score); let keep = exp(top - next); let e = exp(score - next);\n\
             sum = sum * keep + e; top = next;\n"
        )
        + &each("o# = o# * keep + v[kb + #u] * e;\n")
        + "}\n"
        + &each("y[qb + #u] = o# / sum;\n")
        + "}\n"
}
