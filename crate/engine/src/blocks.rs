//! The UNet's and the KL autoencoder's building blocks, one type per diffusers class.
//!
//! Source: diffusers 0.42.1 `models/resnet.py`, `models/attention.py`, `models/transformers/transformer_2d.py`,
//! `models/unets/unet_2d_blocks.py`.

use burn::tensor::Tensor;

use crate::{
    Result,
    bands::{Bands, NormSilu},
    kernels::{self, AttentionShape, Border, Conv2dShape, GroupNorm, Padding},
    layers::{Conv2d, LayerNorm, Linear, Projections, group_norm, upsample_nearest},
    limits::piece_bytes,
    weights::Scope,
};

/// Group count and epsilon of a model's resnets.
#[derive(Debug, Clone, Copy)]
pub struct ResnetNorm {
    /// Groups of the group norms.
    pub groups: usize,
    /// Added to their variances.
    pub eps: f64,
}

/// Norm, SiLU, convolution, twice, with the time embedding added between, plus a shortcut.
#[derive(Debug)]
pub struct ResnetBlock2D {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock2D {
    /// `time_channels` is `None` in autoencoders.
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init(
        s: &mut Scope,
        channels: (usize, usize),
        time_channels: Option<usize>,
        norm: ResnetNorm,
    ) -> Result<Self> {
        let (inputs, outputs) = channels;
        let time_emb_proj = match time_channels {
            Some(time) => Some(Linear::init(&mut s.sub("time_emb_proj"), time, outputs, true)?),
            None => None,
        };
        let conv_shortcut = match inputs == outputs {
            true => None,
            false => Some(Conv2d::init(&mut s.sub("conv_shortcut"), inputs, outputs, Conv2dShape::POINTWISE)?),
        };
        Ok(Self {
            norm1: group_norm(&mut s.sub("norm1"), inputs, norm.groups, norm.eps)?,
            conv1: Conv2d::init(&mut s.sub("conv1"), inputs, outputs, Conv2dShape::SAME)?,
            time_emb_proj,
            norm2: group_norm(&mut s.sub("norm2"), outputs, norm.groups, norm.eps)?,
            conv2: Conv2d::init(&mut s.sub("conv2"), outputs, outputs, Conv2dShape::SAME)?,
            conv_shortcut,
        })
    }

    /// What the time adds to each channel after the first convolution, whose own bias is in it.
    ///
    /// # Shapes
    /// `time` [N, time_channels], already activated → [N, outputs]; `None` in autoencoders.
    pub fn shift(&self, time: &Tensor<2>) -> Option<Tensor<2>> {
        let shift = self.time_emb_proj.as_ref()?.forward(time.clone());
        Some(match self.conv1.bias() {
            Some(bias) => shift + bias.clone().unsqueeze(),
            None => shift,
        })
    }

    /// # Shapes
    /// `x` [B, inputs, H, W], `shift` [1 or B, outputs] → [B, outputs, H, W].
    pub fn forward_bands(&self, mut x: Bands, shift: Option<Tensor<2>>) -> Bands {
        let moments = x.moments(self.norm1.groups);
        let before = NormSilu { norm: &self.norm1, moments: &moments };
        let hidden = match shift.map(|shift| (shift.dims(), shift)) {
            None => x.clone().conv(&self.conv1, Some(before), |_| None),
            Some(([1, channels], shift)) => {
                let conv = self.conv1.with_bias(Some(shift.reshape([channels])));
                x.clone().conv(&conv, Some(before), |_| None)
            }
            Some(([rows, channels], shift)) => {
                let hidden = x.clone().conv(&self.conv1.with_bias(None), Some(before), |_| None);
                let shift = shift.reshape([rows, channels, 1, 1]);
                hidden.map(|hidden| hidden + shift.clone())
            }
        };
        let moments = hidden.moments(self.norm2.groups);
        let before = NormSilu { norm: &self.norm2, moments: &moments };
        hidden.conv(&self.conv2, Some(before), |rows| {
            let x = x.take_rows(rows);
            Some(self.conv_shortcut.as_ref().map_or(x.clone(), |shortcut| shortcut.forward(x)))
        })
    }
}

/// Multi-head attention of a sequence to itself.
#[derive(Debug)]
pub struct SelfAttention {
    qkv: Projections,
    to_out: Linear,
    shape: AttentionShape,
}

impl SelfAttention {
    /// `bias` on the three projections.
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init(s: &mut Scope, channels: usize, heads: usize, bias: bool) -> Result<Self> {
        let mut projection = |name: &str| Linear::init(&mut s.sub(name), channels, channels, bias);
        let qkv = Projections::new([projection("to_q")?, projection("to_k")?, projection("to_v")?]);
        let to_out = Linear::init(&mut s.sub("to_out").sub(0), channels, channels, true)?;
        Ok(Self { qkv, to_out, shape: AttentionShape { heads, causal: false } })
    }

