//! The layers that every model is made of: named tensors of a [`Scope`] bound to a kernel.

use burn::tensor::{Tensor, activation, module, ops::InterpolateMode, ops::InterpolateOptions};
use serde::Deserialize;

use crate::{
    Result,
    kernels::{self, Border, Conv2dShape, GroupNorm, Padding},
    weights::{Scope, Weight},
};

/// A fully connected layer.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Takes `weight` [outputs, inputs] and, if `bias`, `bias` [outputs] from the scope.
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init(scope: &mut Scope, inputs: usize, outputs: usize, bias: bool) -> Result<Self> {
        let weight = scope.weight("weight", &[outputs, inputs])?;
        let bias = if bias { Some(scope.vector("bias", outputs)?) } else { None };
        Ok(Self { weight, bias })
    }

    /// A 1x1 convolution's weight used as a linear layer: [outputs, inputs, 1, 1].
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init_pointwise(scope: &mut Scope, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = scope.weight("weight", &[outputs, inputs, 1, 1])?;
        Ok(Self { weight, bias: Some(scope.vector("bias", outputs)?) })
    }

    /// The weight of a convolution whose stride is its size, used on patches: [outputs, channels, side, side].
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init_patch(scope: &mut Scope, channels: usize, side: usize, outputs: usize, bias: bool) -> Result<Self> {
        let weight = scope.weight("weight", &[outputs, channels, side, side])?;
        let bias = if bias { Some(scope.vector("bias", outputs)?) } else { None };
        Ok(Self { weight, bias })
    }

    /// # Shapes
    /// [.., inputs] → [.., outputs].
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::linear(x, &self.weight, self.bias.as_ref())
    }

    /// As [`Linear::forward`], plus a tensor of the result's shape.
    pub fn forward_plus<const D: usize>(&self, x: Tensor<D>, plus: Tensor<D>) -> Tensor<D> {
        kernels::linear_plus(x, &self.weight, self.bias.as_ref(), Some(plus))
    }

    /// # Shapes
    /// A map [B, inputs, H, W] → its pixels [B, H·W, outputs].
    pub fn forward_of_pixels(&self, x: Tensor<4>) -> Tensor<3> {
        kernels::linear_of_pixels(x, &self.weight, self.bias.as_ref())
    }

    /// # Shapes
    /// Pixels [B, H·W, inputs] → a map [B, outputs, H, W], plus `map`.
    pub fn forward_to_pixels(&self, x: Tensor<3>, map: Tensor<4>) -> Tensor<4> {
        kernels::linear_to_pixels(x, &self.weight, self.bias.as_ref(), map)
    }
}

/// Three linear layers of the same rows: what makes an attention's queries, keys and values of one sequence.
#[derive(Debug)]
pub enum Projections {
    /// As one product, whose outputs are those of all three.
    Joined(Box<Linear>),
    /// Each by itself, where their weights cannot be joined.
    Apart(Box<[Linear; 3]>),
}

impl Projections {
    /// Of layers that are all biased, or none.
    pub fn new(layers: [Linear; 3]) -> Self {
        let Some(weight) = Weight::joined(&layers.each_ref().map(|layer| &layer.weight)) else {
            return Self::Apart(Box::new(layers));
        };
        let biases: Vec<_> = layers.iter().filter_map(|layer| layer.bias.as_ref()).collect();
        let cat = || Tensor::cat(biases.iter().copied().cloned().collect(), 0);
        let bias = (!biases.is_empty()).then(|| kernels::cat_vectors(&biases).unwrap_or_else(cat));
        Self::Joined(Box::new(Linear { weight, bias }))
    }

    /// # Shapes
    /// `x` [B, N, inputs] → three times [B, N, outputs].
    pub fn forward(&self, x: Tensor<3>) -> [Tensor<3>; 3] {
        match self {
            Self::Joined(joined) => kernels::linears(x, &joined.weight, joined.bias.as_ref()),
            Self::Apart(layers) => layers.each_ref().map(|layer| layer.forward(x.clone())),
        }
    }

    /// # Shapes
    /// A map [B, inputs, H, W] → of its pixels, three times [B, H·W, outputs].
    pub fn forward_of_pixels(&self, x: Tensor<4>) -> [Tensor<3>; 3] {
        match self {
            Self::Joined(joined) => kernels::linears_of_pixels(x, &joined.weight, joined.bias.as_ref()),
            Self::Apart(layers) => layers.each_ref().map(|layer| layer.forward_of_pixels(x.clone())),
        }
    }
}

