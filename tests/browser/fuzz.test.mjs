// Random and mutated input for what the page reads from outside: it never throws anything but a refusal, and what it
// accepts keeps to its bounds. Each test replays its corpus, then tries FRAISE_FUZZ inputs (a few thousand by default, the
// same ones every time); a failure shows the smallest input that fails, which belongs into the corpus once it passes.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { chunk, itxt, makePng, text, writeZip, ztxt } from "./files.mjs";
import { importSource } from "./source.mjs";

const require = createRequire(new URL("../../www/package.json", import.meta.url));
const { default: fc } = await import(pathToFileURL(require.resolve("fast-check")));
const { asFoundSettings, checkSettings, SETTING_NAMES } = await importSource("app/exchange/found.ts");
const { readHash, writeHash } = await importSource("app/exchange/link.ts");
const { readParameters } = await importSource("app/exchange/parameters.ts");
const { readComfyPrompt } = await importSource("app/exchange/comfyui.ts");
const { readPicture } = await importSource("app/exchange/picture.ts");
const { SAMPLERS } = await importSource("app/exchange/samplers.ts");
const { listZip, readEntry } = await importSource("app/exchange/zip.ts");

const COUNT = Number(process.env.FRAISE_FUZZ ?? 2000);
const REFUSALS = ["notPng", "notZip", "damaged", "tooLarge", "textTooLarge"];
const MAX_ENTRY_BYTES = 1 << 16;
/** Longest text of a PNG that is read, after decompression; its bytes are at most so many characters. */
const MAX_TEXT_CHARACTERS = 1 << 20;

/** Checks the corpus and COUNT inputs in all; `check` says whether an input was accepted, and some must be. */
async function fuzz(context, corpus, arbitrary, check) {
  let tried = 0;
  let accepted = 0;
  const property = fc.asyncProperty(arbitrary, async (input) => {
    tried += 1;
    if (await check(input)) accepted += 1;
    assert.deepEqual(Object.keys(Object.prototype), [], "no prototype is polluted");
  });
  await fc.assert(property, { numRuns: COUNT, seed: 1, examples: corpus.map((input) => [input]) });
  assert.ok(accepted > 0 && accepted < tried, `${accepted} of ${tried} inputs were accepted`);
  context.diagnostic(`${context.name}: ${tried} inputs, ${accepted} accepted`);
}

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
  for (const [name, value] of Object.entries(found)) {
    assert.ok(name === "model" || SETTING_NAMES.includes(name), name);
    assert.ok(value === undefined || typeof value === "string", name);
  }
  const { settings, changed, refused } = checkSettings(found);
  for (const [name, value] of Object.entries(settings)) assert.ok(USABLE[name](value), `${name}: ${value}`);
  for (const name of [...changed, ...refused]) assert.ok(SETTING_NAMES.includes(name));
  const again = checkSettings(asFoundSettings(settings));
  assert.deepEqual([trimmed(again.settings), again.changed, again.refused], [trimmed(settings), [], []]);
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
const trimmed = (settings) => Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, typeof value === "string" ? value.trim() : value]));

// ------------------------------------------------------------------------------------------- arbitraries

const anyText = fc.string({ unit: "binary", maxLength: 40 });
const number = fc.oneof(
  fc.constantFrom("0", "-0", "-1", "1e9", "0x10", "1e400", "NaN", "Infinity", "9007199254740993", "99999999999999999999", "0.5", "513", " 4 ", "4.", ""),
  fc.double().map(String),
  fc.integer().map(String),
);
const word = fc.oneof(anyText, number, fc.constantFrom("true", "false", "__proto__", "constructor", ...Object.keys(SAMPLERS), "DPM++ 2M Karras"));
const textOf = (parts, maxLength = 30) => fc.array(fc.oneof(fc.constantFrom(...parts), word), { maxLength }).map((found) => found.join(""));

