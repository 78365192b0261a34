//! What is computed: shapes and made-up numbers.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fraise_engine::kernels::{Conv2dShape, conv2d_padded, linear};
use fraise_engine::weights::{Scheme, Weight, WeightPart};

/// Made-up numbers repeat after so many, a prime.
const PERIOD: usize = 1_048_573;

/// A product's shape.
pub struct Shape {
    /// What it is, for the reader.
    pub name: String,
    /// Outputs for each position.
    outputs: usize,
    /// Numbers that each is the sum over.
    columns: usize,
    /// Rows of a linear layer, or the side of a convolution's map.
    positions: usize,
    is_conv: bool,
}

impl Shape {
    fn linear(rows: usize, outputs: usize, columns: usize) -> Self {
        Self {
            name: format!("linear {rows}x{columns} -> {outputs}"),
            outputs,
            columns,
            positions: rows,
            is_conv: false,
        }
    }

    /// 3x3, of as many channels in as out.
    fn conv(channels: usize, side: usize) -> Self {
        let name = format!("conv 3x3 {channels} -> {channels} at {side}x{side}");
        Self { name, outputs: channels, columns: 9 * channels, positions: side, is_conv: true }
    }

    /// Multiplications and additions of one product.
    pub fn flops(&self) -> f64 {
        let positions = if self.is_conv { self.positions * self.positions } else { self.positions };
        2.0 * (self.outputs * self.columns * positions) as f64
    }
}

/// Shapes of large models, then those of the default model.
pub fn all() -> Vec<Shape> {
    vec![
        Shape::linear(4096, 4096, 4096),
        Shape::conv(320, 64),
        Shape::linear(1024, 5120, 1280),
        Shape::conv(640, 32),
        Shape::conv(1280, 16),
        Shape::conv(128, 16),
        Shape::conv(192, 8),
        Shape::conv(192, 4),
        Shape::linear(256, 512, 128),
        Shape::linear(32, 1024, 256),
        Shape::conv(64, 64),
    ]
}

/// Shapes that a software adapter has computed at once.
pub fn quick() -> Vec<Shape> {
    vec![Shape::linear(150, 200, 256), Shape::conv(64, 11), Shape::linear(33, 130, 1024)]
}

/// The tensors of one product.
pub struct Inputs {
    rows: Tensor<2>,
    image: Tensor<4>,
    weight: Weight,
    bias: Tensor<1>,
}

impl Inputs {
    pub fn new(shape: &Shape, scheme: Scheme, device: &Device) -> Self {
        let values: Vec<u32> = numbers();
        let floats = |count: usize| -> Vec<f32> { values.iter().cycle().take(count).map(|&n| signed(n)).collect() };
        let padded = shape.positions + 2;
        let (rows, image) = match shape.is_conv {
            true => ([1, 1], [1, shape.columns / 9, padded, padded]),
            false => ([shape.positions, shape.columns], [1; 4]),
        };
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
        let tensor = |count: usize| TensorData::new(floats(count), [count]);
        Self {
            rows: Tensor::<1>::from_data(tensor(rows.iter().product()), device).reshape(rows),
            image: Tensor::<1>::from_data(tensor(image.iter().product()), device).reshape(image),
            weight: Weight { scheme, rows: shape.outputs, columns: shape.columns, parts: vec![part] },
            bias: Tensor::from_data(tensor(shape.outputs), device),
        }
    }
}

/// A shape with its numbers.
pub struct Case<'a> {
    pub shape: &'a Shape,
    pub inputs: Inputs,
}

impl Case<'_> {
    /// Launches the product.
    pub fn run(&self) -> Tensor<1> {
        let Inputs { rows, image, weight, bias } = &self.inputs;
        let count = self.shape.flops() as usize / 2 / self.shape.columns;
        match self.shape.is_conv {
            true => conv2d_padded(image.clone(), weight, Some(bias), Conv2dShape::SAME).reshape([count]),
            false => linear(rows.clone(), weight, Some(bias)).reshape([count]),
        }
    }
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
