// A graphics card that goes away or is full in the middle: an error by name, then the same picture on a new device, without the
// network; and one that offers no more than any.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { goldenPack } from "./packs.mjs";
import { closedAfter } from "./setup.mjs";
import { changedWorker, KEEP_DEVICES, openSite } from "./site.mjs";

const TIMEOUT = { timeout: 200_000 };
const MODEL = "models/tiny/manifest.json";
/** The least that WebGPU allows: 128 MiB in a binding, 16 KiB of shared memory, … */
const LEAST = { maxStorageBufferBindingSize: 2 ** 27, maxBufferSize: 2 ** 28, maxComputeWorkgroupStorageSize: 16_384, maxComputeInvocationsPerWorkgroup: 256, maxStorageBuffersPerShaderStage: 8 };
/** An adapter with these limits and no features but the given ones. */
const weakAdapter = (features) => `{
  const least = ${JSON.stringify(LEAST)};
  const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, "limits");
  const limits = (adapter) => new Proxy(get.call(adapter), { get: (own, name) => least[name] ?? own[name] });
  Object.defineProperty(GPUAdapter.prototype, "limits", { get() { return limits(this); } });
  Object.defineProperty(GPUAdapter.prototype, "features", { get: () => new Set(${JSON.stringify(features)}) });
}`;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

beforeEach(() => serve(KEEP_DEVICES));

/** Serves a small pack, and a worker that begins with `code`. */
async function serve(code) {
  const [pack, worker] = [await goldenPack("tiny_flow"), await changedWorker(code)];
  site.answer = (path) => worker(path) ?? pack.answer(path);
}

/** A page with `window.engine` on the GPU, which has painted once. */
async function open() {
  const opened = await browser.newPage({ serviceWorkers: "block" });
  const { page } = opened;
  await page.goto(site.url);
  const reference = await page.evaluate(async (model) => {
    const engine = (window.engine = await window.fraise.Engine.create({ device: "gpu" }));
    window.load = () => engine.load(model);
    /** The picture's hash; `atStep(index)` is called after each step. */
    window.paint = async (atStep = () => undefined) => {
      for await (const step of engine.generate({ prompt: "a cat", seed: 5, steps: 6 })) await atStep(step.index);
      const { blob } = await engine.last();
      return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()))).join();
    };
    await window.load();
    return window.paint();
  }, MODEL);
  return { ...opened, reference };
}

/** Each way to lose a device, the error, and how often; after a second crash within a minute Chromium itself offers no GPU any more. */
const FAULTS = [
  ["its device is destroyed", "DeviceLost", 2, ({ page }) => page.workers()[0].evaluate(() => self.devices.at(-1).destroy())],
  ["an allocation fails", "OutOfMemory", 2, ({ page }) =>
    page.workers()[0].evaluate(() => {
      const error = new GPUOutOfMemoryError("no room for a buffer of 4096 bytes");
      self.devices.at(-1).dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
    })],
  ["the GPU process is killed", "DeviceLost", 1, async ({ page }) => {
    const session = await page.context().browser().newBrowserCDPSession();
    await session.send("Browser.crashGpuProcess").catch(() => undefined);
  }],
];

for (const [what, code, rounds, lose] of FAULTS) {
  test(`${what} in the middle of a run: ${code}, and after a load from the store the same picture`, TIMEOUT, async () => {
    const opened = await open();
    const { page, reference, close } = opened;
    for (let round = 0; round < rounds; round += 1) {
      await page.evaluate(() => {
        window.halfway = new Promise((resolve) => (window.reach = resolve));
        window.running = window
          .paint((index) => index === 1 && (window.reach(), new Promise((resolve) => (window.goOn = resolve))))
          .then(() => "painted", ({ code }) => code);
        return window.halfway;
      });
      await lose(opened);
      await page.evaluate(() => void window.goOn());
      assert.equal(await page.evaluate(() => window.running), code, `round ${round}`);
      assert.equal(await page.evaluate(() => window.paint().then(() => "painted", ({ code }) => code)), code, "until it is loaded again");
      site.log.length = 0;
      await page.evaluate(() => window.load());
      assert.deepEqual(site.log, [], "nothing is fetched again");
      assert.equal(await page.evaluate(() => window.paint()), reference);
    }
    await close();
  });
}

test("an adapter with no more than WebGPU's least limits, and without f16, paints the same picture", TIMEOUT, async () => {
  const pixels = async (code) => {
    await serve(KEEP_DEVICES + code);
    const { page, problems, close } = await open();
    const found = await page.evaluate(async () => {
      const bitmap = await createImageBitmap((await window.engine.last()).blob);
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return { f16: window.engine.device.hasShaderF16, rgba: [...context.getImageData(0, 0, bitmap.width, bitmap.height).data] };
    });
    const limits = await page.workers()[0].evaluate((names) => names.map((name) => self.devices.at(-1).limits[name]), Object.keys(LEAST));
    assert.deepEqual(problems, []);
    await close();
    return { ...found, limits };
  };
  const [usual, weak] = [await pixels(""), await pixels(weakAdapter(["timestamp-query"]))];
  assert.deepEqual([weak.limits, weak.f16], [Object.values(LEAST), false]);
  assert.notDeepEqual(usual.limits, weak.limits, "this browser offers more");
  const apart = usual.rgba.reduce((most, value, at) => Math.max(most, Math.abs(value - weak.rgba[at])), 0);
  assert.ok(apart <= 2 && new Set(weak.rgba).size > 8, `levels differ by ${apart}`);
});

test("an adapter without timestamp queries is refused with the reason, and by auto left for the processor", TIMEOUT, async () => {
  await serve(weakAdapter([]));
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  const [refused, kind, why] = await page.evaluate(async () => {
    const { Engine } = window.fraise;
    const code = await Engine.create({ device: "gpu" }).catch(({ code, message }) => `${code}: ${message}`);
    const { device } = await Engine.create({ device: "auto" });
    return [code, device.kind, device.whyNotGpu];
  });
  assert.match(refused, /^NoWebGpu: .*timestamp queries/);
  assert.equal(kind, "cpu");
  assert.ok(why.length > 0);
  await close();
});