    /// # Shapes
    /// `x` [B, N, channels] → the same, plus `plus` of that shape.
    fn forward_plus(&self, x: Tensor<3>, plus: Tensor<3>) -> Tensor<3> {
        let [q, k, v] = self.qkv.forward(x);
        self.to_out.forward_plus(kernels::attention(q, k, v, self.shape), plus)
    }

    /// Of a map's pixels to each other.
    ///
    /// # Shapes
    /// `x` [B, channels, H, W] → the same, plus `plus` of that shape.
    pub fn forward_pixels(&self, x: Tensor<4>, plus: Tensor<4>) -> Tensor<4> {
        let [q, k, v] = self.qkv.forward_of_pixels(x);
        self.to_out.forward_to_pixels(kernels::attention(q, k, v, self.shape), plus)
    }
}

/// Keys and values of the text, [B, M, channels].
#[derive(Debug, Clone)]
struct Keys {
    k: Tensor<3>,
    v: Tensor<3>,
}

/// Multi-head attention from a sequence to the text.
#[derive(Debug)]
struct CrossAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    shape: AttentionShape,
}

impl CrossAttention {
    /// `channels` of the queries, `context` of the text.
    ///
    /// # Errors
    /// As [`Scope::weight`].
    fn init(s: &mut Scope, channels: usize, context: usize, heads: usize) -> Result<Self> {
        Ok(Self {
            to_q: Linear::init(&mut s.sub("to_q"), channels, channels, false)?,
            to_k: Linear::init(&mut s.sub("to_k"), context, channels, false)?,
            to_v: Linear::init(&mut s.sub("to_v"), context, channels, false)?,
            to_out: Linear::init(&mut s.sub("to_out").sub(0), channels, channels, true)?,
            shape: AttentionShape { heads, causal: false },
        })
    }

    /// What is attended to.
    ///
    /// # Shapes
    /// `context` [B, M, context] → twice [B, M, channels].
    fn keys(&self, context: &Tensor<3>) -> Keys {
        Keys { k: self.to_k.forward(context.clone()), v: self.to_v.forward(context.clone()) }
    }

    /// # Shapes
    /// `x` [B, N, channels] → the same, plus `plus` of that shape.
    fn forward_plus(&self, x: Tensor<3>, Keys { k, v }: Keys, plus: Tensor<3>) -> Tensor<3> {
        self.to_out.forward_plus(kernels::attention(self.to_q.forward(x), k, v, self.shape), plus)
    }
}

/// The first attention of a [`BasicTransformerBlock`].
#[derive(Debug)]
enum FirstAttention {
    ToItself(Box<SelfAttention>),
    ToText(Box<CrossAttention>),
}

/// What a [`BasicTransformerBlock`] attends to in the text.
#[derive(Debug, Clone)]
struct TextKeys {
    /// As `attn2` where the first attention is not to the text.
    attn1: Keys,
    attn2: Keys,
}

