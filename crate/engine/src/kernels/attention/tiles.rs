//! Attention by tiles in shared memory, for GPUs that share it well.
//!
//! A workgroup has [`QUERIES`] queries of one head and takes [`KEYS`] keys at a time. Its invocations stand in [`ROWS`] rows of some
//! columns. At first each computes the scores of four queries, those of its row, with the keys of its column, from slabs of
//! both in shared memory; then, with the softmax's numerators of all columns there, the outputs of the same queries in its
//! column's part of the head. So a number that is read from shared memory is used four times and more, and no invocation keeps
//! more than a part of a head in its registers, of which GPUs have few ([`crate::kernels::texts`]).
//!
//! Where neighbouring invocations read different vectors, these lie in different banks: keys are dealt out to columns one by one,
//! rows of a slab are an odd number of vectors apart, and numerators are swapped within groups of eight (`^`). Arrays are nested so
//! that what is known beforehand has a dimension of its own: browsers bound every index that is not.

use super::{BUFFERS, FIELDS, MAX_OUTPUT_SIZE};
use crate::kernels::launch::{AXES, entry_of_workgroup, prelude};

/// Queries of a workgroup, four for each row of invocations.
pub const QUERIES: u32 = 32;
/// Rows of invocations.
const ROWS: u32 = QUERIES / 4;
/// Keys of a tile.
const KEYS: u32 = 32;
/// Columns of invocations, which divide a head's numbers, and the widest heads that they are for.
const COLUMNS: [(u32, u32); 3] = [(8, 96), (16, MAX_OUTPUT_SIZE as u32), (4, 64)];
/// Most vectors of a query, and of a key, in a slab.
const SLAB: u32 = 5;
/// Most bytes of values that are in shared memory at once: all together fits WebGPU's least, 16 KiB.
const VALUE_BYTES: u32 = 5 << 10;

/// How a head of some size is computed.
#[derive(Debug, Clone, Copy)]
pub struct Tiles {
    /// Numbers of a head.
    size: u32,
    /// Columns of invocations.
    columns: u32,
    /// Vectors of a query in a slab.
    slab: u32,
    /// Keys whose values are in shared memory at once.
    values: u32,
    /// Outputs that are side by side: 1, 2 or 4.
    together: u32,
}

impl Tiles {
    /// Those for heads of `size` numbers; `None` where that cannot be dealt out to columns.
    pub fn of(size: u32) -> Option<Self> {
        let suits = |(columns, most): &(u32, u32)| size > 0 && size <= *most && size.is_multiple_of(*columns);
        let (columns, _) = COLUMNS.into_iter().find(suits)?;
        let vectors = size / 4;
        let slab = (1..=SLAB).rev().find(|slab| vectors.is_multiple_of(*slab))?;
        let values = [KEYS, KEYS / 2, KEYS / 4].into_iter().find(|values| values * size * 4 <= VALUE_BYTES)?;
        let together = [4, 2, 1].into_iter().find(|together| size.is_multiple_of(together * columns))?;
        Some(Self { size, columns, slab, values, together })
    }

    /// Invocations of a workgroup.
    pub fn invocations(&self) -> u32 {
        ROWS * self.columns
    }

    /// From one row of a slab to the next, in vectors.
    fn pitch(&self) -> u32 {
        self.slab | 1
    }

    /// Keys of a tile in one column.
    fn keys(&self) -> u32 {
        KEYS / self.columns
    }

    /// Groups of outputs of one invocation.
    fn groups(&self) -> u32 {
        self.size / (self.together * self.columns)
    }

