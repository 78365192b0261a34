// What an engine measures of its GPU: kept for the next visit, decides between kernels and between GPU and processor, and
// leaves nothing to be compiled while a picture is painted.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium, launchFirefox } from "./browsers.mjs";
import { goldenPack } from "./packs.mjs";
import { openSite } from "./site.mjs";

const TIMEOUT = { timeout: 400_000 };
/** Of a GPU whose memory costs nothing: by Winograd's tiles where they save multiplications. */
const COSTS = {
  tiles: [{ variant: "tiles64", aloneUs: 1, atOnce: 100 }, null, null, { variant: "tiles32", aloneUs: 1, atOnce: 200 }],
  launchUs: 0.1,
  numbersPerUs: 1e9,
};
/** The smallest tile, the largest, and what costs choose; each takes this adapter half a minute. Natively all are compared. */
const WAYS = [{ variant: "tiles32" }, { variant: "tiles128" }, { costs: COSTS }];
let site;

before(async () => {
  site = await openSite();
});
after(() => site?.close());

/** Loads a model on a new engine of that kind; `window.engine` is it from then on. */
const load = (page, device, url = "models/fraise-1/manifest.json", precision = undefined) =>
  page.evaluate(async ({ device, url, precision }) => {
    window.engine?.close();
    window.engine = await window.fraise.Engine.create({ device, precision });
    const phases = [];
    const onProgress = ({ phase, loadedBytes, totalBytes }) => phases.push([phase, loadedBytes, totalBytes]);
    await window.engine.load(url, { onProgress });
    return { device: window.engine.device, phases };
  }, { device, url, precision });

/** Replaces what was measured. */
const keep = (page, [key, value]) =>
  page.evaluate(
    async ([key, json]) => {
      const database = await new Promise((resolve) => {
        indexedDB.open("fraise").onsuccess = ({ target }) => resolve(target.result);
      });
      const transaction = database.transaction("packs", "readwrite");
      transaction.objectStore("packs").put(json, key);
      await new Promise((resolve) => (transaction.oncomplete = resolve));
      database.close();
    },
    [key, JSON.stringify(value)],
  );

/** A small picture's pixels. */
const paint = (page) =>
  page.evaluate(async () => {
    const canvas = new OffscreenCanvas(64, 64);
    const context = canvas.getContext("2d");
    const request = { prompt: "a strawberry on a beach", seed: 5, steps: 1, width: 64, height: 64 };
    for await (const step of window.engine.generate(request)) context.drawImage(await step.image(), 0, 0);
    return [...context.getImageData(0, 0, 64, 64).data];
  });

/** What was measured is stored under, with its value. */
const kept = (page) =>
  page.evaluate(async () => {
    const settled = (request) =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await settled(indexedDB.open("fraise"));
    const packs = database.transaction("packs").objectStore("packs");
    const keys = (await settled(packs.getAllKeys())).filter((key) => key.startsWith("calibration"));
    const values = await Promise.all(keys.map((key) => settled(packs.get(key))));
    database.close();
    return keys.map((key, index) => [key, JSON.parse(values[index])]);
  });

test("measured once for an adapter; nothing is left to compile in a run", TIMEOUT, async (t) => {
  const browser = await launchChromium();
  t.after(() => browser.close());
  const { page, problems } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  const first = await load(page, "gpu");
  const { measured } = first.device;
  t.diagnostic(JSON.stringify(measured));
  assert.equal(first.device.kind, "gpu", "who asks for the GPU gets it, however slow");
  assert.ok(measured.gpuRate > 0 && measured.cpuRate > 0);
  assert.equal(measured.tuning.variant, "registers");
  assert.equal(measured.tuning.costs, null, "barriers are hopeless on this adapter");
  // A quarter of a second's work, up to rounding.
  assert.ok(Math.abs(measured.tuning.submit / (measured.gpuRate * 0.25e9) - 1) < 0.01, measured.tuning.submit);
  const [[key, value]] = await kept(page);
  assert.deepEqual(value, measured);
  assert.ok(key.includes(await page.evaluate(() => navigator.userAgent)));

  const compiling = first.phases.filter(([phase]) => phase === "compile");
  assert.deepEqual(compiling.at(-1).slice(1), [2, 2], "compiling is told of to its end");
  const worker = page.workers().at(-1);
  await worker.evaluate(() => {
    self.compiled = [];
    for (const name of ["createComputePipeline", "createComputePipelineAsync"]) {
      const create = GPUDevice.prototype[name];
      GPUDevice.prototype[name] = function (descriptor) {
        self.compiled.push(descriptor.label);
        return create.call(this, descriptor);
      };
    }
  });
  await page.evaluate(async () => {
    for await (const _ of window.engine.generate({ prompt: "a strawberry", steps: 2 })); // painted for its shaders alone
  });
  assert.deepEqual(await worker.evaluate(() => self.compiled), [], "shaders compiled while painting");

  const second = await load(page, "gpu");
  assert.deepEqual(second.device.measured, measured, "the second engine takes the kept numbers, to the bit");
  // A record that is not ours to read is measured again.
  await keep(page, [key, { gpuRate: "fast" }]);
  const third = await load(page, "gpu");
  assert.ok(third.device.measured.gpuRate > 0);
  assert.equal((await kept(page)).length, 1);
  assert.deepEqual((await kept(page))[0][1], third.device.measured);
  const models = await page.evaluate(() => window.engine.models());
  assert.deepEqual(models.map(({ name }) => name), ["fraise-1"], "a calibration is no model");
  assert.deepEqual(problems, []);
});

