// Files and links that speak the common language, without a browser: what is read, what is clamped, what is refused.
import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { chunk, itxt, makePng, text, writeZip, ztxt } from "./files.mjs";
import { importSource } from "./source.mjs";

const { asFoundSettings, checkSettings } = await importSource("app/exchange/found.ts");
const { readHash, writeHash } = await importSource("app/exchange/link.ts");
const { readPicture } = await importSource("app/exchange/picture.ts");
const { withoutSettings } = await importSource("app/exchange/png.ts");
const { listZip, readEntry } = await importSource("app/exchange/zip.ts");

const read = (bytes) => readPicture(new Blob([bytes]));
const refusal = (reason) => (error) => error.reason === reason;
/** Without the fields that are undefined. */
const given = (settings) => JSON.parse(JSON.stringify(settings));

const A1111 = `a (cat:1.2), oil painting
by the sea
Negative prompt: rain, people
and cars
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 123456, Size: 512x768, Model hash: abc, Model: dreams, Lora hashes: "a: 1, b: 2", Variation seed: 9, Variation seed strength: 0.25, Denoising strength: 0.4, Version: v1.10.1`;

const COMFY = {
  3: { class_type: "KSampler", inputs: { seed: ["11", 0], steps: 20, cfg: 8, sampler_name: "euler_ancestral", scheduler: "normal", denoise: 1, model: ["10", 0], positive: ["6", 0], negative: ["7", 0], latent_image: ["5", 0] } },
  4: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "sd\\v1-5.safetensors" } },
  5: { class_type: "EmptyLatentImage", inputs: { width: 640, height: 512, batch_size: 1 } },
  6: { class_type: "CLIPTextEncode", inputs: { text: ["12", 0], clip: ["4", 1] } },
  7: { class_type: "CLIPTextEncode", inputs: { text: "blurry", clip: ["4", 1] } },
  10: { class_type: "LoraLoader", inputs: { model: ["4", 0], lora_name: "x" } },
  11: { class_type: "PrimitiveInt", inputs: { value: 99 } },
  12: { class_type: "PrimitiveString", inputs: { value: "星空下的草莓小岛" } },
};

test("a PNG without its settings: only the mark of AI and the pixels are left", async () => {
  const xmp = itxt("XML:com.adobe.xmp", "<x>trainedAlgorithmicMedia</x>");
  const told = [text("parameters", A1111), ztxt("prompt", "{}"), itxt("fraise", "{}"), chunk("eXIf", Buffer.from("a cat")), itxt("XML:com.adobe.xmpp", "a cat")];
  const bare = await withoutSettings(new Blob([makePng({ chunks: [...told, xmp] })]));
  assert.deepEqual(Buffer.from(await bare.arrayBuffer()), makePng({ chunks: [xmp] }));
  for (const [bytes, reason] of [[Buffer.from("GIF89a"), "notPng"], [makePng().subarray(0, 60), "damaged"]]) {
    await assert.rejects(withoutSettings(new Blob([bytes])), refusal(reason));
  }
});

test("a PNG by AUTOMATIC1111 in each kind of text chunk", async () => {
  for (const made of [text("parameters", A1111), ztxt("parameters", A1111), itxt("parameters", A1111), itxt("parameters", A1111, true)]) {
    const { width, height, made: { source, found } } = await read(makePng({ width: 3, height: 2, chunks: [made] }));
    assert.deepEqual([width, height, source], [3, 2, "a1111"]);
    assert.deepEqual(given(found), {
      prompt: "a (cat:1.2), oil painting\nby the sea",
      negative: "rain, people\nand cars",
      seed: "123456",
      variationSeed: "9",
      variationStrength: "0.25",
      steps: "25",
      guidance: "6.5",
      width: "512",
      height: "768",
      sampler: "dpmpp_2m_karras",
      model: "dreams",
      others: ["Denoising strength: 0.4"],
    });
  }
  const { made } = await read(makePng({ chunks: [itxt("parameters", "雪地里的企鹅\nSteps: 4, Sampler: Restart, CFG scale: 1, Seed: 5, Size: 128x128")] }));
  assert.equal(made.found.prompt, "雪地里的企鹅");
  assert.deepEqual([made.found.sampler, made.found.others], [undefined, ["Sampler: Restart"]]);
});

test("a PNG by AUTOMATIC1111 without settings, or with samplers by their older names", async () => {
  const parametersOf = async (words) => given((await read(makePng({ chunks: [text("parameters", words)] }))).made.found);
  assert.deepEqual(await parametersOf("only: words, many of them"), { prompt: "only: words, many of them", others: [] });
  const samplerOf = async (name) => (await parametersOf(`x\nSteps: 4, Sampler: ${name}, CFG scale: 1, Seed: 5`)).sampler;
  assert.equal(await samplerOf("DPM++ 2M Karras"), "dpmpp_2m_karras");
  assert.equal(await samplerOf("Euler a"), "euler_a");
  assert.equal(await samplerOf("DPM++ 2M, Schedule type: Automatic"), "dpmpp_2m_karras");
  assert.equal(await samplerOf("DPM++ 2M, Schedule type: Uniform"), "dpmpp_2m");
  assert.equal(await samplerOf("DPM++ SDE"), undefined, "another method than DPM++ 2M SDE");
});

