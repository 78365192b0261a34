//! The product by register tiles alone: each invocation reads what its own tile needs.
//!
//! A weight is unpacked once and used for every position of the tile. There is no barrier, so a software adapter runs an
//! invocation to its end in one go. What such an adapter spends most on is reading, so that a tile of [`WIDE`] outputs is
//! 1.4 times as fast there as one of [`NARROW`]; larger ones are faster still, but take seconds to compile.

use super::reads::Reads;
use crate::kernels::launch::entry;

/// Positions of an invocation.
const POSITIONS: u32 = 8;
/// Outputs of an invocation, where all have as many.
const WIDE: u32 = 16;
/// Outputs of an invocation otherwise.
const NARROW: u32 = 8;

/// Outputs of an invocation, of `n` in all.
pub fn width(n: usize) -> u32 {
    if n.is_multiple_of(WIDE as usize) { WIDE } else { NARROW }
}

/// Invocations for `n` outputs at `p` positions.
pub fn invocations(n: usize, p: usize) -> usize {
    p.div_ceil(POSITIONS as usize) * n.div_ceil(width(n) as usize)
}

/// The whole kernel, for `width` outputs of an invocation.
pub fn text(width: u32, reads: &Reads) -> String {
    let tiles = format!("((info.n + {}u) / {width}u) * ((info.p + {}u) / {POSITIONS}u)", width - 1, POSITIONS - 1);
    let mut text = reads.declarations("f32") + &entry(&tiles) + &tile(width, reads);
    text += "for (var block = 0u; block * 32u < info.k; block++) {\n";
    if reads.is_quantized() {
        for j in 0..width {
            text += &format!("let s{j} = scale(r{j} + block * 32u);\n");
        }
    }
    text += "for (var k = block * 32u; k < min(block * 32u + 32u, info.k); k += 4u) {\n";
    text += &step(width, reads);
    text += "}\n}\n";
    for i in 0..POSITIONS {
        let values: Vec<_> = (0..width).map(|j| (j, format!("a{i}_{j}"))).collect();
        text += &reads.stores(&format!("(p0 + {i}u)"), None, &values);
    }
    text + "}\n"
}

/// Where the invocation's tile lies, and its sums.
fn tile(width: u32, reads: &Reads) -> String {
    let mut text = format!(
        "let columns = (info.n + {}u) / {width}u;\n\
         let n0 = (i % columns) * {width}u; let p0 = (i / columns) * {POSITIONS}u;\n",
        width - 1
    );
    for j in 0..width {
        text += &format!("let n{j}_ = min(n0 + {j}u, info.n - 1u); let r{j} = row(n{j}_);\n");
    }
    for i in 0..POSITIONS {
        text += &format!("let b{i} = base(min(p0 + {i}u, info.p - 1u));\n");
    }
    for i in 0..POSITIONS {
        for j in 0..width {
            text += &format!("var a{i}_{j} = {};\n", reads.start(&format!("n{j}_")));
        }
    }
    text
}

/// One step of four along `k`: load the tile's activations and weights, multiply and add.
fn step(width: u32, reads: &Reads) -> String {
    let mut text = String::new();
    if reads.is_conv() {
        text += "let o0 = offset(k); let o1 = offset(k + 1u); let o2 = offset(k + 2u); let o3 = offset(k + 3u);\n";
    }
    for i in 0..POSITIONS {
        text += &match reads.is_conv() {
            true => format!("let x{i} = vec4<f32>(x[b{i} + o0], x[b{i} + o1], x[b{i} + o2], x[b{i} + o3]);\n"),
            false => format!("let x{i} = activations(b{i}, k);\n"),
        };
    }
    for j in 0..width {
        let scale = if reads.is_quantized() { format!(" * s{j}") } else { String::new() };
        text += &format!("let w{j} = weights(r{j} + k, k){scale};\n");
        for i in 0..POSITIONS {
            text += &format!(
                "a{i}_{j} = fma(x{i}.x, w{j}.x, fma(x{i}.y, w{j}.y, fma(x{i}.z, w{j}.z, fma(x{i}.w, w{j}.w, a{i}_{j}))));\n"
            );
        }
    }
    text
}