/// A convolution layer.
#[derive(Debug)]
pub struct Conv2d {
    weight: Weight,
    bias: Option<Tensor<1>>,
    shape: Conv2dShape,
}

impl Conv2d {
    /// Takes `weight` [outputs, inputs, k, k] and `bias` [outputs] from the scope.
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init(scope: &mut Scope, inputs: usize, outputs: usize, shape: Conv2dShape) -> Result<Self> {
        let mut conv = Self::init_unbiased(scope, inputs, outputs, shape)?;
        conv.bias = Some(scope.vector("bias", outputs)?);
        Ok(conv)
    }

    /// As [`Conv2d::init`], without a bias.
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init_unbiased(scope: &mut Scope, inputs: usize, outputs: usize, shape: Conv2dShape) -> Result<Self> {
        let weight = scope.weight("weight", &[outputs, inputs, shape.kernel, shape.kernel])?;
        Ok(Self { weight, bias: None, shape })
    }

    /// # Shapes
    /// [B, inputs, H, W] → [B, outputs, H', W'].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_beyond(x, Border::Zeros)
    }

    /// As [`Conv2d::forward`], with something else beyond the edges.
    pub fn forward_beyond(&self, x: Tensor<4>, border: Border) -> Tensor<4> {
        kernels::conv2d(x, &self.weight, self.bias.as_ref(), self.shape, border)
    }

    /// As [`Conv2d::forward_beyond`], of the SiLU of a map that is not enlarged, plus a tensor of the result's shape.
    pub fn forward_of_silu(&self, x: Tensor<4>, border: Border, plus: Option<Tensor<4>>) -> Tensor<4> {
        self.forward_padded(kernels::silu_padded(x, Padding::square(self.shape.padding), border), plus)
    }

    /// As [`Conv2d::forward`], of an input that is already enlarged and padded, plus a tensor of the result's shape.
    pub fn forward_padded(&self, x: Tensor<4>, plus: Option<Tensor<4>>) -> Tensor<4> {
        kernels::conv2d_plus(x, &self.weight, self.bias.as_ref(), self.shape, plus)
    }

    /// The same layer with another bias, [outputs].
    pub fn with_bias(&self, bias: Option<Tensor<1>>) -> Self {
        Self { weight: self.weight.clone(), bias, shape: self.shape }
    }

    /// What is added to each channel, [outputs].
    pub fn bias(&self) -> Option<&Tensor<1>> {
        self.bias.as_ref()
    }

    /// Kernel size and geometry.
    pub fn shape(&self) -> Conv2dShape {
        self.shape
    }

    /// Channels out.
    pub fn outputs(&self) -> usize {
        self.weight.rows
    }
}

/// Takes a group norm's `weight` and `bias` from the scope.
///
/// # Errors
/// As [`Scope::vector`].
pub fn group_norm(scope: &mut Scope, channels: usize, groups: usize, eps: f64) -> Result<GroupNorm> {
    let (weight, bias) = (scope.vector("weight", channels)?, scope.vector("bias", channels)?);
    Ok(GroupNorm { weight, bias, groups, eps })
}

/// A layer norm over the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    /// Takes `weight` and `bias` [channels] from the scope.
    ///
    /// # Errors
    /// As [`Scope::vector`].
    pub fn init(scope: &mut Scope, channels: usize, eps: f64) -> Result<Self> {
        Ok(Self { weight: scope.vector("weight", channels)?, bias: scope.vector("bias", channels)?, eps })
    }

    /// # Shapes
    /// [.., channels] → the same.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// Activation functions, by the names that configurations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x·sigmoid(x).
    #[serde(alias = "swish")]
    Silu,
    /// x·Φ(x), exact.
    Gelu,
    /// x·sigmoid(1.702·x).
    QuickGelu,
    /// max(x, 0).
    Relu,
}

impl Activation {
    /// Elementwise.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => kernels::silu(x),
            Self::Gelu => kernels::gelu(x),
            Self::QuickGelu => kernels::quick_gelu(x),
            Self::Relu => activation::relu(x),
        }
    }
}

/// Nearest-neighbour upsampling to `size` (height, width).
pub fn upsample_nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    module::interpolate(x, InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size))
}

/// A setting that configurations give once or per block.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PerBlock<T> {
    /// The same for every block.
    One(T),
    /// One value per block.
    Each(Vec<T>),
}

impl<T: Copy> PerBlock<T> {
    /// The value of block `index`; past the end of a list, its last value.
    pub fn get(&self, index: usize) -> Option<T> {
        match self {
            Self::One(value) => Some(*value),
            Self::Each(values) => values.get(index).or(values.last()).copied(),
        }
    }
}
