// Hosts and storage that fail in the middle: what is tried again, what is said, and that it goes on afterwards.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { goldenPack, requiredPieces } from "./packs.mjs";
import { closedAfter } from "./setup.mjs";
import { changedWorker, openSite, piecesIn } from "./site.mjs";
import { storedIn, untilStored } from "./store.mjs";

const TIMEOUT = { timeout: 120_000 };
const MODEL = "models/tiny/manifest.json";
/** The engine's pauses and limits are those of real networks; a clock that runs fast leaves their order as it is. */
const FAST_CLOCK = "const slow = self.setTimeout; self.setTimeout = (work, ms) => slow(work, ms / 20)";

const site = await closedAfter(openSite());
const other = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const pack = await goldenPack("tiny_flow", undefined, 64 * 1024);

beforeEach(() => {
  other.answer = (path) => ({ ...pack.answer(path), headers: { "access-control-allow-origin": "*" } });
  other.log.length = 0;
  site.log.length = 0;
});

/** A page of the site with `window.engine`; `answer` is what its host does, `path` a page without the studio's policy. */
async function open(answer, path = "") {
  const fast = await changedWorker(FAST_CLOCK);
  site.answer = async (asked) => fast(asked) ?? (await answer(asked)) ?? pack.answer(asked);
  const opened = await browser.newPage({ serviceWorkers: "block" });
  await startEngine(opened.page, path);
  return opened;
}

async function startEngine(page, path = "") {
  await page.goto(site.url + path);
  await page.evaluate(async (script) => {
    const { Engine } = window.fraise ?? (await import(script));
    window.engine = await Engine.create({ device: "cpu" });
    window.load = (model) =>
      window.engine.load(model).then(
        ({ isKept }) => ({ code: "loaded", isKept }),
        ({ code, message, details }) => ({ code, message, details }),
      );
    window.paint = async () => {
      for await (const _step of window.engine.generate({ prompt: "a cat", seed: 1 }));
      return (await window.engine.last()).blob.size;
    };
  }, `${site.url}fraise.js`);
}

const load = (page, url = MODEL) => page.evaluate((given) => window.load(given), url);
const isPiece = (path) => path.endsWith(".bin");
const firstOf = (path) => path.includes(pack.manifest.components.unet.pieces[0].sha256);

/** The load fails so, naming the piece's address; with the fault gone, only what is missing is fetched. */
async function failsThenResumes(fault, { code = "Network", status, asked, pattern }) {
  let isFaulty = true;
  const { page, close } = await open((path) => (isFaulty && firstOf(path) ? fault() : null));
  const error = await load(page);
  assert.equal(error.code, code, JSON.stringify(error));
  assert.equal(error.details.status, status);
  assert.match(error.message, pattern);
  assert.ok(error.message.includes(new URL(site.url).host), `${error.message} names the host`);
  assert.deepEqual(other.log, [], "no other host is asked");
  assert.equal(site.log.filter(firstOf).length, asked, "times asked");
  const { pieces } = await storedIn(page);
  isFaulty = false;
  site.log.length = 0;
  assert.deepEqual(await load(page), { code: "loaded", isKept: true });
  assert.equal(piecesIn(site.log).length, requiredPieces(pack.manifest).size - pieces.length, "only what is missing");
  await close();
}

/** A body that says its length and stops halfway, leaving the connection open. */
const stalled = () => ({ headers: { "content-length": "65536" }, begin: Buffer.alloc(1000) });

for (const [what, fault, expected] of [
  ["404", () => ({ status: 404 }), { status: 404, asked: 1, pattern: /status 404/ }],
  ["500", () => ({ status: 500 }), { status: 500, asked: 4, pattern: /status 500/ }],
  ["a web page with status 200", () => ({ headers: { "content-type": "text/html" }, body: "<!doctype html>" }), { status: 200, asked: 1, pattern: /web page/ }],
  ["a stream that stalls", stalled, { status: 0, asked: 4, pattern: /sends nothing more/ }],
  ["a redirect to a site that the policy forbids", () => ({ status: 302, headers: { location: `${other.url}piece.bin` } }), { status: 0, asked: 4, pattern: /redirects/ }],
]) {
  test(`a piece answered by ${what}: then a message with host and cause, and the next load resumes`, TIMEOUT, () =>
    failsThenResumes(fault, expected));
}

