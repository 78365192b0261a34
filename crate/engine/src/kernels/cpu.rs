//! Calling the processor's kernels ([`fraise_cpu`]) on tensors that Burn keeps there.
//!
//! Every function gives `None` where a tensor lives elsewhere.

use std::ops::Deref;

use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use fraise_cpu::{Attention, Frame, Image, Input, Output, Rows};

use super::attention::AttentionShape;
use super::crew::{Heads, Product};
use super::gemm::{self, Conv2dShape};
use super::launch::is_on_cpu;
use super::norm::{Finish, GroupNorm};
use super::pad::{Border, Padding};
use crate::weights::{Scheme, Weight, WeightPart};

/// A tensor's numbers in order, read where they are; copied only where the tensor is a view in another order.
pub struct Floats(FlexTensor);

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_default()
    }
}

/// The numbers of `tensor`.
pub fn on_cpu<const D: usize>(tensor: &Tensor<D>) -> Option<Floats> {
    let tensor = is_on_cpu(tensor).then(|| tensor.clone().try_into_primitive::<Flex>().ok())??;
    Some(Floats(if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }))
}

/// A tensor of `shape` that `fill` writes to, which is given zeros.
fn filled<const D: usize>(shape: [usize; D], fill: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    fill(&mut values);
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(values, shape)))
}

/// `function` of the numbers of `x`, in its own memory where nobody else uses that; where `x` lives elsewhere, what
/// `elsewhere` makes of it.
pub fn map<const D: usize>(
    x: Tensor<D>,
    function: fn(&mut [f32]),
    elsewhere: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    let Some(Floats(mut values)) = on_cpu(&x) else { return elsewhere(x) };
    let shape = x.dims();
    drop(x);
    let whole = values.bytes().len() == shape.iter().product::<usize>() * size_of::<f32>();
    if !whole {
        values = FlexTensor::from_data(values.into_data());
    }
    function(values.storage_mut());
    Tensor::from_primitive::<Flex>(values)
}

/// The words of a packed weight and of its scales.
struct Packed {
    scheme: Scheme,
    words: FlexTensor,
    scales: Option<FlexTensor>,
}

impl Packed {
    fn of(part: &WeightPart, scheme: Scheme) -> Option<Self> {
        let flex = |tensor: &Tensor<1, Int>| tensor.clone().try_into_primitive::<Flex>().ok();
        let scales = match &part.scales {
            Some(scales) => Some(flex(scales)?),
            None => None,
        };
        Some(Self { scheme, words: flex(&part.words)?, scales })
    }

    fn rows(&self) -> Rows<'_> {
        let words = self.words.as_slice::<u32>().unwrap_or_default();
        let scales =
            || bytemuck::cast_slice(self.scales.as_ref().and_then(FlexTensor::as_slice::<u32>).unwrap_or_default());
        match self.scheme {
            Scheme::F32 => Rows::F32(bytemuck::cast_slice(words)),
            Scheme::F16 => Rows::F16(bytemuck::cast_slice(words)),
            Scheme::Q8 => Rows::Q8(bytemuck::cast_slice(words), scales()),
            Scheme::Q4 => Rows::Q4(bytemuck::cast_slice(words), scales()),
        }
    }
}

/// [`super::gemm::Product`], of `x`, into a tensor of `shape`.
pub fn product<const X: usize, const D: usize>(
    x: &Tensor<X>,
    product: &gemm::Product<D>,
    shape: [usize; D],
) -> Option<Tensor<D>> {
    let gemm::Product { weight, positions, pixels: out, results, .. } = *product;
    let x = on_cpu(x)?;
    let input = match &product.input {
        None => Input::Rows(&x),
        Some(gemm::Image { shape: Conv2dShape { kernel, stride, .. }, channels, size, .. }) => {
            Input::Image(&x, Image { channels: *channels, size: *size, kernel: *kernel, stride: *stride })
        }
    };
    let packed: Vec<_> = weight.parts.iter().map(|part| Packed::of(part, weight.scheme)).collect::<Option<_>>()?;
    let bias = product.bias.and_then(on_cpu);
    let plus = product.plus.as_ref().and_then(on_cpu);
    Some(filled(shape, |y| {
        let each = weight.rows / results;
        let mut start = 0;
        for (packed, part) in packed.iter().zip(&weight.parts) {
            // Of one result; where there are several, each has parts of its own.
            let (result, first) = (start / each, start % each);
            start += part.rows;
            let bias = bias.as_deref().map(|bias| &bias[result * each..]);
            let (weights, rows) = (packed.rows(), first..first + part.rows);
            let product = Product { weights, id: part.id, rows, depth: weight.columns, input, positions, bias, out };
            let y = &mut y[result * positions * each..][..positions * each];
            product.compute_into(Output { y, rows: each, out });
        }
        if let Some(plus) = &plus {
            y.iter_mut().zip(&**plus).for_each(|(y, plus)| *y += plus);
        }
    }))
}

