// What a pack may bring besides what paints, in real Chromium: the upscaler and the scorer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { openEngine } from "./engine.mjs";
import { goldenPack, goldenTensors, requiredPieces } from "./packs.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { storedIn } from "./store.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
const MODEL = "models/tiny/manifest.json";

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

/** Planes in [0, 1], [1, 3, height, width], as the pixels of an ImageData. */
function toRgba({ shape: [, , height, width], values }) {
  const plane = width * height;
  const byte = (pixel, channel) => (channel === 3 ? 255 : Math.round(values[channel * plane + pixel] * 255));
  const rgba = Array.from({ length: plane * 4 }, (_, i) => byte(i >> 2, i & 3));
  return { rgba, width, height };
}

/** A page with `window.engine`, which has loaded the pack that the site serves, and what the tests do with it. */
async function open(device) {
  const opened = await openEngine(browser, site, device, MODEL);
  await opened.page.evaluate(() => {
    window.paint = async (request) => {
      for await (const _step of window.engine.generate({ prompt: "a red strawberry", seed: 3, ...request }));
      return window.engine.last();
    };
    window.base64 = async (blob) => btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
    window.meanDifference = (a, b) => a.data.reduce((sum, value, i) => sum + Math.abs(value - b.data[i]), 0) / a.data.length;
    window.difference = (a, b) => a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - b.data[i])), 0);
    window.codeOf = (promise) => promise.then(() => null, ({ code }) => code);
  });
  return opened;
}

for (const device of ["cpu", "gpu"]) {
  test(`upscaling on the ${device}: fetched on first use, while painting or later`, TIMEOUT, async () => {
    const { manifest, answer } = await goldenPack("tiny_flow");
    site.answer = answer;
    site.log.length = 0;
    const { page, problems, close } = await open(device);
    const fetched = () => piecesIn(site.log).filter((path) => path.includes(manifest.components.upscaler.pieces[0].sha256));
    assert.equal(await page.evaluate(() => window.info.upscaleFactor), 2);
    const small = await page.evaluate(async () => {
      window.small = await window.paint({});
      const { width, height, request } = window.small;
      return { width, height, request };
    });
    assert.deepEqual([small.width, small.height, small.request.upscale], [64, 64, false]);
    assert.deepEqual(fetched(), [], "what is not asked for is not fetched");

    const result = await page.evaluate(async () => {
      const large = await window.paint({ upscale: true });
      const later = await window.engine.upscale(window.small.blob);
      const pixels = await window.engine.upscale(await window.pixels(window.small.blob));
      const [a, b, c] = await Promise.all([large.blob, later, pixels].map(window.pixels));
      return {
        sizes: [large, a, b, c].map(({ width, height }) => [width, height]),
        request: large.request,
        differences: [window.meanDifference(a, b), window.difference(b, c)],
        pngs: await Promise.all([large.blob, later, pixels].map(window.base64)),
      };
    });
    assert.deepEqual(result.sizes, Array(4).fill([128, 128]));
    assert.deepEqual([result.request.upscale, result.request.width], [true, 64]);
    // The first was marked after it was made larger, the second before; a mark changes values by about 2 on average.
    assert.ok(result.differences[0] <= 4 && result.differences[1] === 0, `${result.differences} levels`);
    assert.equal(fetched().length, 1, "once, then it is stored");
    const [large, later, pixels] = result.pngs.map((png) => readPng(Buffer.from(png, "base64")).texts);
    for (const texts of [large, later]) assert.match(texts.parameters, /Size: 64x64, .*Hires upscale: 2,/);
    assert.equal(pixels.parameters, undefined, "pixels bring no settings");
    assert.match(pixels["XML:com.adobe.xmp"], /algorithmicallyEnhanced/);

    const codes = await page.evaluate(() =>
      Promise.all([
        window.codeOf(window.engine.upscale("no picture")),
        window.codeOf(window.engine.upscale(new Blob(["no picture"]))),
        window.codeOf(window.engine.upscale(new ImageData(2049, 1))),
        window.codeOf(window.paint({ upscale: 2 })),
      ]),
    );
    assert.deepEqual(codes, Array(4).fill("Request"));
    assert.deepEqual(problems, []);
    await close();
  });
}

