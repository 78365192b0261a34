// Pictures painted together, in real Chromium: each is the one that it is alone, at every step.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { openEngine } from "./engine.mjs";
import { goldenPack } from "./packs.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** Most by which a pixel's levels, 0 to 255, differ where kernels divide their work otherwise. */
const TOLERANCE = 2;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

/** A page with `window.engine` on `model`, and `window.paint(request)`: the pixels of each picture at each step. */
async function open(device, model) {
  const opened = await openEngine(browser, site, device, model);
  await opened.page.evaluate(() => {
    window.paint = async (request, options) => {
      const steps = [];
      for await (const step of window.engine.generate({ prompt: "a fox in the snow", ...request }, options)) {
        const images = await Promise.all((await step.images()).map(window.pixels));
        steps.push(images.map(({ data }) => data));
      }
      return steps;
    };
    window.apart = (a, b) => a.reduce((most, value, at) => Math.max(most, Math.abs(value - b[at])), 0);
  });
  return opened;
}

for (const [device, model] of [["gpu"], ["cpu"], ["gpu", "tiny/manifest.json"]]) {
  test(`a batch of four is four pictures, on the ${device}${model ? ", guided" : ""}`, TIMEOUT, async (t) => {
    if (model) {
      const { answer } = await goldenPack("tiny_flow");
      site.answer = (path) => (path.startsWith("/tiny/") ? answer(path) : null);
    }
    const { page, problems, close } = await open(device, model);
    const found = await page.evaluate(async (guidance) => {
      const request = { steps: 2, guidance, promptSyntax: "a1111" };
      const batch = [
        { seed: 7 },
        { seed: 7, variation: { seed: 1, strength: 0.5 } },
        { seed: 8, prompt: "a red car on a beach" },
        { seed: 2n ** 64n - 1n, prompt: "a fox in the snow BREAK a dog" }, // twice as long as the others
      ];
      await window.paint({ ...request, seed: 1 }); // compiles
      let startMs = performance.now();
      const together = await window.paint({ ...request, batch });
      const togetherMs = performance.now() - startMs;
      const pictures = await window.engine.lastBatch();
      startMs = performance.now();
      let largest = 0;
      const alone = [];
      for (const [at, noise] of batch.entries()) {
        const steps = await window.paint({ ...request, ...noise });
        for (const [step, [pixels]] of steps.entries()) largest = Math.max(largest, window.apart(pixels, together[step][at]));
        alone.push(await window.engine.last());
      }
      const aloneMs = performance.now() - startMs;
      const differ = window.apart(together[1][0], together[1][2]);
      const requests = [pictures, alone].map((list) => list.map(({ request: made, width }) => JSON.stringify({ ...made, seed: String(made.seed), width })));
      return { counts: together.map((images) => images.length), largest, differ, requests, times: [togetherMs, aloneMs] };
    }, model ? 3 : undefined);
    site.answer = null;
    t.diagnostic(`together ${found.times[0].toFixed(0)} ms, one after the other ${found.times[1].toFixed(0)} ms; levels differ by ${found.largest}`);
    assert.deepEqual(found.counts, [4, 4]);
    assert.ok(found.largest <= TOLERANCE, `levels differ by ${found.largest}`);
    assert.ok(found.differ > 20, "other noise, another picture");
    assert.deepEqual(found.requests[0], found.requests[1], "each with its own seed");
    assert.deepEqual(problems, []);
    await close();
  });
}

