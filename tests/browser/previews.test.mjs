// The worker that decodes previews while the engine computes the next step: the same previews as without it, whatever becomes of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium, launchFirefox } from "./browsers.mjs";
import { DEFAULT_MODEL, refuseWorkers, startEngine, untilHeld } from "./engine.mjs";
import { closedAfter } from "./setup.mjs";
import { changedWorker, openSite } from "./site.mjs";

const TIMEOUT = { timeout: 300_000 };
/** What the other worker may begin with: it says what it answers. */
const TELLING = `if (self.name === "fraise-previews") {
  const { postMessage } = MessagePort.prototype;
  const channel = new BroadcastChannel("answers");
  MessagePort.prototype.postMessage = function (answer, ...given) {
    channel.postMessage("loaded" in answer ? "loaded" : "decoded" in answer ? "decoded" : "there");
    return postMessage.call(this, answer, ...given);
  };
}`;

const site = await closedAfter(openSite());
const chromium = await closedAfter(launchChromium());

/** An engine on the processor, with more of `code` in its workers after `inPage(page)`. */
async function open({ code = "", inPage = null, browser = chromium, device = "cpu" } = {}) {
  site.answer = await changedWorker(`${TELLING};\n${code}`);
  const opened = await browser.newPage({ serviceWorkers: "block" });
  await opened.page.goto(site.url);
  await opened.page.evaluate(() => {
    window.answers = { there: 0, loaded: 0, decoded: 0 };
    new BroadcastChannel("answers").onmessage = ({ data }) => (window.answers[data] += 1);
  });
  if (inPage) await inPage(opened.page);
  await startEngine(opened.page, device);
  await opened.page.evaluate(() => {
    window.read = (picture) => {
      const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
      context.drawImage(picture, 0, 0);
      return [...context.getImageData(0, 0, picture.width, picture.height).data].join();
    };
    window.pictureOf = (paint) => {
      const context = new OffscreenCanvas(256, 256).getContext("2d");
      paint(context);
      return context.getImageData(0, 0, 256, 256);
    };
  });
  return opened;
}

/** Waits for `read` to be true in the page. */
const until = (page, read) => page.waitForFunction(read, undefined, { timeout: 20_000 });

/** Of each step the pictures as their channels, and the canvas's; the answers that were heard meanwhile; then the page is closed. */
async function paint({ page, close }, extra = {}) {
  const found = await page.evaluate(async (more) => {
    const request = { prompt: "a strawberry on a beach", ...(more.batch ? {} : { seed: 42 }), steps: 4, ...more };
    if (more.masked) {
      const half = (colour) => window.pictureOf((context) => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 128, 256);
      });
      Object.assign(request, { image: half("red"), mask: half("white"), strength: 0.8 });
      delete request.masked;
    }
    const canvas = document.createElement("canvas");
    const [before, steps] = [window.answers.decoded, []];
    for await (const step of window.engine.generate(request, { canvas })) {
      const pictures = await step.images();
      steps.push({ index: step.index, canvas: window.read(canvas), pictures: pictures.map(window.read) });
    }
    return { steps, loaded: window.answers.loaded, decoded: window.answers.decoded - before };
  }, extra);
  await close();
  return found;
}

/** Without the other worker. */
const REFUSED = (page) => refuseWorkers(page, "fraise-previews");

const alone = await paint(await open({ inPage: REFUSED }));

test("where the worker cannot be started, the engine's own decodes previews", () => {
  assert.equal(alone.decoded, 0);
  assert.deepEqual(alone.steps.map(({ index }) => index), [0, 1, 2, 3]);
  const previews = new Set(alone.steps.map(({ canvas }) => canvas));
  assert.equal(previews.size, 4, "each step has a picture of its own");
});

for (const [name, launch] of [["Chromium", () => chromium], ["Firefox", () => closedAfter(launchFirefox())]]) {
  test(`${name}: another worker decodes the same previews, shown at their steps`, TIMEOUT, async () => {
    const browser = await launch();
    const own = name === "Chromium" ? alone : await paint(await open({ inPage: REFUSED, browser }));
    // Workers that start workers now and then hang in Firefox, so the page starts it.
    const opened = await open({ code: "delete self.Worker", browser });
    await until(opened.page, () => window.answers.loaded === 1);
    const other = await paint(opened);
    assert.equal(other.decoded, 3, "all but the finished picture");
    assert.deepEqual(other.steps, own.steps);
  });
}

