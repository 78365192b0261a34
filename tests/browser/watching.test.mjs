// Watching pictures, in real Chromium: looking back at the steps, animations of them, several at once, and the queue.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** A page with a picture of four steps; the first tests share it. */
let studio;
/** What the engine itself gives for each of the four steps. */
let steps;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

const open = () => StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
const difference = (a, b) => a.reduce((sum, value, at) => sum + Math.abs(value - b[at]), 0) / a.length;

/** A file that a press of a button saves. */
async function saved(selector) {
  const [download] = await Promise.all([studio.page.waitForEvent("download"), studio.find(selector).click()]);
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

test("the steps can be looked at again, with the keyboard", TIMEOUT, async () => {
  studio = await open();
  const settings = { prompt: "a red car on a beach", seed: 42, steps: 4, device: "cpu" };
  await studio.settings(settings);
  await studio.generate();
  steps = await studio.page.evaluate(async (request) => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    await engine.load("models/fraise-1/manifest.json");
    const pictures = [];
    for await (const step of engine.generate({ ...request, promptSyntax: "a1111" })) {
      const bitmap = await step.image();
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      pictures.push([...context.getImageData(0, 0, bitmap.width, bitmap.height).data]);
    }
    engine.close();
    return pictures;
  }, { prompt: settings.prompt, seed: settings.seed, steps: settings.steps });
  const shown = () => studio.page.evaluate(() => {
    const scrubber = window.tools.find("#scrubber");
    return [scrubber.getAttribute("aria-valuetext"), window.tools.text('label[for="scrubber"]'), window.tools.find("#look").hidden];
  });
  assert.deepEqual(await shown(), ["Step 4 of 4", "Step 4 of 4", true]);
  await studio.find("#scrubber").focus();
  for (const [key, step] of [["ArrowLeft", 3], ["ArrowLeft", 2], ["Home", 1]]) {
    await studio.page.keyboard.press(key);
    assert.deepEqual(await shown(), [`Step ${step} of 4`, `Step ${step} of 4`, false]);
    await studio.page.waitForTimeout(100);
    assert.deepEqual(await studio.pixelsOf("#look"), steps[step - 1], `step ${step}`);
  }
  assert.match(await studio.page.evaluate(() => window.tools.find("#canvas").ariaLabel), /a red car on a beach \(Step 1 of 4\)/);
  await studio.page.keyboard.press("End");
  assert.deepEqual(await shown(), ["Step 4 of 4", "Step 4 of 4", true]);
  assert.deepEqual(await studio.pixelsOf("#canvas"), steps[3]);
});

test("the steps are saved as a GIF", TIMEOUT, async () => {
  const { name, bytes } = await saved("#save-gif");
  assert.equal(name, "fraise-42.gif");
  const frames = await studio.framesOfGif(bytes);
  assert.deepEqual(frames.map(({ ms }) => ms), [400, 400, 400, 1500]);
  for (const [at, { rgba }] of frames.entries()) {
    assert.ok(difference(rgba, steps[at]) < 6, `frame ${at} differs by ${difference(rgba, steps[at])}`);
  }
  assert.match(bytes.toString("latin1"), /trainedAlgorithmicMedia/);
});

