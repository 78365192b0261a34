//! Scaled dot-product attention that never stores the whole score matrix.
//!
//! One invocation holds one query and its running output in registers and walks over the keys with the online
//! softmax (running maximum and sum), so memory grows with the sequence, not with its square. Neighbouring invocations
//! have neighbouring queries of one head, so that they read the same key at the same time; GPUs that share memory well go by
//! [`tiles`] there. Heads too wide for registers, as the KL autoencoder's of 512 channels, go through matrix products over
//! groups of queries instead, as do all heads on the CPU, by a kernel of its own.
//!
//! Sources: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), section 3; Dao et al.,
//! "FlashAttention" (2022), for the tiles.

mod tiles;

use burn::tensor::{Bool, Tensor, activation};

use super::cpu;
use super::gemm::linear;
use super::launch::{Wgsl, entry, entry_of_workgroup, launch, on_gpu, prelude};
use super::reduce::{LONG, reductions};
use super::tuning::Tuning;
use crate::limits::piece_bytes;
use crate::weights::Weight;
use tiles::{QUERIES, Tiles};

/// Widest head whose output one invocation keeps in registers: the widest in a Stable Diffusion UNet. GPUs have at most
/// 255 registers for an invocation.
pub const MAX_OUTPUT_SIZE: usize = 160;
/// Widest head whose query is kept in registers too.
const MAX_QUERY_SIZE: u32 = 80;
/// Largest part of the score matrix that the twin holds at once.
pub const SCORES_BYTES: usize = 64 << 20;

/// How the flat channels of queries, keys and values are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Number of heads; channels = heads · head size.
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
        let y = cpu::attention(&q, &k, &v, shape);
        return y.unwrap_or_else(|| attention_reference(q, k, v, (shape, SCORES_BYTES)));
    };
    if channels / shape.heads > MAX_OUTPUT_SIZE && !shape.causal {
        return wide_attention(q, k, v, shape);
    }
    if !(channels / shape.heads).is_multiple_of(4) {
        return narrow_attention(q, k, v, shape);
    }
    let size = (channels / shape.heads) as u32;
    let is_tiled = Tuning::of(&gq.device).is_shared() && !shape.causal;
    let tiles = Tiles::of(size).filter(|_| is_tiled);
    let blocks = batch * shape.heads * queries.div_ceil(QUERIES as usize);
    let count = if tiles.is_some() { blocks } else { batch * shape.heads * queries };
    let info = [count, queries, keys, channels / 4, shape.heads].map(|value| value as u32).to_vec();
    let kernel = Wgsl::new(("attention", vec![size, u32::from(shape.causal)]), text, info);
    let kernel = match tiles {
        Some(tiles) => kernel.by_workgroups("attention tiles", tiles_text, tiles.invocations()),
        None => kernel,
    };
    let kernel = Wgsl { multiplications: (2 * batch * queries * keys * channels) as u64, ..kernel };
    launch(kernel, count, &[&gq, &gk, &gv], [batch, queries, channels])
}

/// Plain-tensor twin of [`attention`], which holds no more than `scores_bytes` of the score matrix, or one query's.
pub fn attention_reference(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    (shape, scores_bytes): (AttentionShape, usize),
) -> Tensor<3> {
    let [batch, queries, channels] = q.dims();
    let keys = k.dims()[1];
    let size = channels / shape.heads;
    let device = q.device();
    let split = |x: Tensor<3>, n: usize| x.reshape([batch, n, shape.heads, size]).swap_dims(1, 2); // [B, heads, n, size]
    let (q, k, v) = (split(q, queries), split(k, keys).swap_dims(2, 3), split(v, keys));
    let most = (scores_bytes / (batch * shape.heads * keys * size_of::<f32>())).max(1);
    let group = |start: usize| {
        let n = most.min(queries - start);
        let mut scores = q.clone().narrow(2, start, n).matmul(k.clone()) / (size as f64).sqrt(); // [B, heads, n, M]
        if shape.causal {
            let hidden = Tensor::<2, Bool>::tril_mask([n, keys], start as i64, &device); // true where key > query
            let hidden = hidden.unsqueeze::<4>().expand([batch, shape.heads, n, keys]);
            scores = scores.mask_fill(hidden, f32::NEG_INFINITY);
        }
        activation::softmax(scores, 3).matmul(v.clone())
    };
    let groups = (0..queries).step_by(most).map(group).collect();
    Tensor::cat(groups, 2).swap_dims(1, 2).reshape([batch, queries, channels])
}

/// [`attention`] on the GPU for heads that are no whole vectors: filled up with zeros, which change no product.
fn narrow_attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, shape: AttentionShape) -> Tensor<3> {
    let [batch, queries, channels] = q.dims();
    let (heads, size) = (shape.heads, channels / shape.heads);
    let whole = size.next_multiple_of(4);
    let fill = |x: Tensor<3>| {
        let [batch, n, _] = x.dims();
        let zeros = Tensor::zeros([batch, n, heads, whole - size], &x.device());
        Tensor::cat(vec![x.reshape([batch, n, heads, size]), zeros], 3).reshape([batch, n, heads * whole])
    };
    // The kernel divides by the root of the filled size.
    let q = q * (whole as f64 / size as f64).sqrt();
    let y = attention(fill(q), fill(k), fill(v), shape).reshape([batch, queries, heads, whole]);
    y.narrow(3, 0, size).reshape([batch, queries, channels])
}

