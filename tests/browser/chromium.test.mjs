// What a visitor does, in real Chromium on its software GPU.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { requiredPieces } from "./packs.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { modelFile, openSite, piecesIn } from "./site.mjs";
import { untilStored } from "./store.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** The page of the first visit; the next two tests go on with it, since its shaders are compiled. */
let visited;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

test("a first visit: introduced, downloaded with progress, painted step by step, saved", TIMEOUT, async (t) => {
  site.log.length = 0;
  const studio = await StudioDriver.open(browser, site.url);
  visited = studio;
  await studio.settings({ seed: 42, steps: 4 });
  await studio.until(() => window.tools.text("#model")?.includes("MB"));
  assert.deepEqual(piecesIn(site.log), [], "nothing of the model is fetched before Generate");

  await studio.watchSteps();
  await studio.generate();
  const seen = await studio.seen();
  for (let step = 1; step <= 4; step += 1) assert.ok(seen.lines.includes(`Step ${step} of 4`), `step ${step}: ${seen.lines}`);
  assert.ok(seen.prints >= 4, `the canvas changed ${seen.prints} times in 4 steps`);
  assert.ok(seen.details.some((detail) => /of .*B/.test(detail)), `download in bytes: ${seen.details}`);
  assert.ok(piecesIn(site.log).length > 0);
  assert.equal(new Set(piecesIn(site.log)).size, piecesIn(site.log).length, "no piece is fetched twice");
  t.diagnostic(`progress texts: ${seen.details.length}, paints: ${seen.prints}`);

  const [download] = await Promise.all([studio.page.waitForEvent("download"), studio.find("#save").click()]);
  assert.equal(download.suggestedFilename(), "fraise-42.png");
  const png = readPng(await readFile(await download.path()));
  assert.match(png.texts.parameters, /^a strawberry on a beach\n/);
  assert.match(png.texts.parameters, /Steps: 4, .*Seed: 42/);
  assert.match(png.texts["XML:com.adobe.xmp"], /DigitalSourceType="[^"]*trainedAlgorithmicMedia"/);
  assert.match(await studio.text("#made-with"), new RegExp(`${png.width}\\s×\\s${png.height}`));
  assert.deepEqual([...studio.hosts], [new URL(site.url).host], "no request leaves the origin");
});

test("a newcomer presses one button and has a picture within a minute of opening the page", TIMEOUT, async (t) => {
  const startMs = performance.now();
  const studio = await StudioDriver.open(browser, site.url); // a fresh profile on a software adapter
  await studio.page.evaluate(() => {
    window.said = [];
    const status = window.tools.find("fraise-progress").shadowRoot.querySelector("[role=status]");
    const note = () => status.textContent.trim() && window.said.at(-1) !== status.textContent.trim() && window.said.push(status.textContent.trim());
    new MutationObserver(note).observe(status, { subtree: true, childList: true, characterData: true });
  });
  await studio.generate();
  const tookMs = performance.now() - startMs;
  t.diagnostic(`${(tookMs / 1000).toFixed(1)} s, ${await studio.text("#made-with")}`);
  assert.ok(tookMs <= 60_000, `${tookMs} ms`);
  const { rgba } = await studio.pixels(await studio.savedPng());
  assert.ok(new Set(rgba).size > 64, "a picture, not a plain colour");
  const said = await studio.page.evaluate(() => window.said);
  for (const [what, words] of [["the download", /^Downloading/], ["a step", /^Step \d of \d/], ["the end", /^Finished in/]]) {
    assert.ok(said.some((line) => words.test(line)), `a screen reader hears of ${what}: ${said}`);
  }
  assert.ok(said.length < 16, `and is not flooded: ${said.length}`);
  await studio.close();
});