test("the engine's own files: what the host does wrong with them is said by name", TIMEOUT, async () => {
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  const as = (type, body = "<!doctype html>") => ({ headers: { "content-type": type }, body });
  const isWasm = (path) => path.endsWith(".wasm");
  const isWorker = (path) => /\/worker-[^/]*\.js$/.test(path);
  for (const [isHit, answer, code, pattern] of [
    [isWasm, { status: 404 }, "Network", /\.wasm \(status 404\)/],
    [isWasm, as("text/html"), "Network", /\.wasm as text\/html, not as application\/wasm/],
    [isWorker, { status: 404 }, "Internal", /worker's script .* own origin/],
    [isWorker, as("text/plain", "postMessage(1)"), "Internal", /worker's script .* as text\/javascript/],
  ]) {
    site.answer = (path) => (isHit(path) ? answer : null);
    await page.goto(site.url);
    const error = await page.evaluate(() =>
      window.fraise.Engine.create({ device: "cpu" }).then(() => "created", ({ code, message }) => ({ code, message })));
    assert.equal(error.code, code, JSON.stringify(error));
    assert.match(error.message, pattern);
  }
  await close();
});

test("a host in trouble for a moment is asked again, after a pause that grows", TIMEOUT, async () => {
  const times = [];
  const { page, close } = await open((path) => (firstOf(path) && times.push(performance.now()) < 4 ? { status: 503 } : null));
  assert.deepEqual(await load(page), { code: "loaded", isKept: true });
  const pauses = times.slice(1).map((time, at) => time - times[at]);
  assert.equal(pauses.length, 3);
  assert.ok(pauses.every((pause, at) => pause >= [400, 1000, 2500][at] / 20), String(pauses));
  await close();
});

test("a pack on another site: without CORS a message says so; with it, it loads", TIMEOUT, async () => {
  site.files["/plain.html"] = new URL("../../www/examples/plain.html", import.meta.url).pathname; // has no policy
  let headers = {};
  other.answer = (path) => {
    const answer = pack.answer(path);
    return answer && { ...answer, headers: { ...answer.headers, ...headers } };
  };
  const { page, close } = await open(() => null, "plain.html");
  const address = `${other.url}${MODEL}`;
  const refused = await load(page, address);
  assert.deepEqual([refused.code, refused.details], ["Network", { url: address, status: 0 }]);
  assert.match(refused.message, /CORS/);
  headers = { "access-control-allow-origin": "*" };
  assert.deepEqual(await load(page, address), { code: "loaded", isKept: true });
  await close();
});

test("a page whose policy allows its own origin alone: the engine's worker, which no policy in markup binds, keeps to it", TIMEOUT, async () => {
  const { page, close } = await open(() => null);
  const error = await load(page, `${other.url}${MODEL}`);
  assert.deepEqual([error.code, error.details.status], ["Network", 0], JSON.stringify(error));
  const reached = await page.workers()[0].evaluate(async (url) => {
    const ways = { fetch: () => fetch(url), request: () => fetch(new Request(url, { mode: "cors" })), socket: () => new WebSocket(url), old: () => new XMLHttpRequest() };
    const tried = Object.entries(ways).map(async ([name, ask]) => ((await ask()), name));
    return (await Promise.allSettled(tried)).filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  }, `${other.url}steal`);
  assert.deepEqual([reached, other.log], [[], []]);
  assert.equal((await load(page)).code, "loaded");
  await close();
});

test("offline in the middle of a load: a message, and back online only the rest is fetched", TIMEOUT, async () => {
  let asked = 0;
  let hung;
  const hanging = new Promise((resolve) => (hung = resolve));
  const { page, setOffline, close } = await open((path) => {
    if (isPiece(path) && (asked += 1) === 4) hung();
    return isPiece(path) && asked >= 4 ? new Promise((resolve) => setTimeout(resolve, 400, null)) : null;
  });
  const loading = load(page);
  await hanging;
  await untilStored(page);
  await setOffline(true);
  const error = await loading;
  assert.deepEqual([error.code, error.details?.status], ["Network", 0], JSON.stringify(error));
  const { pieces } = await storedIn(page);
  assert.ok(pieces.length > 0);
  await setOffline(false);
  asked = -1000;
  site.log.length = 0;
  assert.deepEqual(await load(page), { code: "loaded", isKept: true });
  assert.equal(piecesIn(site.log).length, requiredPieces(pack.manifest).size - pieces.length);
  await close();
});

/** Changes the store behind the engine's back. */
const spoil = (page, how) =>
  page.evaluate(async (kind) => {
    const asked = indexedDB.open("fraise");
    const database = await new Promise((resolve) => (asked.onsuccess = () => resolve(asked.result)));
    const store = database.transaction("pieces", "readwrite").objectStore("pieces");
    const names = await new Promise((resolve) => (store.getAllKeys().onsuccess = ({ target }) => resolve(target.result)));
    const done = new Promise((resolve) => (store.transaction.oncomplete = resolve));
    if (kind === "one") store.delete(names[2]);
    else if (kind === "all") store.clear();
    else store.put(kind === "damaged" ? new Uint8Array([1, 2, 3]) : "text", names[2]);
    await done;
    database.close();
    return kind === "all" ? names.length : 1;
  }, how);

for (const how of ["one", "all", "damaged", "of another kind"]) {
  test(`stored pieces evicted while the engine runs (${how}): it paints on, and the next load mends the store`, TIMEOUT, async () => {
    const { page, problems, close } = await open(() => null);
    await load(page);
    const size = await page.evaluate(() => window.paint());
    const spoiled = await spoil(page, how);
    site.log.length = 0;
    assert.equal(await page.evaluate(() => window.paint()), size, "what is on the device is not touched");
    assert.deepEqual(await load(page), { code: "loaded", isKept: true });
    assert.equal(piecesIn(site.log).length, spoiled, "exactly what was lost is fetched, in the same load");
    assert.equal(await page.evaluate(() => window.paint()), size);
    const { pieces } = await storedIn(page);
    assert.ok(pieces.every(({ sha256, hash }) => sha256 === hash));
    assert.deepEqual(problems, []);
    await close();
  });
}

test("two tabs find the same stored piece damaged: one fetches it again, for both", TIMEOUT, async () => {
  let isSlow = false;
  const { page, problems, close } = await open((path) => (isSlow && isPiece(path) ? new Promise((resolve) => setTimeout(resolve, 400, null)) : null));
  await load(page);
  const other = await page.context().newPage();
  await startEngine(other);
  await spoil(page, "damaged");
  site.log.length = 0;
  isSlow = true;
  const kept = { code: "loaded", isKept: true };
  assert.deepEqual(await Promise.all([load(page), load(other)]), [kept, kept]);
  assert.equal(piecesIn(site.log).length, 1, "once for both");
  const { pieces } = await storedIn(page);
  assert.ok(pieces.every(({ sha256, hash }) => sha256 === hash));
  assert.deepEqual(problems, []);
  await close();
});

test("the browser clears the origin and closes the connection: the engine opens a new one", TIMEOUT, async () => {
  const { page, close } = await open(() => null);
  await load(page);
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.clearDataForOrigin", { origin: new URL(site.url).origin, storageTypes: "indexeddb" });
  site.log.length = 0;
  assert.deepEqual(await load(page), { code: "loaded", isKept: true });
  assert.equal(piecesIn(site.log).length, requiredPieces(pack.manifest).size);
  assert.equal((await storedIn(page)).packs.length, 1);
  await close();
});

test("a newer version in another tab changes the database: it is not kept waiting, and this tab says to reload", TIMEOUT, async () => {
  const { page, close } = await open(() => null);
  await load(page);
  const newer = await page.context().newPage();
  await newer.goto(`${site.url}manners/`);
  const changed = await newer.evaluate(
    () =>
      new Promise((resolve) => {
        const asked = indexedDB.open("fraise", 9);
        asked.onblocked = () => resolve("blocked");
        asked.onsuccess = () => resolve((asked.result.close(), "changed"));
      }),
  );
  assert.equal(changed, "changed");
  assert.ok((await page.evaluate(() => window.paint())) > 0, "what is loaded still paints");
  const error = await load(page);
  assert.equal(error.code, "Storage", JSON.stringify(error));
  assert.match(error.message, /reload this page/);
  await close();
});

test("a tab hidden for long, and a clock that jumps, change nothing", TIMEOUT, async () => {
  const { page, problems, close } = await open(() => null);
  await load(page);
  const [size] = [await page.evaluate(() => window.paint())];
  const session = await page.context().newCDPSession(page);
  // In the middle of a picture, for as long as a test can wait: the worker may go on, what it says comes later.
  const frozen = page.evaluate(() => (window.frozen = window.paint()));
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await session.send("Page.setWebLifecycleState", { state: "active" });
  assert.equal(await frozen, size);
  const painting = page.evaluate(() => window.paint());
  const worker = page.workers()[0];
  for (const hours of [-10_000, 10_000]) {
    await worker.evaluate((ms) => {
      const [now, date] = [performance.now.bind(performance), Date.now];
      performance.now = () => now() + ms;
      Date.now = () => date() + ms;
    }, hours * 3_600_000);
    assert.equal(await page.evaluate(() => window.paint()), size);
  }
  assert.equal(await painting, size);
  assert.deepEqual(problems, []);
  await close();
});
