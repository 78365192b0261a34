// Random and mutated input for what the page reads from outside: it never throws anything but a refusal, and what it
// accepts keeps to its bounds. Each test replays its corpus, then tries FRAISE_FUZZ inputs (a few thousand by default, the
// same ones every time); a failure shows a small input that fails, which belongs into the corpus once it passes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chunk, itxt, makePng, text, writeZip, ztxt } from "./files.mjs";
import { fuzz } from "./fuzzing.mjs";
import { importSource } from "./source.mjs";

const { asFoundSettings, checkSettings, SETTING_NAMES } = await importSource("app/exchange/found.ts");
const { readHash, writeHash } = await importSource("app/exchange/link.ts");
const { readParameters } = await importSource("app/exchange/parameters.ts");
const { readComfyPrompt } = await importSource("app/exchange/comfyui.ts");
const { readPicture } = await importSource("app/exchange/picture.ts");
const { SAMPLERS } = await importSource("app/exchange/samplers.ts");
const { listZip, readEntry } = await importSource("app/exchange/zip.ts");

const REFUSALS = ["notPng", "notZip", "damaged", "tooLarge", "textTooLarge"];
const MAX_ENTRY_BYTES = 1 << 16;
/** Longest text of a PNG that is read, after decompression; its bytes are at most so many characters. */
const MAX_TEXT_CHARACTERS = 1 << 20;
/** What takes long, inflating and reading from a true `Blob`, is done for one input in so many. */
const WHOLE_WAY = 16;

/** What `read` gives, or null where it refuses; it may not fail otherwise. */
async function orRefusal(read) {
  try {
    return await read();
  } catch (error) {
    assert.ok(REFUSALS.includes(error.reason), error.stack);
    return null;
  }
}

/** Found settings are texts of known names, and what is made of them can be used as it is. */
function checkFound({ others = [], ...found }) {
  assert.ok(others.length <= 12 && others.every((other) => [...other].length <= 60));
  for (const name in found) {
    assert.ok(name === "model" || SETTING_NAMES.includes(name), name);
    assert.ok(found[name] === undefined || typeof found[name] === "string", name);
  }
  const { settings, changed, refused } = checkSettings(found);
  for (const name in settings) assert.ok(USABLE[name](settings[name]), `${name}: ${settings[name]}`);
  for (const name of [...changed, ...refused]) assert.ok(SETTING_NAMES.includes(name));
  const again = checkSettings(asFoundSettings(settings));
  assert.ok(again.changed.length === 0 && again.refused.length === 0, `${again.changed} ${again.refused}`);
  for (const name of SETTING_NAMES) assert.ok(trimmed(again.settings[name]) === trimmed(settings[name]), name);
}

const isWithin = (min, max, step) => (value) => Number.isFinite(value) && value >= min && value <= max && (step === 0 || value % step === 0);
const isPrompt = (value) => value.length <= 2000 && !/[\u0000-\u0009\u000b-\u001f\u007f]/.test(value);
const isTruth = (value) => typeof value === "boolean";
const isSide = isWithin(64, 2048, 8);
const USABLE = {
  prompt: isPrompt,
  negative: isPrompt,
  seed: (value) => /^\d+$/.test(value) && Number.isSafeInteger(Number(value)),
  variationSeed: (value) => USABLE.seed(value),
  variationStrength: isWithin(0, 1, 0),
  steps: isWithin(1, 150, 1),
  guidance: isWithin(0, 30, 0),
  width: isSide,
  height: isSide,
  sampler: (value) => Object.hasOwn(SAMPLERS, value),
  upscale: isTruth,
  tiling: isTruth,
};

/** A prompt that was cut off may end with a space. */
const trimmed = (setting) => (typeof setting === "string" ? setting.trim() : setting);

/** A `Blob` of bytes, or for most inputs what does as one at a hundredth of the time. */
const fileOf = (bytes, isWhole) => (isWhole ? new Blob([bytes]) : new Bytes(bytes));

class Bytes {
  constructor(bytes) {
    this.bytes = bytes;
    this.size = bytes.length;
  }
  slice(start, end) {
    return new Bytes(this.bytes.subarray(start, end));
  }
  arrayBuffer() {
    return Promise.resolve(Uint8Array.from(this.bytes).buffer);
  }
  stream() {
    return new Blob([this.bytes]).stream();
  }
}

// ----------------------------------------------------------------------------------------------- inputs

const NUMBERS = ["0", "-0", "-1", "1e9", "0x10", "1e400", "NaN", "Infinity", "9007199254740993", "99999999999999999999", "0.5", "513", " 4 ", "4.", ""];
const WORDS = ["true", "false", "__proto__", "constructor", ...Object.keys(SAMPLERS), "DPM++ 2M Karras"];
const DOUBLE = new DataView(new ArrayBuffer(8));

