// The engine's two WebAssembly modules: a browser gets the one that it can run, and that one alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { openEngine } from "./engine.mjs";
import { closedAfter } from "./setup.mjs";
import { changedWorker, openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 200_000 };
const WITH = /\/fraise_web_relaxed_bg-[^/]+\.wasm$/;
const WITHOUT = /\/fraise_web_bg-[^/]+\.wasm$/;
/** Channels differ by rounding alone, which may tip one of 255 levels. */
const MOST_LEVELS = 1;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

/** A picture's channels, painted on the processor, and the modules that were fetched for it. */
async function painted(answer) {
  site.log.length = 0;
  site.answer = answer;
  const { page, close } = await openEngine(browser, site, "cpu");
  const channels = await page.evaluate(async () => {
    let picture;
    for await (const step of window.engine.generate({ prompt: "a strawberry on a beach", seed: 42, steps: 4 })) picture = await step.image();
    return [...(await window.pixels(picture)).data];
  });
  await close();
  site.answer = null;
  return { channels, modules: site.log.filter((path) => path.endsWith(".wasm")) };
}

test("relaxed SIMD where the browser has it, and the same picture where it has not", TIMEOUT, async (context) => {
  const fused = await painted(null);
  const plain = await painted(await changedWorker("WebAssembly.validate = () => false"));
  assert.equal(fused.modules.length, 1);
  assert.match(fused.modules[0], WITH);
  assert.equal(plain.modules.length, 1);
  assert.match(plain.modules[0], WITHOUT);
  const differences = fused.channels.map((channel, at) => Math.abs(channel - plain.channels[at]));
  const most = differences.reduce((a, b) => Math.max(a, b), 0);
  context.diagnostic(`${differences.filter((difference) => difference > 0).length} of ${differences.length} channels differ, by ${most} at most`);
  assert.ok(fused.channels.length > 0 && most <= MOST_LEVELS);
});

test("offline, the page keeps the module in use alone", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url);
  const kept = await studio.page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    const names = await caches.keys();
    const requests = await Promise.all(names.map(async (name) => (await caches.open(name)).keys()));
    return requests.flat().map(({ url }) => new URL(url).pathname).filter((path) => path.endsWith(".wasm"));
  });
  assert.equal(kept.length, 1, String(kept));
  assert.match(kept[0], WITH);
  await studio.close();
});
