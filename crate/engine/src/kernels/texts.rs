//! The WGSL of the kernels for GPUs that share memory, for whoever wants to see what such a GPU's compiler makes of it.

use super::attention;
use super::gemm::{Variant, shared_winograd_text, tiles_text};
use crate::weights::Scheme;

/// Sizes of heads: Stable Diffusion's, and those of which a column has as many numbers as any.
const HEADS: [u32; 6] = [20, 40, 60, 64, 80, 160];

/// A name for each kernel, and its text: of the product by each tile that a calibration may choose, at 32 and at 16 bits, for
/// 3x3 convolutions and for linear layers with a bias, of 8-bit and 4-bit weights; at the points of Winograd's tiles; and of attention. (Of 16-bit weights more wait
/// in registers: by tiles of 64 six of them are kept in memory on RDNA 3.)
pub fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let mut add = |name: String, text: String| {
        let enabled = if text.contains("f16") { "enable f16;\n" } else { "" };
        texts.push((name, format!("{enabled}{text}")));
    };
    for variant in [Variant::Tiles32, Variant::Narrow64, Variant::Tiles64, Variant::Tiles128] {
        let Some((tile, _)) = variant.tile() else { continue };
        for (bits, tile) in [(32, tile), (16, tile.at_16_bits())] {
            for scheme in [Scheme::Q8, Scheme::Q4] {
                // Results, scheme, bias, depth, side of a convolution's kernel, 16-bit floats, nothing added.
                let layers =
                    [("conv", [2, scheme as u32, 1, 2, 3, 1, 0]), ("linear", [1, scheme as u32, 1, 2, 0, 1, 0])];
                for (layer, key) in layers {
                    let text = tiles_text(&[&tile.key()[..], &key].concat());
                    add(format!("{layer} {scheme:?} {variant:?} at {bits} bits"), text);
                }
            }
        }
    }
    for side in [2, 4] {
        add(format!("winograd {side}"), shared_winograd_text(&[side]));
    }
    for size in HEADS {
        add(format!("attention {size}"), attention::tiles_text(&[size]));
    }
    texts
}
