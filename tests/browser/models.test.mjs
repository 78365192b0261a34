// The models drawer: what this browser keeps, what it may be used for, what room is left, and removal on a second word.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { TINY, writeCheckpoint } from "./checkpoints.mjs";
import { closedAfter, temporaryFolder } from "./setup.mjs";
import { modelFile, openSite, piecesIn } from "./site.mjs";
import { storedNames } from "./store.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 300_000 };
const FAST = { steps: 1, device: "cpu" };

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const folder = await temporaryFolder();

/** The drawer's rows as text, by address. */
const rows = (studio) =>
  studio.page.evaluate(() => Object.fromEntries([...(window.tools.find("#models")?.children ?? [])].map((row) => [row.dataset.address, row.textContent.replace(/\s+/g, " ")])));
/** Megabytes used and free, as the drawer says. */
const room = async (studio) => {
  const [, used, free] = /take ([\d.]+ \w+);.*keep ([\d.]+ \w+) more/.exec(await studio.text("#room"));
  const bytes = (text) => Number.parseFloat(text) * { kB: 1e3, MB: 1e6, GB: 1e9 }[text.split(" ")[1]];
  return { used: bytes(used), free: bytes(free) };
};

test("sizes, licences and room are shown, and a model is removed on a second word", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  const { license, license_restrictions: restrictions } = JSON.parse(await modelFile("manifest.json"));
  await studio.settings(FAST);
  await studio.find("fraise-models summary").click();
  await studio.until(() => window.tools.has("#models li"));
  const standard = `${site.url}models/fraise-1/manifest.json`;
  const before = await rows(studio);
  assert.deepEqual(Object.keys(before), [standard]);
  for (const words of ["23 MB to download", license, restrictions]) assert.ok(before[standard].includes(words), before[standard]);
  assert.deepEqual(piecesIn(site.log), [], "looking downloads no model");
  const empty = await room(studio);
  assert.ok(empty.free > 1e6, `${empty.free} bytes free`);

  const checkpoint = join(folder, "tiny.safetensors");
  await writeCheckpoint(checkpoint, TINY);
  await studio.pickCheckpoint(checkpoint);
  assert.match(await studio.text("#convert"), /licence that it came with/);
  await studio.convert("q8");
  const local = "local:tiny-q8";
  await studio.until((address) => window.tools.has(`li[data-address="${address}"]`), local);
  const converted = (await rows(studio))[local];
  assert.match(converted, /tiny-q8.*in this browser, chosen.*Licence: unknown/);
  assert.ok((await room(studio)).used > empty.used);

  await studio.set("#model-choice", "models/fraise-1/manifest.json");
  await studio.settings(FAST);
  await studio.generate();
  await studio.until((address) => /in this browser, chosen/.test(window.tools.text(`li[data-address="${address}"]`) ?? ""), standard);
  const size = Number(/([\d.]+) MB in this browser/.exec((await rows(studio))[standard])[1]);
  assert.ok(size > 5 && size < 24, `${size} MB of what painting needs, or with what else was fetched`);
  const stored = (await storedNames(studio.page)).length;

  // One word is not enough, and Cancel gives the focus back.
  await studio.find(`li[data-address="${standard}"] .remove`).click();
  await studio.find("#remove-model-cancel").click();
  const focused = () => studio.page.evaluate(() => window.tools.find("fraise-models").shadowRoot.activeElement?.getAttribute("aria-label"));
  assert.match(await focused(), /Remove from this browser: fraise-1/);
  assert.equal((await storedNames(studio.page)).length, stored);
  await studio.find(`li[data-address="${standard}"] .remove`).click();
  assert.match(await studio.text("#doom"), /Remove fraise-1 and free .* MB\? It is downloaded again/);
  await studio.page.keyboard.press("Shift+Tab");
  await studio.page.keyboard.press("Enter");
  await studio.until((address) => /to download/.test(window.tools.text(`li[data-address="${address}"]`) ?? ""), standard);
  const left = (await storedNames(studio.page)).length;
  assert.ok(left > 0 && left < stored, "the other model's pieces stay");

  // What was removed is fetched again when it is needed again.
  site.log.length = 0;
  await studio.settings({ ...FAST, seed: 7 });
  await studio.generate();
  assert.equal(piecesIn(site.log).length, stored - left);

  await studio.find(`li[data-address="${local}"] .remove`).click();
  assert.match(await studio.text("#doom"), /converted again/);
  await studio.find("#remove-model-confirm").click();
  await studio.until((address) => !window.tools.has(`li[data-address="${address}"]`), local);
  assert.equal((await storedNames(studio.page)).length, stored - left);
  assert.equal(await studio.page.evaluate(() => window.tools.has("#model-choice")), false);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("how fast a model is here is measured before it is downloaded", TIMEOUT, async (t) => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  const standard = `${site.url}models/fraise-1/manifest.json`;
  await studio.find("fraise-models summary").click();
  await studio.until(() => window.tools.has("#models li"));
  site.log.length = 0;
  await studio.find(`li[data-address="${standard}"] .measure`).click();
  const speed = (address) => window.tools.text(`li[data-address="${address}"] .speed`);
  await studio.until((address) => /takes at least/.test(window.tools.text(`li[data-address="${address}"] .speed`) ?? ""), standard);
  const told = await studio.page.evaluate(speed, standard);
  assert.ok(Number(/at least ([\d.]+) s/.exec(told)[1]) < 60, told);
  assert.deepEqual(piecesIn(site.log), [], "measuring downloads no model");
  const [estimate, painted] = await studio.page.evaluate(async () => {
    const engine = await window.fraise.Engine.create();
    const { pictureMs } = await engine.requirements("models/fraise-1/manifest.json");
    await engine.load("models/fraise-1/manifest.json");
    const startMs = performance.now();
    for await (const _ of engine.generate({ prompt: "a strawberry" })); // to its end
    engine.close();
    return [pictureMs, performance.now() - startMs];
  });
  t.diagnostic(`${told} Denoising estimated at ${estimate.toFixed(0)} ms; the whole picture took ${painted.toFixed(0)} ms.`);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});
