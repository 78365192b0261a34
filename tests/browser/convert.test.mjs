// A visitor's own checkpoint becomes a model of this browser: converted in slices, the same pack as `fraise pack` makes.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { open, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { promisify } from "node:util";
import { launchChromium } from "./browsers.mjs";
import { LARGE, plainTinyDecoder, TINY, writeCheckpoint } from "./checkpoints.mjs";
import { closedAfter, temporaryFolder } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** Most that WebAssembly's memory may grow by while a checkpoint of any size is converted: a piece, twice, and buffers. */
const MAX_GROWTH_BYTES = 64 << 20;
const REPOSITORY = new URL("../../", import.meta.url).pathname;
const run = promisify(execFile);

let tiny;
let large;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const folder = await temporaryFolder();

before(async () => {
  // The command line's own tests need the tool, so that this builds it, or finds it built, with their features.
  await run(process.env.CARGO ?? "cargo", ["test", "--locked", "--workspace", "--no-run", "--test", "commands"], { cwd: REPOSITORY });
  tiny = join(folder, "tiny.safetensors");
  large = join(folder, "large.safetensors");
  await writeCheckpoint(tiny, TINY);
  await writeCheckpoint(large, LARGE, { dtype: "F16" });
});

/** The command line tool, as the native tests build it. */
const fraise = (...words) => run(join(REPOSITORY, "target/debug/fraise"), words);

/** The pack that `fraise pack` makes of a checkpoint: its folder and its manifest. */
async function nativePack(checkpoint, quant) {
  const out = join(folder, `native-${quant}`);
  await fraise("pack", checkpoint, out, "--quant", quant);
  return { out, manifest: JSON.parse(await readFile(join(out, "manifest.json"), "utf8")) };
}

const piecesOf = (manifest) =>
  Object.fromEntries(Object.entries(manifest.components).map(([name, { pieces }]) => [name, pieces.map(({ sha256 }) => sha256)]));

/** Everything that the engine keeps in this browser: `{pieces: [name], packs: {key: manifest or journal}}`. */
function stored(studio) {
  return studio.page.evaluate(async () => {
    const names = (await indexedDB.databases()).map(({ name }) => name);
    if (!names.includes("fraise")) return { pieces: [], packs: {} };
    const database = await new Promise((resolve, reject) => {
      const opening = indexedDB.open("fraise");
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => reject(opening.error);
    });
    const ask = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const pieces = await ask(database.transaction("pieces").objectStore("pieces").getAllKeys());
    const store = database.transaction("packs").objectStore("packs"); // one transaction: a removal comes before or after it
    const packs = {};
    for (const key of await ask(store.getAllKeys())) {
      const record = await ask(store.get(key));
      packs[key] = JSON.parse(typeof record === "string" ? record : new TextDecoder().decode(record.manifest));
    }
    database.close();
    return { pieces, packs };
  });
}

/** Gives the page's own scripts a file: `window.given`. */
async function give(studio, path) {
  await studio.page.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { id: "given", type: "file" })));
  await studio.setFile("#given", path);
  await studio.page.evaluate(() => (window.given = document.querySelector("#given").files[0]));
}

