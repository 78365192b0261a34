//! Decoding in overlapping tiles whose seams are blended, for pictures that a device cannot decode whole.
//!
//! Not exact: each tile normalizes by its own statistics, and the middle's attention sees one tile. Where memory
//! suffices, [`crate::bands`] is, so tiles are the last resort.
//!
//! Source: diffusers 0.42.1 `AutoencoderKL.tiled_decode`.

use burn::tensor::{Tensor, TensorData};

use crate::kernels::{self, Border, Padding};

/// How a picture is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Side of a tile in latents, a multiple of 4.
    pub side: usize,
    /// Pixels per latent along one side.
    pub scale: usize,
}

impl Tiles {
    /// Latents between the starts of neighbouring tiles; they overlap by a quarter.
    fn step(self) -> usize {
        (self.side * 3 / 4).max(1)
    }

    /// Pixels over which a tile fades into the next.
    fn blend(self) -> usize {
        self.side * self.scale / 4
    }

    /// Whether latents of [.., height, width] are more than one tile.
    pub fn are_needed(self, [height, width]: [usize; 2]) -> bool {
        height > self.side || width > self.side
    }

    /// Decodes latents [B, C, h, w] to pixels [B, 3, H, W] by `decode`, which does the same for one tile. With a circular
    /// border the latents are continued on all sides by as much as tiles overlap, and the pixels cut again.
    pub fn decode(self, latents: Tensor<4>, border: Border, decode: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        if border == Border::Zeros {
            return self.decode_bounded(latents, decode);
        }
        let [_, _, height, width] = latents.dims();
        let margin = (self.side / 4).min(height).min(width);
        let around = Padding::square((margin, margin));
        let pixels = self.decode_bounded(kernels::pad(latents, 1, around, border), decode);
        let [from, tall, wide] = [margin, height, width].map(|latents| latents * self.scale);
        pixels.narrow(2, from, tall).narrow(3, from, wide)
    }

    fn decode_bounded(self, latents: Tensor<4>, decode: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = latents.dims();
        let mut above: Vec<Tensor<4>> = Vec::new();
        let mut rows = Vec::new();
        for top in (0..height).step_by(self.step()) {
            let tall = latents.clone().narrow(2, top, self.side.min(height - top));
            let mut row: Vec<Tensor<4>> = Vec::new();
            for (index, left) in (0..width).step_by(self.step()).enumerate() {
                let mut tile = decode(tall.clone().narrow(3, left, self.side.min(width - left)));
                if let Some(above) = above.get(index) {
                    tile = fade(above, tile, 2, self.blend());
                }
                if let Some(before) = row.last() {
                    tile = fade(before, tile, 3, self.blend());
                }
                row.push(tile);
            }
            // What lies beyond is the next tile's, which has it blended.
            let most = self.side * self.scale - self.blend();
            let cut = |tile: &Tensor<4>| {
                let [_, _, height, width] = tile.dims();
                tile.clone().narrow(2, 0, most.min(height)).narrow(3, 0, most.min(width))
            };
            rows.push(Tensor::cat(row.iter().map(cut).collect(), 3));
            above = row;
        }
        Tensor::cat(rows, 2)
    }
}

/// Fades from the end of `before` into the start of `tile` along a dimension, over at most `extent` pixels.
fn fade(before: &Tensor<4>, tile: Tensor<4>, dim: usize, extent: usize) -> Tensor<4> {
    let (available, length) = (before.dims()[dim], tile.dims()[dim]);
    let extent = extent.min(available).min(length);
    let weights: Vec<f32> = (0..extent).map(|i| i as f32 / extent as f32).collect();
    let mut shape = [1; 4];
    shape[dim] = extent;
    let weight = Tensor::<4>::from_data(TensorData::new(weights, shape), &tile.device());
    let end = before.clone().narrow(dim, available - extent, extent);
    let faded = end * (weight.ones_like() - weight.clone()) + tile.clone().narrow(dim, 0, extent) * weight;
    if extent == length {
        return faded;
    }
    Tensor::cat(vec![faded, tile.narrow(dim, extent, length - extent)], dim)
}
