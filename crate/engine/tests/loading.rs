//! Loading onto a GPU keeps no weights in this program's own memory, whatever the model's size.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;
mod counting;

use std::collections::BTreeMap;

use common::small_gpu;
use counting::peak_bytes;
use fraise_engine::pack::{TensorInfo, TensorSink};
use fraise_engine::weights::WeightsBuilder;
use safetensors::Dtype;

const MIB: usize = 1 << 20;

#[test]
fn weights_go_to_the_gpu_without_staying_here() {
    // Bindings of 16 MiB, so that the tensors are cut too.
    let Some(device) = small_gpu(16 * MIB as u64) else { return };
    const PIECE_BYTES: usize = 16 * MIB;
    let (weights, most) = peak_bytes(|| {
        let mut builder = WeightsBuilder::new("unet", &BTreeMap::new(), &device);
        let piece = vec![0x3c; PIECE_BYTES];
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let (rows, columns) = (10 * 1024, 3 * 1024);
            let bytes = rows * columns * 2;
            let info = TensorInfo { name: name.into(), dtype: Dtype::F16, shape: vec![rows, columns], bytes };
            builder.begin(&info).unwrap();
            for start in (0..bytes).step_by(piece.len()) {
                builder.write(&piece[..piece.len().min(bytes - start)]).unwrap();
            }
            builder.end().unwrap();
        }
        let weights = builder.finish().unwrap();
        device.sync().unwrap();
        weights
    });
    println!("{} MiB of weights; at most {} MiB of memory here", weights.device_bytes() as usize / MIB, most / MIB);
    assert_eq!(weights.device_bytes(), 8 * 60 * MIB as u64);
    assert!(most <= 64 * MIB + PIECE_BYTES, "{most} bytes");
}
