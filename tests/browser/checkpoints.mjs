// Checkpoints in Stable Diffusion 1's original layout, as fine-tunes are shared: one safetensors file, random weights.
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { writeSafetensors } from "./packs.mjs";

/** CLIP's vocabulary and prompt length; a checkpoint has to have these. */
const TOKENS = 49_408;
const POSITIONS = 77;
const RANDOM_BYTES = 1 << 22;

/** A model that converts and paints in a moment: 128 x 128 is its recommended size. About 17 MB. */
export const TINY = {
  unet: { widths: [32, 64], depths: [0, 1], layers: 1, context: 64 },
  vae: { widths: [32, 32], layers: 1, attends: false },
  text: { width: 64, layers: 1 },
};

/** A model whose file is about 330 MB in 16 bits, much larger than what converting may hold. */
export const LARGE = {
  unet: { widths: [192, 384, 768], depths: [1, 1, 1], layers: 1, context: 256 },
  vae: { widths: [64, 64, 128], layers: 1, attends: true },
  text: { width: 256, layers: 2 },
};

/**
 * Writes a checkpoint to `path`. Each weight is drawn from `seed` and its name, small enough for outputs to stay near 1;
 * `dtype` is F32 or F16. `edit(tensors) -> tensors` may change the list of `{name, shape}` first.
 */
export async function writeCheckpoint(path, { unet, vae, text }, { dtype = "F32", seed = 1, edit = (tensors) => tensors } = {}) {
  const tensors = edit([
    ...below("model.diffusion_model.", unetTensors(unet)),
    ...below("first_stage_model.", vaeTensors(vae)),
    ...below("cond_stage_model.transformer.text_model.", textTensors(text)),
  ]);
  const width = dtype === "F32" ? 4 : 2;
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const { name, shape } of tensors) {
    const bytes = shape.reduce((product, length) => product * length, width);
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, "w");
  try {
    await file.writeFile(Buffer.concat([length, json]));
    const noise = dtype === "F16" ? randomHalves(seed) : null;
    for (const tensor of tensors) {
      const elements = tensor.shape.reduce((product, length) => product * length, 1);
      if (noise) await writeTiled(file, noise, elements * 2);
      else await file.writeFile(Buffer.from(weights(tensor, elements, seed).buffer));
    }
  } finally {
    await file.close();
  }
  return { bytes: 8 + json.length + offset };
}

/** A file in TAESD's layout that paints everything in one colour `[r, g, b]`: all its weights are 0. */
export function plainTinyDecoder(colour) {
  const width = 64;
  const tensors = new Tensors();
  tensors.layer("1", width, 4, 3, 3);
  for (const block of [3, 4, 5, 8, 9, 10, 13, 14, 15, 18]) {
    for (const convolution of [0, 2, 4]) tensors.layer(`${block}.conv.${convolution}`, width, width, 3, 3);
  }
  for (const convolution of [7, 12, 17]) tensors.matrix(`${convolution}`, width, width, 3, 3);
  tensors.layer("19", 3, width, 3, 3);
  return writeSafetensors({
    tensors: [...tensors].map(({ name, shape }) => {
      const values = new Float32Array(shape.reduce((product, length) => product * length, 1));
      if (name === "19.bias") values.set(colour);
      return { name, dtype: "F32", shape, data: Buffer.from(values.buffer) };
    }),
  });
}

/** Uniform in ±sqrt(3 / inputs); norms are 1 and 0. */
function weights({ name, shape }, elements, seed) {
  const values = new Float32Array(elements);
  const isNorm = shape.length === 1 && name.endsWith(".weight");
  if (isNorm) return values.fill(1);
  if (shape.length === 1) return values;
  const inputs = shape.slice(1).reduce((product, length) => product * length, 1);
  const scale = Math.sqrt(3 / inputs) / 2 ** 31;
  let state = createHash("sha256").update(`${seed} ${name}`).digest().readUInt32LE(0) | 1;
  for (let at = 0; at < elements; at += 1) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[at] = state * scale;
  }
  return values;
}

/** 16-bit floats of either sign between 2^-7 and 2^-3. */
function randomHalves(seed) {
  const block = new Uint16Array(RANDOM_BYTES / 2);
  let state = seed | 1;
  for (let at = 0; at < block.length; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    block[at] = (state & 0x8fff) + 0x2000;
  }
  return Buffer.from(block.buffer);
}

async function writeTiled(file, block, bytes) {
  for (let left = bytes; left > 0; left -= block.length) await file.writeFile(block.subarray(0, Math.min(left, block.length)));
}

const below = (prefix, tensors) => tensors.map(({ name, shape }) => ({ name: prefix + name, shape }));

/** A list of tensors that grows layer by layer. */
class Tensors extends Array {
  layer(name, ...shape) {
    this.push({ name: `${name}.weight`, shape }, { name: `${name}.bias`, shape: shape.slice(0, 1) });
  }

  matrix(name, ...shape) {
    this.push({ name: `${name}.weight`, shape });
  }
}