test("a pack with neither makes nothing larger and scores nothing", TIMEOUT, async () => {
  const remove = ({ components }) => ["upscaler", "scorer"].forEach((name) => delete components[name]);
  site.answer = (await goldenPack("tiny_flow", remove)).answer;
  const { page, problems, close } = await open("cpu");
  const { upscaleFactor, hasScorer } = await page.evaluate(() => window.info);
  assert.deepEqual([upscaleFactor, hasScorer], [null, false]);
  const codes = await page.evaluate(() =>
    Promise.all([
      window.codeOf(window.paint({ upscale: true })),
      window.codeOf(window.engine.upscale(new ImageData(2, 2))),
      window.codeOf(window.engine.score("p", [new ImageData(2, 2)])),
    ]),
  );
  assert.deepEqual(codes, Array(3).fill("Request"));
  assert.deepEqual(problems, []);
  await close();
});

for (const device of ["cpu", "gpu"]) {
  test(`scoring on the ${device}: fetched on first use, as transformers scores`, TIMEOUT, async () => {
    const { manifest, answer } = await goldenPack("tiny_flow");
    site.answer = answer;
    site.log.length = 0;
    const { page, problems, close } = await open(device);
    const fetched = () => piecesIn(site.log).filter((path) => path.includes(manifest.components.scorer.pieces[0].sha256));
    assert.equal(await page.evaluate(() => window.info.hasScorer), true);
    assert.deepEqual(fetched(), []);
    const golden = await goldenTensors("tiny_flow/golden/tiny_flow_scorer.safetensors");
    const pictures = ["picture_0", "picture_1"].map((name) => toRgba(golden[name]));
    const scores = await page.evaluate(async (given) => {
      const images = given.map(({ rgba, width, height }) => new ImageData(new Uint8ClampedArray(rgba), width, height));
      const canvas = new OffscreenCanvas(images[0].width, images[0].height);
      canvas.getContext("2d").putImageData(images[0], 0, 0);
      const prompt = "a photo of the red strawberry";
      return [
        await window.engine.score(prompt, images),
        await window.engine.score(prompt, [await canvas.convertToBlob({ type: "image/png" })]),
        await window.engine.score(prompt, []),
      ];
    }, pictures);
    golden.scores.values.forEach((score, i) => assert.ok(Math.abs(score - scores[0][i]) < 1e-4, `${scores[0]}`));
    assert.deepEqual(scores.slice(1), [[scores[0][0]], []]);
    assert.equal(fetched().length, 1, "once, then it is stored");
    const codes = await page.evaluate(() =>
      Promise.all([
        window.codeOf(window.engine.score("p", ["no picture"])),
        window.codeOf(window.engine.score("p", [new Blob([])])),
        window.codeOf(window.engine.score("p", Array(65).fill(new ImageData(1, 1)))),
        window.codeOf(window.engine.score("p".repeat(9000), [])),
      ]),
    );
    assert.deepEqual(codes, Array(4).fill("Request"));
    assert.deepEqual(problems, []);
    await close();
  });
}