/// Self-attention, cross-attention and a GEGLU feed-forward, each on a normalized residual.
#[derive(Debug)]
struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: FirstAttention,
    norm2: LayerNorm,
    attn2: CrossAttention,
    norm3: LayerNorm,
    ff_proj: Linear,
    ff_out: Linear,
}

impl BasicTransformerBlock {
    fn init(s: &mut Scope, shape: &TransformerShape) -> Result<Self> {
        const EPS: f64 = 1e-5;
        let TransformerShape { channels, context, heads, .. } = *shape;
        let mut first = s.sub("attn1");
        let attn1 = match shape.only_cross_attention {
            true => FirstAttention::ToText(Box::new(CrossAttention::init(&mut first, channels, context, heads)?)),
            false => FirstAttention::ToItself(Box::new(SelfAttention::init(&mut first, channels, heads, false)?)),
        };
        let mut ff = s.sub("ff");
        let mut net = ff.sub("net");
        let ff_proj = Linear::init(&mut net.sub(0).sub("proj"), channels, channels * 8, true)?;
        let ff_out = Linear::init(&mut net.sub(2), channels * 4, channels, true)?;
        Ok(Self {
            norm1: LayerNorm::init(&mut s.sub("norm1"), channels, EPS)?,
            attn1,
            norm2: LayerNorm::init(&mut s.sub("norm2"), channels, EPS)?,
            attn2: CrossAttention::init(&mut s.sub("attn2"), channels, context, heads)?,
            norm3: LayerNorm::init(&mut s.sub("norm3"), channels, EPS)?,
            ff_proj,
            ff_out,
        })
    }

    fn keys(&self, context: &Tensor<3>) -> TextKeys {
        let attn2 = self.attn2.keys(context);
        let attn1 = match &self.attn1 {
            FirstAttention::ToItself(_) => attn2.clone(),
            FirstAttention::ToText(attention) => attention.keys(context),
        };
        TextKeys { attn1, attn2 }
    }

    fn forward(&self, x: Tensor<3>, text: &TextKeys) -> Tensor<3> {
        let y = self.norm1.forward(x.clone());
        let x = match &self.attn1 {
            FirstAttention::ToItself(attention) => attention.forward_plus(y, x),
            FirstAttention::ToText(attention) => attention.forward_plus(y, text.attn1.clone(), x),
        };
        let y = self.norm2.forward(x.clone());
        let x = self.attn2.forward_plus(y, text.attn2.clone(), x);
        self.feed_forward(x)
    }

    /// `x` plus the GEGLU feed-forward of it, whose inner width is eight times as large, over some tokens at a time.
    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        let dims @ [batch, tokens, channels] = x.dims();
        let most = (piece_bytes(&x) / (channels * 8 * size_of::<f32>())).max(1);
        let x = x.reshape([batch * tokens, channels]);
        let group = |start: usize| {
            let x = x.clone().narrow(0, start, most.min(batch * tokens - start));
            let y = self.ff_proj.forward(self.norm3.forward(x.clone())); // [n, 8·C]: value and gate
            self.ff_out.forward_plus(kernels::geglu(y), x)
        };
        let mut groups: Vec<_> = (0..batch * tokens).step_by(most).map(group).collect();
        let y = if groups.len() == 1 { groups.swap_remove(0) } else { Tensor::cat(groups, 0) };
        y.reshape(dims)
    }
}

/// Sizes of one [`Transformer2DModel`].
#[derive(Debug, Clone)]
pub struct TransformerShape {
    /// Channels of the image features; also the inner width.
    pub channels: usize,
    /// Width of the text embeddings.
    pub context: usize,
    /// Attention heads.
    pub heads: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Groups of the input norm.
    pub groups: usize,
    /// Whether the projections are stored as linear layers instead of 1x1 convolutions.
    pub linear_projection: bool,
    /// Whether the first attention of each block also attends to the text.
    pub only_cross_attention: bool,
}

/// What a [`Transformer2DModel`] attends to of the text: the same in all steps.
#[derive(Debug, Clone)]
pub struct TransformerKeys(Vec<TextKeys>);

