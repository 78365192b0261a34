//! The product by tiles in shared memory: a workgroup reads a tile's inputs together, and each only once.
//!
//! Slab by slab along `k`, the workgroup brings its tile's weights and activations into shared memory ([`slab`]), as vectors
//! along the output's own direction, while the slab after is already on its way to registers. Where a grid is too small to
//! fill a GPU, the sum itself is cut into spans ([`super::split`]), each a workgroup of its own.
//!
//! At 16 bits a slab's activations and weights are rounded when they are put into shared memory, of which they take half, and
//! its products are summed in that format, which many GPUs do at twice the rate. So few are summed there that rounding does
//! not grow with `k`.
//!
//! What a GPU has few of is registers: with more than 128 for an invocation, half as many are at work, and nothing else is
//! done while they wait for memory. `tests/registers.rs` looks at what a maker's compiler does with these texts.

mod results;
mod slab;

pub use results::Results;

use super::reads::Reads;
use crate::kernels::launch::{AXES, entry_of_workgroup};
use slab::Operand;

/// How a tile is computed. Numbers are powers of 2; of either side's slab, an invocation has at least eight numbers to bring.
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
    /// Places of `k` that are in shared memory at once, 16 or 32.
    pub depth: u32,
    /// How the next slab is brought.
    pub stage: Stage,
    /// Whether the loop over a slab is written out: what is beyond four places of `k` is then known beforehand, which saves as much
    /// as a tenth where indices are bounded, but Intel's compiler has no registers for it in smaller tiles.
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

impl Tile {
    /// Numbers that tell its kernel from others'.
    pub const KEY: usize = 8;

    /// What takes its place at 16 bits: slabs as deep as their sums may be, since taking these to 32 bits costs as much as some
    /// places of `k`, and no more positions for an invocation than it has registers for both kinds of sums. Loops are written
    /// out: compilers give a 16-bit number that goes round one a register of its own.
    pub fn at_16_bits(self) -> Self {
        Self { p: self.p.min(64), each_p: 4, depth: 32, unroll: true, half: true, ..self }
    }

    /// Invocations of a workgroup.
    pub fn invocations(&self) -> u32 {
        (self.n / self.each_n) * (self.p / self.each_p)
    }

    /// Workgroups for so many outputs and positions.
    pub fn workgroups(&self, [n, p]: [usize; 2]) -> usize {
        n.div_ceil(self.n as usize) * p.div_ceil(self.p as usize)
    }

    /// Shared memory of a workgroup, in bytes.
    pub fn shared_bytes(&self) -> u32 {
        let vectors = self.slabs() * self.depth * (self.n + self.p) / 4;
        vectors * if self.half { 8 } else { 16 }
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

    /// Slabs that are in shared memory at once.
    fn slabs(&self) -> u32 {
        if self.stage == Stage::Double { 2 } else { 1 }
    }

    /// The whole kernel.
    pub fn text(&self, reads: Reads, results: Results) -> String {
        let reads = &reads.for_gpus([Operand::Weights, Operand::Activations].map(|operand| self.together(operand)));
        let (n, p) = (self.n, self.p);
        let columns = format!("((info.n + {}u) / {n}u)", n - 1);
        let tiles = format!("({columns} * ((info.p + {}u) / {p}u))", p - 1);
        let mut text = reads.declarations(results.element());
        text += &self.declarations();
        text += &entry_of_workgroup(self.invocations(), &format!("{tiles} * ((info.k + info.span - 1u) / info.span)"));
        text += &format!(
            "let split = i / {tiles}; let t = i % {tiles};\n\
             let tile_n = (t % {columns}) * {n}u; let tile_p = (t / {columns}) * {p}u;\n\
             let n_ = (lane / 8u) % 4u + 4u * (lane / {across}u); let p_ = lane % 8u + 8u * (lane % {across}u / 32u);\n\
             let end = min((split + 1u) * info.span, info.k); let last = (end - 1u) / {depth}u * {depth}u;\n",
            across = 4 * p / self.each_p,
            depth = self.depth,
        );
        text += &self.places(reads);
        text += &self.sums(reads);
        text += "var k0 = split * info.span; var at = k0;\n";
        text += &self.walk(reads);
        text += &results.text(self, reads);
        text + "}\n"
    }

    /// The loop over slabs. What is brought while one is multiplied is so without a condition, beyond the end the last slab once
    /// more, and needed again without one: compilers would wait for memory where conditions end, before anything is multiplied, or
    /// ask for it where they begin, when all is.
    fn walk(&self, reads: &Reads) -> String {
        let (fetch, put, multiply) = (self.fetch(reads), self.put(reads), self.multiply());
        let (depth, barrier) = (self.depth, "workgroupBarrier();\n");
        let next = format!("k0 += {depth}u; at = min(k0, last);\n{fetch}");
        match self.stage {
            Stage::After => format!(
                "const half = 0u;\nwhile (k0 < end) {{\n{fetch}{put}{barrier}{multiply}{barrier}k0 += {depth}u; at = k0;\n}}\n"
            ),
            Stage::Ahead => {
                format!("const half = 0u;\n{fetch}while (k0 < end) {{\n{put}{barrier}{next}{multiply}{barrier}}}\n")
            }
            Stage::Double => format!(
                "var half = 0u;\n{fetch}{put}{barrier}\
                 while (k0 < end) {{\n{next}{multiply}half = {depth}u - half;\n{put}{barrier}}}\n"
            ),
        }
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
        let (four, fours) = (self.multiply_four(), self.depth / 4);
        let slab = match self.unroll {
            true => (0..fours).map(|g| format!("{{ const g = {g}u;\n{four}}}\n")).collect(),
            false => format!("for (var g = 0u; g < {fours}u; g++) {{\n{four}}}\n"),
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
        let mut text = self.rows(Operand::Weights, "n_") + &self.rows(Operand::Activations, "p_");
        for row in 0..4 {
            text += "{\n";
            for (operand, each) in [(Operand::Weights, self.each_n), (Operand::Activations, self.each_p)] {
                let (name, side) = (operand.name(), self.side(operand));
                let together = self.together(operand);
                for h in 0..each / 4 {
                    let (block, step) = (row / together, h * side / each);
                    text +=
                        &format!("let {name}{h} = {name}_slab[half + g * 4u + {row}u][{name}_own{block} + {step}u];\n");
                }
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
}