/** Bytes with parts of them replaced. */
const edited = (bytes) =>
  fc
    .tuple(bytes, fc.array(fc.tuple(fc.nat(), fc.nat(12), fc.uint8Array({ maxLength: 6 })), { maxLength: 3 }))
    .map(([good, edits]) => edits.reduce((bad, [at, removed, added]) => splice(bad, at % (bad.length + 1), removed, added), good));
const splice = (bytes, at, removed, added) => Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);

const KEYS = ["p", "n", "s", "st", "g", "w", "h", "sa", "u", "t", "m", "x", "__proto__"];
const hash = fc.oneof(
  fc.array(fc.tuple(fc.constantFrom(...KEYS), word), { maxLength: 14 }).map((pairs) => `#${new URLSearchParams(pairs)}`),
  textOf(["#", "&", "=", "%", "%ff", "+", ...KEYS.map((key) => `&${key}=`)]),
  fc.integer({ min: 32_700, max: 32_800 }).map((length) => `#p=${"x".repeat(length)}`),
);

const PARAMETERS = [
  "\n", ", ", ": ", '"', "\\", "Negative prompt:", "\nSteps: 20, ", "Sampler: ", "CFG scale: ", "Seed: ", "Size: 512x768, ", "Size: ",
  "Model: a\\b.ckpt, ", "Schedule type: ", "Tiling: True", "<lora:a:1>", 'Lora hashes: "a: b, c"', "__proto__: 1, ",
]; // prettier-ignore
const parameters = textOf(PARAMETERS);

const INPUTS = [
  "positive", "negative", "latent_image", "samples", "model", "seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise",
  "text", "conditioning", "width", "height", "value", "ckpt_name", "__proto__", "toString",
]; // prettier-ignore
const NODES = ["KSampler", "KSamplerAdvanced", "CLIPTextEncode", "EmptyLatentImage", "ConditioningZeroOut", "LoraLoader", "constructor"];
const nodeId = fc.constantFrom("1", "2", "3", "__proto__");
const value = fc.oneof(fc.tuple(nodeId, fc.nat(2)), fc.tuple(nodeId, fc.nat(2)), word, fc.jsonValue({ maxDepth: 2 }));
/** An object's JSON, in which names may be any and may repeat. */
const objectOf = (name, json, maxLength) =>
  fc.array(fc.tuple(name, json), { maxLength }).map((fields) => `{${fields.map(([key, found]) => `${JSON.stringify(key)}:${found}`).join()}}`);
const asJson = (arbitrary) => arbitrary.map((found) => JSON.stringify(found));
const node = fc
  .tuple(asJson(fc.oneof(fc.constantFrom(...NODES), word)), objectOf(fc.constantFrom(...INPUTS), asJson(value), 10))
  .map(([type, inputs]) => `{"class_type":${type},"inputs":${inputs}}`);
const graph = fc.oneof(
  { weight: 6, arbitrary: objectOf(nodeId, node, 6) },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: textOf(["{", "}", "[", "]", ":", ",", '"1"', '"class_type"', '"KSampler"', '"inputs"']) },
);

const own = fc.oneof(
  objectOf(fc.constantFrom("request", "model", "__proto__"), fc.oneof(objectOf(fc.constantFrom("toString", ...SETTING_NAMES), asJson(value), 8), fc.json()), 3),
  fc.json(),
);
const named = (keyword, words) => words.map((found) => [keyword, found]);
const words = fc.oneof(named("fraise", own), named("parameters", parameters), named("prompt", graph), named("__proto__", own));
const textChunk = fc.oneof(
  fc.tuple(words, fc.constantFrom(text, ztxt, itxt)).map(([found, write]) => write(...found)),
  words.map((found) => itxt(...found, true)),
  fc.tuple(fc.constantFrom("tEXt", "zTXt", "iTXt", "IHDR", "IEND"), fc.uint8Array({ maxLength: 20 })).map(([type, data]) => chunk(type, Buffer.from(data))),
);
const side = fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 9 }) }, fc.constantFrom(0, 16_384, 16_385, 0xffffffff));
const png = edited(
  fc.tuple(side, side, fc.array(textChunk, { maxLength: 4 })).map(([width, height, chunks]) => {
    const made = makePng({ chunks });
    made.writeUInt32BE(width, 16);
    made.writeUInt32BE(height, 20);
    return made;
  }),
);

