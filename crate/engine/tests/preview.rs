//! Previews without a preview decoder: the KL decoder's, at a lower resolution.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use fraise_engine::kernels::Border;
use fraise_engine::parity::Packed;
use fraise_engine::pipeline::Pipeline;
use fraise_engine::store::Sha2Digest;
use fraise_engine::weights::Scheme;

/// Largest difference allowed, of pixels in [0, 1].
const TOLERANCE: f32 = 1e-5;

fn pipeline(run: &str, device: &Device) -> Pipeline {
    let Packed { manifest, store } = common::packed(run, Scheme::F32);
    pollster::block_on(Pipeline::load(&manifest, &store, &Sha2Digest, device, &mut |_| {})).unwrap()
}

/// Rows or columns enlarged twice: half-way between pixels, neighbours count a quarter and three quarters.
fn enlarged(values: &[f32]) -> Vec<f32> {
    let at = |index: isize| values[index.clamp(0, values.len() as isize - 1) as usize];
    (0..values.len() as isize)
        .flat_map(|index| [-1, 1].map(|side| 0.75 * at(index) + 0.25 * at(index + side)))
        .collect()
}

/// A plane of `side` x `side` numbers enlarged twice along both.
fn enlarged_plane(plane: &[f32], side: usize) -> Vec<f32> {
    let wide: Vec<Vec<f32>> = plane.chunks(side).map(enlarged).collect();
    let columns = (0..side * 2).map(|x| enlarged(&wide.iter().map(|row| row[x]).collect::<Vec<_>>()));
    let columns: Vec<Vec<f32>> = columns.collect();
    (0..side * 2).flat_map(|y| columns.iter().map(move |column| column[y]).collect::<Vec<_>>()).collect()
}

#[test]
fn the_kl_decoder_previews_the_picture_of_half_the_size() {
    for device in [Some(Device::flex()), common::gpu()].into_iter().flatten() {
        let pipeline = pipeline("run_lcm", &device);
        let low: Vec<f32> = (0..4 * 16 * 16).map(|index| (index as f32 * 0.37).sin()).collect();
        let low = Tensor::<4>::from_data(TensorData::new(low, [1, 4, 16, 16]), &device);
        let latents: Tensor<4> =
            low.clone().reshape([1, 4, 16, 1, 16, 1]).repeat(&[1, 1, 1, 2, 1, 2]).reshape([1, 4, 32, 32]);

        let preview = pipeline.preview(latents.clone(), Border::Zeros);
        assert_eq!(
            preview.dims(),
            pipeline.decode(latents, Border::Zeros).dims(),
            "a preview is as large as the picture"
        );
        let small = pipeline.decode(low, Border::Zeros);
        let side = small.dims()[3];
        let expected: Vec<f32> =
            common::read(small).chunks(side * side).flat_map(|plane| enlarged_plane(plane, side)).collect();
        let found = common::read(preview);
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert_eq!(found.len(), expected.len());
        assert!(worst <= TOLERANCE, "{worst} is above {TOLERANCE}");
    }
}

#[test]
fn a_tiny_decoder_previews_the_picture_itself() {
    let device = Device::flex();
    let pipeline = pipeline("run_flow", &device);
    let channels = 16; // tiny_flow's
    let values: Vec<f32> = (0..channels * 32 * 32).map(|index| (index as f32 * 0.37).sin()).collect();
    let latents = Tensor::<4>::from_data(TensorData::new(values, [1, channels, 32, 32]), &device);
    assert_eq!(
        common::read(pipeline.preview(latents.clone(), Border::Zeros)),
        common::read(pipeline.decode(latents, Border::Zeros))
    );
}