function number(random) {
  const kind = random.below(4);
  if (kind === 0) return random.pick(NUMBERS);
  if (kind === 1) return String(random.next() >> random.below(32));
  if (kind === 2) return String(random.below(1 << 20) / 2 ** random.below(24));
  DOUBLE.setUint32(0, random.next());
  DOUBLE.setUint32(4, random.next());
  return String(DOUBLE.getFloat64(0));
}

function word(random) {
  const kind = random.below(3);
  return kind === 0 ? random.text() : kind === 1 ? number(random) : random.pick(WORDS);
}

/** Up to 30 of the `parts` and of words. */
const textOf = (random, parts) => random.several(30, () => (random.oneIn(2) ? random.pick(parts) : word(random))).join("");

const KEYS = ["p", "n", "s", "st", "g", "w", "h", "sa", "u", "t", "m", "x", "__proto__"];
const LINK_PARTS = ["#", "&", "=", "%", "%ff", "+", ...KEYS.map((key) => `&${key}=`)];

function link(random) {
  if (random.oneIn(1000)) return `#p=${"x".repeat(32_700 + random.below(100))}`; // about as long as is read
  if (random.oneIn(2)) return textOf(random, LINK_PARTS);
  return `#${new URLSearchParams(random.several(14, () => [random.pick(KEYS), word(random)]))}`;
}

const PARAMETERS = [
  "\n", ", ", ": ", '"', "\\", "Negative prompt:", "\nSteps: 20, ", "\nSteps: ", "Sampler: ", "CFG scale: ", "Seed: ", "Size: 512x768, ", "Size: ",
  "Model: a\\b.ckpt, ", "Schedule type: ", "Tiling: True", "<lora:a:1>", 'Lora hashes: "a: b, c"', "__proto__: 1, ",
]; // prettier-ignore
const parameters = (random) => textOf(random, PARAMETERS);

const INPUTS = [
  "positive", "negative", "latent_image", "samples", "model", "seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise",
  "text", "conditioning", "width", "height", "value", "ckpt_name", "__proto__", "toString",
]; // prettier-ignore
const NODES = ["KSampler", "KSamplerAdvanced", "CLIPTextEncode", "EmptyLatentImage", "ConditioningZeroOut", "LoraLoader", "constructor"];
const NODE_IDS = ["1", "2", "3", "__proto__"];
const GRAPH_PARTS = ["{", "}", "[", "]", ":", ",", '"1"', '"class_type"', '"KSampler"', '"inputs"'];

/** JSON of any value, at most so deep. */
function json(random, depth = 3) {
  const kind = random.below(depth > 0 ? 6 : 4);
  if (kind === 4) return `[${random.several(4, () => json(random, depth - 1))}]`;
  if (kind === 5) return objectOf(random, 4, word, () => json(random, depth - 1));
  return kind === 3 ? random.pick(["null", "true", "false", "-0", "1e400"]) : JSON.stringify(kind === 0 ? Number(number(random)) : word(random));
}

/** An object's JSON, in which names may be any and may repeat. */
const objectOf = (random, most, name, value) => `{${random.several(most, () => `${JSON.stringify(name(random))}:${value(random)}`)}}`;
const value = (random) => (random.oneIn(2) ? `["${random.pick(NODE_IDS)}",${random.below(3)}]` : json(random, 2));
const node = (random) =>
  `{"class_type":${JSON.stringify(random.oneIn(4) ? word(random) : random.pick(NODES))},"inputs":${objectOf(random, 10, () => random.pick(INPUTS), value)}}`;

function graph(random) {
  const kind = random.below(8);
  return kind === 0 ? json(random) : kind === 1 ? textOf(random, GRAPH_PARTS) : objectOf(random, 6, () => random.pick(NODE_IDS), node);
}

/** What the engine writes, or nearly. */
const OWN_NAMES = ["toString", ...SETTING_NAMES];
const request = (random) => objectOf(random, 8, () => random.pick(OWN_NAMES), value);
const own = (random) =>
  random.oneIn(3) ? json(random) : objectOf(random, 3, () => random.pick(["request", "request", "model", "__proto__"]), random.oneIn(4) ? json : request);
const KEYWORDS = [["fraise", own], ["parameters", parameters], ["prompt", graph], ["__proto__", own]];
const CHUNKS = ["tEXt", "zTXt", "iTXt", "IHDR", "IEND"];

function textChunk(random, isCompressed) {
  if (random.oneIn(8)) return chunk(random.pick(CHUNKS), random.bytes(random.below(21)));
  const [keyword, words] = random.pick(KEYWORDS);
  if (isCompressed) return random.oneIn(2) ? ztxt(keyword, words(random)) : itxt(keyword, words(random), true);
  return random.oneIn(2) ? text(keyword, words(random)) : itxt(keyword, words(random));
}