test("a batch shows all pictures on one canvas, ends within a step, and is checked", TIMEOUT, async () => {
  const { page, problems, close } = await open("gpu");
  const found = await page.evaluate(async () => {
    const canvas = document.body.appendChild(document.createElement("canvas"));
    const batch = [{ seed: 1 }, { seed: 2 }, { seed: 3 }];
    const [pictures] = await window.paint({ steps: 1, batch }, { canvas });
    const bitmap = await createImageBitmap(canvas);
    const context = new OffscreenCanvas(512, 512).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const places = [[0, 0], [256, 0], [0, 256], [256, 256]];
    const quarters = places.map(([x, y]) => context.getImageData(x, y, 256, 256).data);
    const shown = pictures.map((picture, at) => window.apart(picture, quarters[at]));
    const isEmpty = quarters[3].every((value, at) => value === (at % 4 === 3 ? 255 : 0));

    const controller = new AbortController();
    let steps = 0;
    let name = "";
    try {
      for await (const _ of window.engine.generate({ prompt: "a fox", steps: 40, batch }, { signal: controller.signal })) {
        steps += 1;
        setTimeout(() => controller.abort(), 5); // in the middle of the next step
      }
    } catch (error) {
      name = error.name;
    }
    const after = (await window.paint({ steps: 1, seed: 1 }))[0];
    const refused = [];
    for (const request of [{ batch: [] }, { batch: Array(5).fill({ seed: 1 }) }, { batch: [{}] }, { batch: [{ seed: 1, prompt: 5 }] }, { batch: [{ seed: 1 }], seed: 2 }, { batch: [{ seed: 1, variation: { seed: 2, strength: 3 } }] }]) {
      await window.paint(request).catch(({ code, details }) => refused.push(`${code} ${details.field}`));
    }
    return { size: [bitmap.width, bitmap.height], shown, isEmpty, steps, name, again: window.apart(after[0], pictures[0]), count: after.length, refused };
  });
  assert.deepEqual(found.size, [512, 512]);
  assert.ok(Math.max(...found.shown) <= 1, `the canvas shows the pictures, but for ${found.shown}`);
  assert.equal(found.isEmpty, true);
  assert.deepEqual([found.name, found.steps], ["AbortError", 1]);
  assert.deepEqual([found.count, found.again <= TOLERANCE], [1, true]);
  assert.deepEqual(found.refused, ["Request batch", "Request batch", "Request batch.seed", "Request batch.prompt", "Request batch", "Request batch.variation.strength"]);
  assert.deepEqual(problems, []);
  await close();
});

test("the studio paints four at once on a GPU, as if each were alone, and variations likewise", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ prompt: "a fox in the snow", seed: 44, steps: 2, device: "gpu" });
  await studio.generate();
  const alone = (await studio.pixels(await studio.savedPng())).rgba;
  await studio.set("#seed", 42);
  await studio.find('[data-count="4"]').click();
  await studio.watchSteps();
  await studio.generate();
  const { lines } = await studio.seen();
  assert.equal(lines.filter((line) => line === "Step 2 of 2").length, 1, `one run, not four: ${lines}`);
  assert.deepEqual(await studio.page.evaluate(async () => {
    const { width, height } = await createImageBitmap(window.tools.find("#canvas"));
    return [width, height];
  }), [512, 512]);
  const seeds = () => studio.page.evaluate(() => [...window.tools.find("#batch").querySelectorAll("button")].map((button) => button.getAttribute("aria-label")));
  assert.deepEqual(await seeds(), [42, 43, 44, 45].map((seed, at) => `Picture ${at + 1} of 4, seed ${seed}`));
  await studio.find("#batch li:nth-child(3) button").click();
  await studio.page.evaluate(() => delete window.savedBlob);
  const png = await studio.savedPng();
  assert.match(readPng(png).texts.parameters, /Seed: 44\b/);
  const { rgba } = await studio.pixels(png);
  const differences = [...rgba].map((value, at) => Math.abs(value - alone[at]));
  const largest = differences.reduce((most, difference) => Math.max(most, difference), 0);
  const apart = differences.filter((difference) => difference > TOLERANCE).length;
  assert.ok(largest <= TOLERANCE, `levels differ by ${largest}, ${apart} of them by more than ${TOLERANCE}`);
  assert.equal(await studio.page.evaluate(() => window.tools.find("#scrubber").max), "1", "each has its own steps to look back at");
  await studio.until(() => window.tools.text("#gallery-count") === "5 pictures");

  await studio.find("#vary-strong").click();
  await studio.until(() => (window.tools.text("#made-with") ?? "") !== "" && !window.tools.has("#cancel") && window.tools.text("#gallery-count") === "9 pictures", null, 120_000);
  const variations = (await studio.seen()).lines.filter((line) => line === "Step 2 of 2").length;
  assert.equal(variations, 2, "one more run");
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