/// Lets image features attend to each other and to the text.
#[derive(Debug)]
pub struct Transformer2DModel {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<BasicTransformerBlock>,
    proj_out: Linear,
}

impl Transformer2DModel {
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init(s: &mut Scope, shape: &TransformerShape) -> Result<Self> {
        let channels = shape.channels;
        // A 1x1 convolution is a linear layer over pixels; only the stored shape differs.
        let projection = |scope: &mut Scope| match shape.linear_projection {
            true => Linear::init(scope, channels, channels, true),
            false => Linear::init_pointwise(scope, channels, channels),
        };
        let norm = group_norm(&mut s.sub("norm"), channels, shape.groups, 1e-6)?;
        let (proj_in, proj_out) = (projection(&mut s.sub("proj_in"))?, projection(&mut s.sub("proj_out"))?);
        let mut blocks = s.sub("transformer_blocks");
        let blocks =
            (0..shape.depth).map(|i| BasicTransformerBlock::init(&mut blocks.sub(i), shape)).collect::<Result<_>>()?;
        Ok(Self { norm, proj_in, blocks, proj_out })
    }

    /// What [`Self::forward`] attends to of the text, `context` [B, M, context].
    pub fn keys(&self, context: &Tensor<3>) -> TransformerKeys {
        TransformerKeys(self.blocks.iter().map(|block| block.keys(context)).collect())
    }

    /// # Shapes
    /// `x` [B, C, H, W], `text` for as many rows → [B, C, H, W].
    pub fn forward(&self, x: Tensor<4>, text: &TransformerKeys) -> Tensor<4> {
        let hidden = self.proj_in.forward_of_pixels(kernels::group_norm(x.clone(), &self.norm, false)); // [B, H·W, C]
        let blocks = self.blocks.iter().zip(&text.0);
        let hidden = blocks.fold(hidden, |hidden, (block, text)| block.forward(hidden, text));
        self.proj_out.forward_to_pixels(hidden, x)
    }
}

/// Halves the resolution with a strided convolution.
#[derive(Debug)]
pub struct Downsample2D {
    conv: Conv2d,
}

impl Downsample2D {
    /// `padding` 1 is symmetric; 0 pads only right and below, as the KL encoder does.
    ///
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init(s: &mut Scope, channels: usize, padding: usize) -> Result<Self> {
        let padding = if padding == 0 { (0, 1) } else { (padding, padding) };
        let shape = Conv2dShape { stride: 2, padding, ..Conv2dShape::SAME };
        Ok(Self { conv: Conv2d::init(&mut s.sub("conv"), channels, channels, shape)? })
    }

    /// # Shapes
    /// [B, C, H, W] → [B, C, H/2, W/2].
    pub fn forward_bands(&self, x: Bands) -> Bands {
        x.conv(&self.conv, None, |_| None)
    }
}

/// Enlarges to a given size by nearest neighbour, then convolves.
#[derive(Debug)]
pub struct Upsample2D {
    conv: Conv2d,
}

impl Upsample2D {
    /// # Errors
    /// As [`Scope::weight`].
    pub fn init(s: &mut Scope, channels: usize) -> Result<Self> {
        Ok(Self { conv: Conv2d::init(&mut s.sub("conv"), channels, channels, Conv2dShape::DOUBLE)? })
    }

    /// # Shapes
    /// [B, C, H, W] → [B, C, size[0], size[1]].
    pub fn forward(&self, x: Tensor<4>, size: [usize; 2], border: Border) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        match size == [height * 2, width * 2] {
            true => self.forward_bands(Bands::within_limits(x).bordered(border)).join(),
            false => {
                let x = upsample_nearest(x, size);
                let padded = kernels::pad(x, 1, Padding::square(Conv2dShape::SAME.padding), border);
                self.conv.forward_padded(padded, None)
            }
        }
    }

    /// To twice the size, band by band.
    pub fn forward_bands(&self, x: Bands) -> Bands {
        x.conv(&self.conv, None, |_| None)
    }
}
