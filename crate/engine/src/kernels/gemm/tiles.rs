//! The product by tiles in shared memory: a workgroup reads a tile's inputs together, and each only once.
//!
//! Slab by slab along `k`, the workgroup brings its tile's weights and activations into shared memory, as vectors along the
//! output's own direction, while the slab after is already on its way to registers. Weights wait there packed and are
//! dequantized when they are put into shared memory: whoever unpacked them at once would wait for memory before
//! multiplying. Vectors are swapped within groups of eight (`^`), so that neither those who put them there nor those who
//! read them meet in one bank. Where a grid is too small to fill a GPU, the sum itself is cut into spans
//! ([`super::split`]), each a workgroup of its own.
//!
//! At 16 bits a slab's activations and weights are rounded when they are put into shared memory, of which they take half, and
//! its products are summed in that format, which many GPUs do at twice the rate. So few are summed there that rounding does
//! not grow with `k`.

use super::reads::Reads;
use crate::kernels::launch::entry_of_workgroup;

/// How a tile is computed. Numbers are powers of 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Outputs, 32 to 128.
    pub n: u32,
    /// Positions, 32 to 128.
    pub p: u32,
    /// Outputs of one invocation, 4 or 8.
    pub each_n: u32,
    /// Positions of one invocation, 4 or 8.
    pub each_p: u32,
    /// Places of `k` that are in shared memory at once, 8 to 32.
    pub depth: u32,
    /// How the next slab is brought.
    pub stage: Stage,
    /// Whether the loop over a slab is written out.
    pub unroll: bool,
    /// Whether a slab is multiplied and summed at 16 bits; the sums of slabs have 32.
    pub half: bool,
}

/// How the next slab is brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// When this one is done with.
    After,
    /// Into registers meanwhile.
    Ahead,
    /// Into registers meanwhile, and from there into a second place in shared memory: a barrier less.
    Double,
}

impl Stage {
    const ALL: [Self; 3] = [Self::After, Self::Ahead, Self::Double];
}

/// Greatest 16-bit number.
const MOST_F16: &str = "65504.0";
/// What activations at 16 bits are divided by, a power of 2: so a slab's sum stays finite whatever they are, while its weights'
/// magnitudes add up to no more than that. The default model's largest slab of 32 has 13.8 in its UNet, 16.8 in its decoder.
const SHRINK: &str = "32.0";
const AXES: [&str; 4] = ["x", "y", "z", "w"];

impl Tile {
    /// Numbers that tell its kernel from others'.
    pub const KEY: usize = 8;

    /// Invocations of a workgroup.
    pub fn invocations(&self) -> u32 {
        (self.n / self.each_n) * (self.p / self.each_p)
    }

    /// Shared memory of a workgroup, in bytes.
    pub fn shared_bytes(&self) -> u32 {
        self.shared_vectors() * if self.half { 8 } else { 16 }
    }

    /// What tells its kernel from others'.
    pub fn key(&self) -> [u32; Self::KEY] {
        let [unroll, half] = [self.unroll, self.half].map(u32::from);
        [self.n, self.p, self.each_n, self.each_p, self.depth, self.stage as u32, unroll, half]
    }

    /// As [`Self::key`] gave it.
    pub fn from_key(key: &[u32]) -> Self {
        let stage = Stage::ALL[key[5] as usize];
        let (unroll, half) = (key[6] != 0, key[7] != 0);
        Self { n: key[0], p: key[1], each_n: key[2], each_p: key[3], depth: key[4], stage, unroll, half }
    }

