//! The autoencoder's tensors, and its configuration as the tensors' shapes tell it.
//!
//! Source: diffusers 0.42.1 `convert_ldm_vae_checkpoint`, `create_vae_diffusers_config_from_ldm`; CompVis
//! `ldm/modules/diffusionmodules/model.py`.

use serde_json::{Value, json};

use super::table::{Form, Table};
use crate::{Error, Result};

/// Most levels and layers looked for.
const MAX_LEVELS: usize = 8;
/// Greatest width of anything, far above all known models.
const MAX_WIDTH: usize = 1 << 16;
/// Group norms of these models have this many groups.
const GROUPS: usize = 32;
/// Channels of a picture.
const PICTURE: usize = 3;

/// What an autoencoder's tensors leave open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaeShape {
    /// Width of each level, finest first.
    pub widths: Vec<usize>,
    /// Resnets per level of the encoder; the decoder has one more.
    pub layers: usize,
    /// Channels of the latents.
    pub latents: usize,
    /// Whether the middle attends.
    pub has_attention: bool,
    /// Whether there is an encoder.
    pub has_encoder: bool,
}

impl VaeShape {
    /// Reads the shape off a checkpoint, whose tensors `shape_of` gives by their names below `first_stage_model.`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] for tensors without which nothing can be said; [`Error::Request`] for irregular ones.
    pub fn infer<'a>(shape_of: impl Fn(&str) -> Option<&'a [usize]>) -> Result<Self> {
        let dimension = |name: &str, index: usize| {
            let missing = || Error::MissingTensor { name: format!("first_stage_model.{name}") };
            shape_of(name).and_then(|shape| shape.get(index).copied()).ok_or_else(missing)
        };
        let blocks = |level: usize| {
            let is_there = |block: &usize| {
                *block <= MAX_LEVELS && shape_of(&format!("decoder.up.{level}.block.{block}.conv1.weight")).is_some()
            };
            (0..).take_while(is_there).count()
        };
        let levels = (0..=MAX_LEVELS).take_while(|&level| blocks(level) > 0).count();
        if levels > MAX_LEVELS || (0..levels).any(|level| blocks(level) < 2 || blocks(level) != blocks(0)) {
            return Err(Error::request(
                "checkpoint",
                "has an irregular autoencoder; only regular ones can be converted",
            ));
        }
        let latents = dimension("decoder.conv_in.weight", 1)?;
        let width = |level: usize| dimension(&format!("decoder.up.{level}.block.0.conv1.weight"), 0);
        let widths: Vec<usize> = (0..levels).map(width).collect::<Result<_>>()?;
        if widths.is_empty() {
            return Err(Error::MissingTensor { name: "first_stage_model.decoder.up.0.block.0.conv1.weight".into() });
        }
        Ok(Self {
            layers: blocks(0) - 1,
            latents,
            has_attention: shape_of("decoder.mid.attn_1.q.weight").is_some(),
            has_encoder: shape_of("encoder.conv_in.weight").is_some(),
            widths,
        })
    }

    /// Checks that widths are ones that tables can be made of.
    ///
    /// # Errors
    /// [`Error::Request`] saying what is wrong.
    pub fn check(&self) -> Result<()> {
        let is_bounded = |width: &usize| (1..=MAX_WIDTH).contains(width);
        if self.widths.iter().all(|width| is_bounded(width) && width.is_multiple_of(GROUPS))
            && is_bounded(&self.latents)
        {
            return Ok(());
        }
        Err(Error::request("checkpoint", "has an autoencoder with widths that are no multiples of 32 or out of bounds"))
    }

    /// Every tensor, by its name below `first_stage_model.`.
    pub fn table(&self) -> Table {
        let (first, last) = (self.widths[0], self.widths[self.widths.len() - 1]);
        let mut table = Table::default();
        if self.has_encoder {
            table.conv("quant_conv", "quant_conv", [self.latents * 2, self.latents * 2, 1]);
            table.conv("encoder.conv_in", "encoder.conv_in", [first, PICTURE, 3]);
            self.encoder_levels(&mut table);
            self.middle(&mut table, "encoder");
            table.layer("encoder.norm_out", "encoder.conv_norm_out", &[last]);
            table.conv("encoder.conv_out", "encoder.conv_out", [self.latents * 2, last, 3]);
        }
        table.conv("post_quant_conv", "post_quant_conv", [self.latents, self.latents, 1]);
        table.conv("decoder.conv_in", "decoder.conv_in", [last, self.latents, 3]);
        self.middle(&mut table, "decoder");
        self.decoder_levels(&mut table);
        table.layer("decoder.norm_out", "decoder.conv_norm_out", &[first]);
        table.conv("decoder.conv_out", "decoder.conv_out", [PICTURE, first, 3]);
        table
    }

    fn encoder_levels(&self, table: &mut Table) {
        let mut before = self.widths[0];
        for (level, &width) in self.widths.iter().enumerate() {
            for layer in 0..self.layers {
                let source = format!("encoder.down.{level}.block.{layer}");
                resnet(table, [&source, &format!("encoder.down_blocks.{level}.resnets.{layer}")], before, width);
                before = width;
            }
            if level + 1 < self.widths.len() {
                let name = format!("encoder.down_blocks.{level}.downsamplers.0.conv");
                table.conv(&format!("encoder.down.{level}.downsample.conv"), &name, [width, width, 3]);
            }
        }
    }

    /// The original counts levels from the finest, diffusers from the coarsest.
    fn decoder_levels(&self, table: &mut Table) {
        let mut before = self.widths[self.widths.len() - 1];
        for (up, (level, &width)) in self.widths.iter().enumerate().rev().enumerate() {
            for layer in 0..=self.layers {
                let source = format!("decoder.up.{level}.block.{layer}");
                resnet(table, [&source, &format!("decoder.up_blocks.{up}.resnets.{layer}")], before, width);
                before = width;
            }
            if level > 0 {
                let name = format!("decoder.up_blocks.{up}.upsamplers.0.conv");
                table.conv(&format!("decoder.up.{level}.upsample.conv"), &name, [width, width, 3]);
            }
        }
    }

    fn middle(&self, table: &mut Table, half: &str) {
        let width = self.widths[self.widths.len() - 1];
        let (source, name) = (format!("{half}.mid"), format!("{half}.mid_block"));
        resnet(table, [&format!("{source}.block_1"), &format!("{name}.resnets.0")], width, width);
        if self.has_attention {
            let mut layer = |below: &str, named: &str, shape: &[usize]| {
                table.layer(&format!("{source}.attn_1.{below}"), &format!("{name}.attentions.0.{named}"), shape);
            };
            layer("norm", "group_norm", &[width]);
            // 1x1 convolutions there, matrices here.
            for (below, named) in [("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")] {
                layer(below, named, &[width, width]);
            }
        }
        resnet(table, [&format!("{source}.block_2"), &format!("{name}.resnets.1")], width, width);
    }

    /// `vae/config.json`; `sample_size` is the pictures' side that the family was trained at.
    pub fn config(&self, sample_size: usize, scaling_factor: f64) -> Value {
        let levels = self.widths.len();
        json!({
            "_class_name": "AutoencoderKL",
            "act_fn": "silu",
            "block_out_channels": self.widths,
            "down_block_types": vec!["DownEncoderBlock2D"; levels],
            "in_channels": PICTURE,
            "latent_channels": self.latents,
            "layers_per_block": self.layers,
            "mid_block_add_attention": self.has_attention,
            "norm_num_groups": GROUPS,
            "out_channels": PICTURE,
            "sample_size": sample_size,
            "scaling_factor": scaling_factor,
            "up_block_types": vec!["UpDecoderBlock2D"; levels],
        })
    }
}

