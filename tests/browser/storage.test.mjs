// Where models are kept: what the browser promises, what happens where it has no room, and one download for all tabs.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { TINY, writeCheckpoint } from "./checkpoints.mjs";
import { requiredPieces } from "./packs.mjs";
import { closedAfter } from "./setup.mjs";
import { changedWorker, modelFile, openSite, piecesIn } from "./site.mjs";
import { storedNames, untilStored } from "./store.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 300_000 };
const FAST = { steps: 1, device: "cpu" };

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
/** How many a load needs. */
const pieces = requiredPieces(JSON.parse(await modelFile("manifest.json"))).size;

beforeEach(() => {
  site.answer = null;
  site.log.length = 0;
});

const open = () => StudioDriver.open(browser, site.url, { serviceWorkers: "block" });

for (const [promise, words] of [[true, /keeps it until you remove it/], [false, /may clear it away/]]) {
  test(`the browser is asked to keep the model when it is loaded, and its answer is shown: ${promise}`, TIMEOUT, async () => {
    const studio = await open();
    await studio.page.evaluate((answer) => {
      window.asked = 0;
      navigator.storage.persist = async () => ((window.asked += 1), answer);
    }, promise);
    await studio.settings(FAST);
    assert.equal(await studio.page.evaluate(() => window.asked), 0, "not before the visitor does something");
    await studio.generate();
    assert.equal(await studio.page.evaluate(() => window.asked), 1);
    assert.match(await studio.text("#storage"), words);
    await studio.close();
  });
}

/** Paints, sees that the model runs from memory, and that once `mend` is done the next visit keeps it. */
async function runsFromMemory(studio, mend) {
  await studio.settings(FAST);
  await studio.generate();
  assert.match(await studio.text("#storage"), /runs from memory/);
  assert.equal(piecesIn(site.log).length, pieces);
  const last = await studio.pixels(await studio.savedPng());
  assert.ok(new Set(last.rgba).size > 8, "a picture");
  await studio.settings({ ...FAST, seed: 43 });
  await studio.generate();
  assert.equal(piecesIn(site.log).length, pieces, "the next picture needs nothing more");
  await mend();
  await studio.page.reload();
  await studio.installTools();
  await studio.settings(FAST);
  await studio.generate();
  assert.doesNotMatch((await studio.text("#storage")) ?? "", /memory/);
  assert.deepEqual(studio.problems, []);
}

/** The default model's manifest, with a UNet of 3 GiB whose pieces nobody has. */
async function hugePack() {
  const manifest = JSON.parse(await modelFile("manifest.json"));
  const pieces = Array.from({ length: 192 }, (_, at) => ({ sha256: at.toString(16).padStart(64, "0"), bytes: 2 ** 24 }));
  manifest.total_bytes += 192 * 2 ** 24 - manifest.components.unet.bytes;
  manifest.components.unet = { ...manifest.components.unet, pieces, bytes: 192 * 2 ** 24 };
  const body = JSON.stringify(manifest);
  const answer = (path) => (path.endsWith("/manifest.json") ? { body, headers: { "content-type": "application/json" } } : null);
  return { manifest, answer };
}

test("without IndexedDB the model runs from memory and says so", TIMEOUT, async () => {
  site.answer = await changedWorker('IDBFactory.prototype.open = () => { throw new DOMException("denied", "SecurityError"); }');
  const studio = await open();
  await runsFromMemory(studio, () => (site.answer = null));
  await studio.close();
});

test("where the browser says that it has too little room, nothing is stored in vain", TIMEOUT, async () => {
  site.answer = await changedWorker("StorageManager.prototype.estimate = async () => ({ quota: 3_000_000, usage: 0 })");
  const studio = await open();
  await runsFromMemory(studio, async () => {
    assert.equal((await storedNames(studio.page)).length, 0);
    site.answer = null;
  });
  await studio.close();
});

test("where room runs out on the way, the rest is in memory, and the next visit fetches only that", TIMEOUT, async () => {
  const studio = await open();
  const session = await studio.page.context().newCDPSession(studio.page);
  const origin = new URL(site.url).origin;
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 3_000_000 });
  let stored = 0;
  await runsFromMemory(studio, async () => {
    stored = (await storedNames(studio.page)).length;
    assert.ok(stored > 0 && stored < pieces, `${stored} of ${pieces} found room`);
    await session.send("Storage.overrideQuotaForOrigin", { origin });
    site.log.length = 0;
  });
  assert.equal(piecesIn(site.log).length, pieces - stored);
  await studio.close();
});