function unetTensors({ widths, depths, layers, context }) {
  const tensors = new Tensors();
  const time = widths[0] * 4;
  tensors.layer("time_embed.0", time, widths[0]);
  tensors.layer("time_embed.2", time, time);
  tensors.layer("input_blocks.0.0", widths[0], 4, 3, 3);
  const block = (name, input, width, depth) => {
    tensors.layer(`${name}.0.in_layers.0`, input);
    tensors.layer(`${name}.0.in_layers.2`, width, input, 3, 3);
    tensors.layer(`${name}.0.emb_layers.1`, width, time);
    tensors.layer(`${name}.0.out_layers.0`, width);
    tensors.layer(`${name}.0.out_layers.3`, width, width, 3, 3);
    if (input !== width) tensors.layer(`${name}.0.skip_connection`, width, input, 1, 1);
    if (depth > 0) transformer(tensors, `${name}.1`, width, context);
  };
  const skips = [widths[0]];
  let [number, before] = [1, widths[0]];
  widths.forEach((width, level) => {
    for (let layer = 0; layer < layers; layer += 1) {
      block(`input_blocks.${number}`, before, width, depths[level]);
      skips.push(width);
      [number, before] = [number + 1, width];
    }
    if (level + 1 === widths.length) return;
    tensors.layer(`input_blocks.${number}.0.op`, width, width, 3, 3);
    skips.push(width);
    number += 1;
  });
  block("middle_block", before, before, 1);
  const [first, third] = ["middle_block.0.", "middle_block.2."];
  for (const { name, shape } of tensors.filter(({ name }) => name.startsWith(first))) {
    tensors.push({ name: name.replace(first, third), shape });
  }
  number = 0;
  for (let level = widths.length - 1; level >= 0; level -= 1) {
    for (let layer = 0; layer <= layers; layer += 1) {
      block(`output_blocks.${number}`, before + skips.pop(), widths[level], depths[level]);
      before = widths[level];
      if (layer === layers && level > 0) {
        tensors.layer(`output_blocks.${number}.${depths[level] > 0 ? 2 : 1}.conv`, before, before, 3, 3);
      }
      number += 1;
    }
  }
  tensors.layer("out.0", widths[0]);
  tensors.layer("out.2", 4, widths[0], 3, 3);
  return tensors;
}

function transformer(tensors, name, width, context) {
  const block = `${name}.transformer_blocks.0`;
  tensors.layer(`${name}.norm`, width);
  tensors.layer(`${name}.proj_in`, width, width, 1, 1);
  for (const norm of ["norm1", "norm2", "norm3"]) tensors.layer(`${block}.${norm}`, width);
  for (const [attention, inputs] of [["attn1", width], ["attn2", context]]) {
    tensors.matrix(`${block}.${attention}.to_q`, width, width);
    tensors.matrix(`${block}.${attention}.to_k`, width, inputs);
    tensors.matrix(`${block}.${attention}.to_v`, width, inputs);
    tensors.layer(`${block}.${attention}.to_out.0`, width, width);
  }
  tensors.layer(`${block}.ff.net.0.proj`, width * 8, width);
  tensors.layer(`${block}.ff.net.2`, width, width * 4);
  tensors.layer(`${name}.proj_out`, width, width, 1, 1);
}

function vaeTensors({ widths, layers, attends }) {
  const tensors = new Tensors();
  const [first, last] = [widths[0], widths.at(-1)];
  const resnet = (name, input, width) => {
    tensors.layer(`${name}.norm1`, input);
    tensors.layer(`${name}.conv1`, width, input, 3, 3);
    tensors.layer(`${name}.norm2`, width);
    tensors.layer(`${name}.conv2`, width, width, 3, 3);
    if (input !== width) tensors.layer(`${name}.nin_shortcut`, width, input, 1, 1);
  };
  const middle = (half) => {
    resnet(`${half}.mid.block_1`, last, last);
    if (attends) {
      tensors.layer(`${half}.mid.attn_1.norm`, last);
      for (const part of ["q", "k", "v", "proj_out"]) tensors.layer(`${half}.mid.attn_1.${part}`, last, last, 1, 1);
    }
    resnet(`${half}.mid.block_2`, last, last);
  };
  tensors.layer("encoder.conv_in", first, 3, 3, 3);
  let before = first;
  widths.forEach((width, level) => {
    for (let layer = 0; layer < layers; layer += 1, before = width) resnet(`encoder.down.${level}.block.${layer}`, before, width);
    if (level + 1 < widths.length) tensors.layer(`encoder.down.${level}.downsample.conv`, width, width, 3, 3);
  });
  middle("encoder");
  tensors.layer("encoder.norm_out", last);
  tensors.layer("encoder.conv_out", 8, last, 3, 3);
  tensors.layer("quant_conv", 8, 8, 1, 1);
  tensors.layer("post_quant_conv", 4, 4, 1, 1);
  tensors.layer("decoder.conv_in", last, 4, 3, 3);
  middle("decoder");
  before = last;
  for (let level = widths.length - 1; level >= 0; level -= 1) {
    for (let layer = 0; layer <= layers; layer += 1, before = widths[level]) {
      resnet(`decoder.up.${level}.block.${layer}`, before, widths[level]);
    }
    if (level > 0) tensors.layer(`decoder.up.${level}.upsample.conv`, before, before, 3, 3);
  }
  tensors.layer("decoder.norm_out", first);
  tensors.layer("decoder.conv_out", 3, first, 3, 3);
  return tensors;
}

function textTensors({ width, layers }) {
  const tensors = new Tensors();
  tensors.matrix("embeddings.token_embedding", TOKENS, width);
  tensors.matrix("embeddings.position_embedding", POSITIONS, width);
  for (let index = 0; index < layers; index += 1) {
    const layer = `encoder.layers.${index}`;
    for (const part of ["q_proj", "k_proj", "v_proj", "out_proj"]) tensors.layer(`${layer}.self_attn.${part}`, width, width);
    tensors.layer(`${layer}.layer_norm1`, width);
    tensors.layer(`${layer}.layer_norm2`, width);
    tensors.layer(`${layer}.mlp.fc1`, width * 4, width);
    tensors.layer(`${layer}.mlp.fc2`, width, width * 4);
  }
  tensors.layer("final_layer_norm", width);
  return tensors;
}
