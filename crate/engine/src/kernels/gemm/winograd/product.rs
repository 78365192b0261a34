//! At each point, channels multiplied and summed: by register tiles, or by tiles in shared memory.

use super::{Filter, INFO, OUTPUTS, TILES};
use crate::kernels::launch::{AXES, entry, entry_of_workgroup, prelude};

/// Rows, and places, of a tile in shared memory.
pub const SIDE: usize = 64;
/// Channels that are in shared memory at once.
pub const DEPTH: usize = 16;
/// Invocations of its workgroup: 8x8 each.
pub const INVOCATIONS: u32 = 64;
/// Vectors of a tile in one line.
const VECTORS: usize = SIDE / 4;
/// Vectors of either operand that an invocation brings.
const ROUNDS: usize = VECTORS * DEPTH / INVOCATIONS as usize;

const BUFFERS: [(&str, &str); 3] = [("v", "vec4<f32>"), ("u", "vec4<f32>"), ("y", "vec4<f32>")];

/// [points, C, places] times [points, C, N] → [points, N, places].
pub fn text(key: &[u32]) -> String {
    let points = Filter::of(key[0]).points().pow(2);
    let counts = format!("let columns = info.places / {TILES}u; let lines = info.rows / {OUTPUTS}u;\n");
    let mut text = prelude(&BUFFERS, &INFO)
        + &entry(&format!("{points}u * (info.rows / {OUTPUTS}u) * (info.places / {TILES}u)"))
        + &counts;
    let (quads, halves) = (OUTPUTS / 4, TILES / 4);
    text += &format!(
        "let t = i % columns * {halves}u; let n = i / columns % lines * {OUTPUTS}u; let point = i / columns / lines;\n\
         let v_step = info.places / 4u; let u_step = info.rows / 4u;\n\
         var at_v = point * info.channels * v_step + t; var at_u = point * info.channels * u_step + n / 4u;\n"
    );
    for output in 0..OUTPUTS {
        for half in 0..halves {
            text += &format!("var a{output}_{half} = vec4<f32>();\n");
        }
    }
    text += "for (var c = 0u; c < info.channels; c++) {\n";
    for half in 0..halves {
        text += &format!("let v{half} = v[at_v + {half}u];\n");
    }
    for quad in 0..quads {
        text += &format!("let u{quad} = u[at_u + {quad}u];\n");
    }
    for output in 0..OUTPUTS {
        for half in 0..halves {
            let weight = format!("vec4<f32>(u{}[{}])", output / 4, output % 4);
            text += &format!("a{output}_{half} = fma({weight}, v{half}, a{output}_{half});\n");
        }
    }
    text += "at_v += v_step; at_u += u_step;\n}\n";
    for output in 0..OUTPUTS {
        for half in 0..halves {
            text += &format!("y[(point * info.rows + n + {output}u) * v_step + t + {half}u] = a{output}_{half};\n");
        }
    }
    text + "}\n"
}

/// As [`text`], by tiles of [`SIDE`] rows and places in shared memory; channels are a multiple of [`DEPTH`]. What is beyond the
/// last row or place is brought once more, and not stored. Of either operand an invocation has two vectors half a tile apart,
/// so that neighbours read neighbours.
pub fn shared_text(key: &[u32]) -> String {
    let points = Filter::of(key[0]).points().pow(2);
    let sides = |count: &str| format!("((info.{count} + {}u) / {SIDE}u)", SIDE - 1);
    let (columns, lines) = (sides("places"), sides("rows"));
    let mut text = prelude(&BUFFERS, &INFO);
    for name in ["v", "u"] {
        text += &format!("var<workgroup> {name}_slab: array<array<vec4<f32>, {VECTORS}>, {DEPTH}>;\n");
    }
    text += &entry_of_workgroup(INVOCATIONS, &format!("{points}u * {lines} * {columns}"));
    text += &format!(
        "let t = i % {columns} * {VECTORS}u; let n = i / {columns} % {lines} * {VECTORS}u; let point = i / {columns} / {lines};\n\
         let v_step = info.places / 4u; let u_step = info.rows / 4u;\n\
         let own = lane % {VECTORS}u; let first = lane / {VECTORS}u; let last = info.channels - {DEPTH}u;\n\
         var at_v = (point * info.channels + first) * v_step + min(t + own, v_step - 1u);\n\
         var at_u = (point * info.channels + first) * u_step + min(n + own, u_step - 1u);\n\
         let n_ = lane / 8u; let t_ = lane % 8u;\n"
    );
    for round in 0..ROUNDS {
        text += &format!("var v{round} = vec4<f32>(); var u{round} = vec4<f32>();\n");
    }
    for n in 0..8 {
        text += &format!("var a{n}_0 = vec4<f32>(); var a{n}_1 = vec4<f32>();\n");
    }
    let each = |line: &dyn Fn(usize, &str) -> String| -> String {
        (0..ROUNDS).flat_map(|round| ["v", "u"].map(|name| line(round, name))).collect()
    };
    // From one round to the next, and from one slab to the next.
    let lines_of_round = INVOCATIONS as usize / VECTORS;
    let fetch = each(&|round, name| {
        format!("{name}{round} = {name}[at_{name} + {}u * {name}_step];\n", round * lines_of_round)
    });
    let put = each(&|round, name| format!("{name}_slab[first + {}u][own] = {name}{round};\n", round * lines_of_round));
    text += &fetch;
    // What is brought beyond the end is the last slab once more: without a condition, loads are asked for before the products.
    text += &format!(
        "for (var c = 0u; c < info.channels; c += {DEPTH}u) {{\n{put}workgroupBarrier();\n\
         let step = select(0u, {DEPTH}u, c < last);\nat_v += step * v_step; at_u += step * u_step;\n{fetch}"
    );
    for line in 0..DEPTH {
        text += "{\n";
        for half in 0..2 {
            text += &format!(
                "let x{half} = v_slab[{line}][t_ + {0}u]; let w{half} = u_slab[{line}][n_ + {0}u];\n",
                half * 8
            );
        }
        for n in 0..8 {
            for half in 0..2 {
                let weight = format!("vec4<f32>(w{}.{})", n / 4, AXES[n % 4]);
                text += &format!("a{n}_{half} = fma({weight}, x{half}, a{n}_{half});\n");
            }
        }
        text += "}\n";
    }
    text += "workgroupBarrier();\n}\n";
    for quad in 0..2 {
        text +=
            &format!("if (n + n_ + {0}u < u_step) {{ let row = point * info.rows + (n + n_ + {0}u) * 4u;\n", quad * 8);
        for half in 0..2 {
            text += &format!("if (t + t_ + {0}u < v_step) {{ let place = row * v_step + t + t_ + {0}u;\n", half * 8);
            for n in 0..4 {
                text += &format!("y[place + {n}u * v_step] = a{}_{half};\n", 4 * quad + n);
            }
            text += "}\n";
        }
        text += "}\n";
    }
    text + "}\n"
}
