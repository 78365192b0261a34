//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(m x m, 3 x 3), with four ninths (m = 2) or a quarter
//! (m = 4) of the multiplications.
//!
//! A tile of m x m outputs comes from n x n inputs, n = m + 2. One launch takes these to n² points, one the weights; at
//! each point channels are multiplied and summed ([`product`]); a last launch takes the products back. The
//! processor's twin is `fraise_cpu`'s.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, whose matrices these are.

mod product;

use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use super::costs::Costs;
use super::reads::Reads;
use super::{Image, Variant};
use crate::kernels::launch::{Wgsl, entry, is_compiling, launch, on_gpu, prelude};
use crate::limits;
use crate::weights::WeightPart;
pub use product::shared_text;
use product::{DEPTH, INVOCATIONS, SIDE};

/// Outputs of an invocation that multiplies.
const OUTPUTS: usize = 16;
/// Tiles of an invocation that multiplies.
const TILES: usize = 8;
/// Channels whose weights one invocation transforms: their 36 weights are whole vectors.
const CHANNELS: usize = 4;
/// What transforming a weight takes on software adapters, in multiplications at each point.
const TRANSFORM: usize = 20;
/// Places at each point up to which that is a seventh of the work or more.
const MOST_PLACES_KEPT: usize = 128;

type Matrix = &'static [&'static [f32]];

/// F(m x m, 3 x 3): the transforms of inputs, weights and outputs along one axis.
struct Filter {
    side: u32,
    inputs: Matrix,
    weights: Matrix,
    outputs: Matrix,
}

const TWO: Filter = Filter {
    side: 2,
    inputs: &[&[1.0, 0.0, -1.0, 0.0], &[0.0, 1.0, 1.0, 0.0], &[0.0, -1.0, 1.0, 0.0], &[0.0, 1.0, 0.0, -1.0]],
    weights: &[&[1.0, 0.0, 0.0], &[0.5, 0.5, 0.5], &[0.5, -0.5, 0.5], &[0.0, 0.0, 1.0]],
    outputs: &[&[1.0, 1.0, 1.0, 0.0], &[0.0, 1.0, -1.0, -1.0]],
};