const file = fc.record(
  { name: fc.oneof(word, fc.constant("../../x")), data: fc.uint8Array({ maxLength: 300 }).map(Buffer.from), isDeflated: fc.boolean(), bytes: fc.nat(1 << 17) },
  { requiredKeys: ["name", "data"] },
);
const zip = fc.array(file, { maxLength: 4 }).chain((files) => edited(fc.constant(writeZip(files))).map((bytes) => ({ files, bytes })));

// ----------------------------------------------------------------------------------------------- targets

test("fuzz: links", (context) =>
  fuzz(context, ["", "#", "#p=%F0%9F&s=1e9", "#p=a&p=b&__proto__=x", "#st=9007199254740993&w=-0&sa=__proto__"], hash, (link) => {
    const found = readHash(link);
    if (found === null) return false;
    checkFound(found);
    const given = Object.fromEntries(Object.entries(found).filter(([, text]) => text !== ""));
    assert.deepEqual(readHash(`#${writeHash(found)}`) ?? {}, given);
    return true;
  }));

test("fuzz: AUTOMATIC1111's parameters", (context) =>
  fuzz(context, ["", "Steps: ", 'x\nSteps: 4, a: "\\', "Negative prompt:\nSteps: 1, Size: 99999x0, Seed: -1"], parameters, (words) => {
    const found = readParameters(words);
    checkFound(found);
    assert.ok((found.prompt.length + (found.negative?.length ?? 0)) <= words.length);
    return found.steps !== undefined;
  }));

test("fuzz: ComfyUI's graphs", (context) => {
  const circular = '{"1":{"class_type":"KSampler","inputs":{"positive":["1",0],"latent_image":["1",0],"model":["1",0]}}}';
  return fuzz(context, ["", "[".repeat(50_000), circular, '{"1":{"class_type":"KSampler","inputs":{"positive":[{},0]}}}'], graph, (json) => {
    const found = readComfyPrompt(json);
    if (found) checkFound(found);
    return found !== null;
  });
});

test("fuzz: PNGs", (context) =>
  fuzz(context, [Buffer.alloc(0), makePng(), makePng({ chunks: [itxt("fraise", '{"request":{"prompt":"p"},"__proto__":{"x":1}}')] })], png, async (bytes) => {
    const picture = await orRefusal(() => readPicture(new Blob([bytes])));
    if (!picture) return false;
    assert.ok([picture.width, picture.height].every((pixels) => pixels >= 1 && pixels <= 16_384));
    if (!picture.made) return false;
    assert.ok(["fraise", "a1111", "comfyui"].includes(picture.made.source));
    checkFound(picture.made.found);
    assert.ok(Object.values(picture.made.found).every((value) => value === undefined || value.length <= MAX_TEXT_CHARACTERS));
    return true;
  }));

test("fuzz: zips", (context) =>
  fuzz(context, [{ files: [], bytes: Buffer.alloc(0) }, { files: [], bytes: writeZip([]) }], zip, async ({ files, bytes }) => {
    const archive = new Blob([bytes]);
    const entries = await orRefusal(() => listZip(archive));
    if (!entries) return false;
    const contents = [];
    for (const entry of entries) contents.push(await orRefusal(() => readEntry(archive, entry, MAX_ENTRY_BYTES)));
    assert.ok(contents.every((data, at) => data === null || (data.length === entries[at].bytes && data.length <= MAX_ENTRY_BYTES)));
    if (!bytes.equals(writeZip(files))) return false;
    for (const [at, { data, bytes: promised = data.length }] of files.entries()) {
      assert.deepEqual(contents[at] && Buffer.from(contents[at]), promised === data.length ? data : null);
    }
    return true;
  }));