test("a pack too large for storage and memory is refused before any piece is fetched", TIMEOUT, async () => {
  const tooLittle = await changedWorker("StorageManager.prototype.estimate = async () => ({ quota: 3_000_000, usage: 0 })");
  const { manifest, answer } = await hugePack();
  site.answer = (path) => tooLittle(path) ?? answer(path);
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  const error = await page.evaluate(async () => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    return engine.load("models/fraise-1/manifest.json").catch(({ code, details }) => ({ code, details }));
  });
  assert.equal(error.code, "Quota", JSON.stringify(error));
  assert.ok(error.details.needed_bytes > 2 ** 31, JSON.stringify(error));
  assert.ok(manifest.total_bytes > 2 ** 31);
  assert.deepEqual(piecesIn(site.log), []);
  await close();
});

/** A page for the engine alone; `start` begins to load without waiting. */
async function engineIn(context) {
  const page = await context.newPage();
  await page.goto(site.url);
  const start = () =>
    page.evaluate(() => {
      window.heard = [];
      window.loading = (async () => {
        const engine = await window.fraise.Engine.create({ device: "cpu" });
        const onProgress = ({ phase, loadedBytes }) => window.heard.push([phase, loadedBytes]);
        const { isKept } = await engine.load("models/fraise-1/manifest.json", { onProgress });
        return { isKept, fetched: (await engine.memory()).piecesFetched };
      })();
    });
  const downloaded = () => page.evaluate(() => Math.max(0, ...window.heard.map(([phase, bytes]) => (phase === "download" ? bytes : 0))));
  return { page, start, downloaded, loaded: () => page.evaluate(() => window.loading) };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (condition) => {
  for (let waited = 0; !(await condition()); waited += 50) {
    assert.ok(waited < 60_000, `waited in vain for ${condition}`);
    await pause(50);
  }
};

test("two tabs load the same pack: each piece is asked for once, and both hear how far it is", TIMEOUT, async () => {
  const { page, problems, close } = await browser.newPage({ serviceWorkers: "block" });
  const [first, second] = [await engineIn(page.context()), await engineIn(page.context())];
  site.log.length = 0;
  site.answer = (path) => (path.endsWith(".bin") ? pause(700).then(() => null) : null);
  await first.start();
  await until(() => piecesIn(site.log).length > 0);
  await second.start();
  await until(second.downloaded);
  assert.deepEqual([await first.loaded(), await second.loaded()], [{ isKept: true, fetched: pieces }, { isKept: true, fetched: 0 }]);
  assert.equal(piecesIn(site.log).length, pieces);
  assert.deepEqual(problems, []);
  await close();
});

test("a tab that is closed in the middle of its download is taken over", TIMEOUT, async () => {
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  const [first, second] = [await engineIn(page.context()), await engineIn(page.context())];
  site.log.length = 0;
  let free;
  const freed = new Promise((resolve) => (free = resolve));
  const asked = new Set();
  site.answer = async (path) => {
    if (!path.endsWith(".bin")) return null;
    asked.add(path);
    if (asked.size > 1) await freed; // the first piece arrives, the others do not
    return null;
  };
  await first.start();
  await until(() => asked.size > 1);
  await until(() => second.page.evaluate(async () => (await navigator.locks.query()).held.length === 1));
  await second.start();
  await until(() => second.page.evaluate(async () => (await navigator.locks.query()).pending.length === 1));
  const [stored] = await untilStored(second.page);
  await first.page.close();
  free();
  assert.deepEqual(await second.loaded(), { isKept: true, fetched: pieces - 1 });
  assert.equal(piecesIn(site.log).filter((path) => path.includes(stored)).length, 1, "what had arrived is not asked for again");
  await close();
});

test("two tabs convert checkpoints to one name: one after the other, and the model is whole", TIMEOUT, async () => {
  const folder = await mkdtemp(join(tmpdir(), "fraise-tabs-"));
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  try {
    await writeCheckpoint(join(folder, "tiny.safetensors"), TINY);
    const tabs = [await engineIn(page.context()), await engineIn(page.context())];
    for (const { page: tab } of tabs) {
      await tab.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { id: "given", type: "file" })));
      await tab.locator("#given").setInputFiles(join(folder, "tiny.safetensors"));
    }
    const convert = ({ page: tab }) =>
      tab.evaluate(async () => {
        const engine = await window.fraise.Engine.create({ device: "cpu" });
        const { address } = await engine.convert(document.querySelector("#given").files[0], { name: "both", quant: "q8" });
        const { name } = await engine.load(address);
        return { address, name, models: await engine.models() };
      });
    const [one, two] = await Promise.all(tabs.map(convert));
    assert.deepEqual([one.address, two.address, one.name], ["local:both", "local:both", "both"]);
    const { models } = await convert(tabs[0]);
    assert.deepEqual(models.map(({ address, isComplete }) => [address, isComplete]), [["local:both", true]]);
  } finally {
    await close();
    await rm(folder, { recursive: true });
  }
});
