// The processor's threads: several on pages that are isolated across origins, one elsewhere, and always the same picture.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium, launchFirefox } from "./browsers.mjs";
import { DEFAULT_MODEL, openEngine, refuseWorkers, startEngine, untilHeld } from "./engine.mjs";
import { closedAfter } from "./setup.mjs";
import { changedWorker, openSite } from "./site.mjs";

const TIMEOUT = { timeout: 300_000 };
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
/** A machine of four cores, of which one is for previews. */
const FOUR_CORES = `Object.defineProperty(navigator, "hardwareConcurrency", { value: 4 })`;

const site = await closedAfter(openSite());
const chromium = await closedAfter(launchChromium());

/** An engine on the processor of a machine with four cores, with more of `code` in its workers. */
async function open(headers, code = "", browser = chromium) {
  site.headers = headers;
  site.answer = await changedWorker(`${FOUR_CORES};\n${code}`);
  return openEngine(browser, site, "cpu");
}

/** A picture's channels, and what the engine says of itself before and after; then the page is closed. */
async function paint({ page, close }) {
  const found = await painted(page);
  await close();
  return found;
}

function painted(page) {
  return page.evaluate(async () => {
    const [isIsolated, before] = [crossOriginIsolated, window.engine.device.threads];
    let picture;
    for await (const step of window.engine.generate({ prompt: "a strawberry on a beach", seed: 42, steps: 4 })) picture = await step.image();
    const { data } = await window.pixels(picture);
    return { isIsolated, threads: before, memory: await window.engine.memory(), channels: [...data] };
  });
}

const alone = await paint(await open({}));

test("without isolation the engine's worker computes alone", () => {
  assert.deepEqual([alone.isIsolated, alone.threads], [false, 1]);
  assert.ok(alone.channels.length > 0);
});

for (const [name, launch] of [["Chromium", () => chromium], ["Firefox", () => closedAfter(launchFirefox())]]) {
  test(`${name}: with isolation three threads paint what one paints, to the level`, TIMEOUT, async (context) => {
    const browser = await launch();
    const one = name === "Chromium" ? alone : await paint(await open({}, "", browser));
    // The page starts them: workers that start workers now and then hang in Firefox.
    const three = await paint(await open(ISOLATED, "delete self.Worker", browser));
    assert.deepEqual([three.isIsolated, three.threads], [true, 3]);
    assert.deepEqual(three.channels, one.channels);
    context.diagnostic(`memory of one ${one.memory.wasmBytes >> 20} MiB, of three ${three.memory.wasmBytes >> 20} MiB`);
    assert.ok(three.memory.wasmBytes > one.memory.wasmBytes, "the others' memories are counted");
  });

  test(`${name}: where the host sends no headers, the studio has three threads from its second visit on, offline too`, TIMEOUT, async () => {
    const { page, close } = await visitKept(await launch());
    const first = await paintedOnCpu(page);
    assert.deepEqual([first.isIsolated, first.threads], [false, 1]);
    await page.evaluate(() => sessionStorage.setItem("kept", "over the reload"));

    site.answer = () => ({ status: 503 });
    await page.reload();
    const second = await paintedOnCpu(page);
    assert.deepEqual([second.isIsolated, second.threads], [true, 3]);
    assert.deepEqual(second.channels, first.channels);
    assert.equal(await page.evaluate(() => sessionStorage.getItem("kept")), "over the reload");
    for (const address of ["?shared", "index.html#seed=7"]) {
      await page.goto(`${site.url}${address}`);
      assert.ok(await page.evaluate(() => crossOriginIsolated), address);
    }
    await close();
  });
}

/** The studio of a machine of four cores, kept by its service worker. The host redirects `index.html`, as some do. */
async function visitKept(browser, headers = {}) {
  site.headers = headers;
  const worker = await changedWorker(FOUR_CORES);
  site.answer = (path) => (path === "/index.html" ? { status: 308, headers: { location: "/" } } : worker(path));
  const opened = await browser.newPage();
  await opened.page.goto(site.url);
  await opened.page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  return opened;
}

