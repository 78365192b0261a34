//! Scaled dot-product attention that never stores the whole score matrix.
//!
//! One invocation holds one query and its running output in registers and walks over the keys with the online
//! softmax (running maximum and sum), so memory grows with the sequence, not with its square. Neighbouring invocations
//! have neighbouring queries of one head, so that they read the same key at the same time; on GPUs that share memory
//! well, a workgroup brings tiles of keys and values there first, and takes a few keys at a time. Heads too wide for registers, as the KL
//! autoencoder's of 512 channels, go through matrix products over groups of queries instead, as do all heads on the CPU, by
//! a kernel of its own.
//!
//! Sources: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), section 3; Dao et al.,
//! "FlashAttention" (2022), for the tiles.

use burn::tensor::{Bool, Tensor, activation};

use super::cpu;
use super::gemm::linear;
use super::launch::{Wgsl, entry, entry_of_workgroup, launch, on_gpu, prelude};
use super::reduce::{LONG, reductions};
use super::tuning::Tuning;
use crate::limits::piece_bytes;
use crate::weights::Weight;

/// Widest head whose output one invocation keeps in registers: the widest in a Stable Diffusion UNet. GPUs have at most
/// 255 registers for an invocation.
pub const MAX_OUTPUT_SIZE: usize = 160;
/// Widest head whose query is kept in registers too.
const MAX_QUERY_SIZE: u32 = 80;
/// Keys of a tile whose scores are computed before the running maximum is looked at. Where an invocation is on its own, each
/// is looked at: software adapters have no registers for more.
const KEYS: u32 = 4;
/// Queries of a workgroup.
const QUERIES: u32 = 64;
/// Keys of a tile in shared memory, unless they are wider than [`TILE_BYTES`] allows.
const TILE: u32 = 16;
/// Most shared memory of a tile's keys and values: few enough for several workgroups on a multiprocessor.
const TILE_BYTES: u32 = 10 << 10;
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
    let lanes = (channels / shape.heads / 4) as u32;
    let is_shared = Tuning::of(&gq.device).is_shared() && !shape.causal;
    let blocks = batch * shape.heads * queries.div_ceil(QUERIES as usize);
    let count = if is_shared { blocks } else { batch * shape.heads * queries };
    let info = [count, queries, keys, channels / 4, shape.heads].map(|value| value as u32).to_vec();
    let kernel = Wgsl::new(("attention", vec![lanes, u32::from(shape.causal)]), text, info);
    let kernel = match is_shared {
        true => kernel.by_workgroups("attention shared", shared_text, QUERIES),
        false => kernel,
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

/// A kernel's names for what an invocation has of its head, in `lanes` vectors.
struct Head {
    lanes: u32,
}

impl Head {
    /// `line` for each vector, whose number takes the place of `#`.
    fn each(&self, line: &str) -> String {
        (0..self.lanes).map(|lane| line.replace('#', &lane.to_string())).collect()
    }

    /// Keeps the query at `qb` in registers, if it has room there, and begins.
    fn begin(&self) -> String {
        let query = if self.keeps_query() { self.each("let q# = q[qb + #u];\n") } else { String::new() };
        query + &self.each("var o# = vec4<f32>(0.0);\n") + "var top = -3.0e38; var sum = 0.0;\n"
    }

    fn keeps_query(&self) -> bool {
        self.lanes * 4 <= MAX_QUERY_SIZE
    }

    /// Takes `count` keys into account. `key` and `value` are expressions of the first of their vectors, in which the key's
    /// number takes the place of `@`; `is_seen` says of a key whether it counts, or is empty where all do.
    fn take(&self, count: u32, [key, value]: [&str; 2], is_seen: &str) -> String {
        let scale = 1.0 / f64::from(self.lanes * 4).sqrt();
        let keys = |line: &str| (0..count).map(|j| line.replace('@', &j.to_string())).collect::<String>();
        let mut text = keys("var s@ = vec4<f32>(0.0);\n");
        for lane in 0..self.lanes {
            let query = if self.keeps_query() { format!("q{lane}") } else { format!("q[qb + {lane}u]") };
            text += &format!("{{ let query_ = {query};\n");
            text += &keys(&format!("s@ = fma(query_, {key}, s@);\n")).replace('#', &lane.to_string());
            text += "}\n";
        }
        let score = format!("dot(s@, vec4<f32>({scale:?}))");
        let score = if is_seen.is_empty() { score } else { format!("select(-3.0e38, {score}, {is_seen})") };
        text += &keys(&format!("let score@ = {score};\n"));
        let tops = (0..count).fold("top".to_owned(), |top, j| format!("max({top}, score{j})"));
        text += &format!("let next = {tops}; let keep = exp(top - next);\n");
        text += &keys("let e@ = exp(score@ - next);\n");
        let sums = (0..count).map(|j| format!(" + e{j}")).collect::<String>();
        text += &format!("sum = sum * keep{sums}; top = next;\n");
        for lane in 0..self.lanes {
            let kept = format!("o{lane} * keep");
            let sum = (0..count).fold(kept, |sum, j| {
                format!(
                    "fma(vec4<f32>(e{j}), {}, {sum})",
                    value.replace('@', &j.to_string()).replace('#', &lane.to_string())
                )
            });
            text += &format!("o{lane} = {sum};\n");
        }
        text
    }
}

fn text(key: &[u32]) -> String {
    let [lanes, causal] = *key else { return String::new() };
    let seen = if causal == 1 { "query + 1u" } else { "info.keys" };
    let head = Head { lanes };
    prelude(&BUFFERS, &FIELDS)
        + &entry("info.count")
        + &format!(
            "let query = i % info.queries; let head = (i / info.queries) % info.heads;\n\
             let b = i / (info.heads * info.queries);\n\
             let qb = (b * info.queries + query) * info.row + head * {lanes}u;\n\
             let keys0 = b * info.keys * info.row + head * {lanes}u;\n"
        )
        + &head.begin()
        + &format!("for (var j = 0u; j < {seen}; j++) {{\nlet kb = keys0 + j * info.row;\n")
        + &head.take(1, ["k[kb + #u]", "v[kb + #u]"], "")
        + "}\n"
        + &head.each("y[qb + #u] = o# / sum;\n")
        + "}\n"
}

/// Keys of a tile of heads of so many vectors.
fn tile_keys(lanes: u32) -> u32 {
    let mut keys = TILE;
    while keys > KEYS && keys * lanes * 32 > TILE_BYTES {
        keys /= 2;
    }
    keys
}

/// As [`text`], by a workgroup for [`QUERIES`] queries of a head, which brings tiles of keys and values into shared memory.
fn shared_text(key: &[u32]) -> String {
    let lanes = key[0];
    let head = Head { lanes };
    let keys = tile_keys(lanes);
    let vectors = keys * lanes;
    let of_keys = [format!("tile[kb + @u * {lanes}u + #u]"), format!("tile[kb + {vectors}u + @u * {lanes}u + #u]")];
    prelude(&BUFFERS, &FIELDS)
        + &format!("var<workgroup> tile: array<vec4<f32>, {}>;\n", 2 * vectors)
        + &entry_of_workgroup(QUERIES, "info.count")
        + &format!(
            "let blocks = (info.queries + {last}u) / {QUERIES}u; let head = (i / blocks) % info.heads;\n\
             let b = i / (blocks * info.heads); let query = (i % blocks) * {QUERIES}u + lane;\n\
             let qb = (b * info.queries + min(query, info.queries - 1u)) * info.row + head * {lanes}u;\n\
             let keys0 = b * info.keys * info.row + head * {lanes}u;\n",
            last = QUERIES - 1
        )
        + &head.begin()
        + &format!(
            "for (var first = 0u; first < info.keys; first += {keys}u) {{\n\
             for (var at = lane; at < {vectors}u; at += {QUERIES}u) {{\n\
             let from_ = keys0 + min(first + at / {lanes}u, info.keys - 1u) * info.row + at % {lanes}u;\n\
             tile[at] = k[from_]; tile[at + {vectors}u] = v[from_]; }}\n\
             workgroupBarrier();\n\
             for (var j = 0u; j < {keys}u; j += {KEYS}u) {{\nlet kb = j * {lanes}u;\n"
        )
        + &head.take(KEYS, of_keys.each_ref().map(String::as_str), "first + j + @u < info.keys")
        + "}\nworkgroupBarrier();\n}\n"
        + "if (query < info.queries) {\n"
        + &head.each("y[qb + #u] = o# / sum;\n")
        + "}\n}\n"
}
