//! Loading onto a GPU keeps no weights in this program's own memory, whatever the model's size.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "shown with --nocapture, or where a test fails")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::small_gpu;
use fraise_engine::pack::{TensorInfo, TensorSink};
use fraise_engine::weights::WeightsBuilder;
use safetensors::Dtype;

/// Counts what Rust allocates; a Vulkan driver, even one in software, has its own allocator.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

#[test]
fn weights_go_to_the_gpu_without_staying_here() {
    // Bindings of 16 MiB, so that the tensors are cut too.
    let Some(device) = small_gpu(16 * MIB as u64) else { return };
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let mut builder = WeightsBuilder::new("unet", &BTreeMap::new(), &device);
    let piece = vec![0x3c; 16 * MIB];
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
    let most = MOST.load(Relaxed) - before;
    println!("{} MiB of weights; at most {} MiB of memory here", weights.device_bytes() as usize / MIB, most / MIB);
    assert_eq!(weights.device_bytes(), 8 * 60 * MIB as u64);
    assert!(most <= 64 * MIB + piece.len(), "{most} bytes");
}