/// [`attention`] on the GPU by matrix products, with the scores of some queries of one head at a time.
fn wide_attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, shape: AttentionShape) -> Tensor<3> {
    let [batch, queries, channels] = q.dims();
    let keys = k.dims()[1];
    let size = channels / shape.heads;
    let most = (piece_bytes(&q) / (keys * size_of::<f32>())).max(1);
    let head = |b: usize, head: usize| {
        let part = |x: &Tensor<3>, n: usize| x.clone().slice([b..b + 1, 0..n, head * size..(head + 1) * size]);
        let q = part(&q, queries).reshape([queries, size]);
        let k = Weight::of(part(&k, keys).reshape([keys, size]));
        let v = Weight::of(part(&v, keys).reshape([keys, size]).transpose()); // [size, M]
        let group = |start: usize| {
            let scores = linear(q.clone().narrow(0, start, most.min(queries - start)), &k, None); // [n, M]
            linear(softmax(scores, 1.0 / (size as f64).sqrt()), &v, None)
        };
        Tensor::cat((0..queries).step_by(most).map(group).collect(), 0).reshape([1, queries, size])
    };
    let image = |b: usize| Tensor::cat((0..shape.heads).map(|h| head(b, h)).collect(), 2);
    Tensor::cat((0..batch).map(image).collect(), 0)
}

/// `softmax(x · scale)` over the last dimension.
///
/// # Shapes
/// [N, M] → [N, M].
fn softmax(x: Tensor<2>, scale: f64) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let Some(gx) = on_gpu(&x) else { return activation::softmax(x * scale, 1) };
    let info = vec![rows as u32, columns as u32, (scale as f32).to_bits()];
    let kernel = Wgsl::new(("softmax", Vec::new()), softmax_text, info);
    let kernel = match Tuning::of(&gx.device).is_shared() {
        true => kernel.by_workgroups("softmax shared", shared_softmax_text, LONG),
        false => kernel,
    };
    launch(kernel, rows, &[&gx], [rows, columns])
}

fn softmax_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "columns", "scale"])
        + &entry("info.count")
        + "let start = i * info.columns; let end = start + info.columns; let scale = bitcast<f32>(info.scale);\n\
           var top = -3.0e38;\n\
           for (var e = start; e < end; e++) { top = max(top, x[e] * scale); }\n\
           var sum = 0.0;\n\
           for (var e = start; e < end; e++) { let v = exp(x[e] * scale - top); sum += v; y[e] = v; }\n\
           for (var e = start; e < end; e++) { y[e] = y[e] / sum; }\n}\n"
}

/// As [`softmax_text`], by a workgroup for each row.
fn shared_softmax_text(_: &[u32]) -> String {
    prelude(&[("x", "f32"), ("y", "f32")], &["count", "columns", "scale"])
        + &reductions(LONG)
        + &entry_of_workgroup(LONG, "info.count")
        + &format!(
            "let start = i * info.columns + lane; let end = (i + 1u) * info.columns; let scale = bitcast<f32>(info.scale);\n\
             var top = -3.0e38;\n\
             for (var e = start; e < end; e += {LONG}u) {{ top = max(top, x[e] * scale); }}\n\
             top = greatest(top, lane);\n\
             var sum = 0.0;\n\
             for (var e = start; e < end; e += {LONG}u) {{ let v = exp(x[e] * scale - top); sum += v; y[e] = v; }}\n\
             sum = total(sum, lane);\n\
             for (var e = start; e < end; e += {LONG}u) {{ y[e] = y[e] / sum; }}\n}}\n"
        )
}

const BUFFERS: [(&str, &str); 4] = [("q", "vec4<f32>"), ("k", "vec4<f32>"), ("v", "vec4<f32>"), ("y", "vec4<f32>")];
const FIELDS: [&str; 5] = ["count", "queries", "keys", "row", "heads"];

/// By tiles, for heads of `key[0]` numbers.
pub(super) fn tiles_text(key: &[u32]) -> String {
    Tiles::of(key[0]).map_or(String::new(), |tiles| tiles.text())
}

/// By invocations on their own, for heads of `key[0]` numbers; `key[1]`: whether position i sees only keys up to i.
fn text(key: &[u32]) -> String {
    let [size, causal] = *key else { return String::new() };
    let (vectors, scale) = (size / 4, 1.0 / f64::from(size).sqrt());
    // `line` for each vector of a head, whose number takes the place of `#`.
    let each = |line: &str| (0..vectors).map(|vector| line.replace('#', &vector.to_string())).collect::<String>();
    let keeps_query = size <= MAX_QUERY_SIZE;
    prelude(&BUFFERS, &FIELDS)
        + &entry("info.count")
        + &format!(
            "let query = i % info.queries; let head = (i / info.queries) % info.heads;\n\
             let b = i / (info.heads * info.queries);\n\
             let qb = (b * info.queries + query) * info.row + head * {vectors}u;\n\
             let keys0 = b * info.keys * info.row + head * {vectors}u;\n"
        )
        + &if keeps_query { each("let q# = q[qb + #u];\n") } else { String::new() }
        + &each("var o# = vec4<f32>(0.0);\n")
        + &format!(
            "var top = -3.0e38; var sum = 0.0;\n\
             for (var j = 0u; j < {seen}; j++) {{\nlet kb = keys0 + j * info.row;\nvar s = vec4<f32>(0.0);\n",
            seen = if causal == 1 { "query + 1u" } else { "info.keys" }
        )
        + &each(if keeps_query { "s = fma(q#, k[kb + #u], s);\n" } else { "s = fma(q[qb + #u], k[kb + #u], s);\n" })
        + &format!(
            "let score = dot(s, vec4<f32>({scale:?})); let next = max(top, score); let keep = exp(top - next);\n\
             let e = exp(score - next); sum = sum * keep + e; top = next;\n"
        )
        + &each("o# = fma(vec4<f32>(e), v[kb + #u], o# * keep);\n")
        + "}\n"
        + &each("y[qb + #u] = o# / sum;\n")
        + "}\n"
}
