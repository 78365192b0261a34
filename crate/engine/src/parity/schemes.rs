//! Products with stored weights, compared with products with the numbers that these stand for.

use burn::tensor::{Bytes, DType, Device, Int, Tensor, TensorData};
use half::f16;

use super::{Bound, Comparison, compare, largest, read};
use crate::Result;
use crate::kernels::{Border, Conv2dShape, conv2d, linear};
use crate::weights::{Scheme, Weight, WeightPart};

/// Channels in; whole blocks of 32 weights, for a kernel of 3x3 too.
const INPUTS: usize = 64;
/// Outputs by which register tiles are wide, and by which they are narrow.
const OUTPUTS: [usize; 2] = [32, 40];
/// Side of the map that is convolved; its pixels are the rows of the linear layer.
const SIDE: usize = 12;
/// What single precision leaves of sums of some hundred terms in another order.
const TOLERANCE: f64 = 1e-5;
/// Convolutions may go by Winograd's tiles of four, whose transforms multiply by up to 8.
const CONV_TOLERANCE: f64 = 4.0 * TOLERANCE;

/// A linear layer and a convolution with weights of every scheme on `device`, against the processor with 32-bit weights.
///
/// # Errors
/// [`crate::Error::Storage`] where the device does not give its results.
pub async fn compare_schemes(device: &Device) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for scheme in Scheme::ALL {
        for outputs in OUTPUTS {
            let name = |layer: &str| format!("{scheme:?} weights, {layer} layer of {outputs} outputs");
            let product =
                |weight: &Weight, device: &Device| linear(values::<2>([SIDE * SIDE, INPUTS], device), weight, None);
            let [found, expected] = both(scheme, [outputs, INPUTS], device, product).await?;
            let bound = Bound { scale: largest(&expected), tolerance: TOLERANCE };
            comparisons.push(compare(name("linear"), &found, &expected, bound)?);

            let product = |weight: &Weight, device: &Device| {
                conv2d(values([1, INPUTS, SIDE, SIDE], device), weight, None, Conv2dShape::SAME, Border::Zeros)
            };
            let [found, expected] = both(scheme, [outputs, INPUTS * 9], device, product).await?;
            let bound = Bound { scale: largest(&expected), tolerance: CONV_TOLERANCE };
            comparisons.push(compare(name("convolutional"), &found, &expected, bound)?);
        }
    }
    Ok(comparisons)
}

/// The product with stored weights on `device`, and with their numbers on the processor.
async fn both<const D: usize>(
    scheme: Scheme,
    shape: [usize; 2],
    device: &Device,
    product: impl Fn(&Weight, &Device) -> Tensor<D>,
) -> Result<[Vec<f32>; 2]> {
    let processor = Device::flex();
    let dense = Weight::of(weight(scheme, shape, &processor).dequantize(shape, &processor));
    Ok([read(product(&weight(scheme, shape, device), device)).await?, read(product(&dense, &processor)).await?])
}

/// Where the numbers begin that weights are made of: far from those of the activations, which they would be like otherwise.
const WEIGHTS: usize = 1 << 20;

/// Evenly spread 64-bit numbers, the same every time (splitmix64).
fn spread(index: usize) -> u64 {
    let mut z = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From -1 to 1.
fn signed(index: usize) -> f32 {
    (spread(index) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn values<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<_> = (0..shape.iter().product()).map(signed).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Weights as a pack stores them.
fn weight(scheme: Scheme, [rows, columns]: [usize; 2], device: &Device) -> Weight {
    let count = rows * columns;
    let signed = |index: usize| signed(WEIGHTS + index);
    let spread = |index: usize| spread(WEIGHTS + index);
    let halves = |count: usize, value: &dyn Fn(usize) -> f32| -> Vec<u8> {
        (0..count).flat_map(|index| f16::from_f32(value(index)).to_le_bytes()).collect()
    };
    let bytes: Vec<u8> = match scheme {
        Scheme::F32 => (0..count).flat_map(|index| signed(index).to_le_bytes()).collect(),
        Scheme::F16 => halves(count, &signed),
        Scheme::Q8 => (0..count).map(|index| ((spread(index) % 255) as i8).wrapping_sub(127) as u8).collect(),
        Scheme::Q4 => {
            (0..count / 2).map(|index| (spread(index) % 15 + 1 + (spread(index) / 15 % 15 + 1) * 16) as u8).collect()
        }
    };
    let scales =
        scheme.is_quantized().then(|| words(halves(count / 32, &|index| 0.01 + 0.005 * signed(index)), device));
    Weight { scheme, rows, columns, parts: vec![WeightPart::new(rows, words(bytes, device), scales)] }
}

fn words(bytes: Vec<u8>, device: &Device) -> Tensor<1, Int> {
    let count = bytes.len() / 4;
    Tensor::from_data(TensorData::from_bytes(Bytes::from_bytes_vec(bytes), [count], DType::U32), (device, DType::U32))
}