const FOUR: Filter = Filter {
    side: 4,
    inputs: &[
        &[4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        &[0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        &[0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        &[0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        &[0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        &[0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ],
    weights: &[
        &[1.0 / 4.0, 0.0, 0.0],
        &[-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        &[-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        &[1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        &[1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        &[0.0, 0.0, 1.0],
    ],
    outputs: &[
        &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        &[0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        &[0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        &[0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ],
};

impl Filter {
    fn of(side: u32) -> Self {
        if side == TWO.side { TWO } else { FOUR }
    }

    /// Points along one axis.
    fn points(&self) -> u32 {
        self.side + 2
    }
}

/// A convolution by tiles.
pub struct Tiled {
    filter: Filter,
    channels: usize,
    rows: usize,
    images: usize,
    /// Tiles of an image, down and across.
    tiles: [usize; 2],
    /// From one image, channel and row of the padded input to the next.
    strides: [usize; 3],
    /// Whether products are by tiles in shared memory.
    is_shared: bool,
}

/// Fields of the kernels' `info`. `tiles` of all images, and `places` for so many at each point.
const INFO: [&str; 9] = ["channels", "rows", "tiles", "places", "down", "across", "values", "plane", "row"];

impl Tiled {
    /// By register tiles: those that make the least work of a convolution to `rows` channels at `positions`, if any do.
    pub fn best(image: &Image, [rows, positions]: [usize; 2], input: &CubeTensor) -> Option<Self> {
        Self::all(image, [rows, positions], limits::TRANSFORMED_BYTES.min(limits::binding_bytes_of(input)))
            // A multiplication of the plain product takes 1.25 times as long: it unpacks weights and computes places.
            .filter(|tiled| 4 * tiled.work() < 5 * 9 * positions)
            .min_by_key(Self::work)
    }

    /// By tiles in shared memory: those that are foretold to be the fastest, where they are faster than the plain product.
    pub fn faster(
        image: &Image,
        [rows, positions]: [usize; 2],
        input: &CubeTensor,
        (costs, plain_us): (&Costs, f64),
    ) -> Option<Self> {
        Self::all(image, [rows, positions], limits::SHARED_TRANSFORMED_BYTES.min(limits::binding_bytes_of(input)))
            .filter(|tiled| tiled.channels.is_multiple_of(DEPTH))
            .filter_map(|tiled| Some((tiled.us(costs)?, tiled)))
            .filter(|(us, _)| *us < plain_us)
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, tiled)| Self { is_shared: true, ..tiled })
    }

    /// Those that a convolution can be computed by, none of whose intermediate results has more than `most_bytes`.
    fn all(image: &Image, [rows, positions]: [usize; 2], most_bytes: u64) -> impl Iterator<Item = Self> {
        let ([height, width], channels, strides) = (image.output, image.channels, image.strides());
        let is_whole = channels.is_multiple_of(CHANNELS) && rows.is_multiple_of(OUTPUTS);
        let is_possible = image.shape.kernel == 3 && image.shape.stride == 1 && is_whole;
        let images = positions / image.pixels();
        let tiled = move |filter: Filter| {
            let side = filter.side as usize;
            let tiles = [height / side, width / side];
            Self { filter, channels, rows, images, tiles, strides, is_shared: false }
        };
        [TWO, FOUR]
            .into_iter()
            .filter(move |filter| {
                is_possible && [height, width].iter().all(|side| side.is_multiple_of(filter.side as usize))
            })
            .map(tiled)
            .filter(move |tiled| tiled.largest_bytes() <= most_bytes)
    }

    /// µs that it is foretold to take by tiles in shared memory: what all four launches read and write, and the product.
    fn us(&self, costs: &Costs) -> Option<f64> {
        let (points, places) = (self.points(), self.places());
        let patches = self.count() * (self.filter.side as usize).pow(2) * (self.channels + self.rows);
        let transformed = 2 * points * (self.channels * self.rows + places * (self.channels + self.rows));
        let tiles = points * self.rows.div_ceil(SIDE) * places.div_ceil(SIDE);
        let product_us = costs.slabs_us(Variant::Tiles64, self.channels / DEPTH, tiles)?;
        Some(costs.of_launches(4, patches + transformed, product_us))
    }

    /// Multiplications for each weight, its transform included where that is not kept.
    fn work(&self) -> usize {
        self.points() * (self.places() + if self.keeps_weights() { 0 } else { TRANSFORM })
    }

    /// Whether transformed weights are kept for the next time: where they are small, and used so little that to transform
    /// them takes long beside. On real GPUs it does not.
    fn keeps_weights(&self) -> bool {
        let bytes = (size_of::<f32>() * self.points() * self.channels * self.rows) as u64;
        !self.is_shared && bytes <= limits::KEPT_BYTES && self.places() <= MOST_PLACES_KEPT
    }

    fn points(&self) -> usize {
        self.filter.points().pow(2) as usize
    }

    fn count(&self) -> usize {
        self.images * self.tiles[0] * self.tiles[1]
    }

    fn places(&self) -> usize {
        self.count().next_multiple_of(TILES)
    }

    fn largest_bytes(&self) -> u64 {
        let columns = self.places().max(self.channels.min(self.rows));
        (size_of::<f32>() * self.points() * self.channels.max(self.rows) * columns) as u64
    }

    /// The convolution of `input` with a part's `weights`: words and, where they are quantized, scales.
    pub fn launch<const Y: usize>(
        &self,
        (input, bias, plus): (&CubeTensor, Option<&CubeTensor>, Option<&CubeTensor>),
        (part, weights, reads): (&WeightPart, &[&CubeTensor], &[u32]),
        shape: [usize; Y],
    ) -> Option<Tensor<Y>> {
        let (points, places) = (self.points(), self.places());
        let (channels, rows) = (self.channels, self.rows);
        let inputs = self.kernel("winograd inputs", inputs_text, &[]);
        let inputs = launch(inputs, channels * places, &[input], [points * channels * places]);
        let transform = || {
            let kernel =
                Wgsl { info: reads_info(rows, channels), ..self.kernel("winograd weights", weights_text, reads) };
            launch(kernel, channels / CHANNELS * rows, weights, [points * channels * rows])
        };
        let transformed = match self.keeps_weights() && !is_compiling() {
            true => part.kept.get_or_make(self.filter.side, transform),
            false => transform(),
        };
        let product = Wgsl {
            multiplications: (points * channels * rows * places) as u64,
            ..self.kernel("winograd product", product::text, &[])
        };
        let (product, units) = match self.is_shared {
            true => (
                product.by_workgroups("winograd product shared", product::shared_text, INVOCATIONS),
                points * rows.div_ceil(SIDE) * places.div_ceil(SIDE),
            ),
            false => (product, points * (rows / OUTPUTS) * (places / TILES)),
        };
        let products = launch(product, units, &[&on_gpu(&inputs)?, &on_gpu(&transformed)?], [points * rows * places]);
        let products = on_gpu(&products)?;
        let mut operands = vec![&products];
        operands.extend(bias);
        operands.extend(plus);
        let more = [bias, plus].map(|operand| u32::from(operand.is_some()));
        let outputs = self.kernel("winograd outputs", outputs_text, &more);
        Some(launch(outputs, rows * self.count(), &operands, shape))
    }

    fn kernel(&self, name: &'static str, text: fn(&[u32]) -> String, more: &[u32]) -> Wgsl {
        let [values, plane, row] = self.strides;
        let [down, across] = self.tiles;
        let info = [self.channels, self.rows, self.count(), self.places(), down, across, values, plane, row];
        let key = (name, [&[self.filter.side], more].concat());
        Wgsl::new(key, text, info.map(|value| value as u32).to_vec())
    }
}

/// What the functions that read weights are told.
fn reads_info(rows: usize, channels: usize) -> Vec<u32> {
    let mut info = vec![rows as u32, 9 * channels as u32];
    info.resize(super::INFO.len(), 0);
    info
}

/// Declares `{to}{i}_{j}`: what a transform along both axes makes of `{from}{i}_{j}`.
fn both(matrix: Matrix, from: &str, to: &str) -> String {
    let mut text = String::new();
    for (row, factors) in matrix.iter().enumerate() {
        for column in 0..factors.len() {
            let name = |index: usize| format!("{from}{index}_{column}");
            text += &format!("let {to}_{row}_{column} = {};\n", weighted(factors, name));
        }
    }
    for row in 0..matrix.len() {
        for (column, factors) in matrix.iter().enumerate() {
            let name = |index: usize| format!("{to}_{row}_{index}");
            text += &format!("let {to}{row}_{column} = {};\n", weighted(factors, name));
        }
    }
    text
}

/// The sum of what `name` gives for each factor, times that.
fn weighted(factors: &[f32], name: impl Fn(usize) -> String) -> String {
    let terms = factors.iter().enumerate().filter(|(_, factor)| **factor != 0.0);
    let term = |(index, factor): (usize, &f32)| match *factor {
        1.0 => name(index),
        -1.0 => format!("(-{})", name(index)),
        factor => format!("{factor:?} * {}", name(index)),
    };
    terms.map(term).collect::<Vec<_>>().join(" + ")
}

/// Stores `{from}{i}_{j}` at all points, `apart` (an expression) from each other.
fn stores(points: u32, from: &str, at: &str, apart: &str) -> String {
    let mut text = format!("var at = {at}; let apart = {apart};\n");
    for row in 0..points {
        for column in 0..points {
            text += &format!("y[at] = {from}{row}_{column}; at += apart;\n");
        }
    }
    text
}

/// Where a tile `t` lies: `image`, and the `down_` and `across_` of its first output.
fn tile(side: u32) -> String {
    format!(
        "let image = t / (info.down * info.across); let down_ = t / info.across % info.down * {side}u;\n\
         let across_ = t % info.across * {side}u;\n"
    )
}

/// x [B, C, H, W] → [points, C, places].
fn inputs_text(key: &[u32]) -> String {
    let filter = Filter::of(key[0]);
    let mut text = prelude(&[("x", "f32"), ("y", "f32")], &INFO) + &entry("info.channels * info.places");
    text += "let c = i / info.places; let t = min(i % info.places, info.tiles - 1u);\n";
    text += &tile(filter.side);
    text += "let first = image * info.values + c * info.plane + down_ * info.row + across_;\n";
    for row in 0..filter.points() {
        text += &format!("let line{row} = first + {row}u * info.row;\n");
        for column in 0..filter.points() {
            text += &format!("let d{row}_{column} = x[line{row} + {column}u];\n");
        }
    }
    text += &both(filter.inputs, "d", "v");
    text + &stores(filter.points(), "v", "i", "info.channels * info.places") + "}\n"
}

/// Weights [N, C, 3, 3] → [points, C, N].
fn weights_text(key: &[u32]) -> String {
    let (filter, reads) = (Filter::of(key[0]), Reads::new(&key[1..]));
    let mut text = reads.weight_declarations() + &entry(&format!("info.n * (info.k / {}u)", 9 * CHANNELS));
    text += &format!("let n = i % info.n; let c = i / info.n * {CHANNELS}u; let k = c * 9u; let e = row(n) + k;\n");
    for quad in 0..9 {
        let scale = match reads.is_quantized() {
            true => format!(" * scale(e + {}u)", 4 * quad),
            false => String::new(),
        };
        text += &format!("let w{quad} = weights(e + {at}u, k + {at}u){scale};\n", at = 4 * quad);
    }
    for channel in 0..CHANNELS {
        text += "{\n";
        for at in 0..9 {
            let index = 9 * channel + at;
            text += &format!("let g{}_{} = w{}[{}];\n", at / 3, at % 3, index / 4, index % 4);
        }
        text += &both(filter.weights, "g", "u");
        text += &stores(filter.points(), "u", &format!("(c + {channel}u) * info.n + n"), "info.k / 9u * info.n");
        text += "}\n";
    }
    text + "}\n"
}

/// [points, N, places] → y [B, N, H, W].
fn outputs_text(key: &[u32]) -> String {
    let (filter, has_bias, has_plus) = (Filter::of(key[0]), key[1] != 0, key[2] != 0);
    let mut buffers = vec![("x", "f32")];
    buffers.extend(has_bias.then_some(("bias", "f32")));
    buffers.extend(has_plus.then_some(("plus", "f32")));
    buffers.push(("y", "f32"));
    let mut text = prelude(&buffers, &INFO) + &entry("info.rows * info.tiles");
    text += "let n = i / info.tiles; let t = i % info.tiles;\nvar place = n * info.places + t;\n\
             let apart = info.rows * info.places;\n";
    for row in 0..filter.points() {
        for column in 0..filter.points() {
            text += &format!("let m{row}_{column} = x[place]; place += apart;\n");
        }
    }
    text += &both(filter.outputs, "m", "o");
    text += &tile(filter.side);
    text += &format!(
        "let width = info.across * {side}u;\n\
         let to = ((image * info.rows + n) * info.down * {side}u + down_) * width + across_;\n",
        side = filter.side
    );
    let bias = if has_bias { " + bias[n]" } else { "" };
    for row in 0..filter.side {
        for column in 0..filter.side {
            let place = format!("to + {row}u * width + {column}u");
            let plus = if has_plus { format!(" + plus[{place}]") } else { String::new() };
            text += &format!("y[{place}] = o{row}_{column}{bias}{plus};\n");
        }
    }
    text + "}\n"
}