test("the studio's switch: on where the pack recommends it, and off again", TIMEOUT, async () => {
  const recommend = ({ components, recommended }) => {
    recommended.upscale = true;
    components.upscaler.optional = false;
  };
  site.answer = (await goldenPack("tiny_flow", recommend)).answer;
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.until(() => window.tools.has("#upscale"));
  assert.equal(await studio.page.evaluate(() => window.tools.find("#upscale").checked), true);
  assert.match(await studio.page.evaluate(() => window.tools.find("#upscale").closest("label").textContent), /2x larger/);
  await studio.generate();
  assert.match(await studio.text("#made-with"), /128\s×\s128/);
  assert.equal(await studio.page.evaluate(() => window.tools.find("#canvas").width), 128, "the canvas shows the larger one");
  await studio.page.evaluate(() => window.tools.find("#upscale").click());
  await studio.generate();
  assert.match(await studio.text("#made-with"), /64\s×\s64/);
  await studio.close();

  site.answer = (await goldenPack("tiny_flow", ({ components }) => delete components.upscaler)).answer;
  const without = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await without.until(() => window.tools.text("#model")?.includes("tiny_flow"));
  assert.equal(await without.page.evaluate(() => window.tools.has("#upscale")), false);
  await without.close();
});

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const held = (page) => page.evaluate(async () => (await navigator.locks.query()).held.map(({ name }) => name));
const untilPending = (page) => page.waitForFunction(async () => (await navigator.locks.query()).pending.length === 1);

test("what is fetched on first use tells how far it is, and nothing the second time", TIMEOUT, async () => {
  const { manifest, answer } = await goldenPack("tiny_flow");
  site.answer = answer;
  const { page, problems, close } = await open("cpu");
  const heard = await page.evaluate(async () => {
    const start = new ImageData(64, 64);
    const uses = [
      (options) => window.engine.upscale(start, options),
      (options) => window.engine.score("a cat", [start], options),
      async (options) => {
        for await (const _step of window.engine.generate({ prompt: "a cat", image: start, upscale: true }, options));
      },
    ];
    const results = [];
    for (const use of [...uses, ...uses]) {
      const progress = [];
      await use({ onProgress: ({ phase, loadedBytes, totalBytes }) => progress.push([phase, loadedBytes, totalBytes]) });
      results.push(progress);
    }
    return results;
  });
  ["upscaler", "scorer", "vae_encoder"].forEach((name, i) => {
    const { bytes } = manifest.components[name];
    assert.deepEqual(heard[i].at(0), ["download", 0, bytes], name);
    assert.deepEqual(heard[i].slice(-3), [["download", bytes, bytes], ["upload", 0, bytes], ["upload", bytes, bytes]], name);
  });
  assert.deepEqual(heard.slice(3), [[], [], []]);
  assert.deepEqual(problems, []);
  await close();
});

test("two tabs use the upscaler for the first time: one downloads, the other waits and hears how far it is", TIMEOUT, async () => {
  const { manifest, answer } = await goldenPack("tiny_flow");
  const { bytes, pieces } = manifest.components.upscaler;
  let isSlow = false;
  site.answer = async (path) => {
    if (isSlow && path.includes(pieces[0].sha256)) await pause(700);
    return answer(path);
  };
  const first = await open("cpu");
  const second = await first.page.context().newPage();
  await second.goto(site.url);
  await second.evaluate(async (model) => {
    window.engine = await window.fraise.Engine.create({ device: "cpu" });
    await window.engine.load(model);
  }, MODEL);
  site.log.length = 0;
  isSlow = true;
  const use = (page) =>
    page.evaluate(async () => {
      const heard = [];
      const onProgress = ({ phase, loadedBytes }) => heard.push([phase, loadedBytes]);
      await window.engine.upscale(new ImageData(8, 8), { onProgress });
      return { heard, fetched: (await window.engine.memory()).piecesFetched };
    });
  const one = use(first.page);
  await first.page.waitForFunction(async () => (await navigator.locks.query()).held.length === 1);
  assert.deepEqual(await held(first.page), [`fraise ${site.url}${MODEL}`], "the lock of the pack's own load");
  const two = use(second);
  await untilPending(second);
  const [{ fetched }, { heard }] = await Promise.all([one, two]);
  assert.equal(piecesIn(site.log).length, 1);
  assert.equal(fetched, requiredPieces(manifest).size + 1);
  assert.ok(heard.some(([phase, loaded]) => phase === "download" && loaded === bytes), JSON.stringify(heard));
  assert.deepEqual(first.problems, []);
  await first.close();
});

