//! The UNet's tensors, and its configuration as the tensors' shapes tell it.
//!
//! Source: diffusers 0.42.1 `convert_ldm_unet_checkpoint`, `create_unet_diffusers_config_from_ldm`; CompVis
//! `ldm/modules/diffusionmodules/openaimodel.py` for the order of blocks.

use serde_json::{Value, json};

use super::table::{Form, Table};
use crate::{Error, Result};

/// Most levels and layers looked for.
const MAX_LEVELS: usize = 8;
/// Most transformer blocks of one attention.
const MAX_DEPTH: usize = 64;
/// Greatest width of anything, far above all known models, so that products of widths stay numbers.
const MAX_WIDTH: usize = 1 << 16;
/// Group norms of these models have this many groups.
const GROUPS: usize = 32;
/// Width of a head in models that project by matrices (Stable Diffusion 2 and XL).
const HEAD_WIDTH: usize = 64;
/// Number of heads in the others (Stable Diffusion 1).
const HEADS: usize = 8;
/// Width of the embedding of each of SDXL's six sizes.
pub const TIME_ID_WIDTH: usize = 256;
/// Number of sizes that SDXL is told.
const TIME_IDS: usize = 6;

/// What a UNet's tensors leave open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnetShape {
    /// Channels in.
    pub in_channels: usize,
    /// Channels out.
    pub out_channels: usize,
    /// Width of each level.
    pub widths: Vec<usize>,
    /// Resnets per level on the way down.
    pub layers: usize,
    /// Transformer blocks per attention, by level; 0 for none.
    pub depths: Vec<usize>,
    /// Transformer blocks in the middle; `None` where there is no middle.
    pub mid_depth: Option<usize>,
    /// Width of the text embeddings.
    pub context: usize,
    /// Whether attentions project by matrices.
    pub linear: bool,
    /// Width of an LCM's guidance embedding.
    pub guidance: Option<usize>,
    /// Width of SDXL's added conditioning.
    pub added: Option<usize>,
}

