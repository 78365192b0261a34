// What a visitor with Safari does, in real WebKit: its GTK build, which has no WebGPU, so that it paints on the processor.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { TINY, writeCheckpoint } from "./checkpoints.mjs";
import { closedAfter, temporaryFolder } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";
import { launchWebkit, webkitProgram } from "./webkit.mjs";

const OPTIONS = {
  timeout: 300_000,
  skip: (await webkitProgram()) ? false : "SKIPPED in WebKit: webkit2gtk-driver and xvfb are not installed",
};
const ASKED = { prompt: "a strawberry on a beach", seed: 42, steps: 4, device: "auto" };

const site = await closedAfter(openSite());
const browser = OPTIONS.skip ? null : await closedAfter(launchWebkit());

/** The largest difference of two pictures' channels. */
const difference = (one, other) => one.reduce((largest, value, at) => Math.max(largest, Math.abs(value - other[at])), 0);

/** The driver has room for one session: it is closed however a test ends. */
async function open(t) {
  const studio = await StudioDriver.open(browser, site.url);
  t.after(() => studio.close());
  return studio;
}

test("without WebGPU it says so and paints on the processor, what Chromium paints", OPTIONS, async (t) => {
  const studio = await open(t);
  await studio.until(() => window.tools.has("#no-gpu"));
  assert.match(await studio.text("#no-gpu"), /Painting on the processor/);
  await studio.settings(ASKED);
  assert.deepEqual(piecesIn(site.log), [], "nothing of the model is fetched before Generate");
  await studio.watchSteps();
  await studio.generate();
  const { lines, prints } = await studio.seen();
  for (const step of [1, 2, 3, 4]) assert.ok(lines.includes(`Step ${step} of 4`), `step ${step}: ${lines}`);
  assert.ok(prints >= 3, `the canvas changed ${prints} times`);
  const painted = await studio.pixels(await studio.savedPng());
  const canvas = await studio.pixelsOf("#canvas");
  const marked = painted.rgba.reduce((sum, value, at) => sum + Math.abs(value - canvas[at]), 0) / canvas.length;
  assert.ok(marked > 0.1 && marked < 3, `the mark changes the canvas's values by ${marked} on average`);

  const chromium = await launchChromium();
  t.after(() => chromium.close());
  const other = await StudioDriver.open(chromium, site.url);
  await other.settings({ ...ASKED, device: "cpu" });
  await other.generate();
  const expected = await other.pixels(await other.savedPng());
  // One level: one of the two may have relaxed SIMD, whose sums are rounded once less.
  assert.ok(difference(expected.rgba, painted.rgba) <= 1, `pixels differ by up to ${difference(expected.rgba, painted.rgba)}`);
});

test("pictures are kept and made larger; a later visit needs no network for the model, and has threads", OPTIONS, async (t) => {
  const studio = await open(t);
  const count = () => window.tools.find("fraise-grid")?.shadowRoot.querySelectorAll("button[data-id]").length;
  await studio.settings(ASKED);
  await studio.generate();
  await studio.until(count);
  assert.equal(await studio.text("#note"), null, "nothing went wrong with keeping it");
  assert.equal((await studio.savedPng("#save-gif")).subarray(0, 6).toString(), "GIF89a");
  await studio.find("#enlarge").click();
  await studio.until(() => /512/.test(window.tools.text("#made-with") ?? ""));
  await studio.until(() => navigator.serviceWorker.controller?.state === "activated");

  await studio.page.reload();
  await studio.installTools();
  await studio.until(count);
  site.log.length = 0;
  await studio.find("#prompt").fill("a fox in the forest");
  await studio.until(() => window.tools.has("#runs-on")); // loaded with the first letter
  await studio.generate();
  assert.deepEqual(piecesIn(site.log), []);
  assert.equal(await studio.page.evaluate(() => window.crossOriginIsolated), true);
  const origins = await studio.page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => new URL(name).origin));
  assert.deepEqual([...new Set(origins)], [new URL(site.url).origin], "no request leaves the origin");
});

test("a checkpoint becomes a model", OPTIONS, async (t) => {
  const folder = await temporaryFolder();
  await writeCheckpoint(join(folder, "tiny.safetensors"), TINY);
  const studio = await open(t);
  await studio.pickCheckpoint(join(folder, "tiny.safetensors"));
  await studio.convert("q8");
  await studio.settings({ ...ASKED, steps: 1 });
  await studio.generate();
  assert.match(await studio.text("#model"), /tiny/);
  const { width, rgba } = await studio.pixels(await studio.savedPng());
  assert.equal(width, 128);
  assert.ok(new Set(rgba).size > 8, "a picture, not a plain colour");
});

test("a painter element paints on somebody's page", OPTIONS, async (t) => {
  const { page, problems, close } = await browser.newPage();
  t.after(close);
  await page.goto(`${site.url}widget.html`);
  const bytes = await page.evaluate(async () => {
    await customElements.whenDefined("fraise-painter");
    const painter = document.querySelector("fraise-painter");
    const result = new Promise((resolve, reject) => {
      painter.addEventListener("fraise-result", ({ detail }) => resolve(detail.blob.size));
      painter.addEventListener("fraise-error", ({ detail }) => reject(detail));
    });
    painter.shadowRoot.querySelector("button").click();
    return result;
  });
  assert.ok(bytes > 10_000, `a picture of ${bytes} bytes`);
  assert.deepEqual(problems, []);
});
