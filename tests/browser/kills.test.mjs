// A tab killed in the middle of a load: nothing is ever called complete that is not, nothing is fetched twice, and nothing
// stays that no record names. A dozen moments in a check; FRAISE_FULL=1 tries a hundred.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { goldenPack, requiredPieces } from "./packs.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { randomNumbers, storedIn } from "./store.mjs";

const KILLS = process.env.FRAISE_FULL ? 100 : 12;
const MODEL = "models/tiny/manifest.json";
const PIECE_BYTES = 32 * 1024;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const nameOf = (path) => path.match(/[0-9a-f]{64}/)[0];

/** A page with `window.engine`. */
async function engineIn(context) {
  const page = await context.newPage();
  await page.goto(site.url);
  await page.evaluate(async () => void (window.engine = await window.fraise.Engine.create({ device: "cpu" })));
  return page;
}

const load = (page) =>
  page.evaluate(async (model) => {
    const startMs = performance.now();
    await window.engine.load(model);
    return performance.now() - startMs;
  }, MODEL);

/** Ends a page as people do, or by the death of its process. */
async function kill(page, byCrash) {
  if (byCrash) {
    const session = await page.context().newCDPSession(page);
    const crashed = page.waitForEvent("crash");
    void session.send("Page.crash").catch(() => undefined);
    await crashed;
  }
  await page.close();
}

test(`a tab killed at ${KILLS} moments of a load`, { timeout: 900_000 }, async () => {
  const { manifest, answer } = await goldenPack("tiny_flow", undefined, PIECE_BYTES);
  const required = [...requiredPieces(manifest)].sort();
  assert.ok(required.length > 20, `${required.length} pieces`);
  let random = randomNumbers(0);
  site.answer = async (path) => {
    if (path.endsWith(".bin")) await pause(random() * 60);
    return answer(path);
  };
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  const context = page.context();
  const survivor = await engineIn(context);
  const address = new URL(MODEL, site.url).href;
  const wholeMs = await load(survivor);
  const found = { nothing: 0, some: 0, all: 0 };
  for (let seed = 1; seed <= KILLS; seed += 1) {
    random = randomNumbers(seed);
    await survivor.evaluate((given) => window.engine.remove(given), address);
    assert.deepEqual(await storedIn(survivor), { pieces: [], packs: [] }, `seed ${seed}: something stayed after removing`);

    const victim = await engineIn(context);
    void load(victim).catch(() => undefined);
    await pause(random() * wholeMs * 1.2);
    await kill(victim, seed % 2 === 1);

    const { pieces, packs } = await storedIn(survivor);
    const isComplete = packs.some(({ isPartial }) => !isPartial);
    for (const { sha256, hash } of pieces) assert.equal(hash, sha256, `seed ${seed}: half a piece was stored`);
    const names = pieces.map(({ sha256 }) => sha256);
    assert.ok(!isComplete || names.length === required.length, `seed ${seed}: complete with ${names.length} pieces`);
    assert.ok(names.length === 0 || packs.length === 1, `seed ${seed}: pieces that no record names`);
    found[names.length === 0 ? "nothing" : names.length < required.length ? "some" : "all"] += 1;

    site.log.length = 0;
    await load(survivor);
    const missing = required.filter((name) => !names.includes(name));
    assert.deepEqual(piecesIn(site.log).map(nameOf).sort(), missing, `seed ${seed}: exactly what is missing is fetched`);
    const mended = await storedIn(survivor);
    assert.deepEqual(mended.pieces.map(({ sha256 }) => sha256).sort(), required);
    assert.deepEqual(mended.packs, [{ address, isPartial: false }]);
  }
  assert.ok(found.some > KILLS / 3, `moments: ${JSON.stringify(found)}`);
  console.log(`killed at ${KILLS} moments; found stored: ${JSON.stringify(found)}`);
  await close();
});

test("a download that was given up can be seen, and removed", { timeout: 100_000 }, async () => {
  const { manifest, answer } = await goldenPack("tiny_flow", undefined, PIECE_BYTES);
  let asked = 0;
  site.answer = (path) => (path.endsWith(".bin") && (asked += 1) > 9 ? { status: 503 } : answer(path));
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  const tab = await engineIn(page.context());
  const code = await load(tab).then(() => null, (error) => String(error));
  assert.match(code, /503|Network/);
  const { pieces } = await storedIn(tab);
  const [model, ...others] = await tab.evaluate(() => window.engine.models());
  assert.deepEqual([model.name, model.isComplete, others], [manifest.name, false, []]);
  assert.equal(model.bytes, pieces.reduce((sum, { bytes }) => sum + bytes, 0));
  assert.ok(model.bytes > 0);
  await tab.evaluate((address) => window.engine.remove(address), model.address);
  assert.deepEqual(await storedIn(tab), { pieces: [], packs: [] });
  await close();
});