test("tiles in shared memory, and dispatches in parts, paint the same picture", TIMEOUT, async (t) => {
  const browser = await launchChromium();
  t.after(() => browser.close());
  // A tiny model: at each barrier this adapter waits for long.
  site.answer = (await goldenPack("tiny_flow")).answer;
  t.after(() => (site.answer = null));
  const { page, problems } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  const { measured } = (await load(page, "gpu", "models/tiny/manifest.json")).device;
  const byRegisters = await paint(page);
  assert.ok(new Set(byRegisters).size > 20, "a picture, not one colour");
  const [[key]] = await kept(page);
  for (const way of WAYS) {
    const tuning = { ...measured.tuning, ...way, submit: 100_000 };
    await keep(page, [key, { ...measured, tuning }]);
    const { device } = await load(page, "gpu", "models/tiny/manifest.json");
    assert.deepEqual(device.measured.tuning, tuning);
    const differences = (await paint(page)).map((value, index) => Math.abs(value - byRegisters[index]));
    // Sums in another order: a rounding at most.
    assert.ok(Math.max(...differences) <= 1, `${JSON.stringify(way)}: pixels differ by up to ${Math.max(...differences)}`);
  }
  assert.deepEqual(problems, []);
});

test("auto measures a GPU that is said to be real, and takes the faster processor", TIMEOUT, async (t) => {
  const browser = await launchChromium();
  t.after(() => browser.close());
  const { page, problems } = await browser.newPage({ serviceWorkers: "block" });
  // The only adapter here is Chromium's own software, which says so.
  const pretend = 'Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });\n';
  await page.route("**/worker-*.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: pretend + (await response.text()) });
  });
  await page.goto(site.url);
  const { device } = await load(page, "auto");
  t.diagnostic(`${device.whyNotGpu} ${JSON.stringify(device.measured)}`);
  assert.equal(device.kind, "cpu");
  assert.match(device.whyNotGpu, /processor is faster here: [\d.]+ against [\d.]+/);
  const [[, { gpuRate, cpuRate, times }]] = await kept(page);
  assert.ok(cpuRate > gpuRate, `${cpuRate} against ${gpuRate}`);
  assert.equal(times, 1);
  const size = await page.evaluate(async () => {
    for await (const _ of window.engine.generate({ prompt: "a strawberry", steps: 1 })); // to its end
    return (await window.engine.last()).blob.size;
  });
  assert.ok(size > 10_000, `a picture of ${size} bytes`);
  // That of a real GPU is doubtful: the next load measures once more, and keeps what was faster; then that is that.
  await load(page, "auto");
  const [[, second]] = await kept(page);
  assert.equal(second.times, 2);
  assert.ok(second.gpuRate >= gpuRate, `${second.gpuRate} after ${gpuRate}`);
  await load(page, "auto");
  assert.deepEqual((await kept(page))[0][1], second);
  assert.deepEqual(problems, []);
});

test("Firefox: at 16 bits the picture is nearly the same, where a visitor wants it and the GPU has them", TIMEOUT, async (t) => {
  const browser = await launchFirefox();
  t.after(() => browser.close());
  site.answer = (await goldenPack("tiny_flow")).answer;
  t.after(() => (site.answer = null));
  const { page, problems } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  const model = "models/tiny/manifest.json";
  const { hasShaderF16, measured } = (await load(page, "gpu", model)).device;
  if (!hasShaderF16) return t.skip("this adapter has no 16-bit floats");
  assert.equal(measured.tuning.half, false, "nobody asked for it");
  const tiles = { ...measured.tuning, variant: "tiles32" };
  const [[key]] = await kept(page);
  await keep(page, [key, { ...measured, tuning: tiles }]);
  assert.deepEqual((await load(page, "gpu", model)).device.measured.tuning, tiles);
  const at32Bits = await paint(page);

  // Whether it is faster here is measured apart from what was measured at 32 bits. How fast it is on a real GPU cannot be seen here.
  await load(page, "gpu", model, "float16");
  const keys = (await kept(page)).map(([found]) => found);
  assert.equal(keys.length, 2);
  const other = keys.find((found) => found !== key);
  await keep(page, [other, { ...measured, tuning: { ...tiles, half: true } }]);
  assert.equal((await load(page, "gpu", model, "float16")).device.measured.tuning.half, true);
  const differences = (await paint(page)).map((value, index) => Math.abs(value - at32Bits[index]));
  t.diagnostic(`pixels differ by up to ${Math.max(...differences)}, on average by ${differences.reduce((sum, one) => sum + one) / differences.length}`);
  assert.ok(Math.max(...differences) > 0, "something was computed at 16 bits");
  assert.ok(Math.max(...differences) <= 8, "and nearly nothing changed");
  assert.deepEqual(problems, []);
});

test("another precision is refused by its name", TIMEOUT, async (t) => {
  const browser = await launchChromium();
  t.after(() => browser.close());
  const { page } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  for (const precision of ["bfloat16", 16, null]) {
    const error = await page.evaluate(
      (given) => window.fraise.Engine.create({ device: "cpu", precision: given }).then(() => null, ({ code, details }) => ({ code, details })),
      precision,
    );
    assert.equal(error?.code, "Request", precision);
    assert.equal(error.details.field, "precision");
  }
});