fn resnet(table: &mut Table, [source, name]: [&str; 2], input: usize, output: usize) {
    let mut pair = |below: &str, named: &str, shape: &[usize]| {
        table.layer(&format!("{source}.{below}"), &format!("{name}.{named}"), shape);
    };
    pair("norm1", "norm1", &[input]);
    pair("conv1", "conv1", &[output, input, 3, 3]);
    pair("norm2", "norm2", &[output]);
    pair("conv2", "conv2", &[output, output, 3, 3]);
    if input != output {
        pair("nin_shortcut", "conv_shortcut", &[output, input, 1, 1]);
    }
}

/// The layers of a tiny autoencoder's decoder as its author publishes it, by index there and in diffusers.
///
/// The original counts a clamp before the first convolution, which diffusers does in code; that is all that differs.
///
/// Source: madebyollin/taesd `taesd.py`; diffusers 0.42.1 `AutoencoderTiny`.
pub fn tiny_decoder_name(original: &str) -> Option<String> {
    let (index, below) = original.split_once('.')?;
    let index: usize = index.parse().ok().filter(|&index| (1..64).contains(&index))?;
    Some(format!("decoder.layers.{}.{below}", index - 1))
}

/// Trailing dimensions of 1 left out.
pub fn squeezed(shape: &[usize]) -> &[usize] {
    let kept = shape.iter().rposition(|&length| length != 1).map_or(0, |last| last + 1);
    &shape[..kept]
}

/// Whether a tensor of shape `found` holds what a row wants.
pub fn fits(found: &[usize], wanted: &[usize], form: Form) -> bool {
    match (form, wanted) {
        (Form::Whole, _) => squeezed(found) == squeezed(wanted),
        (Form::Third(_), [rows, rest @ ..]) => found.split_first() == Some((&(rows * 3), rest)),
        (Form::Transposed, [rows, columns]) => found == [*columns, *rows],
        _ => false,
    }
}
