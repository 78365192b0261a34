// What files say of how they were made, where the visitor wants that left out: nothing but that AI made them.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 300_000 };
const PROMPT = "a strawberry on a beach";
const SEED = 4242;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

/** The file that a press of a button saves. */
async function saved(studio, selector) {
  const [download] = await Promise.all([studio.page.waitForEvent("download"), studio.find(selector).click()]);
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

/** Whether the engine finds the mark in a PNG's pixels. */
const isMarked = (studio, png) =>
  studio.page.evaluate(async (base64) => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const found = await engine.isMarked(new Blob([bytes], { type: "image/png" }));
    engine.close();
    return found;
  }, png.toString("base64"));

/** From now on the page remembers what stands behind the addresses that it makes, which its policy lets nobody fetch. */
const rememberBlobs = (studio) => studio.page.evaluate(() => {
  const create = URL.createObjectURL.bind(URL);
  window.blobs = new Map();
  URL.createObjectURL = (blob) => {
    const url = create(blob);
    window.blobs.set(url, blob);
    return url;
  };
});

/** The file that an image shows: what the browser's own "Save image as" gives. */
async function shown(studio, selector) {
  const base64 = await studio.until(async (wanted) => {
    const blob = window.blobs.get(window.tools.find(wanted)?.shadowRoot.querySelector("img")?.src);
    if (!blob) return null;
    return btoa(Array.from(new Uint8Array(await blob.arrayBuffer()), (byte) => String.fromCharCode(byte)).join(""));
  }, selector);
  return Buffer.from(base64, "base64");
}

/** Fails where an image's file holds what was asked for, or lacks the mark of AI. */
async function assertShownBare(studio, selector) {
  const bytes = await shown(studio, selector);
  assertBare({ name: selector, bytes });
  assert.match(readPng(bytes).texts["XML:com.adobe.xmp"], /trainedAlgorithmicMedia/);
}

/** Fails where a file holds what was asked for, in its name or in its bytes. */
function assertBare({ name, bytes }) {
  for (const word of [PROMPT, "rain and fog", String(SEED), "Steps:"]) {
    assert.ok(!bytes.includes(word) && !name.includes(word), `${name} says ${word}`);
  }
}

test("words and settings are left out of saved files, the marks of AI are not", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await rememberBlobs(studio);
  await studio.settings({ prompt: PROMPT, seed: SEED, steps: 2, device: "cpu" });
  await studio.set("#negative", "rain and fog");
  await studio.generate();
  const whole = await saved(studio, "#save");
  assert.match(readPng(whole.bytes).texts.parameters, /a strawberry on a beach/);
  assert.equal(whole.name, `fraise-${SEED}.png`);
  assert.deepEqual(await shown(studio, "#finished"), whole.bytes, "what the browser itself saves of the picture");

  await studio.find("fraise-settings summary").click();
  await studio.find("#bare-files").click();
  assert.match(await studio.text("#bare-files-hint"), /Nothing is signed/);
  const bare = await saved(studio, "#save");
  assertBare(bare);
  const { texts } = readPng(bare.bytes);
  assert.deepEqual(Object.keys(texts), ["XML:com.adobe.xmp"]);
  assert.deepEqual(await shown(studio, "#finished"), bare.bytes);
  assert.match(texts["XML:com.adobe.xmp"], /trainedAlgorithmicMedia/);
  assert.deepEqual(await studio.pixels(bare.bytes), await studio.pixels(whole.bytes));
  assert.equal(await isMarked(studio, bare.bytes), true);
  assertBare(await saved(studio, "#save-gif"));
  await studio.find("#enlarge").click();
  await studio.until(() => / 512/.test(window.tools.text("#made-with") ?? "") && !window.tools.has("#cancel"), null, 120_000);
  assert.equal(await isMarked(studio, (await saved(studio, "#save")).bytes), true, "larger, and marked anew");
  for (const at of [1, 2]) await assertShownBare(studio, `#batch li:nth-child(${at}) fraise-image`);

  await studio.page.reload();
  await studio.installTools();
  await rememberBlobs(studio);
  await studio.until(() => window.tools.has("button[data-id]"));
  assert.equal(await studio.page.evaluate(() => window.tools.find("#bare-files").checked), true, "kept");
  const zip = await saved(studio, "#export");
  assertBare(zip);
  assert.ok(zip.bytes.includes("trainedAlgorithmicMedia"));
  await studio.find("button[data-id] >> nth=0").click();
  await studio.until((prompt) => window.tools.text("#viewed-prompt") === prompt, PROMPT); // the gallery still knows
  assertBare(await saved(studio, "#save-kept"));
  await assertShownBare(studio, "#viewed");
  await studio.find("#compare").click();
  await studio.find("button[data-id] >> nth=1").click();
  for (const side of ["#below", "#above"]) await assertShownBare(studio, side);
  await studio.page.keyboard.press("Escape");

  await studio.find("fraise-settings summary").click();
  await studio.find("#bare-files").click();
  assert.ok((await saved(studio, "#export")).bytes.includes(PROMPT));
  await studio.find("button[data-id] >> nth=0").click();
  assert.ok((await shown(studio, "#viewed")).includes(PROMPT));
  assert.deepEqual(studio.problems, []);
  await studio.close();
});
