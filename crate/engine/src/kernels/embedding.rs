//! Looking up rows of an f16 or f32 table that stays packed on the device.

use burn::tensor::{Int, Tensor, TensorData};

use super::launch::{Wgsl, entry, launch, on_gpu, prelude, words_on_gpu};
use crate::weights::{Scheme, Weight};

/// Rows `ids` of `table`.
///
/// # Shapes
/// `table` [V, C], `ids` of length N, each below V → [N, C].
pub fn embedding(table: &Weight, ids: &[u32]) -> Tensor<2> {
    let device = table.words.device();
    let (rows, columns) = (ids.len(), table.columns);
    let Some(words) = words_on_gpu(&table.words) else { return embedding_reference(table, ids) };
    let ids = ids.iter().map(|&id| id as f32).collect::<Vec<_>>(); // exact: vocabularies are far below 2^24
    let ids = Tensor::<1>::from_data(TensorData::new(ids, [rows]), &device);
    let Some(ids) = on_gpu(&ids) else { return Tensor::zeros([rows, columns], &device) };
    let kernel = Wgsl {
        key: ("embedding", vec![table.scheme as u32]),
        text,
        info: vec![(rows * columns) as u32, columns as u32],
    };
    launch(kernel, rows * columns, &[&words, &ids], [rows, columns])
}

/// Plain-tensor twin of [`embedding`].
pub fn embedding_reference(table: &Weight, ids: &[u32]) -> Tensor<2> {
    let device = table.words.device();
    let ids = ids.iter().map(|&id| id as i32).collect::<Vec<_>>();
    let ids = Tensor::<1, Int>::from_data(TensorData::from(ids.as_slice()), &device);
    table.dequantize::<2>([table.rows, table.columns], &device).select(0, ids)
}

fn text(key: &[u32]) -> String {
    let read = match Scheme::ALL[key[0] as usize] {
        Scheme::F32 => "bitcast<f32>(w[e])",
        _ => "unpack2x16float(w[e >> 1u])[e & 1u]",
    };
    prelude(&[("w", "u32"), ("ids", "f32"), ("y", "f32")], &["count", "columns"])
        + &entry("info.count")
        + &format!("let e = u32(ids[i / info.columns]) * info.columns + i % info.columns;\ny[i] = {read};\n}}\n")
}