test("what a pack needs is known before it is fetched", TIMEOUT, async () => {
  const { page, problems, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  site.log.length = 0;
  const [onGpu, onCpu] = await page.evaluate(async () => {
    const ask = async (device) => {
      const engine = await window.fraise.Engine.create({ device });
      const needs = await engine.requirements("models/fraise-1/manifest.json");
      engine.close();
      return needs;
    };
    return [await ask("gpu"), await ask("cpu")];
  });
  assert.deepEqual(piecesIn(site.log), []);
  const manifest = JSON.parse(await readFile(new URL("../../models/fraise-1/manifest.json", import.meta.url)));
  const loaded = Object.entries(manifest.components).filter(([, { optional }]) => !optional);
  const bytes = (parts) => parts.reduce((sum, [, component]) => sum + component.bytes, 0);
  for (const needs of [onGpu, onCpu]) {
    assert.ok(needs.fits);
    assert.equal(needs.totalBytes, bytes(loaded));
    assert.equal(needs.weightsBytes, bytes(loaded.filter(([name]) => name !== "tokenizer")));
    assert.ok(needs.paintingBytes > 0 && needs.decodingBytes > needs.largestBufferBytes);
  }
  assert.ok(onGpu.bufferLimitBytes >= 128 * 2 ** 20 && onGpu.largestBufferBytes < onGpu.bufferLimitBytes);
  assert.equal(onCpu.bufferLimitBytes, null);
  assert.deepEqual(problems, []);
  await close();
});

test("the same seed paints the same picture, another seed another", TIMEOUT, async () => {
  const studio = visited;
  const pictures = [];
  for (const seed of [7, 7, 8]) {
    await studio.settings({ seed, steps: 2 });
    await studio.generate();
    pictures.push(await studio.pixels(await studio.savedPng()));
    await studio.page.evaluate(() => delete window.savedBlob);
  }
  assert.deepEqual(pictures[0], pictures[1]);
  assert.notDeepEqual(pictures[0].rgba, pictures[2].rgba);
  const levels = new Set(pictures[0].rgba);
  assert.ok(levels.size > 8, `a picture, not a plain colour: ${levels.size} levels`);
});

test("cancelled in the middle, the engine paints the next picture", TIMEOUT, async () => {
  const studio = visited;
  await studio.settings({ steps: 40 });
  await studio.press();
  await studio.until(() => /^Step [1-9]\d* of 40/.test(window.tools.text("#progress-text") ?? ""), null, 200_000);
  await studio.page.keyboard.press("Escape");
  await studio.until(() => window.tools.text("#progress-text") === "Cancelled");
  await studio.settings({ steps: 2 });
  await studio.generate();
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("cancelled while downloading, only the missing pieces are fetched later", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  let asked = 0;
  const never = new Promise(() => undefined);
  site.answer = (path) => (path.endsWith(".bin") && (asked += 1) > 1 ? never : null); // the first arrives, no other
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.press();
  const stored = await untilStored(studio.page);
  await studio.find("#cancel").click();
  await studio.until(() => window.tools.text("#progress-text") === "Cancelled");
  site.answer = null;
  site.log.length = 0;
  await studio.generate();
  const required = requiredPieces(JSON.parse(await modelFile("manifest.json")));
  const fetched = piecesIn(site.log).map((path) => path.match(/[0-9a-f]{64}/)[0]);
  assert.deepEqual([...fetched, ...stored].sort(), [...required].sort(), "each piece once, the stored one not again");
  await studio.close();
});

test("a later visit: with the first letter the engine starts, and what is kept is loaded, unseen and without the network", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  const isReady = () => studio.page.evaluate(() => window.tools.has("#runs-on"));
  await studio.until(() => window.tools.text("#model")?.includes("MB"));
  site.log.length = 0;
  await studio.find("#prompt").fill("a fox");
  await studio.page.waitForTimeout(2000);
  assert.deepEqual(piecesIn(site.log), [], "a model that is not kept is not fetched for a letter");
  assert.equal(await isReady(), false);
  await studio.generate();

  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.text("#model")?.includes("MB"));
  await studio.page.waitForTimeout(1000);
  assert.equal(await isReady(), false, "nothing starts before the visitor does something");
  site.log.length = 0;
  await studio.page.evaluate(() => {
    window.kinds = new Set();
    const note = () => window.kinds.add(window.tools.find("fraise-stage").state.activity.kind);
    window.watching = setInterval(note, 1);
  });
  await studio.find("#prompt").fill("a cat");
  await studio.until(() => window.tools.has("#runs-on"));
  assert.deepEqual(await studio.page.evaluate(() => [...window.kinds]), ["idle"], "nothing of it is shown");
  assert.deepEqual(piecesIn(site.log), []);
  await studio.generate();
  assert.equal(await studio.page.evaluate(() => window.kinds.has("loading")), false, "nothing was left to load");

  // Asked for at once, it is waited for, with its progress; cancelled, another press begins anew.
  await studio.page.reload();
  await studio.installTools();
  await studio.settings({ device: "cpu" });
  await studio.press();
  await studio.page.keyboard.press("Escape");
  await studio.until(() => window.tools.text("#progress-text") === "Cancelled");
  await studio.generate();
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("without WebGPU it says why, fetches nothing, and paints on the processor", TIMEOUT, async () => {
  const plain = await launchChromium({ gpu: "none" });
  try {
    site.log.length = 0;
    const studio = await StudioDriver.open(plain, site.url);
    await studio.until(() => window.tools.has("#no-gpu"));
    assert.match(await studio.text("#no-gpu"), /Painting on the processor.*WebGPU/s);
    assert.deepEqual(piecesIn(site.log), []);
    await studio.settings({ steps: 1, device: "auto" });
    await studio.generate();
    assert.match(await studio.text("#model"), /processor/);

    // Who insists on the GPU is told, and offered the processor.
    await studio.set("#device", "gpu");
    assert.equal(await studio.page.evaluate(() => window.tools.find("#generate").disabled), true);
    await studio.find("#use-cpu").click();
    await studio.generate();
    await studio.close();
  } finally {
    await plain.close();
  }
});

test("Chinese: the page changes its language and remembers it", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url);
  await studio.until(() => window.tools.has('button[lang="zh-Hans"]'));
  await studio.find('button[lang="zh-Hans"]').click();
  await studio.until(() => window.tools.text("#generate")?.startsWith("开始画"));
  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.text("#generate")?.startsWith("开始画"));
  assert.equal(await studio.page.evaluate(() => document.documentElement.lang), "zh-Hans");
  await studio.close();
});
