//! Bringing a slab of weights and activations into shared memory, by way of registers.
//!
//! Each invocation brings as much of either as all others do: where some brought weights and others activations, compilers
//! would keep registers for both, and wait for memory where the two ways meet. What it brings are blocks, of four outputs or
//! positions by two or four places of `k`. Weights wait in registers as they are stored and become numbers when they are put
//! into shared memory: whoever unpacked them at once would wait for them before multiplying. There, vectors are swapped within
//! groups of eight (`^`), so that neither those who put them there nor those who read them meet in one bank. Arrays there are
//! nested: browsers bound each index that is not known beforehand, and so do it once for all lines of a block.

use super::{Reads, Tile};
use crate::kernels::launch::AXES;

/// What is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    Weights,
    Activations,
}

impl Operand {
    /// What variables of it begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "w",
            Self::Activations => "x",
        }
    }
}

impl Tile {
    /// Outputs, or positions.
    pub(super) fn side(&self, operand: Operand) -> u32 {
        match operand {
            Operand::Weights => self.n,
            Operand::Activations => self.p,
        }
    }

    /// Places of `k` in one block: 4, or 2 where there would be fewer blocks than invocations.
    pub fn together(&self, operand: Operand) -> u32 {
        (self.side(operand) * self.depth / (4 * self.invocations())).clamp(2, 4)
    }

    /// Blocks along `k`.
    fn parts(&self, operand: Operand) -> u32 {
        self.depth / self.together(operand)
    }

    /// Blocks that one invocation brings.
    fn rounds(&self, operand: Operand) -> u32 {
        self.side(operand) / 4 * self.parts(operand) / self.invocations()
    }

    /// How much further vectors are swapped from one part to the next.
    fn swap(&self, operand: Operand) -> u32 {
        8 / self.parts(operand).min(8)
    }

    /// The slabs in shared memory: vectors across `k`, a line of them for each of its places.
    pub(super) fn declarations(&self) -> String {
        let declaration = |operand: Operand| {
            let (name, vector, quads) = (operand.name(), self.vector(), self.side(operand) / 4);
            format!("var<workgroup> {name}_slab: array<array<{vector}, {quads}>, {}>;\n", self.slabs() * self.depth)
        };
        declaration(Operand::Weights) + &declaration(Operand::Activations)
    }

    /// Where the vectors of the outputs or positions `own` (a variable) are in the lines of group `g` (another), four places of
    /// `k`: one place for each of its blocks.
    pub(super) fn rows(&self, operand: Operand, own: &str) -> String {
        let (name, swap, blocks) = (operand.name(), self.swap(operand), 4 / self.together(operand));
        let place = |block| format!("let {name}_own{block} = {own} ^ ((g * {blocks}u + {block}u) * {swap}u);\n");
        (0..blocks).map(place).collect()
    }

    /// What an invocation brings of each operand in each round: `k`, the first place in a slab; `to`, where it goes in a line;
    /// and where four outputs or positions start.
    pub(super) fn places(&self, reads: &Reads) -> String {
        let mut text = String::new();
        for operand in [Operand::Weights, Operand::Activations] {
            let (name, side) = (operand.name(), self.side(operand));
            let (parts, quads, together) = (self.parts(operand), side / 4, self.together(operand));
            for round in 0..self.rounds(operand) {
                let block = format!("(lane + {}u)", round * self.invocations());
                // Neighbours read one row; but an image along positions, which are neighbours there.
                let (part, quad) = match operand == Operand::Activations && reads.is_conv() {
                    true => (format!("{block} / {quads}u"), format!("{block} % {quads}u")),
                    false => (format!("{block} % {parts}u"), format!("{block} / {parts}u")),
                };
                text += &format!(
                    "let {name}{round}_k = {part} * {together}u; let {name}{round}_quad = {quad};\n\
                     let {name}{round}_to = {name}{round}_quad ^ ({part} * {swap}u);\n",
                    swap = self.swap(operand),
                );
                let (function, tile, count) = match operand {
                    Operand::Weights => ("row", "tile_n", "info.n"),
                    Operand::Activations => ("base", "tile_p", "info.p"),
                };
                for c in 0..4 {
                    let own = format!("min({tile} + {name}{round}_quad * 4u + {c}u, {count} - 1u)");
                    text += &format!("let {name}{round}_start{c} = {function}({own});\n");
                }
                text += &self.registers(operand, round, reads);
            }
        }
        text
    }

