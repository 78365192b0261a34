// What a picture begins with and how its edges meet, in real Chromium: start pictures, masks, tiling and variations.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { openEngine } from "./engine.mjs";
import { editedManifest, goldenPack } from "./packs.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";

const TIMEOUT = { timeout: 400_000 };

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

/** A page with `window.engine`, and what the tests look at pictures with. */
async function open(device, model) {
  const opened = await openEngine(browser, site, device, model);
  await opened.page.evaluate(() => {
    window.paint = async (request) => {
      const totals = [];
      for await (const step of window.engine.generate({ prompt: "a strawberry on a beach", seed: 3, ...request })) {
        totals.push(step.total);
      }
      const { blob, request: effective } = await window.engine.last();
      return { blob, effective, totals, image: await window.pixels(blob) };
    };
    window.squares = (a, b) => a.data.reduce((sum, value, i) => sum + (value - b.data[i]) ** 2, 0);
    /** Peak signal-to-noise ratio in dB; a quarter of the numbers are alphas, which are alike. */
    window.psnr = (a, b) => 10 * Math.log10((255 ** 2 * 0.75 * a.data.length) / window.squares(a, b));
    /** A mask: white from `column` on. */
    window.maskFrom = (width, height, column) => {
      const mask = new ImageData(width, height);
      mask.data.forEach((_, i) => (mask.data[i] = i % 4 === 3 || (i >> 2) % width >= column ? 255 : 0));
      return mask;
    };
    /** Values of pixels left of `column`, and of the others, that differ. */
    window.changed = (a, b, column) => {
      const isLeft = (i) => (i >> 2) % a.width < column;
      const count = (side) => a.data.filter((value, i) => isLeft(i) === side && value !== b.data[i]).length;
      return { left: count(true), right: count(false) };
    };
    window.refusal = async (work) => {
      try {
        await work();
        return null;
      } catch ({ code, details }) {
        return `${code} ${details.field}`;
      }
    };
  });
  return opened;
}

test("a start picture: kept at low strength, left at high; only what is white in the mask changes", TIMEOUT, async () => {
  site.answer = null;
  site.log.length = 0;
  const { page, problems, close } = await open("cpu");
  const before = piecesIn(site.log).length;
  assert.equal(await page.evaluate(() => window.info.hasEncoder), true);
  const found = await page.evaluate(async () => {
    const start = await window.paint({ steps: 6, seed: 1 });
    window.start = start;
    const from = (strength, more) => window.paint({ steps: 10, image: start.blob, strength, ...more });
    const [low, high] = [await from(0.1), await from(0.95)];
    const { width, height } = start.image;
    const mask = window.maskFrom(width, height, width / 2);
    const masked = await window.paint({ steps: 6, image: start.image, mask });
    const all = await from(1, { mask });
    const canvas = new OffscreenCanvas(300, 200);
    canvas.getContext("2d").fillRect(0, 0, 300, 200);
    const jpeg = await window.paint({ steps: 2, image: await canvas.convertToBlob({ type: "image/jpeg" }), strength: 0 });
    return {
      psnr: [low, high].map(({ image }) => window.psnr(image, start.image)),
      totals: [low, high, masked, all].map(({ totals }) => [totals.length, totals[0]]),
      requests: [start, low, masked].map(({ effective: { strength, masked: isMasked } }) => [strength, isMasked]),
      changed: [masked, all].map(({ image }) => window.changed(image, start.image, width / 2)),
      brightness: jpeg.image.data.filter((_, i) => i % 4 !== 3).reduce((sum, value) => sum + value, 0) / (width * height * 3),
      png: btoa(String.fromCharCode(...new Uint8Array(await masked.blob.arrayBuffer()))),
      numbers: width * height * 3,
    };
  });
  console.log(`PSNR to the start picture: ${found.psnr.map((db) => db.toFixed(1))} dB`);
  assert.ok(found.psnr[0] > 18 && found.psnr[0] > found.psnr[1] + 2, `${found.psnr} dB`);
  assert.deepEqual(found.totals, [[1, 1], [9, 9], [3, 3], [10, 10]]);
  assert.deepEqual(found.requests, [[null, false], [0.1, false], [0.6, true]]);
  for (const { left, right } of found.changed) {
    assert.equal(left, 0, "kept pixels are the start picture's to the bit");
    assert.ok(right > found.numbers / 4, `${right} values were painted anew`);
  }
  assert.ok(found.brightness < 60, `a black JPEG gives a dark picture: ${found.brightness}`);
  const { texts } = readPng(Buffer.from(found.png, "base64"));
  assert.match(texts.parameters, /Denoising strength: 0\.6/);
  assert.equal(piecesIn(site.log).length, before + 1, "the encoder is fetched when it is first needed, and once");
  assert.deepEqual(problems, []);
  await close();
});