test("the steps are saved as a video", TIMEOUT, async (t) => {
  const { name, bytes } = await saved("#save-video");
  assert.match(name, /^fraise-42\.(webm|mp4)$/);
  assert.match(bytes.toString("latin1"), /trainedAlgorithmicMedia/);
  // A page of its own: the studio's policy lets it play nothing.
  const { page, close } = await browser.newPage();
  const frames = await page.evaluate(async ({ url, atS }) => {
    const video = Object.assign(document.createElement("video"), { muted: true, src: url });
    await new Promise((resolve, reject) => Object.assign(video, { onloadeddata: resolve, onerror: () => reject(video.error) }));
    const context = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext("2d");
    const found = [];
    for (const time of atS) {
      video.currentTime = time;
      await new Promise((resolve) => (video.onseeked = resolve));
      context.drawImage(video, 0, 0);
      found.push([...context.getImageData(0, 0, video.videoWidth, video.videoHeight).data]);
    }
    return { found, durationS: video.duration };
  }, { url: `data:video/${name.split(".")[1]};base64,${bytes.toString("base64")}`, atS: [0.2, 0.6, 1, 1.4] });
  await close();
  const differences = frames.found.map((rgba) => steps.map((step) => difference(rgba, step)));
  t.diagnostic(`${name}, ${bytes.length} bytes; differences to the steps: ${differences.map((row) => row.map((value) => value.toFixed(1)))}`);
  for (const [at, row] of differences.entries()) {
    assert.ok(row[at] < 6 && row[at] < Math.min(...row) + 1, `frame ${at} differs from the steps by ${row}`);
  }
  assert.ok(Math.abs(frames.durationS - 2.7) < 0.1, `${frames.durationS} s`);
});

