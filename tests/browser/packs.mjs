// Packs for tests: the default model's with one thing wrong, and tiny ones of tests/parity.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { modelFile } from "./site.mjs";

const PIECE_BYTES = 16 * 1024 * 1024;

/** The tensors of a safetensors file, in file order, each with its bytes; and the file's metadata. */
function parseSafetensors(file) {
  const headerBytes = Number(file.readBigUInt64LE(0));
  const { __metadata__: metadata, ...header } = JSON.parse(file.toString("utf8", 8, 8 + headerBytes));
  const tensors = Object.entries(header)
    .sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0])
    .map(([name, { dtype, shape, data_offsets: [start, end] }]) => {
      return { name, dtype, shape, data: file.subarray(8 + headerBytes + start, 8 + headerBytes + end) };
    });
  return { metadata, tensors };
}

/** A safetensors file of tensors `{name, dtype, shape, data}`, in their order. */
export function writeSafetensors({ metadata, tensors }) {
  const header = metadata ? { __metadata__: metadata } : {};
  let offset = 0;
  for (const { name, dtype, shape, data } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] };
    offset += data.length;
  }
  let json = JSON.stringify(header);
  json = json.padEnd(Math.ceil(json.length / 8) * 8, " ");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  return Buffer.concat([length, Buffer.from(json), ...tensors.map(({ data }) => data)]);
}

/**
 * The default model with one component's tensors changed by `edit(tensors) -> tensors`, hashes and sizes put right.
 * Gives an `answer` for {@link openSite}.
 */
export async function editedPack(component, edit) {
  const manifest = JSON.parse(await modelFile("manifest.json"));
  const entry = manifest.components[component];
  const old = Buffer.concat(await Promise.all(entry.pieces.map(({ sha256 }) => modelFile(`${sha256}.bin`))));
  const parsed = parseSafetensors(old);
  const file = writeSafetensors({ ...parsed, tensors: edit(parsed.tensors) });
  const pieces = new Map(cut(file, PIECE_BYTES));
  entry.pieces = [...pieces].map(([sha256, bytes]) => ({ sha256, bytes: bytes.length }));
  manifest.total_bytes += file.length - old.length;
  entry.bytes = file.length;
  return (path) => {
    if (path.endsWith("/manifest.json")) return json(manifest);
    const bytes = pieces.get(path.match(/([0-9a-f]{64})\.bin$/)?.[1]);
    return bytes ? { body: bytes } : null;
  };
}

/** A file's pieces, `[sha256, bytes]`. */
function cut(file, pieceBytes) {
  const starts = Array.from({ length: Math.ceil(file.length / pieceBytes) }, (_, at) => at * pieceBytes);
  const parts = starts.map((start) => file.subarray(start, start + pieceBytes));
  return parts.map((bytes) => [createHash("sha256").update(bytes).digest("hex"), bytes]);
}

/** The names of the pieces that a load needs. */
export const requiredPieces = ({ components }) =>
  new Set(Object.values(components).flatMap(({ optional, pieces }) => (optional ? [] : pieces.map(({ sha256 }) => sha256))));

/** The default model's manifest changed by `edit(manifest)`. */
export async function editedManifest(edit) {
  const manifest = JSON.parse(await modelFile("manifest.json"));
  edit(manifest);
  return (path) => (path.endsWith("/manifest.json") ? json(manifest) : null);
}

/** The default model without some of its components. */
export function lackingPack(...names) {
  return editedManifest((manifest) => {
    for (const name of names) {
      manifest.total_bytes -= manifest.components[name].bytes;
      delete manifest.components[name];
    }
  });
}

/** Every piece changed by `edit(bytes) -> bytes` on its way. */
export function editedPieces(edit) {
  return async (path) => {
    const name = path.match(/[0-9a-f]{64}\.bin$/)?.[0];
    return name ? { body: edit(await modelFile(name)) } : null;
  };
}

/**
 * A diffusers folder of tests/parity as a pack, its floats as they are, cut into pieces of `pieceBytes`; `edit(manifest)`
 * may change what it says. Gives an `answer` for {@link openSite}, and the manifest.
 */
export async function goldenPack(model, edit = () => undefined, pieceBytes = PIECE_BYTES) {
  const root = new URL(`../parity/goldens/${model}/`, import.meta.url);
  const read = (name) => readFile(new URL(name, root));
  const components = {};
  const pieces = new Map();
  const add = async (name, config, file, optional = false) => {
    const own = cut(file, pieceBytes);
    own.forEach(([sha256, bytes]) => pieces.set(sha256, bytes));
    const listed = own.map(([sha256, { length: bytes }]) => ({ sha256, bytes }));
    components[name] = { config: JSON.parse(await read(config)), pieces: listed, bytes: file.length, optional };
  };
  const named = async (name) => ({ name, dtype: "U8", data: await read(`tokenizer/${name}`) });
  const files = await Promise.all(["merges.txt", "vocab.json"].map(named));
  const tensors = files.map((file) => ({ ...file, shape: [file.data.length] }));
  await add("tokenizer", "tokenizer/tokenizer_config.json", writeSafetensors({ tensors }));
  await add("text_encoder", "text_encoder/config.json", await read("text_encoder/model.safetensors"));
  await add("unet", "unet/config.json", await read("unet/diffusion_pytorch_model.safetensors"));
  const vae = parseSafetensors(await read("vae/diffusion_pytorch_model.safetensors"));
  const half = (prefix) => writeSafetensors({ tensors: vae.tensors.filter(({ name }) => name.startsWith(prefix)) });
  await add("vae_decoder", "vae/config.json", half("decoder."));
  await add("vae_encoder", "vae/config.json", half("encoder."), true);
  await add("upscaler", "upscaler/config.json", await read("upscaler/diffusion_pytorch_model.safetensors"), true);
  await add("scorer", "scorer/config.json", await read("scorer/model.safetensors"), true);
  const manifest = {
    format: 1,
    name: model,
    license: "CC0-1.0",
    pipeline: "StableDiffusionPipeline",
    components,
    scheduler: JSON.parse(await read("scheduler/scheduler_config.json")),
    recommended: { steps: 2, guidance: 1, width: 64, height: 64 },
    total_bytes: 0,
  };
  edit(manifest);
  manifest.total_bytes = Object.values(components).reduce((sum, { bytes }) => sum + bytes, 0);
  const answer = (path) => {
    if (path.endsWith("/manifest.json")) return json(manifest);
    const body = pieces.get(path.match(/([0-9a-f]{64})\.bin$/)?.[1]);
    return body ? { body } : null;
  };
  return { manifest, answer };
}

/** The F32 tensors of a golden, `{shape, values}` by name. */
export async function goldenTensors(path) {
  const { tensors } = parseSafetensors(await readFile(new URL(`../parity/goldens/${path}`, import.meta.url)));
  const values = (data) => Array.from({ length: data.length / 4 }, (_, i) => data.readFloatLE(i * 4));
  return Object.fromEntries(tensors.map(({ name, shape, data }) => [name, { shape, values: values(data) }]));
}

const json = (value) => ({ body: JSON.stringify(value), headers: { "content-type": "application/json" } });
