// A graphics card that goes away in the middle: an error by name, then the same picture on a new device, without the network.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { goldenPack } from "./packs.mjs";
import { changedWorker, openSite } from "./site.mjs";

const TIMEOUT = { timeout: 200_000 };
const MODEL = "models/tiny/manifest.json";
/** Keeps each device where a test finds it. */
const KEEP_DEVICES = `{
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...given) {
    const device = await request.apply(this, given);
    (self.devices ??= []).push(device);
    return device;
  };
}`;

let site;
let browser;

before(async () => {
  site = await openSite();
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  await site?.close();
});
beforeEach(async () => {
  const [pack, worker] = [await goldenPack("tiny_flow"), await changedWorker(KEEP_DEVICES)];
  site.answer = (path) => worker(path) ?? pack.answer(path);
});

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

/** Each way to lose a device, and how often; after a second crash within a minute Chromium itself offers no GPU any more. */
const FAULTS = [
  ["its device is destroyed", 2, ({ page }) => page.workers()[0].evaluate(() => self.devices.at(-1).destroy())],
  ["the GPU process is killed", 1, async ({ page }) => {
    const session = await page.context().browser().newBrowserCDPSession();
    await session.send("Browser.crashGpuProcess").catch(() => undefined);
  }],
];

for (const [what, rounds, lose] of FAULTS) {
  test(`${what} in the middle of a run: DeviceLost, and after a load from the store the same picture`, TIMEOUT, async () => {
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
      assert.equal(await page.evaluate(() => window.running), "DeviceLost", `round ${round}`);
      assert.equal(await page.evaluate(() => window.paint().then(() => "painted", ({ code }) => code)), "DeviceLost", "until it is loaded again");
      site.log.length = 0;
      await page.evaluate(() => window.load());
      assert.deepEqual(site.log, [], "nothing is fetched again");
      assert.equal(await page.evaluate(() => window.paint()), reference);
    }
    await close();
  });
}
