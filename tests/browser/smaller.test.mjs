// What is painted on is lost again and again: trying once more after the first time, a smaller picture after the second.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { engineWorkers } from "./engine.mjs";
import { goldenPack } from "./packs.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { changedWorker, KEEP_DEVICES, openSite } from "./site.mjs";
import { importSource } from "./source.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 300_000 };
const PROMPT = "a cat";
const SIDE = 128;
/** Many, so that there is time to lose a device between two of them. */
const STEPS = 20;
/** While `isFull`, no step finds memory. */
const NO_MEMORY = `{
  const post = self.postMessage.bind(self);
  const full = { code: "OutOfMemory", message: "not enough memory", details: {} };
  self.postMessage = (message, ...others) =>
    self.isFull && message.result?.total ? post({ id: message.id, error: full }) : post(message, ...others);
}`;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const recommended = { steps: STEPS, guidance: 1, width: SIDE, height: SIDE };
const pack = await goldenPack("tiny_flow", (manifest) => Object.assign(manifest, { recommended }));
const worker = await changedWorker(KEEP_DEVICES + NO_MEMORY);
site.answer = (path) => worker(path) ?? pack.answer(path);

/** Loses the device in the middle of the picture under way, and waits until the page says so. */
async function lose(studio, how, code) {
  await studio.until(() => /^Step/.test(window.tools.text("#progress-text") ?? ""), null, 100_000);
  await how(studio);
  assert.equal(await studio.end(), code, await studio.text("#failure"));
}

const engineOf = async ({ page }) => (await engineWorkers(page)).at(-1);
const killGpuProcess = async ({ page }) => {
  const session = await page.context().browser().newBrowserCDPSession();
  await session.send("Browser.crashGpuProcess").catch(() => undefined);
};
const destroy = async (studio) => (await engineOf(studio)).evaluate(() => void self.devices.at(-1).destroy());
const setFull = async (studio, isFull) => (await engineOf(studio)).evaluate((given) => void (self.isFull = given), isFull);
const seedInQueue = ({ page }) => page.evaluate(() => JSON.parse(localStorage.getItem("fraise.queue"))[0].request.seed);
const has = ({ page }, selector) => page.evaluate((wanted) => window.tools.has(wanted), selector);
const form = ({ page }) => page.evaluate(() => ["#device", "#width", "#height"].map((field) => window.tools.find(field).value));

/** A studio that asks for a picture with a seed of its own drawing, on `device`. */
async function begin(device, inBrowser = browser) {
  const studio = await StudioDriver.open(inBrowser, site.url, { serviceWorkers: "block" });
  await studio.settings({ prompt: PROMPT, seed: "", steps: STEPS, device });
  await studio.press();
  return studio;
}

/** Checks the picture that is there: its size, and that it is the one of that seed, painted on the processor. */
async function checkPicture(studio, side, seed) {
  await studio.finish();
  const { width, height, texts } = readPng(await studio.savedPng());
  assert.deepEqual([width, height], [side, side]);
  assert.match(texts.parameters, new RegExp(`^${PROMPT}\\b[^]*Seed: ${seed}\\b`), texts.parameters);
  const note = await studio.page.evaluate(() => window.tools.find("fraise-model-note").shadowRoot.textContent);
  assert.match(note, /Painting on the processor\./);
}

test("two lost devices: a smaller picture on the processor is offered, and painted with the same seed", TIMEOUT, async () => {
  const studio = await begin("gpu");
  await lose(studio, destroy, "DeviceLost");
  const seed = await seedInQueue(studio);
  assert.equal(await has(studio, "#smaller"), false, "once: trying again is the remedy");
  await studio.find("#retry").click();
  await lose(studio, destroy, "DeviceLost");
  assert.equal(await studio.text("#smaller"), "Paint it smaller, on the processor");
  assert.match(await studio.text("#smaller-offer"), /64 × 64/);

  await studio.find("#prompt").fill("something else meanwhile");
  await studio.find("#smaller").focus();
  await studio.page.keyboard.press("Enter");
  await checkPicture(studio, SIDE / 2, seed);
  assert.deepEqual(await form(studio), ["cpu", String(SIDE / 2), String(SIDE / 2)], "the form says so");
  assert.equal(await has(studio, "#failure"), false);

  const { rgba } = await studio.pixels(await studio.savedPng());
  await studio.settings({ prompt: PROMPT, seed, steps: STEPS, device: "cpu" });
  await studio.generate();
  assert.deepEqual((await studio.pixels(await studio.savedPng())).rgba, rgba, "what the form asks for with that seed");
  await studio.close();
});

test("the GPU process killed twice: the same, with no GPU left", TIMEOUT, async () => {
  const own = await launchChromium(); // which offers no GPU for a while afterwards
  try {
    const studio = await begin("gpu", own);
    await lose(studio, killGpuProcess, "DeviceLost");
    const seed = await seedInQueue(studio);
    await studio.find("#retry").click();
    await lose(studio, killGpuProcess, "DeviceLost");
    await studio.find("#smaller").click();
    await checkPicture(studio, SIDE / 2, seed);
  } finally {
    await own.close();
  }
});

