//! What is computed: shapes and made-up numbers.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fraise_engine::kernels::{AttentionShape, Conv2dShape, attention, conv2d_padded, linear};
use fraise_engine::weights::{Scheme, Weight, WeightPart};

/// Made-up numbers repeat after so many, a prime.
const PERIOD: usize = 1_048_573;

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    /// 3x3, of an image that is padded already.
    Conv,
    /// Of so many heads.
    Attention(usize),
}

/// An operation's shape.
pub struct Shape {
    /// What it is, for the reader.
    pub name: String,
    kind: Kind,
    /// Outputs for each position.
    outputs: usize,
    /// Numbers that each is the sum over; the keys of attention.
    columns: usize,
    /// Rows of a linear layer, queries, or the side of a convolution's map.
    positions: usize,
}

impl Shape {
    fn linear(rows: usize, outputs: usize, columns: usize) -> Self {
        let name = format!("linear {rows}x{columns} -> {outputs}");
        Self { name, kind: Kind::Linear, outputs, columns, positions: rows }
    }

    /// 3x3, of as many channels in as out.
    fn conv(channels: usize, side: usize) -> Self {
        let name = format!("conv 3x3 {channels} -> {channels} at {side}x{side}");
        Self { name, kind: Kind::Conv, outputs: channels, columns: 9 * channels, positions: side }
    }

    fn attention(queries: usize, keys: usize, [heads, size]: [usize; 2]) -> Self {
        let name = format!("attention {queries} x {keys}, {heads} heads of {size}");
        Self { name, kind: Kind::Attention(heads), outputs: heads * size, columns: keys, positions: queries }
    }

    /// Multiplications and additions.
    pub fn flops(&self) -> f64 {
        let (positions, products) = match self.kind {
            Kind::Linear => (self.positions, 1),
            Kind::Conv => (self.positions * self.positions, 1),
            Kind::Attention(_) => (self.positions, 2),
        };
        2.0 * (products * self.outputs * self.columns * positions) as f64
    }
}

/// Products of large models.
pub fn large() -> Vec<Shape> {
    vec![
        Shape::linear(4096, 4096, 4096),
        Shape::conv(320, 64),
        Shape::linear(1024, 5120, 1280),
        Shape::conv(640, 32),
        Shape::conv(1280, 16),
        Shape::linear(4096, 320, 320),
    ]
}

/// Products of the default model.
pub fn small() -> Vec<Shape> {
    vec![
        Shape::conv(128, 16),
        Shape::conv(192, 8),
        Shape::conv(192, 4),
        Shape::linear(256, 512, 128),
        Shape::linear(32, 1024, 256),
        Shape::conv(64, 64),
    ]
}

/// Attention in Stable Diffusion 1.5, at half its widths, and in the default model.
pub fn attentions() -> Vec<Shape> {
    vec![
        Shape::attention(4096, 4096, [8, 40]),
        Shape::attention(1024, 1024, [8, 80]),
        Shape::attention(256, 256, [8, 160]),
        Shape::attention(4096, 77, [8, 40]),
        Shape::attention(64, 64, [4, 64]),
    ]
}

/// Shapes that a software adapter has computed at once.
pub fn quick() -> Vec<Shape> {
    let attention = Shape::attention(70, 77, [2, 40]);
    vec![Shape::linear(150, 200, 256), Shape::conv(64, 11), Shape::linear(33, 130, 1024), attention]
}

/// The tensors of one operation.
pub enum Inputs {
    Linear(Tensor<2>, Layer),
    Conv(Tensor<4>, Layer),
    /// Queries, keys and values.
    Attention(Box<[Tensor<3>; 3]>),
}

/// What a layer has.
pub struct Layer {
    weight: Weight,
    bias: Tensor<1>,
}

impl Inputs {
    pub fn new(shape: &Shape, scheme: Scheme, device: &Device) -> Self {
        let values: Vec<u32> = numbers();
        let flat = |count: usize| {
            let floats: Vec<f32> = values.iter().cycle().take(count).map(|&n| signed(n)).collect();
            Tensor::<1>::from_data(TensorData::new(floats, [count]), device)
        };
        let layer = || Layer { weight: weight(shape, scheme, &values, device), bias: flat(shape.outputs) };
        let Shape { kind, outputs, columns, positions, .. } = *shape;
        match kind {
            Kind::Linear => Self::Linear(flat(positions * columns).reshape([positions, columns]), layer()),
            Kind::Conv => {
                let dims = [1, columns / 9, positions + 2, positions + 2];
                Self::Conv(flat(dims.iter().product()).reshape(dims), layer())
            }
            Kind::Attention(_) => {
                let tensor = |rows| flat(rows * outputs).reshape([1, rows, outputs]);
                Self::Attention(Box::new([positions, columns, columns].map(tensor)))
            }
        }
    }
}

fn weight(shape: &Shape, scheme: Scheme, values: &[u32], device: &Device) -> Weight {
    let count = shape.outputs * shape.columns;
    let words: Vec<u32> = match scheme {
        Scheme::F32 => values.iter().rev().cycle().take(count).map(|&n| signed(n).to_bits()).collect(),
        Scheme::F16 => pairs(values.iter().rev().cycle().take(count).map(|&n| signed(n))),
        Scheme::Q8 => values.iter().cycle().take(count / 4).copied().collect(),
        Scheme::Q4 => values.iter().cycle().take(count / 8).copied().collect(),
    };
    let scales = scheme.is_quantized().then(|| {
        let scales = values.iter().cycle().take(count / 32).map(|&n| 0.01 + 0.005 * signed(n));
        upload(pairs(scales), device)
    });
    let part = WeightPart::new(shape.outputs, upload(words, device), scales);
    Weight { scheme, rows: shape.outputs, columns: shape.columns, parts: vec![part] }
}

/// A shape with its numbers.
pub struct Case<'a> {
    pub shape: &'a Shape,
    pub inputs: Inputs,
}

impl Case<'_> {
    /// Launches the operation.
    pub fn run(&self) -> Tensor<1> {
        match (&self.inputs, self.shape.kind) {
            (Inputs::Linear(rows, Layer { weight, bias }), _) => flattened(linear(rows.clone(), weight, Some(bias))),
            (Inputs::Conv(image, Layer { weight, bias }), _) => {
                flattened(conv2d_padded(image.clone(), weight, Some(bias), Conv2dShape::SAME))
            }
            (Inputs::Attention(tensors), Kind::Attention(heads)) => {
                let [q, k, v] = &**tensors;
                flattened(attention(q.clone(), k.clone(), v.clone(), AttentionShape { heads, causal: false }))
            }
            (Inputs::Attention(_), _) => unreachable!("made of a shape of that kind"),
        }
    }
}

fn flattened<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count = x.dims().iter().product::<usize>();
    x.reshape([count])
}

fn upload(words: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let count = words.len();
    Tensor::from_data(TensorData::new(words, [count]), (device, DType::U32))
}

/// Floats as 16-bit ones, two to a word.
fn pairs(values: impl Iterator<Item = f32>) -> Vec<u32> {
    let halves: Vec<u32> = values.map(|value| u32::from(half::f16::from_f32(value).to_bits())).collect();
    halves.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 16).collect()
}

/// Random words (xorshift).
fn numbers() -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    (0..PERIOD).map(|_| next()).collect()
}

/// A word as a number in [-1, 1).
fn signed(word: u32) -> f32 {
    (word >> 8) as f32 / (1 << 23) as f32 - 1.0
}
