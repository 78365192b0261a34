//! How much a denoising step computes, from the configuration alone: divided by what a device does in a millisecond, it
//! says how long a step takes there, before anything is downloaded.

use crate::unet::UNet2DConditionConfig;

/// Tokens of a prompt, in every CLIP text encoder.
const TOKENS: u64 = 77;

/// Multiply-adds of one row of a pass of the UNet over latents of those sides. Norms, activations and embeddings, which take
/// a few hundredths of that, are left out.
///
/// Stable Diffusion 1.5's at 64x64 are 402 thousand million, 63 of them in attention's scores and sums.
pub fn of_pass(unet: &UNet2DConditionConfig, [height, width]: [u64; 2]) -> u64 {
    let widths: Vec<u64> = unet.block_out_channels.iter().map(|&width| width as u64).collect();
    let levels = widths.len().min(unet.down_block_types.len()).min(unet.up_block_types.len());
    let pixels = |level: usize| (height >> level).max(1) * (width >> level).max(1);
    let layers = |level: usize| unet.layers_per_block.get(level).unwrap_or(2);
    let depth = |level: usize, kind: &str| {
        if kind.starts_with("CrossAttn") { unet.transformer_layers_per_block.get(level).unwrap_or(1) as u64 } else { 0 }
    };
    let layer = |(from, to): (u64, u64), level: usize, depth: u64| {
        resnet(from, to, pixels(level)) + transformer(to, pixels(level), depth, unet.context_width() as u64)
    };
    let (Some(&first), Some(&last)) = (widths.first(), widths.last()) else { return 0 };
    let outer = 9 * first * (unet.in_channels + unet.out_channels) as u64 * pixels(0);
    let (mut sum, mut x, mut skips) = (outer, first, vec![first]);
    for (level, &width) in widths.iter().enumerate().take(levels) {
        for _ in 0..layers(level) {
            sum += layer((x, width), level, depth(level, &unet.down_block_types[level]));
            x = width;
            skips.push(x);
        }
        if level + 1 < levels {
            sum += 9 * x * x * pixels(level + 1);
            skips.push(x);
        }
    }
    if unet.mid_block_type.is_some() {
        let level = levels.saturating_sub(1);
        sum += layer((last, last), level, depth(level, "CrossAttn")) + resnet(last, last, pixels(level));
    }
    for (index, level) in (0..levels).rev().enumerate() {
        for _ in 0..=layers(level) {
            let Some(skip) = skips.pop() else { break };
            sum += layer((x + skip, widths[level]), level, depth(level, &unet.up_block_types[index]));
            x = widths[level];
        }
        if level > 0 {
            sum += 9 * x * x * pixels(level - 1);
        }
    }
    sum
}

/// [`crate::blocks::ResnetBlock2D`].
fn resnet(from: u64, to: u64, pixels: u64) -> u64 {
    let shortcut = if from == to { 0 } else { from * to };
    (9 * from * to + 9 * to * to + shortcut) * pixels
}

/// [`crate::blocks::Transformer2DModel`]: attention to itself and to the prompt, and a gated layer of four widths.
fn transformer(width: u64, pixels: u64, depth: u64, context: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    let products = (6 + 12) * width * width * pixels + 2 * context * width * TOKENS;
    let scores = 2 * width * pixels * (pixels + TOKENS);
    2 * width * width * pixels + depth * (products + scores)
}