test("an animation tells how far it is, and can be cancelled", TIMEOUT, async () => {
  await studio.page.evaluate(() => {
    window.downloads = 0;
    HTMLAnchorElement.prototype.click = () => (window.downloads += 1);
    const { Worker } = window;
    // Holds back what the encoder says after its second picture.
    window.Worker = class {
      constructor(...options) {
        this.worker = new Worker(...options);
        this.worker.onmessage = (event) => event.data.done <= 2 && this.onmessage(event);
      }
      postMessage(message) {
        this.worker.postMessage(message);
      }
      terminate() {
        window.terminated = true;
        this.worker.terminate();
      }
    };
  });
  await studio.find("#save-gif").click();
  await studio.until(() => window.tools.find("fraise-animation").shadowRoot.querySelector("progress")?.value === 2);
  assert.equal(await studio.page.evaluate(() => window.tools.find("fraise-animation").shadowRoot.querySelector("progress").max), 4);
  await studio.find("#cancel-animation").click();
  await studio.until(() => window.tools.has("#save-gif:enabled"));
  assert.deepEqual(await studio.page.evaluate(() => [window.terminated, window.downloads]), [true, 0]);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("four pictures at once: consecutive seeds in a grid, each to be looked at in large", TIMEOUT, async () => {
  studio = await open();
  await studio.settings({ prompt: "a fox in the snow", seed: 44, steps: 2, device: "cpu" });
  await studio.generate();
  const alone = (await studio.pixels(await studio.savedPng())).rgba;
  await studio.set("#seed", 42);
  await studio.find('[data-count="4"]').click();
  await studio.generate();
  const labels = await studio.page.evaluate(() =>
    [...window.tools.find("#batch").querySelectorAll("button")].map((button) => button.getAttribute("aria-label")));
  assert.deepEqual(labels, [42, 43, 44, 45].map((seed, at) => `Picture ${at + 1} of 4, seed ${seed}`));
  const seen = [];
  for (const at of [0, 1, 2, 3]) {
    await studio.page.evaluate((index) => window.tools.find("#batch").querySelectorAll("button")[index].focus(), at);
    await studio.page.keyboard.press("Enter");
    await studio.page.waitForTimeout(150);
    assert.match(await studio.text("#made-with"), new RegExp(`seed ${42 + at} `));
    seen.push(await studio.pixelsOf(at < 3 ? "#look" : "#canvas"));
    assert.equal(await studio.page.evaluate(() => window.tools.find("#look").hidden), at === 3);
    await studio.page.evaluate(() => delete window.savedBlob);
    const png = await studio.savedPng();
    assert.match(readPng(png).texts.parameters, new RegExp(`Seed: ${42 + at}\\b`));
    // The canvas lacks the faint mark of saved pictures.
    const apart = difference((await studio.pixels(png)).rgba, seen[at]);
    assert.ok(at < 3 ? apart === 0 : apart < 3, `what is shown is what is saved, but for ${apart}`);
  }
  assert.equal(new Set(seen.map(String)).size, 4, "four different pictures");
  assert.deepEqual(seen[2], alone, "each as if painted alone");
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

/** The waiting pictures' seeds, in the order of the list. */
const queued = () => studio.page.evaluate(() =>
  [...(window.tools.find("#queue")?.querySelectorAll("li") ?? [])].map((row) => Number(/seed (\d+)/.exec(row.textContent)[1])));

test("the queue: reordered and thinned out by keyboard, kept over a reload, started only when asked", TIMEOUT, async () => {
  studio = await open();
  await studio.settings({ prompt: "a cat", seed: 1, steps: 50, device: "cpu" });
  await studio.press(); // long enough to queue behind
  await studio.set("#steps", 1);
  for (const seed of [2, 3, 4]) {
    await studio.set("#seed", seed);
    await studio.find("#enqueue").click();
  }
  assert.deepEqual(await queued(), [1, 2, 3, 4]);
  const press = async (selector, ...keys) => {
    await studio.find(selector).focus();
    for (const key of keys) await studio.page.keyboard.press(key);
  };
  await press("#queue li:nth-child(4) .earlier", "Enter", "Enter");
  assert.deepEqual(await queued(), [1, 4, 2, 3], "twice one earlier, with the focus kept on the button");
  const said = () => studio.page.evaluate(() => window.tools.find("fraise-queue").shadowRoot.querySelector("[role=status]").textContent);
  assert.match(await said(), /Moved to place 2 of 4/);
  await press("#queue li:nth-child(3) .remove", "Enter");
  assert.deepEqual(await queued(), [1, 4, 3]);
  const focused = await studio.page.evaluate(() => window.tools.find("fraise-queue").shadowRoot.activeElement?.getAttribute("aria-label"));
  assert.match(focused, /Remove from the queue: a cat, seed 3/);

  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.has("#start-queue:enabled"));
  site.log.length = 0;
  assert.deepEqual(await queued(), [1, 4, 3], "the picture that was cut off waits again");
  await studio.page.waitForTimeout(800);
  assert.deepEqual(piecesIn(site.log), []);
  assert.equal(await studio.page.evaluate(() => window.tools.has("#progress-text")), false, "nothing starts by itself");
  await press("#queue li:nth-child(1) .remove", "Enter");
  await studio.set("#device", "cpu");
  await studio.watchSteps();
  await studio.find("#start-queue").click();
  await studio.finish();
  assert.match(await studio.text("#made-with"), /seed 3 /);
  assert.ok((await studio.seen()).prints >= 2, "both were painted");
  assert.deepEqual(await queued(), []);
  await studio.close();
});

test("one picture that fails does not stop the queue; what an earlier visit left is not trusted", TIMEOUT, async () => {
  studio = await open();
  await studio.until(() => window.tools.has("#prompt"));
  await studio.page.evaluate(() => {
    const good = { prompt: "a cat", seed: 5, steps: 1 };
    const varied = { ...good, variation: { seed: 9, strength: 0.5 } };
    const entries = [{ request: { ...good, steps: 100_000, seed: 4, variation: { seed: 9, strength: 3 } } }, { request: varied }, null, 7, { request: { prompt: 1 } }];
    localStorage.setItem("fraise.queue", JSON.stringify(entries));
  });
  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.has("#start-queue:enabled"));
  assert.deepEqual(await queued(), [4, 5]);
  const variations = await studio.page.evaluate(() => window.tools.find("fraise-queue").state.queue.map(({ request }) => request.variation ?? null));
  assert.deepEqual(variations, [null, { seed: 9, strength: 0.5 }], "variations wait as such, within their bounds");
  await studio.set("#device", "cpu");
  await studio.find("#start-queue").click();
  await studio.until(() => window.tools.has("#made-with") && !window.tools.has("#cancel"), null, 120_000);
  assert.match(await studio.text("#made-with"), /seed 5 /);
  const { rgba } = await studio.pixels(await studio.savedPng());
  assert.ok(new Set(rgba).size > 8, "a picture, not a plain colour");
  assert.match(await studio.text("#queue"), /failed \(Request\)/);
  await studio.close();
});
