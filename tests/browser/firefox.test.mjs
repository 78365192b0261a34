// The main path in real Firefox: another WebGPU, with 16-bit shaders and small binding limits.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { launchFirefox } from "./browsers.mjs";
import { TINY, writeCheckpoint } from "./checkpoints.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** The page of the first visit; the next test goes on with it, since its shaders are compiled. */
let studio;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchFirefox());

test("a first visit paints every step and saves a PNG", TIMEOUT, async () => {
  studio = await StudioDriver.open(browser, site.url);
  await studio.settings({ seed: 42, steps: 4 });
  assert.deepEqual(piecesIn(site.log), []);
  await studio.watchSteps();
  await studio.generate();
  const seen = await studio.seen();
  for (let step = 1; step <= 4; step += 1) assert.ok(seen.lines.includes(`Step ${step} of 4`), `step ${step}: ${seen.lines}`);
  assert.ok(seen.prints >= 4, `the canvas changed ${seen.prints} times in 4 steps`);
  const bytes = await studio.savedPng();
  const png = readPng(bytes);
  assert.match(png.texts.parameters, /Steps: 4, .*Seed: 42/);
  assert.match(png.texts["XML:com.adobe.xmp"], /trainedAlgorithmicMedia/);
  const { rgba } = await studio.pixels(bytes);
  assert.ok(new Set(rgba).size > 8, "a picture, not a plain colour");
  assert.deepEqual([...studio.hosts], [new URL(site.url).host]);
});

/** The gallery's pictures: what they are called, and whether each thumbnail shows something. */
const gallery = () =>
  studio.page.evaluate(async () => {
    const cells = [...(window.tools.find("fraise-grid")?.shadowRoot.querySelectorAll("button[data-id]") ?? [])];
    return Promise.all(
      cells.map(async (cell) => {
        const image = cell.querySelector("fraise-image").shadowRoot.querySelector("img");
        await image.decode();
        const context = new OffscreenCanvas(16, 16).getContext("2d");
        context.drawImage(image, 0, 0, 16, 16);
        return [cell.getAttribute("aria-label"), new Set(context.getImageData(0, 0, 16, 16).data).size > 8];
      }),
    );
  });

test("the picture is in the gallery, and still after a reload, with its bytes and its settings", TIMEOUT, async () => {
  await studio.until(() => window.tools.text("#gallery-count") === "1 picture");
  const saved = await studio.savedPng();
  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.text("#gallery-count") === "1 picture" && window.tools.has("button[data-id]"));
  assert.deepEqual(await gallery(), [["a strawberry on a beach", true]]);
  await studio.page.evaluate(() => window.tools.find("button[data-id]").click());
  await studio.until(() => window.tools.text("#viewed-prompt") === "a strawberry on a beach");
  assert.deepEqual(await studio.savedPng("#save-kept"), saved);
  await studio.page.evaluate(() => window.tools.find("#use").click());
  await studio.until(() => window.tools.find("#prompt").value === "a strawberry on a beach" && window.tools.find("#seed").value === "42");
  site.log.length = 0;
  await studio.settings({ seed: 42, steps: 4 });
  await studio.generate();
  assert.deepEqual(piecesIn(site.log), [], "the model was kept too");
  assert.deepEqual(await studio.pixels(await studio.savedPng()), await studio.pixels(saved), "the same picture again");
  await studio.until(() => window.tools.text("#gallery-count") === "2 pictures");
});

test("cancelled in the middle, the engine paints the next picture", TIMEOUT, async () => {
  await studio.settings({ steps: 40 });
  await studio.press();
  await studio.until(() => /^Step [1-9]\d* of 40/.test(window.tools.text("#progress-text") ?? ""), null, 200_000);
  await studio.page.keyboard.press("Escape");
  await studio.until(() => window.tools.text("#progress-text") === "Cancelled");
  await studio.settings({ steps: 2 });
  await studio.generate();
});

test("where the GPU has 16-bit floats, the visitor may switch to them; the engine starts anew and paints", TIMEOUT, async () => {
  await studio.until(() => window.tools.has("#float16"));
  await studio.settings({ device: "cpu", steps: 2 });
  assert.equal(await studio.page.evaluate(() => window.tools.has("#float16")), false, "the processor has none");
  await studio.settings({ device: "gpu", steps: 2 });
  await studio.until(() => window.tools.has("#float16"));
  await studio.page.evaluate(() => window.tools.find("#float16").click());
  assert.equal(await studio.text("#made-with"), null, "the engine is gone, and its picture with it");
  await studio.generate();
  assert.ok(await studio.page.evaluate(() => window.tools.find("#float16").checked));
  await studio.close();
});

test("a picked checkpoint is converted and painted with", TIMEOUT, async () => {
  const folder = await mkdtemp(join(tmpdir(), "fraise-firefox-"));
  try {
    const checkpoint = join(folder, "tiny.safetensors");
    await writeCheckpoint(checkpoint, TINY);
    const own = await StudioDriver.open(browser, site.url);
    await own.settings({ steps: 1, device: "cpu" });
    await own.pickCheckpoint(checkpoint);
    await own.convert("q8");
    await own.settings({ steps: 1, device: "cpu" });
    site.log.length = 0;
    await own.generate();
    assert.deepEqual(piecesIn(site.log), []);
    await own.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