test("a picked checkpoint becomes the pack that `fraise pack` makes, paints the same, and works offline", TIMEOUT, async (t) => {
  const native = await nativePack(tiny, "q8");
  const picture = join(folder, "native.png");
  const settings = { prompt: "a strawberry on a beach", seed: 42, steps: 2, device: "cpu" };
  await fraise("generate", "--model", native.out, "--prompt", settings.prompt, "--seed", "42", "--steps", "2", "--device", "cpu", "-o", picture);

  const studio = await StudioDriver.open(browser, site.url);
  await studio.settings(settings);
  await studio.pickCheckpoint(tiny);
  assert.match(await studio.text("#convert"), /tiny\.safetensors.*Stable Diffusion 1\.x, 18 MB/s);
  await studio.convert("q8");
  const { pieces, packs } = await stored(studio);
  assert.deepEqual(Object.keys(packs), ["local:tiny-q8"]);
  assert.deepEqual(piecesOf(packs["local:tiny-q8"]), piecesOf(native.manifest));
  assert.deepEqual(pieces.toSorted(), [...new Set(Object.values(piecesOf(native.manifest)).flat())].toSorted());

  await studio.settings(settings); // a newly chosen model brings its own number of steps
  await studio.generate();
  // What is shown; the saved file has a faint mark in its pixels, which the command line does not make.
  const [ours, saved] = [await studio.pixelsOf("#canvas"), await studio.pixels(await studio.savedPng())];
  const theirs = await studio.pixels(await readFile(picture));
  assert.equal(saved.width, 128);
  const marked = saved.rgba.reduce((sum, value, at) => sum + Math.abs(value - ours[at]), 0) / ours.length;
  assert.ok(marked > 0.1 && marked < 3, `the mark changes values by ${marked} on average`);
  const largest = ours.reduce((most, value, at) => Math.max(most, Math.abs(value - theirs.rgba[at])), 0);
  t.diagnostic(`largest difference from the native picture: ${largest} of 255`);
  assert.ok(largest <= 1, `the pictures differ by ${largest}`);
  assert.ok(new Set(ours).size > 8, "a picture, not a plain colour");

  await studio.page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await studio.setOffline(true);
  site.log.length = 0;
  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.find("#model-choice")?.value === "local:tiny-q8");
  await studio.settings(settings);
  await studio.generate();
  assert.deepEqual(site.log.filter((path) => path !== "/sw.js"), []);
  assert.deepEqual(studio.problems, []);
  await studio.setOffline(false);

  await studio.find("fraise-models summary").click();
  await studio.find('li[data-address="local:tiny-q8"] .remove').click();
  await studio.find("#remove-model-confirm").click();
  await studio.until(() => !window.tools.has("#model-choice"));
  await assertEmpty(studio);
  await studio.close();
});

test("a dropped checkpoint is taken from anywhere on the page", TIMEOUT, async () => {
  site.answer = (path) => (path === "/tiny.safetensors" ? readFile(tiny).then((body) => ({ body })) : null);
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.page.evaluate(async () => {
    const file = new File([await (await fetch("tiny.safetensors")).blob()], "tiny.safetensors");
    window.carried = new DataTransfer();
    window.carried.items.add(file);
    window.drag = (type) => document.body.dispatchEvent(new DragEvent(type, { dataTransfer: window.carried, bubbles: true, cancelable: true }));
    window.drag("dragenter");
  });
  await studio.until(() => window.tools.has("#drop"));
  assert.equal(await studio.page.evaluate(() => window.drag("dragover")), false, "the page takes it");
  await studio.page.evaluate(() => window.drag("drop"));
  await studio.until(() => window.tools.has("#convert-start"));
  assert.equal(await studio.page.evaluate(() => window.tools.has("#drop")), false);
  await studio.convert("q4");
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.generate();
  assert.deepEqual(studio.problems, []);
  site.answer = null;
  await studio.close();
});