    /// The variables that a round's block waits in.
    fn registers(&self, operand: Operand, round: u32, reads: &Reads) -> String {
        let count = self.together(operand);
        match operand {
            Operand::Weights => (0..4).map(|c| reads.packed_variables(&format!("{round}_{c}"))).collect(),
            Operand::Activations if reads.is_conv() => {
                (0..count).map(|c| format!("var x{round}_{c} = vec4<f32>();\n")).collect()
            }
            Operand::Activations => (0..4).map(|c| format!("var x{round}_{c} = vec{count}<f32>();\n")).collect(),
        }
    }

    /// Brings the slab at `at` into registers.
    pub(super) fn fetch(&self, reads: &Reads) -> String {
        let mut text = String::new();
        for round in 0..self.rounds(Operand::Weights) {
            text += &self.place(Operand::Weights, round, reads);
            for c in 0..4 {
                text += &reads.fetch(&format!("{round}_{c}"), &format!("(w{round}_start{c} + k)"));
            }
            text += "}\n";
        }
        for round in 0..self.rounds(Operand::Activations) {
            text += &self.place(Operand::Activations, round, reads);
            if reads.is_conv() {
                for c in 0..self.together(Operand::Activations) {
                    let values: Vec<_> = (0..4).map(|at| format!("x[x{round}_start{at} + o]")).collect();
                    text +=
                        &format!("{{ let o = offset(k + {c}u); x{round}_{c} = vec4<f32>({}); }}\n", values.join(", "));
                }
            } else {
                for c in 0..4 {
                    text += &format!("x{round}_{c} = activations(x{round}_start{c}, k);\n");
                }
            }
            text += "}\n";
        }
        text
    }

    /// Opens a block in which `k` is a round's place. Beyond the end, what is read last is read again.
    fn place(&self, operand: Operand, round: u32, reads: &Reads) -> String {
        let k = format!("at + {}{round}_k", operand.name());
        match reads.ends_within_slabs() {
            true => format!("{{ let k = min({k}, info.k - {}u);\n", self.together(operand)),
            false => format!("{{ let k = {k};\n"),
        }
    }

    /// Puts the slab that was brought, at `k0`, into shared memory.
    pub(super) fn put(&self, reads: &Reads) -> String {
        let mut text = String::new();
        for round in 0..self.rounds(Operand::Weights) {
            text += &format!("{{ let k = k0 + w{round}_k;\n");
            for c in 0..4 {
                let value = reads.unpacked(&format!("{round}_{c}"), &format!("(w{round}_start{c} + k)"));
                // Beyond the end weights are zero, so that any activation will do.
                text += &match reads.ends_within_slabs() {
                    true => format!("let r{c} = {value} * f32(k < info.k);\n"),
                    false => format!("let r{c} = {value};\n"),
                };
            }
            let stored = |vector: String| if self.half { format!("vec4<f16>({vector})") } else { vector };
            text += &self.turned_over(Operand::Weights, round, "r", stored);
            text += "}\n";
        }
        for round in 0..self.rounds(Operand::Activations) {
            let name = format!("x{round}_");
            text += &match reads.is_conv() {
                true => (0..self.together(Operand::Activations))
                    .map(|row| self.store(Operand::Activations, round, row, &self.stored(&format!("{name}{row}"))))
                    .collect(),
                false => self.turned_over(Operand::Activations, round, &name, |vector| self.stored(&vector)),
            };
        }
        text
    }

    /// Stores four vectors that are along `k` as vectors across them, each as `stored` has it.
    fn turned_over(&self, operand: Operand, round: u32, name: &str, stored: impl Fn(String) -> String) -> String {
        (0..self.together(operand))
            .map(|row| {
                let values: Vec<_> = (0..4).map(|c| format!("{name}{c}.{}", AXES[row as usize])).collect();
                self.store(operand, round, row, &stored(format!("vec4<f32>({})", values.join(", "))))
            })
            .collect()
    }

    fn store(&self, operand: Operand, round: u32, row: u32, value: &str) -> String {
        let name = operand.name();
        format!("{name}_slab[half + {name}{round}_k + {row}u][{name}{round}_to] = {value};\n")
    }
}