impl UnetShape {
    /// Reads the shape off a checkpoint, whose tensors `shape_of` gives by their names below `model.diffusion_model.`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] for tensors without which nothing can be said; [`Error::Request`] where levels differ
    /// in a way that diffusers' configuration cannot express.
    pub fn infer<'a>(shape_of: impl Fn(&str) -> Option<&'a [usize]>) -> Result<Self> {
        let dimension = |name: &str, index: usize| {
            let missing = || Error::MissingTensor { name: format!("model.diffusion_model.{name}") };
            shape_of(name).and_then(|shape| shape.get(index).copied()).ok_or_else(missing)
        };
        let depth_at = |block: &str| {
            let is_there =
                |index: &usize| shape_of(&format!("{block}.transformer_blocks.{index}.norm1.weight")).is_some();
            (0..=MAX_DEPTH).take_while(is_there).count()
        };
        let mut levels = vec![Level::default()];
        let (mut context, mut linear) = (None, false);
        for block in 1..MAX_LEVELS * MAX_LEVELS {
            if shape_of(&format!("input_blocks.{block}.0.op.weight")).is_some() {
                levels.push(Level::default());
                continue;
            }
            let Some(width) = shape_of(&format!("input_blocks.{block}.0.out_layers.3.weight")) else { break };
            let attention = format!("input_blocks.{block}.1");
            let depth = depth_at(&attention);
            if depth > 0 {
                let to_k = format!("{attention}.transformer_blocks.0.attn2.to_k.weight");
                context = Some(dimension(&to_k, 1)?);
                linear = shape_of(&format!("{attention}.proj_in.weight")).is_some_and(|shape| shape.len() == 2);
            }
            if let Some(level) = levels.last_mut() {
                level.add(width.first().copied().unwrap_or(0), depth)?;
            }
        }
        let layers = levels[0].layers;
        if levels.len() > MAX_LEVELS || layers == 0 || levels.iter().any(|level| level.layers != layers) {
            return Err(irregular("levels of different lengths"));
        }
        let has_mid = shape_of("middle_block.0.out_layers.3.weight").is_some();
        Ok(Self {
            in_channels: dimension("input_blocks.0.0.weight", 1)?,
            out_channels: dimension("out.2.weight", 0)?,
            widths: levels.iter().map(|level| level.width).collect(),
            layers,
            depths: levels.iter().map(|level| level.depth).collect(),
            mid_depth: has_mid.then(|| depth_at("middle_block.1")),
            context: context.ok_or_else(|| irregular("no attention to the text"))?,
            linear,
            guidance: shape_of("time_embed.cond_proj.weight").and_then(|shape| shape.get(1).copied()),
            added: shape_of("label_emb.0.0.weight").and_then(|shape| shape.get(1).copied()),
        })
    }

    /// The shape that diffusers' `unet/config.json` describes, or `None` where it is of no kind that has original
    /// names.
    pub fn from_config(config: &Value) -> Option<Self> {
        let number = |field: &str| config[field].as_u64().and_then(|number| usize::try_from(number).ok());
        let widths: Vec<usize> = config["block_out_channels"]
            .as_array()?
            .iter()
            .map(|width| Some(width.as_u64()? as usize))
            .collect::<Option<_>>()?;
        let depth = |level: usize| match &config["transformer_layers_per_block"] {
            Value::Array(depths) => depths.get(level)?.as_u64().map(|depth| depth as usize),
            Value::Number(depth) => depth.as_u64().map(|depth| depth as usize),
            _ => Some(1),
        };
        let blocks = config["down_block_types"].as_array()?;
        let depth_of_block = |(level, block): (usize, &Value)| match block.as_str()? {
            "CrossAttnDownBlock2D" => depth(level),
            "DownBlock2D" => Some(0),
            _ => None,
        };
        let mid_depth = match config["mid_block_type"].as_str() {
            Some("UNetMidBlock2DCrossAttn") => Some(depth(widths.len().checked_sub(1)?)?),
            Some(_) => return None,
            None => None,
        };
        Some(Self {
            in_channels: number("in_channels")?,
            out_channels: number("out_channels")?,
            layers: number("layers_per_block")?,
            depths: blocks.iter().enumerate().map(depth_of_block).collect::<Option<_>>()?,
            mid_depth,
            context: number("cross_attention_dim")?,
            linear: config["use_linear_projection"].as_bool().unwrap_or(false),
            guidance: number("time_cond_proj_dim"),
            added: number("projection_class_embeddings_input_dim"),
            widths,
        })
        .filter(|shape: &Self| shape.widths.len() == shape.depths.len() && shape.is_bounded())
    }

    /// Whether all of it is of a size that tables can be made of.
    fn is_bounded(&self) -> bool {
        let others = [self.in_channels, self.out_channels, self.context];
        let optional = [self.guidance, self.added].into_iter().flatten();
        (1..=MAX_LEVELS).contains(&self.widths.len())
            && (1..=MAX_LEVELS).contains(&self.layers)
            && self.depths.iter().chain(&self.mid_depth).all(|&depth| depth <= MAX_DEPTH)
            && self.widths.iter().copied().chain(others).chain(optional).all(|width| (1..=MAX_WIDTH).contains(&width))
    }

    /// Every tensor, by its name below `model.diffusion_model.`.
    pub fn table(&self) -> Table {
        let (first, time) = (self.widths[0], self.widths[0] * 4);
        let mut table = Table::default();
        if let Some(width) = self.guidance {
            table.weight("time_embed.cond_proj", "time_embedding.cond_proj", &[first, width]);
        }
        table.layer("time_embed.0", "time_embedding.linear_1", &[time, first]);
        table.layer("time_embed.2", "time_embedding.linear_2", &[time, time]);
        if let Some(width) = self.added {
            table.layer("label_emb.0.0", "add_embedding.linear_1", &[time, width]);
            table.layer("label_emb.0.2", "add_embedding.linear_2", &[time, time]);
        }
        table.conv("input_blocks.0.0", "conv_in", [first, self.in_channels, 3]);
        let mut skips = self.down_blocks(&mut table);
        if let Some(depth) = self.mid_depth {
            let width = self.widths[self.widths.len() - 1];
            self.resnet(&mut table, ["middle_block.0", "mid_block.resnets.0"], width, width);
            self.transformer(&mut table, ["middle_block.1", "mid_block.attentions.0"], width, depth);
            self.resnet(&mut table, ["middle_block.2", "mid_block.resnets.1"], width, width);
        }
        self.up_blocks(&mut table, &mut skips);
        table.layer("out.0", "conv_norm_out", &[first]);
        table.conv("out.2", "conv_out", [self.out_channels, first, 3]);
        table
    }

    /// Returns the widths of what the way down leaves for the way up.
    fn down_blocks(&self, table: &mut Table) -> Vec<usize> {
        let (mut block, mut before) = (1, self.widths[0]);
        let mut skips = vec![before];
        for (level, (&width, &depth)) in self.widths.iter().zip(&self.depths).enumerate() {
            for layer in 0..self.layers {
                let names = |part: &str| format!("down_blocks.{level}.{part}.{layer}");
                self.resnet(table, [&format!("input_blocks.{block}.0"), &names("resnets")], before, width);
                if depth > 0 {
                    self.transformer(table, [&format!("input_blocks.{block}.1"), &names("attentions")], width, depth);
                }
                (block, before) = (block + 1, width);
                skips.push(width);
            }
            if level + 1 < self.widths.len() {
                let name = format!("down_blocks.{level}.downsamplers.0.conv");
                table.conv(&format!("input_blocks.{block}.0.op"), &name, [width, width, 3]);
                block += 1;
                skips.push(width);
            }
        }
        skips
    }

    fn up_blocks(&self, table: &mut Table, skips: &mut Vec<usize>) {
        let levels = self.widths.len();
        let (mut block, mut before) = (0, self.widths[levels - 1]);
        for up in 0..levels {
            let level = levels - 1 - up;
            let (width, depth) = (self.widths[level], self.depths[level]);
            for layer in 0..=self.layers {
                let names = |part: &str| format!("up_blocks.{up}.{part}.{layer}");
                let input = before + skips.pop().unwrap_or(0);
                self.resnet(table, [&format!("output_blocks.{block}.0"), &names("resnets")], input, width);
                if depth > 0 {
                    self.transformer(table, [&format!("output_blocks.{block}.1"), &names("attentions")], width, depth);
                }
                if layer == self.layers && level > 0 {
                    let source = format!("output_blocks.{block}.{}.conv", if depth > 0 { 2 } else { 1 });
                    table.conv(&source, &format!("up_blocks.{up}.upsamplers.0.conv"), [width, width, 3]);
                }
                (block, before) = (block + 1, width);
            }
        }
    }

    fn resnet(&self, table: &mut Table, [source, name]: [&str; 2], input: usize, output: usize) {
        let mut pair = |below: &str, named: &str, shape: &[usize]| {
            table.layer(&format!("{source}.{below}"), &format!("{name}.{named}"), shape);
        };
        pair("in_layers.0", "norm1", &[input]);
        pair("in_layers.2", "conv1", &[output, input, 3, 3]);
        pair("emb_layers.1", "time_emb_proj", &[output, self.widths[0] * 4]);
        pair("out_layers.0", "norm2", &[output]);
        pair("out_layers.3", "conv2", &[output, output, 3, 3]);
        if input != output {
            pair("skip_connection", "conv_shortcut", &[output, input, 1, 1]);
        }
    }

    /// Inside a transformer both layouts use the same names.
    fn transformer(&self, table: &mut Table, [source, name]: [&str; 2], width: usize, depth: usize) {
        let projection: &[usize] = if self.linear { &[width, width] } else { &[width, width, 1, 1] };
        table.layer(&format!("{source}.norm"), &format!("{name}.norm"), &[width]);
        table.layer(&format!("{source}.proj_in"), &format!("{name}.proj_in"), projection);
        for block in 0..depth {
            let below = |part: &str| {
                let part = format!("transformer_blocks.{block}.{part}");
                (format!("{source}.{part}"), format!("{name}.{part}"))
            };
            for norm in ["norm1", "norm2", "norm3"] {
                let (source, name) = below(norm);
                table.layer(&source, &name, &[width]);
            }
            for (attention, context) in [("attn1", width), ("attn2", self.context)] {
                for (projection, input) in [("to_q", width), ("to_k", context), ("to_v", context)] {
                    let (source, name) = below(&format!("{attention}.{projection}"));
                    table.weight(&source, &name, &[width, input]);
                }
                let (source, name) = below(&format!("{attention}.to_out.0"));
                table.layer(&source, &name, &[width, width]);
            }
            for (part, shape) in [("ff.net.0.proj", [width * 8, width]), ("ff.net.2", [width, width * 4])] {
                let (source, name) = below(part);
                table.layer(&source, &name, &shape);
            }
        }
        table.layer(&format!("{source}.proj_out"), &format!("{name}.proj_out"), projection);
    }

    /// `unet/config.json`. `sample_size` is the latents' side that the family was trained at.
    pub fn config(&self, sample_size: usize) -> Value {
        let with_attention = |attention: &str, plain: &str| -> Vec<String> {
            let name = |&depth: &usize| if depth > 0 { attention.to_owned() } else { plain.to_owned() };
            self.depths.iter().map(name).collect()
        };
        let mut up_blocks = with_attention("CrossAttnUpBlock2D", "UpBlock2D");
        up_blocks.reverse();
        let heads = match self.linear {
            true => json!(self.widths.iter().map(|width| width / HEAD_WIDTH).collect::<Vec<_>>()),
            false => json!(HEADS),
        };
        json!({
            "_class_name": "UNet2DConditionModel",
            "act_fn": "silu",
            "addition_embed_type": self.added.map(|_| "text_time"),
            "addition_time_embed_dim": self.added.map(|_| TIME_ID_WIDTH),
            "attention_head_dim": heads,
            "block_out_channels": self.widths,
            "center_input_sample": false,
            "cross_attention_dim": self.context,
            "down_block_types": with_attention("CrossAttnDownBlock2D", "DownBlock2D"),
            "downsample_padding": 1,
            "flip_sin_to_cos": true,
            "freq_shift": 0,
            "in_channels": self.in_channels,
            "layers_per_block": self.layers,
            "mid_block_scale_factor": 1,
            "mid_block_type": self.mid_depth.map(|_| "UNetMidBlock2DCrossAttn"),
            "norm_eps": 1e-5,
            "norm_num_groups": GROUPS,
            "out_channels": self.out_channels,
            "projection_class_embeddings_input_dim": self.added,
            "sample_size": sample_size,
            "time_cond_proj_dim": self.guidance,
            "transformer_layers_per_block": self.depth_setting(),
            "up_block_types": up_blocks,
            "use_linear_projection": self.linear,
        })
    }

    /// One number where all attentions are alike, else one per level; the middle goes by the last.
    fn depth_setting(&self) -> Value {
        let mut depths: Vec<usize> = self.depths.iter().map(|&depth| depth.max(1)).collect();
        if let (Some(mid), Some(last), Some(0)) = (self.mid_depth, depths.last_mut(), self.depths.last()) {
            *last = mid.max(1);
        }
        if depths.iter().all(|&depth| depth == depths[0]) { json!(depths[0]) } else { json!(depths) }
    }

    /// Checks what diffusers' configuration, and this engine, cannot express.
    ///
    /// # Errors
    /// [`Error::Request`] saying what is wrong.
    pub fn check(&self) -> Result<()> {
        if !self.is_bounded() {
            return Err(irregular("a size that is out of bounds"));
        }
        let multiple = if self.linear { HEAD_WIDTH } else { HEADS };
        if self
            .widths
            .iter()
            .any(|width| *width == 0 || !width.is_multiple_of(GROUPS) || !width.is_multiple_of(multiple))
        {
            return Err(irregular("widths that are no multiples of 32 and of the heads"));
        }
        let last = self.depths.last().copied().unwrap_or(0);
        if self.mid_depth.is_some_and(|mid| mid == 0 || last > 0 && mid != last) {
            return Err(irregular("a middle block unlike the last level"));
        }
        match self.in_channels {
            4 => Ok(()),
            9 => Err(Error::request(
                "checkpoint",
                "is an inpainting model (9 input channels); use its text-to-image sibling",
            )),
            8 => Err(Error::request(
                "checkpoint",
                "edits pictures by instruction (8 input channels); that is not supported",
            )),
            other => Err(Error::request(
                "checkpoint",
                format!("takes {other} input channels where text-to-image models take 4"),
            )),
        }
    }

    /// Width of the pooled text that SDXL's added conditioning has room for.
    pub fn pooled_width(&self) -> Option<usize> {
        self.added.map(|width| width.saturating_sub(TIME_IDS * TIME_ID_WIDTH))
    }
}

/// Original names of the UNet's weights as LoRAs write them, with `_` for `.`, each with its name in diffusers.
pub fn original_names(config: &Value) -> Vec<(String, String)> {
    let rows = UnetShape::from_config(config).map(|shape| shape.table().rows).unwrap_or_default();
    let weight = |row: super::table::Row| {
        let source = row.source.strip_suffix(".weight").filter(|_| row.form == Form::Whole)?;
        Some((source.replace('.', "_"), row.name))
    };
    rows.into_iter().filter_map(weight).collect()
}

#[derive(Default)]
struct Level {
    width: usize,
    layers: usize,
    depth: usize,
}

impl Level {
    fn add(&mut self, width: usize, depth: usize) -> Result<()> {
        if self.layers > 0 && (self.width, self.depth) != (width, depth) {
            return Err(irregular("layers that differ within one level"));
        }
        (self.width, self.depth, self.layers) = (width, depth, self.layers + 1);
        Ok(())
    }
}

fn irregular(what: &str) -> Error {
    Error::request("checkpoint", format!("has a UNet with {what}; only regular ones can be converted"))
}