test("no memory on the processor: only smaller, after the second time since the last picture", TIMEOUT, async () => {
  const studio = await begin("cpu");
  await lose(studio, () => setFull(studio, true), "OutOfMemory");
  await setFull(studio, false);
  await studio.find("#retry").click();
  await studio.finish();
  await setFull(studio, true);
  await studio.press();
  assert.equal(await studio.end(), "OutOfMemory");
  assert.equal(await has(studio, "#smaller"), false, "the first since a picture was finished");
  const seed = await seedInQueue(studio);
  await studio.find("#retry").click();
  assert.equal(await studio.end(), "OutOfMemory");
  assert.equal(await studio.text("#smaller"), "Paint it smaller");
  await setFull(studio, false);
  await studio.find("#smaller").click();
  await checkPicture(studio, SIDE / 2, seed);
  assert.deepEqual(await form(studio), ["cpu", String(SIDE / 2), String(SIDE / 2)]);
  await studio.close();
});

test("live painting is offered the same, and follows the words smaller from then on", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  const say = (prompt) => studio.find("#prompt").fill(prompt);
  const made = (prompt) => studio.until((words) => window.tools.find("#canvas")?.ariaLabel === `The picture: ${words}`, prompt, 100_000);
  await studio.settings({ prompt: PROMPT, seed: 5, steps: STEPS, device: "cpu" });
  await studio.find("#live").click();
  await made(PROMPT);
  await setFull(studio, true);
  await say("a cat in the snow");
  await studio.until(() => window.tools.text("#failure-code") === "OutOfMemory");
  assert.equal(await has(studio, "#smaller"), false, "the first since a picture was finished");
  await say("a cat in the rain");
  await studio.until(() => window.tools.text("#smaller") === "Paint it smaller");
  assert.match(await studio.text("#smaller-offer"), /64 × 64/);
  await setFull(studio, false);
  await studio.find("#smaller").click();
  await made("a cat in the rain");
  assert.match(await studio.text("#made-with"), /64\s×\s64/);
  assert.deepEqual(await form(studio), ["cpu", String(SIDE / 2), String(SIDE / 2)]);
  assert.deepEqual([await has(studio, "#smaller"), await has(studio, "#failure")], [false, false]);
  await say("a cat in the sun");
  await made("a cat in the sun");
  assert.match(await studio.text("#made-with"), /64\s×\s64/);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("a painter element offers the same", TIMEOUT, async () => {
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(`${site.url}widget.html`);
  const painter = page.locator("fraise-painter");
  const smaller = painter.locator("[part=smaller]");
  await painter.evaluate((element) => {
    Object.assign(element, { device: "gpu", steps: 20, seed: undefined });
    const draw = crypto.getRandomValues.bind(crypto);
    window.drawn = [];
    crypto.getRandomValues = (numbers) => (window.drawn.push(draw(numbers)[0]), numbers);
    element.addEventListener("fraise-result", ({ detail: { request, width, height } }) => {
      window.made = { seed: Number(request.seed), width, height };
    });
    element.addEventListener("fraise-error", ({ detail }) => (window.code = detail.code));
    element.addEventListener("fraise-step", () => (window.isPainting = true));
  });
  for (const isOffered of [false, true]) {
    await page.evaluate(() => (window.code = window.isPainting = null));
    await painter.locator("[part=button]").click();
    await page.waitForFunction(() => window.isPainting, null, { timeout: 100_000 });
    await (await engineOf({ page })).evaluate(() => void self.devices.at(-1).destroy());
    await page.waitForFunction(() => window.code);
    assert.equal(await page.evaluate(() => window.code), "DeviceLost");
    assert.equal(await smaller.count(), isOffered ? 1 : 0);
  }
  assert.match(await painter.locator("[part=status]").textContent(), /64 × 64 pixels on the processor/);
  await smaller.click();
  await page.waitForFunction(() => window.made, null, { timeout: 100_000 });
  const { seed, width, height } = await page.evaluate(() => window.made);
  assert.equal(seed, await page.evaluate(() => window.drawn.at(-1)), "no other noise");
  assert.deepEqual([width, height, await painter.evaluate(({ device }) => device)], [SIDE / 2, SIDE / 2, "cpu"]);
  assert.equal(await smaller.count(), 0);
  await close();
});

test("half a size keeps its ratio and stays in its bounds", async () => {
  const { halved } = await importSource("app/sides.ts");
  const own = { width: 256, height: 256 };
  const cases = [
    [[256, 256], [128, 128]],
    [[512, 256], [256, 128]],
    [[264, 200], [136, 104]], // whole latents
    [[192, 192], [128, 128]], // not below half of the model's own
    [[128, 128], [128, 128]],
    [[256, 96], [168, 64]], // not below what any picture has
    [[1024, 64], [1024, 64]],
  ];
  for (const [[width, height], [halfWidth, halfHeight]] of cases) {
    assert.deepEqual(halved({ width, height }, own), { width: halfWidth, height: halfHeight }, `${width} x ${height}`);
  }
});