test("a pack is not removed while another tab brings it in; then it is removed as a whole", TIMEOUT, async () => {
  const { answer, manifest } = await goldenPack("tiny_flow");
  const required = requiredPieces(manifest).size;
  let free;
  const freed = new Promise((resolve) => (free = resolve));
  site.answer = async (path) => {
    if (path.endsWith(".bin")) await freed;
    return answer(path);
  };
  site.log.length = 0;
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  const other = await page.context().newPage();
  for (const tab of [page, other]) {
    await tab.goto(site.url);
    await tab.evaluate(async () => (window.engine = await window.fraise.Engine.create({ device: "cpu" })));
  }
  const loading = page.evaluate((model) => window.engine.load(model).then(({ isKept }) => isKept), MODEL);
  await page.waitForFunction(async () => (await navigator.locks.query()).held.length === 1);
  const removing = other.evaluate((model) => window.engine.remove(new URL(model, document.baseURI).href), MODEL);
  await untilPending(other);
  free();
  assert.equal(await loading.catch((error) => /CorruptPiece/.test(String(error)) || error), true);
  await removing;
  // A load that finds a piece gone while it reads them back brings all of them in once more, after the removal.
  const broughtIn = piecesIn(site.log).length / required;
  const { packs, pieces } = await storedIn(other);
  assert.ok(broughtIn === 1 || broughtIn === 2, `${broughtIn}`);
  assert.deepEqual([packs.length, pieces.length], broughtIn === 1 ? [0, 0] : [1, required]);
  await close();
});

test("the studio puts the picture first that fits its words best, as the scorer says", TIMEOUT, async (t) => {
  site.answer = null;
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ prompt: "a fox in the snow", seed: 42, steps: 1, device: "cpu" });
  await studio.find('[data-count="4"]').click();
  await studio.generate();
  await studio.until(() => window.tools.find("fraise-batch").state.pictures.length === 4 && !window.tools.has("#cancel"), null, 60_000);
  const scores = await studio.page.evaluate(async () => {
    const { pictures } = window.tools.find("fraise-batch").state;
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    await engine.load("models/fraise-1/manifest.json");
    const found = await engine.score("a fox in the snow", pictures.map(({ png }) => png));
    engine.close();
    return found.map((score, at) => ({ score, seed: pictures[at].request.seed }));
  });
  t.diagnostic(JSON.stringify(scores));
  const best = scores.toSorted((a, b) => b.score - a.score).map(({ seed }) => seed);
  await studio.find("#rank").click();
  await studio.until(() => window.tools.text("#progress-text")?.startsWith("Finished") && !window.tools.has("#cancel"), null, 60_000);
  const labels = await studio.page.evaluate(() => [...window.tools.find("#batch").querySelectorAll("button")].map((button) => button.ariaLabel));
  assert.deepEqual(labels, best.map((seed, at) => `Picture ${at + 1} of 4, seed ${seed}`));
  assert.match(await studio.text("#made-with"), new RegExp(`seed ${best[0]} `), "and looks at it");
  assert.ok(new Set(scores.map(({ score }) => score)).size === 4, "four scores");
  await studio.close();
});

test("the studio shows the download of what is first used", TIMEOUT, async () => {
  const { manifest, answer } = await goldenPack("tiny_flow");
  let free = () => undefined;
  let freed = Promise.resolve();
  site.answer = async (path) => {
    if (["upscaler", "scorer"].some((name) => path.includes(manifest.components[name].pieces[0].sha256))) await freed;
    return answer(path);
  };
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.find('[data-count="2"]').click();
  await studio.generate();
  for (const button of ["#enlarge", "#rank"]) {
    freed = new Promise((resolve) => (free = resolve));
    await studio.find(button).click();
    await studio.until(() => /^Downloading/.test(window.tools.text("#progress-text") ?? ""));
    free();
    await studio.finish();
  }
  await studio.close();
});
