//! The product by register tiles alone: each invocation reads what its own tile needs.
//!
//! A weight is unpacked once and used for every position of the tile. There is no barrier, so a software adapter runs an
//! invocation to its end in one go.

use super::reads::Reads;
use crate::kernels::launch::entry;

/// Positions, and outputs, per invocation.
pub const SIDE: u32 = 8;

/// The whole kernel.
pub fn text(reads: &Reads) -> String {
    let tiles = format!("((info.n + {}u) / {SIDE}u) * ((info.p + {}u) / {SIDE}u)", SIDE - 1, SIDE - 1);
    let mut text = reads.declarations() + &entry(&tiles) + &tile(reads);
    text += "for (var block = 0u; block * 32u < info.k; block++) {\n";
    if reads.is_quantized() {
        for j in 0..SIDE {
            text += &format!("let s{j} = scale(n{j}_, block);\n");
        }
    }
    text += "for (var k = block * 32u; k < min(block * 32u + 32u, info.k); k += 4u) {\n";
    text += &step(reads);
    text += "}\n}\n";
    for i in 0..SIDE {
        let values: Vec<_> = (0..SIDE).map(|j| (j, format!("a{i}_{j}"))).collect();
        text += &reads.stores(&format!("(p0 + {i}u)"), "0u", &values);
    }
    text + "}\n"
}

/// Where the invocation's tile lies, and its sums.
fn tile(reads: &Reads) -> String {
    let mut text = format!(
        "let columns = (info.n + {}u) / {SIDE}u;\n\
         let n0 = (i % columns) * {SIDE}u; let p0 = (i / columns) * {SIDE}u;\n",
        SIDE - 1
    );
    for j in 0..SIDE {
        text += &format!("let n{j}_ = min(n0 + {j}u, info.n - 1u);\n");
    }
    for i in 0..SIDE {
        text += &format!("let b{i} = base(min(p0 + {i}u, info.p - 1u));\n");
    }
    for i in 0..SIDE {
        for j in 0..SIDE {
            text += &format!("var a{i}_{j} = {};\n", reads.start(&format!("n{j}_")));
        }
    }
    text
}

/// One step of four along `k`: load the tile's activations and weights, multiply and add.
fn step(reads: &Reads) -> String {
    let mut text = String::new();
    if reads.is_conv() {
        text += "let o0 = offset(k); let o1 = offset(k + 1u); let o2 = offset(k + 2u); let o3 = offset(k + 3u);\n";
    }
    for i in 0..SIDE {
        text += &match reads.is_conv() {
            true => format!("let x{i} = vec4<f32>(x[b{i} + o0], x[b{i} + o1], x[b{i} + o2], x[b{i} + o3]);\n"),
            false => format!("let x{i} = activation4(b{i}, k);\n"),
        };
    }
    for j in 0..SIDE {
        let scale = if reads.is_quantized() { format!(" * s{j}") } else { String::new() };
        text += &format!("let w{j} = weight4(n{j}_, k){scale};\n");
        for i in 0..SIDE {
            text += &format!(
                "a{i}_{j} = fma(x{i}.x, w{j}.x, fma(x{i}.y, w{j}.y, fma(x{i}.z, w{j}.z, fma(x{i}.w, w{j}.w, a{i}_{j}))));\n"
            );
        }
    }
    text
}