test("a PNG by ComfyUI: values behind links, and what has no counterpart", async () => {
  const { made: { source, found } } = await read(makePng({ chunks: [text("workflow", "{}"), text("prompt", JSON.stringify(COMFY).replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`))] }));
  assert.equal(source, "comfyui");
  assert.deepEqual(given(found), {
    prompt: "星空下的草莓小岛",
    negative: "blurry",
    seed: "99",
    steps: "20",
    guidance: "8",
    width: "640",
    height: "512",
    sampler: "euler_a",
    model: "v1-5",
    others: ["LoraLoader"],
  });
});

test("hostile graphs of ComfyUI end", async () => {
  const graphOf = async (graph) => (await read(makePng({ chunks: [text("prompt", typeof graph === "string" ? graph : JSON.stringify(graph))] }))).made;
  const circular = { 1: { class_type: "KSampler", inputs: { positive: ["2", 0], latent_image: ["3", 0], steps: ["1", 0] } }, 2: { class_type: "X", inputs: { text: ["2", 0] } }, 3: { class_type: "Y", inputs: { samples: ["3", 0] } } };
  assert.deepEqual(given((await graphOf(circular)).found), { others: [] });
  for (const graph of ["", "{", "null", "[]", '{"1":null}', '{"1":{"class_type":"KSampler"}', "[".repeat(100_000), { 1: { class_type: "Other" } }]) {
    assert.equal(await graphOf(graph), null, String(graph).slice(0, 40));
  }
  assert.deepEqual(given((await graphOf('{"__proto__":{"class_type":"KSampler","inputs":{"steps":7,"cfg":["__proto__",0]}}}')).found), { steps: "7", others: [] });
});

test("a PNG made here comes before what it says in other words", async () => {
  const request = { prompt: "a fox", negative: null, seed: 7, variation: { seed: 8, strength: 0.5 }, strength: 0.6, steps: 4, guidance: 3.5, width: 128, height: 128, sampler: null, truncated: [] };
  const own = itxt("fraise", JSON.stringify({ request, model: "fraise-1", precision: "float16" }));
  const { made } = await read(makePng({ chunks: [text("parameters", A1111), own] }));
  assert.equal(made.source, "fraise");
  assert.deepEqual(given(made.found), {
    prompt: "a fox", seed: "7", variationSeed: "8", variationStrength: "0.5", steps: "4", guidance: "3.5", width: "128", height: "128", model: "fraise-1",
    others: ["Denoising strength: 0.6", "Precision: float16"], // the picture that it started from is not in the file
  });
  const damaged = await read(makePng({ chunks: [text("parameters", "words"), itxt("fraise", '{"request":7}')] }));
  assert.equal(damaged.made.source, "a1111");
  assert.equal((await read(makePng())).made, null);
});

test("malformed and hostile PNGs are refused, each for its reason", async () => {
  const png = makePng({ chunks: [text("parameters", A1111)] });
  const longLength = Buffer.from(png);
  longLength.writeUInt32BE(0xfffffff0, 33); // the text chunk's
  const bomb = deflateSync(Buffer.alloc(8 << 20));
  const cases = [
    ["notPng", Buffer.alloc(0)],
    ["notPng", Buffer.from("GIF89a, and more")],
    ["damaged", png.subarray(0, 60)],
    ["damaged", png.subarray(0, 8)],
    ["damaged", longLength],
    ["damaged", makePng({ width: 0 })],
    ["tooLarge", makePng({ width: 0x7fffffff })],
    ["damaged", Buffer.concat([png.subarray(0, 8), chunk("tEXt", Buffer.from("parameters\0x")), png.subarray(8)])],
    ["damaged", makePng({ chunks: [chunk("tEXt", Buffer.from("parameters"))] })],
    ["damaged", makePng({ chunks: [chunk("zTXt", Buffer.from("parameters\0\0not deflated"))] })],
    ["damaged", makePng({ chunks: [chunk("zTXt", Buffer.from("parameters\0\u0007x"))] })],
    ["damaged", makePng({ chunks: [chunk("iTXt", Buffer.from("parameters\0\0"))] })],
    ["textTooLarge", makePng({ chunks: [chunk("zTXt", Buffer.concat([Buffer.from("parameters\0\0"), bomb]))] })],
    ["textTooLarge", makePng({ chunks: [chunk("iTXt", Buffer.concat([Buffer.from("parameters\0\u0001\0\0\0"), bomb]))] })],
    ["textTooLarge", makePng({ chunks: [text("prompt", "x".repeat((1 << 20) + 1))] })],
  ];
  for (const [reason, bytes] of cases) await assert.rejects(read(bytes), refusal(reason), `${reason}: ${bytes.subarray(0, 80).toString("latin1")}`);
  await assert.rejects(readPicture({ size: 65 << 20 }), refusal("tooLarge"), "before a byte of it is read");
  assert.equal((await read(makePng({ chunks: [chunk("zTXt", Buffer.concat([Buffer.from("other\0\0"), bomb]))] }))).made, null, "texts of no interest are not inflated");
});

test("no long text keeps the page waiting", async () => {
  for (const words of ["a ".repeat(500_000), `x\nSteps: ${'"'.repeat(900_000)}`, `Steps: ${"a".repeat(900_000)}`, "\n".repeat(900_000), "Negative prompt:".repeat(60_000)]) {
    const png = makePng({ chunks: [text("parameters", words)] });
    const before = process.cpuUsage();
    await read(png);
    const { user, system } = process.cpuUsage(before); // microseconds, which other programs do not lengthen
    assert.ok(user + system < 1_000_000, `${words.slice(0, 20)}: ${(user + system) / 1000} ms`);
  }
});

test("found settings are clamped, or refused by name", () => {
  const check = checkSettings;
  assert.equal(check({ upscale: "true" }).settings.upscale, true);
  assert.deepEqual(check({ upscale: "true" }, { canUpscale: false }).refused, ["upscale"]);
  assert.deepEqual(check({ upscale: "false" }, { canUpscale: false }).refused, []);
  assert.deepEqual(check({ steps: "500", guidance: "-3", width: "513", height: "99999", seed: "42", sampler: "euler", prompt: " a\u0000b\r\nc " }), {
    settings: { prompt: "a b\nc", seed: "42", steps: 150, guidance: 0, width: 512, height: 2048, sampler: "euler" },
    changed: ["steps", "guidance", "width", "height"],
    refused: [],
  });
  assert.deepEqual(check({ steps: "many", guidance: "NaN", width: "1e3", height: "Infinity", seed: "-1", sampler: "__proto__", upscale: "yes" }), {
    settings: {},
    changed: [],
    refused: ["seed", "steps", "guidance", "width", "height", "sampler", "upscale"],
  });
  assert.equal(check({ prompt: `${"x".repeat(1999)}😀` }).settings.prompt, "x".repeat(1999), "no half of a character");
  assert.deepEqual(given(asFoundSettings({ prompt: ["x"], steps: 4, seed: 2n ** 60n, toString: "x", others: "x" })), { steps: "4", seed: String(2n ** 60n) });
});

test("a link says the settings and is read again", () => {
  const settings = { prompt: "星空, a+b & <c>", negative: "rain", seed: "42", variationSeed: "7", variationStrength: "0.3", steps: "4", guidance: "3.5", width: "128", height: "256", sampler: "euler_a", upscale: "true", model: "fraise-1" };
  const hash = writeHash(settings);
  assert.match(hash, /^p=[^&]+&n=rain&s=42&vs=7&vst=0\.3&st=4&g=3\.5&w=128&h=256&sa=euler_a&u=true&m=fraise-1$/);
  assert.deepEqual(readHash(`#${hash}`), settings);
  for (const other of ["", "#", "#gallery", "#x=1&y=2", `#p=${"x".repeat(40_000)}`]) assert.equal(readHash(other), null);
});

test("zips are read by their directory, within bounds", async () => {
  const files = { "a.png": Buffer.from("first"), "../../etc/passwd.png": Buffer.alloc(100_000, 7) };
  const zip = writeZip(Object.entries(files).map(([name, data], at) => ({ name, data, isDeflated: at === 1 })));
  const entries = await listZip(new Blob([zip]));
  assert.deepEqual(entries.map(({ name, bytes }) => [name, bytes]), [["a.png", 5], ["../../etc/passwd.png", 100_000]]);
  for (const entry of entries) assert.deepEqual(Buffer.from(await readEntry(new Blob([zip]), entry, 1 << 20)), files[entry.name]);
  await assert.rejects(readEntry(new Blob([zip]), entries[1], 99_999), refusal("tooLarge"));

  const lying = new Blob([writeZip([{ name: "b.png", data: Buffer.alloc(8 << 20), isDeflated: true, bytes: 1000 }])]);
  await assert.rejects(readEntry(lying, (await listZip(lying))[0], 1 << 20), refusal("damaged"));
  await assert.rejects(readEntry(new Blob([zip]), { ...entries[0], offset: 1 }, 1 << 20), refusal("damaged"));
  await assert.rejects(readEntry(new Blob([zip]), { ...entries[0], offset: 2 ** 32 - 1 }, 1 << 20), refusal("damaged"));
  await assert.rejects(readEntry(new Blob([zip]), { ...entries[0], method: 12 }, 1 << 20), refusal("damaged"));
  for (const bytes of [Buffer.alloc(0), Buffer.from("PK"), Buffer.alloc(70_000)]) await assert.rejects(listZip(new Blob([bytes])), refusal("notZip"));
  const beyond = Buffer.from(zip);
  beyond.writeUInt32LE(0x7fffffff, beyond.length - 6);
  await assert.rejects(listZip(new Blob([beyond])), refusal("damaged"));
  const more = Buffer.from(zip);
  more.writeUInt16LE(500, more.length - 12);
  await assert.rejects(listZip(new Blob([more])), refusal("damaged"));
});
