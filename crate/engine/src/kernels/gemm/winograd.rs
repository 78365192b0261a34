//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(m x m, 3 x 3), with four ninths (m = 2) or a quarter
//! (m = 4) of the multiplications.
//!
//! A tile of m x m outputs comes from n x n inputs, n = m + 2. One launch takes these to n² points, one the weights; at
//! each point channels are multiplied and summed by register tiles; a last launch takes the products back. The
//! processor's twin is `fraise_cpu`'s.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, whose matrices these are.

use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use super::Image;
use super::reads::Reads;
use crate::kernels::launch::{Wgsl, entry, launch, on_gpu, prelude};
use crate::limits;

/// Outputs of an invocation that multiplies.
const OUTPUTS: usize = 16;
/// Tiles of an invocation that multiplies.
const TILES: usize = 8;
/// Channels whose weights one invocation transforms: their 36 weights are whole vectors.
const CHANNELS: usize = 4;
/// What transforming a weight takes on software adapters, in multiplications at each point.
const TRANSFORM: usize = 20;

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
}

/// Fields of the kernels' `info`. `tiles` of all images, and `places` for so many at each point.
const INFO: [&str; 9] = ["channels", "rows", "tiles", "places", "down", "across", "values", "plane", "row"];

impl Tiled {
    /// The tiles that make the least work of a convolution to `rows` channels at `positions`, if any do.
    pub fn best(image: &Image, [rows, positions]: [usize; 2], input: &CubeTensor) -> Option<Self> {
        let ([height, width], channels) = (image.output, image.channels);
        let is_whole = channels.is_multiple_of(CHANNELS) && rows.is_multiple_of(OUTPUTS);
        if image.shape.kernel != 3 || image.shape.stride != 1 || !is_whole {
            return None;
        }
        let tiled = |filter: Filter| {
            let side = filter.side as usize;
            let tiles = [height / side, width / side];
            let images = positions / image.pixels();
            Self { filter, channels, rows, images, tiles, strides: image.strides() }
        };
        let most_bytes = limits::TRANSFORMED_BYTES.min(limits::binding_bytes_of(input));
        [TWO, FOUR]
            .into_iter()
            .filter(|filter| [height, width].iter().all(|side| side.is_multiple_of(filter.side as usize)))
            .map(tiled)
            // A multiplication of the plain product takes 1.25 times as long: it unpacks weights and computes places.
            .filter(|tiled| 4 * tiled.work() < 5 * 9 * positions && tiled.largest_bytes() <= most_bytes)
            .min_by_key(Self::work)
    }

    /// Multiplications for each weight, its transform included.
    fn work(&self) -> usize {
        self.points() * (self.places() + TRANSFORM)
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

    /// The convolution of `input` with `weights`: words and, where they are quantized, scales.
    pub fn launch<const Y: usize>(
        &self,
        (input, bias): (&CubeTensor, Option<&CubeTensor>),
        (weights, reads): (&[&CubeTensor], &[u32]),
        shape: [usize; Y],
    ) -> Option<Tensor<Y>> {
        let (points, places) = (self.points(), self.places());
        let (channels, rows) = (self.channels, self.rows);
        let inputs = self.kernel("winograd inputs", inputs_text, &[]);
        let inputs = launch(inputs, channels * places, &[input], [points * channels * places]);
        let transformed =
            Wgsl { info: reads_info(rows, channels), ..self.kernel("winograd weights", weights_text, reads) };
        let transformed = launch(transformed, channels / CHANNELS * rows, weights, [points * channels * rows]);
        let product = Wgsl {
            multiplications: (points * channels * rows * places) as u64,
            ..self.kernel("winograd product", product_text, &[])
        };
        let units = points * (rows / OUTPUTS) * (places / TILES);
        let products = launch(product, units, &[&on_gpu(&inputs)?, &on_gpu(&transformed)?], [points * rows * places]);
        let products = on_gpu(&products)?;
        let mut operands = vec![&products];
        operands.extend(bias);
        let outputs = self.kernel("winograd outputs", outputs_text, &[u32::from(bias.is_some())]);
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

/// [points, C, places] times [points, C, N] → [points, N, places].
fn product_text(key: &[u32]) -> String {
    let points = Filter::of(key[0]).points().pow(2);
    let buffers = [("v", "vec4<f32>"), ("u", "vec4<f32>"), ("y", "vec4<f32>")];
    let counts = format!("let columns = info.places / {TILES}u; let lines = info.rows / {OUTPUTS}u;\n");
    let mut text = prelude(&buffers, &INFO)
        + &entry(&format!("{points}u * (info.rows / {OUTPUTS}u) * (info.places / {TILES}u)"))
        + &counts;
    let (quads, halves) = (OUTPUTS / 4, TILES / 4);
    text += &format!(
        "let t = i % columns * {halves}u; let n = i / columns % lines * {OUTPUTS}u; let point = i / columns / lines;\n\
         let v_step = info.places / 4u; let u_step = info.rows / 4u;\n\
         var at_v = point * info.channels * v_step + t; var at_u = point * info.channels * u_step + n / 4u;\n"
    );
    for output in 0..OUTPUTS {
        for half in 0..halves {
            text += &format!("var a{output}_{half} = vec4<f32>();\n");
        }
    }
    text += "for (var c = 0u; c < info.channels; c++) {\n";
    for half in 0..halves {
        text += &format!("let v{half} = v[at_v + {half}u];\n");
    }
    for quad in 0..quads {
        text += &format!("let u{quad} = u[at_u + {quad}u];\n");
    }
    for output in 0..OUTPUTS {
        for half in 0..halves {
            let weight = format!("vec4<f32>(u{}[{}])", output / 4, output % 4);
            text += &format!("a{output}_{half} = fma({weight}, v{half}, a{output}_{half});\n");
        }
    }
    text += "at_v += v_step; at_u += u_step;\n}\n";
    for output in 0..OUTPUTS {
        for half in 0..halves {
            text += &format!("y[(point * info.rows + n + {output}u) * v_step + t + {half}u] = a{output}_{half};\n");
        }
    }
    text + "}\n"
}

/// [points, N, places] → y [B, N, H, W].
fn outputs_text(key: &[u32]) -> String {
    let (filter, has_bias) = (Filter::of(key[0]), key[1] != 0);
    let mut buffers = vec![("x", "f32")];
    buffers.extend(has_bias.then_some(("bias", "f32")));
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
            text += &format!("y[to + {row}u * width + {column}u] = o{row}_{column}{bias};\n");
        }
    }
    text + "}\n"
}