/// [`super::embedding`].
pub fn embedding(table: &Weight, ids: &[u32]) -> Option<Tensor<2>> {
    let packed: Vec<_> = table.parts.iter().map(|part| Packed::of(part, table.scheme)).collect::<Option<_>>()?;
    let most = table.parts[0].rows;
    Some(filled([ids.len(), table.columns], |y| {
        for (id, y) in ids.iter().zip(y.chunks_exact_mut(table.columns)) {
            let (part, row) = (*id as usize / most, *id as usize % most);
            packed[part].rows().copy(row * table.columns, y);
        }
    }))
}

/// [`super::attention`].
pub fn attention(q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>, shape: AttentionShape) -> Option<Tensor<3>> {
    let dims @ [batch, queries, channels] = q.dims();
    let AttentionShape { heads, causal } = shape;
    let shape = Attention { batch: 1, queries, keys: k.dims()[1], heads, size: channels / heads, causal };
    let (q, k, v) = (on_cpu(q)?, on_cpu(k)?, on_cpu(v)?);
    Some(filled(dims, |y| {
        let (asking, asked) = (queries * channels, shape.keys * channels);
        for image in 0..batch {
            let [k, v] = [&k, &v].map(|x| &x[image * asked..][..asked]);
            let heads = Heads { q: &q[image * asking..][..asking], k, v, shape };
            heads.compute_into(&mut y[image * asking..][..asking]);
        }
    }))
}

/// [`super::moments`]: [B·groups, 1, 3].
pub fn moments(x: &Tensor<4>, groups: usize) -> Option<Tensor<3>> {
    let [batch, channels, height, width] = x.dims();
    let moments = fraise_cpu::group_moments(&on_cpu(x)?, channels / groups * height * width);
    Some(filled([batch * groups, 1, 3], |y| y.copy_from_slice(&moments)))
}

/// [`super::normalize`]; `None` where its map goes on at its other end, too.
pub fn normalize(x: &Tensor<4>, moments: &Tensor<3>, norm: &GroupNorm, finish: Finish) -> Option<Tensor<4>> {
    let Finish { silu, padding, border } = finish;
    let dims = padding.around(x.dims());
    let [_, _, height, width] = x.dims();
    let frame = Frame {
        size: [height, width],
        enlarge: 1,
        before: [padding.rows.0, padding.columns.0],
        result: [dims[2], dims[3]],
    };
    if border != Border::Zeros && padding != Padding::default() {
        return None;
    }
    let (x, moments, weight, bias) = (on_cpu(x)?, on_cpu(moments)?, on_cpu(&norm.weight)?, on_cpu(&norm.bias)?);
    let how = (&*moments, norm.groups, norm.eps);
    Some(filled(dims, |y| fraise_cpu::normalize_groups((&x, &frame), how, (&weight, &bias), silu, y)))
}

/// [`super::layer_norm`].
pub fn layer_norm<const D: usize>(x: &Tensor<D>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f64) -> Option<Tensor<D>> {
    let dims = x.dims();
    let (x, weight, bias) = (on_cpu(x)?, on_cpu(weight)?, on_cpu(bias)?);
    Some(filled(dims, |y| fraise_cpu::layer_norm(&x, &weight, &bias, eps, y)))
}

/// [`super::pad`], to height and width `result`.
pub fn pad(x: &Tensor<4>, enlarge: usize, padding: Padding, result: [usize; 2]) -> Option<Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let before = [padding.rows.0, padding.columns.0];
    let frame = Frame { size: [height, width], enlarge, before, result };
    let x = on_cpu(x)?;
    Some(filled([batch, channels, result[0], result[1]], |y| fraise_cpu::pad(&x, &frame, y)))
}

/// [`super::geglu`].
pub fn geglu(x: &Tensor<2>) -> Option<Tensor<2>> {
    let [rows, columns] = x.dims();
    let x = on_cpu(x)?;
    Some(filled([rows, columns / 2], |y| fraise_cpu::geglu(&x, columns / 2, y)))
}