test("previews are the same of textures, of several pictures and over a start picture", TIMEOUT, async () => {
  for (const extra of [{ tiling: true, width: 256, height: 128 }, { batch: [{ seed: 1 }, { seed: 2 }] }, { masked: true }]) {
    const own = await paint(await open({ inPage: REFUSED }), extra);
    const opened = await open();
    await until(opened.page, () => window.answers.loaded === 1);
    const other = await paint(opened, extra);
    assert.ok(other.decoded > 0, "another worker decoded");
    assert.deepEqual(other.steps, own.steps, JSON.stringify(extra));
  }
});

test("without a canvas nothing is decoded, and beside a GPU there is no such worker", TIMEOUT, async () => {
  const { page, close } = await open();
  await until(page, () => window.answers.loaded === 1);
  await page.evaluate(async () => {
    for await (const step of window.engine.generate({ prompt: "a cat", steps: 4 })) void step;
  });
  assert.equal(await page.evaluate(() => window.answers.decoded), 0);
  await close();
  assert.equal((await paint(await open({ device: "gpu" }), { steps: 1 })).loaded, 0);
});

/** Ways in which the other worker fails; each has the engine's own decode instead. */
const FAILURES = {
  "whose script throws": `throw new Error("no previewer")`,
  "that cannot use the decoder": `SubtleCrypto.prototype.digest = async () => new ArrayBuffer(32)`,
  "that gives nonsense": `const { postMessage } = MessagePort.prototype;
    MessagePort.prototype.postMessage = function (answer) {
      postMessage.call(this, "decoded" in answer ? { ...answer, images: [[new Float32Array(5), 256, 256]] } : answer);
    }`,
  "that fails in the middle": `const { postMessage } = MessagePort.prototype;
    let answers = 0;
    MessagePort.prototype.postMessage = function (answer, ...given) {
      answers += "decoded" in answer;
      postMessage.call(this, answers > 1 ? { ...answer, images: null } : answer, ...(answers > 1 ? [] : given));
    }`,
};

for (const [which, code] of Object.entries(FAILURES)) {
  test(`a worker ${which} is done without`, TIMEOUT, async () => {
    const opened = await open({ code: `if (self.name === "fraise-previews") { ${code} }` });
    const found = await paint(opened);
    assert.deepEqual(found.steps, alone.steps);
  });
}

test("a worker that no longer answers is waited for once, then done without", TIMEOUT, async () => {
  const code = `if (self.name === "fraise-previews") {
    const { postMessage } = MessagePort.prototype;
    MessagePort.prototype.postMessage = function (answer, ...given) {
      if (!("decoded" in answer)) postMessage.call(this, answer, ...given);
    };
  }`;
  const opened = await open({ code });
  await opened.page.waitForTimeout(1000);
  const started = Date.now();
  const found = await paint(opened);
  assert.deepEqual(found.steps, alone.steps);
  assert.ok(Date.now() - started < 25_000, "only the first preview is waited for");
});

test("a picture that was aborted leaves nothing behind, nor does a pack loaded anew", TIMEOUT, async () => {
  const opened = await open();
  await until(opened.page, () => window.answers.loaded === 1);
  const names = await opened.page.evaluate(async (model) => {
    const ends = [];
    for (const after of [1, 2, 3]) {
      const controller = new AbortController();
      const canvas = document.createElement("canvas");
      try {
        for await (const step of window.engine.generate({ prompt: "a dog", seed: after, steps: 4 }, { canvas, signal: controller.signal })) {
          if (step.index + 1 === after) controller.abort();
        }
      } catch (error) {
        ends.push(error.name);
      }
    }
    await window.engine.load(model);
    return ends;
  }, DEFAULT_MODEL);
  assert.deepEqual(names, ["AbortError", "AbortError", "AbortError"]);
  await until(opened.page, () => window.answers.loaded === 2);
  const found = await paint(opened);
  assert.equal(found.decoded, 3);
  assert.deepEqual(found.steps, alone.steps);
});

test("closing the engine ends the worker", TIMEOUT, async () => {
  // It holds a lock until it ends.
  const code = `if (self.name === "fraise-previews") void navigator.locks.request("previewer", () => new Promise(() => undefined))`;
  const { page, close } = await open({ code });
  await untilHeld(page, "previewer", 1);
  await page.evaluate(() => window.engine.close());
  await untilHeld(page, "previewer", 0);
  await close();
});
