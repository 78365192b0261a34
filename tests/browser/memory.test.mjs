// What is aborted, loaded again, or painted again and again takes no more memory than before: of the GPU, of WebAssembly and
// of JavaScript. A few rounds in a check; FRAISE_FULL=1 makes them 50 loads and 200 pictures.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { heapMeter, launchChromium } from "./browsers.mjs";
import { goldenPack } from "./packs.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";

const TIMEOUT = { timeout: 900_000 };
const IS_FULL = Boolean(process.env.FRAISE_FULL);
const [ABORTS, LOADS, PICTURES] = IS_FULL ? [20, 50, 200] : [2, 6, 12];
const MODEL = "models/tiny/manifest.json";
/** Growth after the warm-up that still counts as none. */
const MOST_GROWTH = 1.05;
/** What the tools that drive the browser note there of a request; a worker that fetches and does nothing else shows it too. */
const NOTED_BYTES = 500;
/** WebAssembly's memory keeps its peak, and what is in flight at the moment of an abort varies by so much. */
const PEAK_BYTES = 2 ** 20;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

beforeEach(async () => {
  site.answer = (await goldenPack("tiny_flow", undefined, 32 * 1024)).answer;
});

/** A page with `window.engine`, a canvas, and what the tests do with them; `measure()` gives bytes by kind of memory. */
async function open(device) {
  const opened = await browser.newPage({ serviceWorkers: "block" });
  const { page } = opened;
  await page.goto(site.url);
  const heap = await heapMeter(page);
  await page.evaluate(
    async ([kind, model]) => {
      document.body.replaceChildren(Object.assign(document.createElement("canvas"), { id: "painted" }));
      const canvas = document.querySelector("#painted");
      const engine = (window.engine = await window.fraise.Engine.create({ device: kind }));
      window.load = (options) => engine.load(model, options);
      /** A finished picture's hash; null where `stop(step)` ends the run early. */
      window.paint = async (request = {}, options = {}, stop = () => false) => {
        for await (const step of engine.generate({ prompt: "a cat", seed: 5, ...request }, { canvas, ...options })) {
          (await step.image()).close();
          if (stop(step)) return null;
        }
        const { blob } = await engine.last();
        return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()))).join();
      };
      /** Runs `work` and aborts it at the first progress of `phase`, or after `ms`; how it ended. */
      window.aborted = async (work, { phase, ms }) => {
        const controller = new AbortController();
        const onProgress = (progress) => progress.phase === phase && controller.abort();
        if (ms !== undefined) setTimeout(() => controller.abort(), ms);
        return work({ signal: controller.signal, onProgress }).then(() => "finished", ({ name }) => name);
      };
    },
    [device, MODEL],
  );
  const measure = async () => {
    const { wasmBytes, reservedBytes } = await page.evaluate(() => window.engine.memory());
    return { wasm: wasmBytes, gpu: reservedBytes ?? 0, ...(await heap()), requests: site.log.length };
  };
  return { ...opened, measure };
}

/** Checks that no kind of memory grew beyond what the warm-up took. */
function assertFlat({ requests: requestsBefore, ...before }, { requests, ...after }, what) {
  console.log(what, JSON.stringify({ before, after, requests: requests - requestsBefore }));
  const slack = { browser: NOTED_BYTES * (requests - requestsBefore), wasm: PEAK_BYTES };
  for (const kind of Object.keys(before)) {
    const most = before[kind] * MOST_GROWTH + (slack[kind] ?? 0);
    assert.ok(after[kind] <= most, `${what}: ${kind} grew from ${before[kind]} to ${after[kind]}`);
  }
}

/** Checks that `work` leaves memory flat: a peak that comes with some runs only may come late, once; what leaks grows again. */
async function assertStaysFlat(work, measure, what) {
  const before = await measure();
  await work();
  const after = await measure();
  try {
    assertFlat(before, after, what);
  } catch {
    await work();
    assertFlat(after, await measure(), `${what}, again`);
  }
}

for (const device of ["cpu", "gpu"]) {
  test(`on the ${device}: aborted in every phase, memory is flat and the engine still paints the same`, TIMEOUT, async () => {
    const { page, problems, measure, close } = await open(device);
    const reference = await page.evaluate(async () => {
      await window.load();
      return window.paint({ upscale: true, image: new ImageData(64, 64) });
    });
    const abortEverywhere = () =>
      page.evaluate(async (model) => {
        const address = new URL(model, document.baseURI).href;
        const start = new ImageData(64, 64);
        const ends = [];
        const abort = async (work, when) => ends.push(await window.aborted(work, when));
        for (const phase of ["manifest", "download", "upload"]) {
          await window.engine.remove(address);
          await abort(window.load, { phase });
        }
        await window.load();
        const uses = [
          (options) => window.engine.upscale(start, options),
          (options) => window.engine.score("a cat", [start], options),
          (options) => window.paint({ image: start, upscale: true }, options),
        ];
        for (const use of uses) for (const phase of ["download", "upload"]) await abort(use, { phase });
        for (const use of uses) await abort(use, { ms: 0 });
        for (const ms of [0, 5, 20]) await abort((options) => window.paint({ steps: 150 }, options), { ms });
        for (const index of [0, 1]) await window.paint({ steps: 8 }, {}, (step) => step.index === index);
        return ends;
      }, MODEL);
    const ends = await abortEverywhere();
    assert.deepEqual(ends, Array(ends.length).fill("AbortError"));
    for (let round = 0; round < 3; round += 1) await abortEverywhere();
    const warm = await measure();
    for (let round = 0; round < ABORTS; round += 1) await abortEverywhere();
    assertFlat(warm, await measure(), `${device}, ${ABORTS * ends.length} aborts`);
    const again = await page.evaluate(() => window.paint({ upscale: true, image: new ImageData(64, 64) }));
    assert.equal(again, reference);
    assert.deepEqual(problems, []);
    await close();
  });

  test(`on the ${device}: ${LOADS} loads and ${PICTURES} pictures in a row, and memory is flat`, TIMEOUT, async () => {
    const { page, problems, measure, close } = await open(device);
    const loadAndPaint = (times) =>
      page.evaluate(async (count) => {
        const prints = new Set();
        for (let at = 0; at < count; at += 1) {
          await window.load();
          prints.add(await window.paint());
        }
        return prints.size;
      }, times);
    await loadAndPaint(3);
    const loads = async () => assert.equal(await loadAndPaint(LOADS), 1, "the same picture each time");
    await assertStaysFlat(loads, measure, `${device}, ${LOADS} loads`);

    const paintMany = (times) =>
      page.evaluate(async (count) => {
        for (let seed = 0; seed < count; seed += 1) await window.paint({ seed });
      }, times);
    await paintMany(3);
    await assertStaysFlat(() => paintMany(PICTURES), measure, `${device}, ${PICTURES} pictures`);
    assert.deepEqual(problems, []);
    await close();
  });
}