test("cancelled in the middle nothing is complete; the same file goes on where it stopped, in little memory", TIMEOUT, async (t) => {
  const { manifest } = await nativePack(large, "q8");
  const all = Object.values(piecesOf(manifest)).flat();
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.pickCheckpoint(large);
  await studio.find("input[name=quant][value=q8]").check();
  await studio.find("#convert-start").click();
  await studio.until(() => (window.tools.find("#convert progress")?.value ?? 0) >= 0.3, null, 200_000);
  assert.match(await studio.text("#convert-detail"), /MB of 33\d MB.* left/);
  await studio.find("#convert-cancel").click();
  await studio.until(() => window.tools.has("#convert-unfinished"), null, 30_000);
  const before = await stored(studio);
  assert.deepEqual(Object.keys(before.packs), ["unfinished conversion local:large-q8"]);
  assert.ok(before.pieces.length > 0 && before.pieces.length < all.length, `${before.pieces.length} of ${all.length} pieces`);
  assert.ok(before.pieces.every((piece) => all.includes(piece)));

  // By the library from here on, which tells what it did.
  await give(studio, large);
  const { made, growth, codes, listed } = await studio.page.evaluate(async () => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    const codes = [await engine.load("local:large-q8").catch(({ code }) => code)];
    const listed = [await engine.models()];
    const before = await engine.memory();
    const model = await engine.convert(window.given, { name: "large-q8", quant: "q8" });
    const growth = (await engine.memory()).wasmBytes - before.wasmBytes;
    codes.push(await engine.load(model.address).then(() => "loaded"));
    listed.push(await engine.models());
    engine.close();
    return { made: model.piecesMade, growth, codes, listed };
  });
  t.diagnostic(`${before.pieces.length} pieces before, ${made} after; wasm memory grew by ${(growth / 2 ** 20).toFixed(1)} MiB`);
  assert.deepEqual(codes, ["Request", "loaded"]);
  const model = { address: "local:large-q8", name: "large-q8" };
  const unfinished = before.packs["unfinished conversion local:large-q8"];
  const doneBytes = Object.values(unfinished.pieces).flat().reduce((sum, { bytes }) => sum + bytes, 0);
  const half = { ...model, bytes: doneBytes, isComplete: false, license: null, licenseRestrictions: null };
  const whole = { ...model, bytes: manifest.total_bytes, isComplete: true, license: "unknown", licenseRestrictions: null };
  assert.deepEqual(listed, [[half], [whole]]);
  assert.equal(made, all.length - before.pieces.length, "only the missing pieces are made");
  const { packs, pieces } = await stored(studio);
  assert.deepEqual(piecesOf(packs["local:large-q8"]), piecesOf(manifest));
  assert.deepEqual(Object.keys(packs), ["local:large-q8"]);
  assert.equal(pieces.length, new Set(all).size);
  assert.ok(growth <= MAX_GROWTH_BYTES, `grew by ${growth} bytes`);
  await studio.close();
});

test("without room it says so before anything is written", TIMEOUT, async () => {
  // The engine asks in its worker, where only the script itself can be made to answer otherwise.
  const estimate = "navigator.storage.estimate = async () => ({ quota: 3_000_000, usage: 1_000_000 });\n";
  site.answer = async (path) => {
    if (!/\/assets\/worker-[^/]*\.js$/.test(path)) return null;
    const script = await readFile(join(REPOSITORY, "dist", path), "utf8");
    return { body: estimate + script, headers: { "content-type": "text/javascript" } };
  };
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.pickCheckpoint(tiny);
  assert.match(await studio.text("#convert"), /Needs 9\.\d MB of storage; 2\.0 MB are free.*not enough room/s);
  assert.equal(await studio.page.evaluate(() => window.tools.find("#convert-start").disabled), true);
  await give(studio, tiny);
  const error = await studio.page.evaluate(async () => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    const { code, details } = await engine.convert(window.given).catch((error) => error);
    engine.close();
    return { code, details };
  });
  site.answer = null;
  assert.equal(error.code, "Quota");
  assert.equal(error.details.available_bytes, 2_000_000);
  assert.ok(error.details.needed_bytes > 8_000_000, JSON.stringify(error));
  await assertEmpty(studio);
  await studio.close();
});

test("room that runs out on the way, which browsers do not always foretell, leaves nothing behind either", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  const session = await studio.page.context().newCDPSession(studio.page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 8_000_000 });
  await studio.pickCheckpoint(tiny);
  await studio.find("#convert-start").click();
  await studio.until(() => window.tools.has("#convert-failure"), null, 200_000);
  assert.equal(await studio.text("#convert-code"), "Quota", await studio.text("#convert-failure"));
  await assertEmpty(studio);
  await studio.close();
});