    /// Type of the vectors in shared memory.
    fn vector(&self) -> &'static str {
        if self.half { "vec4<f16>" } else { "vec4<f32>" }
    }

    /// What is put into shared memory of four activations. At 16 bits, what is beyond their range becomes its end: infinities
    /// would make all that comes after them no numbers.
    fn stored(&self, activations: &str) -> String {
        match self.half {
            true => format!(
                "vec4<f16>(clamp({activations}, vec4<f32>(-{MOST_F16}), vec4<f32>({MOST_F16})) * (1.0 / {SHRINK}))"
            ),
            false => activations.to_owned(),
        }
    }

    /// Vectors that are in shared memory at once.
    fn shared_vectors(&self) -> u32 {
        self.vectors() * if self.stage == Stage::Double { 2 } else { 1 }
    }

    /// Vectors of one slab.
    fn vectors(&self) -> u32 {
        self.depth * (self.n + self.p) / 4
    }

    /// Blocks of 4 x 4 numbers along `k`, of which one invocation brings one at a time.
    fn parts(&self) -> u32 {
        self.depth / 4
    }

    /// The whole kernel.
    pub fn text(&self, reads: &Reads) -> String {
        let (n, p) = (self.n, self.p);
        let columns = format!("((info.n + {}u) / {n}u)", n - 1);
        let tiles = format!("({columns} * ((info.p + {}u) / {p}u))", p - 1);
        let places = self.shared_vectors();
        let mut text = reads.declarations() + &format!("var<workgroup> tile: array<{}, {places}>;\n", self.vector());
        text += &entry_of_workgroup(self.invocations(), &format!("{tiles} * ((info.k + info.span - 1u) / info.span)"));
        text += &format!(
            "let split = i / {tiles}; let t = i % {tiles};\n\
             let tile_n = (t % {columns}) * {n}u; let tile_p = (t / {columns}) * {p}u;\n\
             let n_ = (lane / 8u) % 4u + 4u * (lane / {across}u); let p_ = lane % 8u + 8u * (lane % {across}u / 32u);\n\
             let end = min((split + 1u) * info.span, info.k);\n",
            across = 4 * p / self.each_p
        );
        text += &self.places(reads);
        text += &self.sums(reads);
        text += "var k0 = split * info.span;\n";
        text += &self.walk(reads);
        text += &self.stores(reads);
        text + "}\n"
    }

    /// The loop over slabs.
    fn walk(&self, reads: &Reads) -> String {
        let (fetch, put, multiply) = (self.fetch(reads), self.put(reads), self.multiply());
        let (depth, barrier) = (self.depth, "workgroupBarrier();\n");
        match self.stage {
            Stage::After => format!(
                "let half = 0u;\nfor (; k0 < end; k0 += {depth}u) {{\n{fetch}{put}{barrier}{multiply}{barrier}}}\n"
            ),
            Stage::Ahead => format!(
                "let half = 0u;\n{fetch}loop {{\n{put}{barrier}k0 += {depth}u;\nif (k0 < end) {{\n{fetch}}}\n\
                 {multiply}if (k0 >= end) {{ break; }}\n{barrier}}}\n"
            ),
            Stage::Double => format!(
                "var half = 0u;\n{fetch}{put}{barrier}loop {{\nk0 += {depth}u;\nif (k0 < end) {{\n{fetch}}}\n\
                 {multiply}if (k0 >= end) {{ break; }}\nhalf = {other}u - half;\n{put}{barrier}}}\n",
                other = self.vectors()
            ),
        }
    }

    /// For each round of bringing, text for lanes that bring weights and for those that bring activations: blocks are
    /// numbered, weights' first, and dealt out. Both texts are made from the round and from what a lane adds to its own
    /// number for the block's, among weights' or among activations'.
    fn rounds(&self, weights: impl Fn(u32, u32) -> String, activations: impl Fn(u32, u32) -> String) -> String {
        let lanes = self.invocations();
        let of_weights = self.n / 4 * self.parts();
        let all = of_weights + self.p / 4 * self.parts();
        let mut text = String::new();
        for round in 0..all.div_ceil(lanes) {
            let first = round * lanes;
            let until = of_weights.saturating_sub(first).min(lanes);
            let last = (all - first).min(lanes);
            let w = || weights(round, first);
            // Where this is below zero, so much is added to the lane that the sum is not: numbers wrap.
            let x = || activations(round, first.wrapping_sub(of_weights));
            text += &match (until, last) {
                (until, _) if until == lanes => w(),
                (0, last) if last == lanes => x(),
                (0, last) => format!("if (lane < {last}u) {{\n{}}}\n", x()),
                (until, last) if until == last => format!("if (lane < {until}u) {{\n{}}}\n", w()),
                (until, last) if last == lanes => format!("if (lane < {until}u) {{\n{}}} else {{\n{}}}\n", w(), x()),
                (until, last) => {
                    format!("if (lane < {until}u) {{\n{}}} else if (lane < {last}u) {{\n{}}}\n", w(), x())
                }
            };
        }
        text
    }

    fn round_count(&self) -> u32 {
        (self.vectors() / 4).div_ceil(self.invocations())
    }

    /// What each round's lane brings: `part`, the block along `k`; `at`, four outputs, or where four positions start; and
    /// `to`, the place in shared memory.
    fn places(&self, reads: &Reads) -> String {
        let mut text = String::new();
        for round in 0..self.round_count() {
            text += &format!("var part{round} = 0u; var to{round} = 0u;\n");
            for c in 0..4 {
                text += &format!("var at{round}_{c} = 0u; var x{round}_{c} = vec4<f32>();\n");
                text += &reads.packed_variables(&format!("{round}_{c}"));
            }
        }
        let (parts, swap) = (self.parts(), 8 / self.parts().min(8));
        let place = |round: u32, side: u32, first: u32| {
            format!("to{round} = {first}u + part{round} * {}u + (quad ^ (part{round} * {swap}u));\n", side)
        };
        // Along k first: neighbouring lanes read one row.
        let along_k = |round: u32, first: u32| {
            format!("let block = lane + {first}u; part{round} = block % {parts}u; let quad = block / {parts}u;\n")
        };
        let weights = |round: u32, first: u32| {
            let mut text = "{\n".to_owned() + &along_k(round, first) + &place(round, self.n, 0);
            for c in 0..4 {
                text += &format!("at{round}_{c} = min(tile_n + quad * 4u + {c}u, info.n - 1u);\n");
            }
            text + "}\n"
        };
        let activations = |round: u32, first: u32| {
            let quads = self.p / 4;
            let mut text = "{\n".to_owned();
            text += &match reads.is_conv() {
                // Along positions first, which are neighbours in the image.
                true => format!(
                    "let block = lane + {first}u; let quad = block % {quads}u; part{round} = block / {quads}u;\n"
                ),
                false => along_k(round, first),
            };
            text += &place(round, self.p, self.depth * self.n / 4);
            for c in 0..4 {
                text += &format!("at{round}_{c} = base(min(tile_p + quad * 4u + {c}u, info.p - 1u));\n");
            }
            text + "}\n"
        };
        text + &self.rounds(weights, activations)
    }

    /// Brings the slab at `k0` into registers.
    fn fetch(&self, reads: &Reads) -> String {
        let weights = |round: u32, _| {
            let outputs: Vec<_> = (0..4).map(|c| (format!("{round}_{c}"), format!("at{round}_{c}"))).collect();
            let fetch = reads.fetch(&outputs);
            format!("{{ let k = k0 + part{round} * 4u; let inside = k < info.k;\n{fetch}}}\n")
        };
        let activations = |round: u32, _| {
            let mut text = format!("{{ let k = k0 + part{round} * 4u;\n");
            if reads.is_conv() {
                for c in 0..4 {
                    let values: Vec<_> = (0..4).map(|at| format!("x[at{round}_{at} + o]")).collect();
                    text +=
                        &format!("{{ let o = offset(k + {c}u); x{round}_{c} = vec4<f32>({}); }}\n", values.join(", "));
                }
                return text + "}\n";
            }
            // Beyond the end, where weights are zero, any number will do.
            text += "let inside = min(k, (info.k - 1u) & 0xfffffffcu);\n";
            for c in 0..4 {
                text += &format!("x{round}_{c} = activation4(at{round}_{c}, inside);\n");
            }
            text + "}\n"
        };
        self.rounds(weights, activations)
    }

    /// Puts the slab that was brought into shared memory; `k0` is still its own.
    fn put(&self, reads: &Reads) -> String {
        let weights = |round: u32, _| {
            let mut text = format!("{{ let k = k0 + part{round} * 4u;\n");
            for c in 0..4 {
                let value = reads.unpacked(&format!("{round}_{c}"), &format!("at{round}_{c}"));
                text += &format!("let r{c} = {value};\n");
            }
            let stored = |vector: String| if self.half { format!("vec4<f16>({vector})") } else { vector };
            text + &turned_over(round, self.n / 4, "r", stored) + "}\n"
        };
        let activations = |round: u32, _| match reads.is_conv() {
            true => (0..4)
                .map(|row| {
                    let value = self.stored(&format!("x{round}_{row}"));
                    format!("tile[half + to{round} + {}u] = {value};\n", row * self.p / 4)
                })
                .collect(),
            false => turned_over(round, self.p / 4, &format!("x{round}_"), |vector| self.stored(&vector)),
        };
        self.rounds(weights, activations)
    }

    /// Sums of the invocation: `a{p}_{h}`, vectors along the outputs.
    fn sums(&self, reads: &Reads) -> String {
        let mut text = String::new();
        for h in 0..self.each_n / 4 {
            let first = h * self.n * 4 / self.each_n;
            let start = |c: u32| reads.start(&format!("min(tile_n + {first}u + n_ * 4u + {c}u, info.n - 1u)"));
            // The first span's sum has the bias.
            text += &format!(
                "let start{h} = vec4<f32>({}, {}, {}, {}) * f32(split == 0u);\n",
                start(0),
                start(1),
                start(2),
                start(3)
            );
            for p in 0..self.each_p {
                text += &format!("var a{p}_{h} = start{h};\n");
            }
        }
        text
    }

    /// Multiplies the slab in shared memory, four places of `k` at a time.
    fn multiply(&self) -> String {
        let four = self.multiply_four();
        let parts = self.parts();
        let slab = match self.unroll {
            true => (0..parts).map(|g| format!("{{ let g = {g}u;\n{four}}}\n")).collect(),
            false => format!("for (var g = 0u; g < {parts}u; g++) {{\n{four}}}\n"),
        };
        if !self.half {
            return slab;
        }
        let each = |text: fn(String) -> String| -> String {
            let sums = (0..self.each_p).flat_map(|p| (0..self.each_n / 4).map(move |h| format!("{p}_{h}")));
            sums.map(text).collect()
        };
        let begin = each(|sum| format!("var b{sum} = vec4<f16>();\n"));
        let end = each(|sum| format!("a{sum} = fma(vec4<f32>(b{sum}), vec4<f32>({SHRINK}), a{sum});\n"));
        format!("{{\n{begin}{slab}{end}}}\n")
    }

    /// Those of group `g` (a variable).
    fn multiply_four(&self) -> String {
        let swap = 8 / self.parts().min(8);
        let mut text = format!(
            "let at_w = half + g * {n}u + (n_ ^ (g * {swap}u)); let at_x = half + {x}u + g * {p}u + (p_ ^ (g * {swap}u));\n",
            n = self.n,
            p = self.p,
            x = self.depth * self.n / 4
        );
        for row in 0..4 {
            text += "{\n";
            for h in 0..self.each_n / 4 {
                text += &format!("let w{h} = tile[at_w + {}u];\n", row * self.n / 4 + h * self.n / self.each_n);
            }
            for h in 0..self.each_p / 4 {
                text += &format!("let x{h} = tile[at_x + {}u];\n", row * self.p / 4 + h * self.p / self.each_p);
            }
            for p in 0..self.each_p {
                for h in 0..self.each_n / 4 {
                    let x = format!("x{}.{}", p / 4, AXES[p as usize % 4]);
                    let (vector, sum) = (self.vector(), if self.half { "b" } else { "a" });
                    text += &format!("{sum}{p}_{h} = fma({vector}({x}), w{h}, {sum}{p}_{h});\n");
                }
            }
            text += "}\n";
        }
        text
    }

    fn stores(&self, reads: &Reads) -> String {
        let mut text = "let n0 = tile_n + n_ * 4u;\n".to_owned();
        for p in 0..self.each_p {
            let mut values = Vec::new();
            for h in 0..self.each_n / 4 {
                let first = h * self.n * 4 / self.each_n;
                values.extend((0..4).map(|c| (first + c, format!("a{p}_{h}.{}", AXES[c as usize]))));
            }
            let step = p / 4 * (self.p * 4 / self.each_p) + p % 4;
            text += &reads.stores(&format!("(tile_p + p_ * 4u + {step}u)"), Some("split"), &values);
        }
        text
    }
}

/// Stores four vectors that are along `k` as vectors across them, in rows of `quads`, each as `stored` has it.
fn turned_over(round: u32, quads: u32, name: &str, stored: impl Fn(String) -> String) -> String {
    AXES.iter()
        .enumerate()
        .map(|(row, at)| {
            let values: Vec<_> = (0..4).map(|c| format!("{name}{c}.{at}")).collect();
            let value = stored(format!("vec4<f32>({})", values.join(", ")));
            format!("tile[half + to{round} + {}u] = {value};\n", row as u32 * quads)
        })
        .collect()
}
