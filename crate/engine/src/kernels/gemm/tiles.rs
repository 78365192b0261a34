//! The product by tiles in shared memory: a workgroup reads a tile's inputs together, and each only once.
//!
//! Side by side along `k`, the workgroup brings as many rows of weights and activations into shared memory as 4,096 numbers
//! allow (a default adapter has room for 4,096 of 32 bits), each as vectors along the output's own direction. Then each
//! invocation multiplies its four or eight outputs by four or eight positions from there.

use super::reads::Reads;
use crate::kernels::launch::entry_of_workgroup;

/// Invocations of a workgroup: 8 along the outputs by 8 along the positions.
pub const WORKGROUP: u32 = 64;

/// The whole kernel, for square tiles of `side` 32 or 64.
pub fn text(reads: &Reads, side: u32) -> String {
    let shape = Shape { quads: side / 4, depth: 4 * WORKGROUP / (side / 4), halves: side / 32 };
    let last = side - 1;
    let tiles = format!("((info.n + {last}u) / {side}u) * ((info.p + {last}u) / {side}u)");
    let mut text = reads.declarations();
    for name in ["ws", "xs"] {
        text += &format!("var<workgroup> {name}: array<vec4<f32>, {}>;\n", shape.depth * shape.quads);
    }
    text += &entry_of_workgroup(WORKGROUP, &tiles);
    text += &format!(
        "let columns = (info.n + {last}u) / {side}u;\n\
         let tile_n = (i % columns) * {side}u; let tile_p = (i / columns) * {side}u;\n\
         let quad = lane % {quads}u; let part = lane / {quads}u; let n_ = lane / 8u; let p_ = lane % 8u;\n",
        quads = shape.quads
    );
    for c in 0..4 {
        text += &format!(
            "let wn{c} = min(tile_n + quad * 4u + {c}u, info.n - 1u);\n\
             let xb{c} = base(min(tile_p + quad * 4u + {c}u, info.p - 1u));\n"
        );
    }
    text += &shape.sums(reads);
    text += &format!("for (var k0 = 0u; k0 < info.k; k0 += {}u) {{\n", shape.depth);
    text += &shape.bring_weights(reads);
    text += &shape.bring_activations(reads);
    text += "workgroupBarrier();\n";
    text += &shape.multiply();
    text += "workgroupBarrier();\n}\n";
    text += &shape.stores(reads);
    text + "}\n"
}

/// How a tile is laid out.
struct Shape {
    /// Vectors along a side of the tile.
    quads: u32,
    /// Rows along `k` that are in shared memory at once.
    depth: u32,
    /// Vectors of outputs, and of positions, that an invocation has: 1 or 2, half a side apart.
    halves: u32,
}

impl Shape {
    /// Sums of the invocation: `a{p}_{h}`, vectors along the outputs.
    fn sums(&self, reads: &Reads) -> String {
        let mut text = String::new();
        for h in 0..self.halves {
            let start = |c: u32| reads.start(&format!("min(tile_n + {}u + n_ * 4u + {c}u, info.n - 1u)", 32 * h));
            text += &format!("let start{h} = vec4<f32>({}, {}, {}, {});\n", start(0), start(1), start(2), start(3));
            for p in 0..4 * self.halves {
                text += &format!("var a{p}_{h} = start{h};\n");
            }
        }
        text
    }

    /// Each invocation brings four weights along `k` of four outputs, turned over.
    fn bring_weights(&self, reads: &Reads) -> String {
        let scale = |c: u32| if reads.is_quantized() { format!(" * scale(wn{c}, k / 32u)") } else { String::new() };
        let mut text = "{ let k = k0 + part * 4u;\n".to_owned();
        for c in 0..4 {
            text += &format!("var r{c} = vec4<f32>(0.0);\n");
        }
        text += "if (k < info.k) {\n";
        for c in 0..4 {
            text += &format!("r{c} = weight4(wn{c}, k){};\n", scale(c));
        }
        text += "}\n";
        text + &self.turn_over("ws") + "}\n"
    }

    /// As for weights for a linear layer; for an image, four neighbouring positions at four places of `k`.
    fn bring_activations(&self, reads: &Reads) -> String {
        let mut text = String::new();
        if reads.is_conv() {
            for step in 0..4 {
                let row = format!("part + {}u", step * self.depth / 4);
                text += &format!(
                    "{{ let o = offset(k0 + {row}); xs[({row}) * {}u + quad] = \
                     vec4<f32>(x[xb0 + o], x[xb1 + o], x[xb2 + o], x[xb3 + o]); }}\n",
                    self.quads
                );
            }
            return text;
        }
        text += "{ let k = k0 + part * 4u;\n";
        for c in 0..4 {
            text += &format!("var r{c} = vec4<f32>(0.0);\n");
        }
        text += "if (k < info.k) {\n";
        for c in 0..4 {
            text += &format!("r{c} = activation4(xb{c}, k);\n");
        }
        text += "}\n";
        text + &self.turn_over("xs") + "}\n"
    }

    /// Stores `r0` to `r3`, which are along `k`, as vectors across them.
    fn turn_over(&self, name: &str) -> String {
        ["x", "y", "z", "w"]
            .iter()
            .enumerate()
            .map(|(row, at)| {
                let place = format!("(part * 4u + {row}u) * {}u + quad", self.quads);
                format!("{name}[{place}] = vec4<f32>(r0.{at}, r1.{at}, r2.{at}, r3.{at});\n")
            })
            .collect()
    }

    fn multiply(&self) -> String {
        let mut text = format!("for (var k = 0u; k < {}u; k++) {{\n", self.depth);
        for h in 0..self.halves {
            let place = |of: &str| format!("[k * {}u + {}u + {of}]", self.quads, 8 * h);
            text += &format!("let w{h} = ws{}; let x{h} = xs{};\n", place("n_"), place("p_"));
        }
        for p in 0..4 * self.halves {
            for h in 0..self.halves {
                let x = format!("x{}.{}", p / 4, ["x", "y", "z", "w"][p as usize % 4]);
                text += &format!("a{p}_{h} = fma(vec4<f32>({x}), w{h}, a{p}_{h});\n");
            }
        }
        text + "}\n"
    }

    fn stores(&self, reads: &Reads) -> String {
        let mut text = "let n0 = tile_n + n_ * 4u;\n".to_owned();
        for p in 0..4 * self.halves {
            let mut values = Vec::new();
            for h in 0..self.halves {
                values.extend(
                    ["x", "y", "z", "w"]
                        .iter()
                        .enumerate()
                        .map(|(c, at)| (32 * h + c as u32, format!("a{p}_{h}.{at}"))),
                );
            }
            text += &reads.stores(&format!("(tile_p + p_ * 4u + {}u)", 32 * (p / 4) + p % 4), &values);
        }
        text
    }
}
