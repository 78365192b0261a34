//! Looking up rows of an f16 or f32 table that stays packed on the device.

use burn::tensor::{Int, Tensor, TensorData};

use super::cpu;
use super::launch::{Wgsl, entry, launch, on_gpu, prelude, words_on_gpu};
use crate::weights::{Scheme, Weight, WeightPart};

/// Rows `ids` of `table`.
///
/// # Shapes
/// `table` [V, C], `ids` of length N, each below V → [N, C].
pub fn embedding(table: &Weight, ids: &[u32]) -> Tensor<2> {
    let mut start = 0;
    // An id lies in one part of the table and finds zeros in the others.
    let found: Option<Vec<_>> = table
        .parts
        .iter()
        .map(|part| {
            start += part.rows;
            launch_part(table, part, start - part.rows, ids)
        })
        .collect();
    let found = found.and_then(|found| found.into_iter().reduce(|a, b| a + b));
    found.or_else(|| cpu::embedding(table, ids)).unwrap_or_else(|| embedding_reference(table, ids))
}

/// Rows `ids` of a part of the table that starts at row `start`, zeros for others; `None` on the CPU.
fn launch_part(table: &Weight, part: &WeightPart, start: usize, ids: &[u32]) -> Option<Tensor<2>> {
    let (rows, columns) = (ids.len(), table.columns);
    let words = words_on_gpu(&part.words)?;
    let ids = ids.iter().map(|&id| id as f32).collect::<Vec<_>>(); // exact: vocabularies are far below 2^24
    let ids = on_gpu(&Tensor::<1>::from_data(TensorData::new(ids, [rows]), &table.device()))?;
    let info = [rows * columns, columns, start, part.rows].map(|value| value as u32).to_vec();
    let kernel = Wgsl::new(("embedding", vec![table.scheme as u32]), text, info);
    Some(launch(kernel, rows * columns, &[&words, &ids], [rows, columns]))
}

/// Plain-tensor twin of [`embedding`].
pub fn embedding_reference(table: &Weight, ids: &[u32]) -> Tensor<2> {
    let device = table.device();
    let ids = ids.iter().map(|&id| id as i32).collect::<Vec<_>>();
    let ids = Tensor::<1, Int>::from_data(TensorData::from(ids.as_slice()), &device);
    table.dequantize::<2>([table.rows, table.columns], &device).select(0, ids)
}

fn text(key: &[u32]) -> String {
    let read = match Scheme::ALL[key[0] as usize] {
        Scheme::F32 => "bitcast<f32>(w[e])",
        _ => "unpack2x16float(w[e >> 1u])[e & 1u]",
    };
    prelude(&[("w", "u32"), ("ids", "f32"), ("y", "f32")], &["count", "columns", "start", "rows"])
        + &entry("info.count")
        + &format!(
            "let row = u32(ids[i / info.columns]) - info.start; // before the part it wraps around, which is outside too\n\
             if (row >= info.rows) {{ y[i] = 0.0; return; }}\n\
             let e = row * info.columns + i % info.columns;\ny[i] = {read};\n}}\n"
        )
}