async function paintedOnCpu(page) {
  await startEngine(page, "cpu");
  return painted(page);
}

test("what the host itself says of the headers stands", TIMEOUT, async () => {
  const weaker = await visitKept(chromium, { "cross-origin-opener-policy": "same-origin-allow-popups" });
  await weaker.page.reload();
  const picture = await paintedOnCpu(weaker.page);
  assert.deepEqual([picture.isIsolated, picture.threads], [false, 1]);
  assert.deepEqual(picture.channels, alone.channels);
  await weaker.close();

  const other = await visitKept(chromium, { ...ISOLATED, "cross-origin-embedder-policy": "credentialless" });
  const reloaded = await other.page.reload();
  assert.ok(reloaded.fromServiceWorker());
  assert.equal(reloaded.headers()["cross-origin-embedder-policy"], "credentialless");
  assert.equal((await paintedOnCpu(other.page)).threads, 3);
  await other.close();
});

test("a member that stops in the middle of a picture is done without", TIMEOUT, async () => {
  // The second one sleeps for ever before its hundredth answer, as one does that the browser has ended.
  const code = `if (self.name === "fraise") console.warn = (text) => new BroadcastChannel("warnings").postMessage(text);
    else addEventListener("message", ({ data: { member } }) => {
      const { sub } = Atomics;
      let answers = 0;
      Atomics.sub = (...given) => {
        answers += 1;
        if (member === 1 && answers === 100) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
        return sub(...given);
      };
    });`;
  const { page, close } = await open(ISOLATED, code);
  await page.evaluate(() => {
    window.warnings = [];
    new BroadcastChannel("warnings").onmessage = ({ data }) => window.warnings.push(data);
  });
  const picture = await paint({ page, close: () => undefined });
  assert.equal(picture.threads, 3);
  assert.deepEqual(picture.channels, alone.channels);
  const later = await page.evaluate(async (model) => {
    await window.engine.load(model);
    return { warnings: window.warnings, threads: window.engine.device.threads };
  }, DEFAULT_MODEL);
  assert.match(later.warnings.join(), /^Fraise's other workers do not answer/, "it was missed, once");
  assert.equal(later.threads, 3, "the next load has them anew");
  await close();
});

test("where members do not start, the engine's worker computes alone", TIMEOUT, async () => {
  const refusing = (given) => refuseWorkers(given, "fraise-member");
  const refusals = [[refusing, ""], [null, `if (self.name === "fraise-member") throw new Error("no member");`]];
  for (const [inPage, inWorker] of refusals) {
    const { page, close } = await open(ISOLATED, inWorker);
    if (inPage) await inPage(page);
    await page.evaluate(() => window.engine.close());
    await startEngine(page, "cpu");
    const picture = await paint({ page, close });
    assert.deepEqual([picture.isIsolated, picture.threads], [true, 1]);
    assert.deepEqual(picture.channels, alone.channels);
  }
});

test("closing the engine ends its members", TIMEOUT, async () => {
  // Each member holds a lock from before it is one, until it ends.
  const holding = `if (self.name === "fraise-member") addEventListener("message", (event) => {
    if (!event.isTrusted) return;
    event.stopImmediatePropagation();
    void navigator.locks.request("member " + event.data.member, () => {
      dispatchEvent(new MessageEvent("message", { data: event.data }));
    });
  });`;
  const { page, close } = await open(ISOLATED, holding);
  const until = (count) => untilHeld(page, "member ", count);
  await until(2);
  await page.evaluate(() => window.engine.close());
  await until(0);
  await startEngine(page, "cpu");
  await until(2);
  await page.evaluate((model) => window.engine.load(model), DEFAULT_MODEL);
  await until(2);
  await close();
});