test("tiled edges meet, and variations go away from the picture by and by", TIMEOUT, async () => {
  site.answer = null;
  const { page, problems, close } = await open("cpu");
  const found = await page.evaluate(async () => {
    /** Mean difference of each column and the next, that of the last and the first at the end; of rows likewise. */
    const stepsOf = ({ data, width, height }) => {
      const difference = (a, b) => [0, 1, 2].reduce((sum, channel) => sum + Math.abs(data[a + channel] - data[b + channel]), 0);
      const along = (length, other, at) =>
        Array.from({ length }, (_, i) =>
          Array.from({ length: other }, (_, j) => difference(at(i, j), at((i + 1) % length, j))).reduce((sum, d) => sum + d, 0) / other,
        );
      return [along(width, height, (x, y) => (y * width + x) * 4), along(height, width, (y, x) => (y * width + x) * 4)];
    };
    const tiled = await window.paint({ steps: 8, tiling: true });
    const plain = await window.paint({ steps: 4 });
    const variations = [];
    for (const strength of [0, 0.1, 0.4, 1]) variations.push(await window.paint({ steps: 4, variation: { seed: 2n ** 60n, strength } }));
    return {
      tiled: tiled.effective.tiling,
      steps: stepsOf(tiled.image),
      distances: variations.map(({ image }) => window.squares(image, plain.image)),
      variation: variations[1].effective.variation,
    };
  });
  assert.equal(found.tiled, true);
  for (const steps of found.steps) {
    const edge = steps.pop();
    console.log(`edge ${edge.toFixed(1)}, inside at most ${Math.max(...steps).toFixed(1)}`);
    assert.ok(edge <= Math.max(...steps), `an edge of ${edge}, inside at most ${Math.max(...steps)}`);
  }
  assert.equal(found.distances[0], 0, "strength 0 is the same picture");
  const sorted = found.distances.toSorted((a, b) => a - b);
  assert.deepEqual(found.distances, sorted, "further with every strength");
  assert.ok(found.distances[1] > 0);
  assert.deepEqual(found.variation, { seed: 2n ** 60n, strength: 0.1 }, "seeds above 2^53 come back as they were");
  assert.deepEqual(problems, []);
  await close();
});

test("on the GPU kept pixels are the start picture's too, and previews show them", TIMEOUT, async () => {
  site.answer = (await goldenPack("tiny_flow")).answer;
  const { page, problems, close } = await open("gpu", "models/tiny/manifest.json");
  const found = await page.evaluate(async () => {
    const image = new ImageData(64, 64);
    image.data.forEach((_, i) => (image.data[i] = i % 4 === 3 ? 255 : (i * 37) % 251));
    const mask = window.maskFrom(64, 64, 20);
    const previews = [];
    for await (const step of window.engine.generate({ prompt: "p", steps: 3, image, mask, strength: 1, tiling: true })) {
      const bitmap = await step.image();
      const context = new OffscreenCanvas(64, 64).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      previews.push(window.changed(context.getImageData(0, 0, 64, 64), image, 20));
    }
    const painted = await window.pixels((await window.engine.last()).blob);
    return { previews, final: window.changed(painted, image, 20) };
  });
  for (const { left, right } of [...found.previews, found.final]) {
    assert.equal(left, 0);
    assert.ok(right > 1000);
  }
  assert.equal(found.previews.length, 3);
  assert.deepEqual(problems, []);
  await close();
});

test("what cannot be begun with is refused by its field", TIMEOUT, async () => {
  site.answer = await editedManifest((manifest) => {
    manifest.total_bytes -= manifest.components.vae_encoder.bytes;
    delete manifest.components.vae_encoder;
  });
  const { page, problems, close } = await open("cpu");
  assert.equal(await page.evaluate(() => window.info.hasEncoder), false);
  const refusals = await page.evaluate(async () => {
    const image = new ImageData(8, 8);
    const requests = [
      { image },
      { image: new Blob(["no picture"]) },
      { image: "picture.png" },
      { mask: image },
      { strength: 0.5 },
      { image, strength: 1.5 },
      { image, mask: new Blob([]) },
      { tiling: 1 },
      { variation: 7 },
      { variation: { seed: -1, strength: 0.5 } },
      { variation: { seed: 1, strength: 2 } },
    ];
    const refusals = [];
    for (const request of requests) refusals.push(await window.refusal(() => window.paint({ steps: 1, ...request })));
    return refusals;
  });
  const fields = ["image", "image", "image", "mask", "strength", "strength", "mask", "tiling", "variation"];
  const expected = [...fields, "variation.seed", "variation.strength"].map((field) => `Request ${field}`);
  assert.deepEqual(refusals, expected);
  assert.deepEqual(problems, []);
  await close();
});