    /// Type of the outputs that are side by side.
    fn element(&self) -> &'static str {
        ["f32", "vec2<f32>", "vec4<f32>"][self.together as usize / 2]
    }

    /// The whole kernel.
    pub fn text(&self) -> String {
        let Self { columns, size, .. } = *self;
        let element = self.element();
        let buffers = BUFFERS.map(|(name, vector)| (name, if name == "y" { element } else { vector }));
        let mut text = prelude(&buffers, &FIELDS);
        text += &format!(
            "var<workgroup> slab: array<array<vec4<f32>, {pitch}>, {}>;\n\
             var<workgroup> values: array<array<array<{element}, {columns}>, {}>, {}>;\n\
             var<workgroup> shares: array<array<vec4<f32>, {ROWS}>, {KEYS}>;\n\
             var<workgroup> columns: array<array<vec4<f32>, {ROWS}>, {columns}>;\n",
            QUERIES + KEYS,
            self.groups(),
            self.values,
            pitch = self.pitch(),
        );
        text += &entry_of_workgroup(self.invocations(), "info.count");
        text += &format!(
            "let blocks = (info.queries + {last}u) / {QUERIES}u; let head = (i / blocks) % info.heads;\n\
             let b = i / (blocks * info.heads); let query0 = (i % blocks) * {QUERIES}u;\n\
             let r = lane / {columns}u; let c = lane % {columns}u; let swapped = r ^ (c & 7u);\n\
             let q0 = b * info.queries * info.row + head * {vectors}u; let k0 = b * info.keys * info.row + head * {vectors}u;\n\
             var top = vec4<f32>(-3.0e38); var sum = vec4<f32>();\n",
            last = QUERIES - 1,
            vectors = size / 4,
        );
        text += &self.outputs(|i, group| format!("var o{i}_{group} = {element}();\n"));
        text += &format!("for (var key0 = 0u; key0 < info.keys; key0 += {KEYS}u) {{\n");
        text += &self.scores();
        text += &self.numerators();
        for part in 0..KEYS / self.values {
            text += &self.add_values(part);
        }
        text += "}\n";
        text + &self.results()
    }

    /// `line` for each query and each group of outputs.
    fn outputs(&self, line: impl Fn(u32, u32) -> String) -> String {
        (0..4).flat_map(|i| (0..self.groups()).map(move |group| (i, group))).map(|(i, group)| line(i, group)).collect()
    }

    /// `s{i}_{j}`: the products of queries and keys.
    fn scores(&self) -> String {
        let (slab, columns) = (self.slab, self.columns);
        let pairs = (0..self.keys()).flat_map(|j| (0..4).map(move |i| (i, j)));
        let mut text: String = pairs.map(|(i, j)| format!("var s{i}_{j} = 0.0;\n")).collect();
        text += &format!(
            "for (var d = 0u; d < {}u; d += {slab}u) {{\n\
             {}workgroupBarrier();\n",
            self.size / 4,
            self.bring(
                [QUERIES, slab],
                &format!(
                    "slab[line][at] = q[q0 + min(query0 + line, info.queries - 1u) * info.row + d + at];\n\
                     slab[{QUERIES}u + line][at] = k[k0 + min(key0 + line, info.keys - 1u) * info.row + d + at];\n"
                )
            ),
        );
        for vector in 0..slab {
            text += "{\n";
            for i in 0..4 {
                text += &format!("let q{i} = slab[r + {}u][{vector}];\n", i * ROWS);
            }
            for j in 0..self.keys() {
                text += &format!("{{ let k_ = slab[c + {}u][{vector}];\n", QUERIES + j * columns);
                text += &(0..4).map(|i| dot_onto(&format!("s{i}_{j}"), &format!("q{i}"), "k_")).collect::<String>();
                text += "}\n";
            }
            text += "}\n";
        }
        text + "workgroupBarrier();\n}\n"
    }

    /// Takes the tile's scores into the running maxima, and puts the softmax's numerators into `shares`.
    fn numerators(&self) -> String {
        let columns = self.columns;
        let scale = 1.0 / f64::from(self.size).sqrt();
        let mut text = String::new();
        for j in 0..self.keys() {
            text += &format!(
                "let score{j} = select(vec4<f32>(-3.0e38), vec4<f32>(s0_{j}, s1_{j}, s2_{j}, s3_{j}) * {scale:?}, \
                 key0 + {}u + c < info.keys);\n",
                j * columns
            );
        }
        let own = (1..self.keys()).fold("score0".to_owned(), |own, j| format!("max({own}, score{j})"));
        text += &format!("columns[c][swapped] = {own};\nworkgroupBarrier();\nvar next = top;\n");
        text += &self.of_columns(|column| format!("next = max(next, {column});\n"));
        text += "let keep = exp(top - next); top = next; sum *= keep;\n";
        for j in 0..self.keys() {
            text += &format!(
                "{{ let share = exp(score{j} - top); sum += share; shares[c + {}u][swapped ^ {}u] = share; }}\n",
                j * columns,
                j * columns % 8
            );
        }
        text + &self.outputs(|i, group| format!("o{i}_{group} *= keep.{};\n", AXES[i as usize]))
    }

    /// `line` for what each column has in `columns`.
    fn of_columns(&self, line: impl Fn(String) -> String) -> String {
        (0..self.columns).map(|column| line(format!("columns[{column}][r ^ {}u]", column % 8))).collect()
    }

    /// Adds the values of one part of the tile's keys, each times its numerator.
    fn add_values(&self, part: u32) -> String {
        let (values, columns, first) = (self.values, self.columns, part * self.values);
        let (element, parts) = (self.element(), 4 / self.together);
        // A vector is as many elements as there are in it, side by side in one group: columns are a multiple of them.
        let pieces = [&AXES[..], &["xy", "zw"], &["xyzw"]][self.together as usize / 2];
        let mut body = format!(
            "let vector = v[k0 + min(key0 + {first}u + line, info.keys - 1u) * info.row + at];\n\
             let group = at / {each}u; let to = at % {each}u * {parts}u;\n",
            each = columns / parts
        );
        for (piece, axes) in pieces.iter().enumerate() {
            body += &format!("values[line][group][to + {piece}u] = vector.{axes};\n");
        }
        let mut text = if part > 0 { "workgroupBarrier();\n".to_owned() } else { String::new() };
        text += &self.bring([values, self.size / 4], &body);
        text += &format!(
            "workgroupBarrier();\nfor (var key = 0u; key < {values}u; key += 4u) {{\nlet swapped_ = r ^ (key & 4u);\n"
        );
        for key in 0..4 {
            text += &format!("{{ let share = shares[key + {}u][swapped_ ^ {key}u];\n", first + key);
            for group in 0..self.groups() {
                text += &format!("{{ let value = values[key + {key}u][{group}][c];\n");
                for (i, axis) in AXES.iter().enumerate() {
                    text += &format!("o{i}_{group} = fma({element}(share.{axis}), value, o{i}_{group});\n");
                }
                text += "}\n";
            }
            text += "}\n";
        }
        text + "}\n"
    }

    /// `body` for each vector, number `at` of so many in each `line` (variables) of so many, dealt out to all invocations. From one
    /// to the next nothing is divided.
    fn bring(&self, [lines, vectors]: [u32; 2], body: &str) -> String {
        let (down, across) = (self.invocations() / vectors, self.invocations() % vectors);
        let wrap = match across {
            0 => String::new(),
            _ => format!("at += {across}u;\nif (at >= {vectors}u) {{ at -= {vectors}u; line++; }}\n"),
        };
        format!(
            "{{ var line = lane / {vectors}u; var at = lane % {vectors}u;\n\
             while (line < {lines}u) {{\n{body}line += {down}u;\n{wrap}}}\n}}\n"
        )
    }

    /// Divides by the softmax's denominators, and stores.
    fn results(&self) -> String {
        let parts = 4 / self.together;
        let mut text = "workgroupBarrier();\ncolumns[c][swapped] = sum;\nworkgroupBarrier();\n".to_owned();
        text += "var total = vec4<f32>();\n";
        text += &self.of_columns(|column| format!("total += {column};\n"));
        for (i, axis) in AXES.iter().enumerate() {
            text += &format!("{{ let query = query0 + {}u + r;\nif (query < info.queries) {{\n", i as u32 * ROWS);
            for group in 0..self.groups() {
                let place = format!("(q0 + query * info.row) * {parts}u + c + {}u", group * self.columns);
                text += &format!("y[{place}] = o{i}_{group} / total.{axis};\n");
            }
            text += "}\n}\n";
        }
        text + "}\n"
    }
}

/// Adds the product of two vectors to the number `sum`.
fn dot_onto(sum: &str, a: &str, b: &str) -> String {
    let added = AXES.iter().fold(sum.to_owned(), |sum, axis| format!("fma({a}.{axis}, {b}.{axis}, {sum})"));
    format!("{sum} = {added};\n")
}
