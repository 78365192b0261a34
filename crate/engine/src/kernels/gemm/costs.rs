//! Which tile suits a product, and into how many spans its sum is cut: whatever is foretold to be fastest, from what
//! [`crate::kernels::calibration`] measured of this GPU.
//!
//! A workgroup goes through its span slab by slab. As many as a GPU has room for take as long as one; more take their turns.
//! Few large ones read least, but leave most of a big GPU idle, unless sums are cut, which costs a pass that adds them up.
//! A launch takes the host as long as a small product takes a big GPU: they work at the same time, so the longer counts.

use serde::{Deserialize, Serialize};

use super::Variant;
use super::split::LEAST_SPAN;
use super::tiles::Tile;

/// µs that a GPU loses from one launch to the next that needs it: no clock of a page tells that, an NVIDIA H200's own did.
const BETWEEN_US: f64 = 4.0;

/// What was measured of a GPU that shares memory well.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// Of the tiles that there was room and time for.
    pub tiles: [Option<TileCost>; Variant::TILES.len()],
    /// µs that the host takes for a launch.
    pub launch_us: f64,
    /// Numbers that are read or written in a µs.
    pub numbers_per_us: f64,
}

/// What a tile costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TileCost {
    /// The tile.
    pub variant: Variant,
    /// µs that a workgroup alone takes for a slab.
    pub alone_us: f64,
    /// Workgroups that take as long together as one does.
    pub at_once: f64,
}

impl TileCost {
    /// µs of so many workgroups, each for so many slabs.
    fn us(&self, slabs: usize, workgroups: usize) -> f64 {
        slabs as f64 * self.alone_us * (workgroups as f64 / self.at_once).ceil()
    }
}

/// How a product may be computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// By this tile,
    pub tile: Tile,
    /// its sum in so many spans,
    pub spans: usize,
    /// which is foretold to take so many µs.
    pub us: f64,
}

/// A product's outputs, positions, and the numbers that each is the sum over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Outputs.
    pub n: usize,
    /// Positions.
    pub p: usize,
    /// What is summed.
    pub k: usize,
}

impl Costs {
    /// The way in which a product is foretold to be fastest; `None` where no tile was measured.
    pub fn fastest(&self, size: Size) -> Option<Way> {
        let ways = self.tiles.iter().flatten().filter_map(|cost| Some((cost.variant.tile()?.0, cost)));
        let ways = ways.flat_map(|(tile, cost)| {
            let most = (size.k / LEAST_SPAN).max(1);
            let spans = (0..=most.ilog2()).flat_map(move |power| [2usize << power, 3 << power]);
            let spans = [1].into_iter().chain(spans.map(|double| double / 2)).filter(move |spans| *spans <= most);
            spans.map(move |spans| Way { tile, spans, us: self.us(size, (tile, cost), spans) })
        });
        ways.min_by(|one, other| one.us.total_cmp(&other.us))
    }

    /// µs that so many workgroups take by a tile, each for so many slabs; `None` where it was not measured.
    pub fn slabs_us(&self, variant: Variant, slabs: usize, workgroups: usize) -> Option<f64> {
        self.tiles.iter().flatten().find(|cost| cost.variant == variant).map(|cost| cost.us(slabs, workgroups))
    }

    /// µs of so many launches that read and write so many numbers, besides a product.
    pub fn of_launches(&self, launches: usize, numbers: usize, product_us: f64) -> f64 {
        let launches = launches as f64;
        let gpu_us = product_us + numbers as f64 / self.numbers_per_us + (launches - 1.0) * BETWEEN_US;
        gpu_us.max(launches * self.launch_us)
    }

    /// µs of a product by a tile, its sum in so many spans.
    fn us(&self, size: Size, (tile, cost): (Tile, &TileCost), spans: usize) -> f64 {
        let workgroups = tile.workgroups([size.n, size.p]) * spans;
        let slabs = size.k.div_ceil(spans).div_ceil(tile.depth as usize);
        let product_us = cost.us(slabs, workgroups);
        match spans {
            1 => self.of_launches(1, 0, product_us),
            _ => self.of_launches(2, (2 * spans + 1) * size.n * size.p, product_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an NVIDIA H200, rounded.
    fn h200() -> Costs {
        let cost = |variant, alone_us, at_once| Some(TileCost { variant, alone_us, at_once });
        let tiles = [
            cost(Variant::Tiles64, 1.03, 305.0),
            cost(Variant::Tiles128, 1.74, 136.0),
            cost(Variant::Narrow64, 0.81, 201.0),
            cost(Variant::Tiles32, 0.9, 350.0),
        ];
        Costs { tiles, launch_us: 5.0, numbers_per_us: 400_000.0 }
    }

    fn side(n: usize, p: usize, k: usize) -> (u32, usize) {
        let way = h200().fastest(Size { n, p, k }).unwrap();
        (way.tile.n, way.spans)
    }

    #[test]
    fn large_products_go_by_large_tiles_and_small_ones_are_cut() {
        assert_eq!(side(4096, 4096, 4096), (128, 1));
        let (tile, spans) = side(1280, 256, 11520);
        assert!(tile >= 64 && (4..=16).contains(&spans), "{tile} in {spans}");
        let (tile, spans) = side(192, 16, 1728);
        assert!(tile <= 64 && spans >= 4, "{tile} in {spans}");
        // Nothing is cut to less than a span's length.
        assert_eq!(side(64, 16, 64).1, 1);
    }

    #[test]
    fn what_was_not_measured_is_not_taken() {
        let none = Costs { tiles: [None; 4], ..h200() };
        assert_eq!(none.fastest(Size { n: 64, p: 64, k: 64 }), None);
    }
}