const PNG = makePng();
const [HEADER_END, SIDES] = [33, [0, 16_384, 16_385, 0xffffffff]];

function png(random) {
  const isWhole = random.oneIn(WHOLE_WAY);
  const chunks = random.several(4, () => textChunk(random, isWhole && random.oneIn(2)));
  const bytes = Buffer.concat([PNG.subarray(0, HEADER_END), ...chunks, PNG.subarray(HEADER_END)]);
  for (const at of [16, 20]) bytes.writeUInt32BE(random.oneIn(10) ? random.pick(SIDES) : 1 + random.below(9), at);
  return { bytes: random.edited(bytes), isWhole };
}

function zip(random) {
  const isWhole = random.oneIn(WHOLE_WAY);
  const files = random.several(4, () => {
    const data = random.bytes(random.oneIn(2) ? random.below(300) : 0);
    const name = random.oneIn(8) ? "../../x" : word(random);
    const isDeflated = isWhole && random.oneIn(2);
    return { name, data, isDeflated, ...(random.oneIn(4) ? { bytes: random.below(1 << 17) } : {}) };
  });
  const good = writeZip(files);
  return { files, good, bytes: random.edited(good), isWhole };
}

// ----------------------------------------------------------------------------------------------- targets

test("fuzz: links", (context) =>
  fuzz(context, ["", "#", "#p=%F0%9F&s=1e9", "#p=a&p=b&__proto__=x", "#st=9007199254740993&w=-0&sa=__proto__"], link, (hash) => {
    const found = readHash(hash);
    if (found === null) return false;
    checkFound(found);
    const again = readHash(`#${writeHash(found)}`) ?? {};
    for (const name of [...SETTING_NAMES, "model"]) assert.ok((again[name] ?? "") === (found[name] ?? ""), name);
    return true;
  }));

test("fuzz: AUTOMATIC1111's parameters", (context) =>
  fuzz(context, ["", "Steps: ", 'x\nSteps: 4, a: "\\', "Negative prompt:\nSteps: 1, Size: 99999x0, Seed: -1", "\ud800\ud800"], parameters, (words) => {
    const found = readParameters(words);
    checkFound(found);
    assert.ok((found.prompt.length + (found.negative?.length ?? 0)) <= words.length);
    return found.steps !== undefined;
  }));

test("fuzz: ComfyUI's graphs", (context) => {
  const circular = '{"1":{"class_type":"KSampler","inputs":{"positive":["1",0],"latent_image":["1",0],"model":["1",0]}}}';
  const halves = '{"1":{"class_type":"KSampler","inputs":{"positive":"\\ud800\\ud800"}}}';
  return fuzz(context, ["", "[".repeat(50_000), circular, '{"1":{"class_type":"KSampler","inputs":{"positive":[{},0]}}}', halves], graph, (json) => {
    const found = readComfyPrompt(json);
    if (found) checkFound(found);
    return found !== null;
  });
});

test("fuzz: PNGs", (context) => {
  const corpus = [Buffer.alloc(0), makePng(), makePng({ chunks: [itxt("fraise", '{"request":{"prompt":"p"},"__proto__":{"x":1}}')] })];
  return fuzz(context, corpus.map((bytes) => ({ bytes, isWhole: true })), png, async ({ bytes, isWhole }) => {
    const picture = await orRefusal(() => readPicture(fileOf(bytes, isWhole)));
    if (!picture) return false;
    assert.ok([picture.width, picture.height].every((pixels) => pixels >= 1 && pixels <= 16_384));
    if (!picture.made) return false;
    assert.ok(["fraise", "a1111", "comfyui"].includes(picture.made.source));
    checkFound(picture.made.found);
    for (const name of SETTING_NAMES) assert.ok((picture.made.found[name]?.length ?? 0) <= MAX_TEXT_CHARACTERS);
    return true;
  });
});

test("fuzz: zips", (context) => {
  const corpus = [Buffer.alloc(0), writeZip([])].map((bytes) => ({ files: [], good: writeZip([]), bytes, isWhole: true }));
  return fuzz(context, corpus, zip, async ({ files, good, bytes, isWhole }) => {
    const archive = fileOf(bytes, isWhole);
    const entries = await orRefusal(() => listZip(archive));
    if (!entries) return false;
    const contents = [];
    for (const entry of entries) contents.push(await orRefusal(() => readEntry(archive, entry, MAX_ENTRY_BYTES)));
    assert.ok(contents.every((data, at) => data === null || (data.length === entries[at].bytes && data.length <= MAX_ENTRY_BYTES)));
    if (!bytes.equals(good)) return false;
    for (const [at, { data, bytes: promised = data.length }] of files.entries()) {
      assert.ok(promised === data.length ? data.equals(contents[at]) : contents[at] === null);
    }
    return true;
  });
});