/** The pictures of a video of nine, on a page of its own: the studio's policy lets it play nothing. */
async function framesOfVideo(bytes) {
  const { page, close } = await browser.newPage();
  const type = bytes.toString("latin1", 4, 8) === "ftyp" ? "mp4" : "webm";
  const frames = await page.evaluate(async (url) => {
    const video = Object.assign(document.createElement("video"), { muted: true, src: url });
    await new Promise((resolve, reject) => Object.assign(video, { onloadeddata: resolve, onerror: () => reject(video.error) }));
    const each = 2.4 / 9; // the last one stays longer
    const found = [];
    for (let at = 0; at < 9; at += 1) {
      video.currentTime = (at + 0.5) * each;
      await new Promise((resolve) => (video.onseeked = resolve));
      const context = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext("2d");
      context.drawImage(video, 0, 0);
      found.push([...context.getImageData(0, 0, video.videoWidth, video.videoHeight).data]);
    }
    return found;
  }, `data:video/${type};base64,${bytes.toString("base64")}`);
  await close();
  return frames;
}

test("a series from one kept picture to another of other words is painted together, each as if alone", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  for (const [prompt, seed] of [["a fox in the snow", 42], ["a red car on a beach", 43]]) {
    await studio.settings({ prompt, seed, steps: 2, device: "gpu" });
    for (const side of ["#width", "#height"]) await studio.set(side, 128); // for the sake of time
    await studio.generate();
  }
  await studio.until(() => window.tools.text("#gallery-count") === "2 pictures");
  const compare = async () => {
    await studio.find('button[data-id][aria-label="a fox in the snow"]').last().click();
    await studio.find("#compare").click();
    await studio.find('button[data-id][aria-label="a red car on a beach"]').last().click();
    await studio.until(() => window.tools.has("#cut"));
  };
  const untilCount = (count) => studio.until((wanted) => window.tools.text("#gallery-count") === `${wanted} pictures` && !window.tools.has("#cancel"), count, 300_000);
  const pixels = async () => studio.pixels(await studio.savedPng());
  await compare();
  await studio.watchSteps();
  await studio.find("#sweep").click();
  await untilCount(11);
  const runs = (await studio.seen()).lines.filter((line) => line === "Step 2 of 2").length;
  assert.equal(runs, 3, "nine pictures in three runs");
  assert.equal(await studio.page.evaluate(() => window.tools.has("#rank")), false, "of other words, they are not ranked");
  const select = (at) => studio.find(`#batch li:nth-child(${at}) button`).click();
  const series = [];
  for (let at = 1; at <= 9; at += 1) {
    await select(at);
    series.push((await pixels()).rgba);
  }
  const apart = (a, b) => a.reduce((sum, value, at) => sum + Math.abs(value - b[at]), 0) / a.length;
  assert.ok(apart(series[0], series[8]) > 10, "from one picture to another");
  for (let at = 1; at < 9; at += 1) assert.ok(apart(series[at], series[at - 1]) > 0.5, `picture ${at + 1} is no other than the one before it`);

  const ofGif = await studio.framesOfGif(await studio.savedPng("#batch-gif"));
  const animations = { gif: ofGif.map(({ rgba }) => rgba), video: await framesOfVideo(await studio.savedPng("#batch-video")) };
  for (const [kind, frames] of Object.entries(animations)) {
    assert.equal(frames.length, 9);
    for (const [at, frame] of frames.entries()) assert.ok(apart(frame, series[at]) < 8, `${kind}, frame ${at}: ${apart(frame, series[at])}`);
  }

  await compare();
  await studio.find("#cross").click(); // half of each, as the fifth of the series
  await untilCount(12);
  const { rgba } = await pixels();
  const largest = rgba.reduce((most, value, at) => Math.max(most, Math.abs(value - series[4][at])), 0);
  assert.ok(largest <= TOLERANCE, `levels differ by ${largest}`);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});