test("files that are no usable checkpoints are refused in words, and leave nothing behind", TIMEOUT, async (t) => {
  const file = (name) => join(folder, name);
  const whole = await readFile(tiny);
  await writeFile(file("pickle.safetensors"), Buffer.concat([Buffer.from("PK\x03\x04"), whole.subarray(0, 1 << 16)]));
  await writeFile(file("truncated.safetensors"), whole);
  await truncate(file("truncated.safetensors"), whole.length >> 1);
  await writeFile(file("junk.safetensors"), Buffer.from("not a model at all ".repeat(50)));
  const hundredGigabytes = Buffer.from(whole.subarray(0, 4096));
  hundredGigabytes.writeBigUInt64LE(100_000_000_000n);
  await writeFile(file("header.safetensors"), hundredGigabytes);
  await writeFile(file("empty.safetensors"), "");
  await writeFile(file("nan.safetensors"), whole);
  await spoil(file("nan.safetensors"), "first_stage_model.decoder.conv_out.weight");
  const cases = [
    ["pickle", "Request", /pickle/],
    ["truncated", "Manifest", /end/],
    ["junk", /Request|Manifest/, /./],
    ["header", "Manifest", /100000000000/],
    ["empty", /Request|Manifest/, /./],
    ["nan", "Manifest", /decoder\.conv_out/],
  ];
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  for (const [name, code, pattern] of cases) {
    await t.test(name, async () => {
      await studio.pickCheckpoint(file(`${name}.safetensors`));
      if (name === "nan") {
        await studio.find("#convert-start").click();
        await studio.until(() => window.tools.has("#convert-failure"), null, 200_000);
      }
      const shown = await studio.text("#convert-failure");
      assert.match(await studio.text("#convert-code"), code instanceof RegExp ? code : new RegExp(`^${code}$`), shown);
      assert.match(shown, pattern);
      await assertEmpty(studio);
      await studio.find("#convert-close").click();
    });
  }
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("an address: read in parts where the host serves them, refused in words where not", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  const name = async (address) => {
    await studio.until(() => window.tools.has("#checkpoint-url"));
    await studio.find("#checkpoint-url").fill(address);
    await studio.page.keyboard.press("Enter");
  };
  await name("https://elsewhere.example/model.safetensors");
  await studio.until(() => /elsewhere\.example/.test(window.tools.text("#url-problem") ?? ""));

  site.answer = (path) => (path === "/whole.safetensors" ? readFile(tiny).then((body) => ({ body })) : null);
  await name("whole.safetensors");
  await studio.until(() => window.tools.has("#convert-failure"));
  assert.match(await studio.text("#convert-failure"), /Request.*parts|ranges/s);
  await studio.find("#convert-close").click();

  site.files["/parts.safetensors"] = tiny;
  site.answer = null;
  await name("parts.safetensors");
  await studio.until(() => window.tools.has("#convert-start"));
  await studio.convert("q8");
  const { packs } = await stored(studio);
  assert.deepEqual(Object.keys(packs), ["local:parts-q8"]);
  assert.deepEqual([...studio.hosts], [new URL(site.url).host]);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("a tiny decoder paints every step but the last, which the full decoder paints", TIMEOUT, async () => {
  const decoder = join(folder, "taesd_decoder.safetensors");
  await writeFile(decoder, plainTinyDecoder([1, 0, 0]));
  const pack = join(folder, "with-previews");
  await fraise("pack", tiny, pack, "--quant", "q8", "--preview-decoder", decoder);
  for (const name of await readdir(pack)) site.files[`/with-previews/${name}`] = join(pack, name);
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  const steps = await studio.page.evaluate(async () => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    await engine.load("with-previews/manifest.json");
    const steps = [];
    for await (const step of engine.generate({ prompt: "a cat", seed: 1, steps: 3, sampler: "ddim", width: 32, height: 32 })) {
      const image = await step.image();
      const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, image.width, image.height);
      const colours = new Set(Array.from({ length: data.length / 4 }, (_, at) => data.slice(4 * at, 4 * at + 3).join()));
      steps.push([...colours].slice(0, 9));
    }
    engine.close();
    return steps;
  });
  assert.deepEqual(steps.slice(0, -1), [["255,0,0"], ["255,0,0"]]);
  assert.equal(steps.at(-1).length, 9, "the last step is a picture");
  await studio.close();
});

async function assertEmpty(studio) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const left = await stored(studio);
    if (left.pieces.length === 0 && Object.keys(left.packs).length === 0) return;
    assert.ok(Date.now() < deadline, `left behind: ${JSON.stringify(left).slice(0, 500)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Makes a tensor's first number NaN. */
async function spoil(path, tensor) {
  const file = await open(path, "r+");
  const length = Buffer.alloc(8);
  await file.read(length, 0, 8, 0);
  const header = Buffer.alloc(Number(length.readBigUInt64LE()));
  await file.read(header, 0, header.length, 8);
  const [start] = JSON.parse(header.toString())[tensor].data_offsets;
  await file.write(Buffer.from([0, 0, 0xc0, 0x7f]), 0, 4, 8 + header.length + start);
  await file.close();
}
