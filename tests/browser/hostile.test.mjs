// What comes from outside and means no good: pictures that are none, markup in every text, and a page that would talk.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { deflateSync } from "node:zlib";
import { launchChromium } from "./browsers.mjs";
import { chunk, makePng, text, writeZip } from "./files.mjs";
import { editedManifest, goldenPack } from "./packs.mjs";
import { closedAfter, temporaryFolder } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 200_000 };
const MODEL = "models/tiny/manifest.json";
const FAST = { steps: 1, device: "cpu" };

const site = await closedAfter(openSite());
const other = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const folder = await temporaryFolder();

beforeEach(() => {
  site.answer = null;
  site.log.length = 0;
});

/** A true PNG of 400 million black pixels in some fifty kilobytes. */
function bomb() {
  const side = 20_000;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header[8] = 1; // one bit, grey
  const pixels = deflateSync(Buffer.alloc(side * (1 + side / 8)), { level: 9 });
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

test("pictures that are none, or too large, are refused by each call, the large ones undecoded", TIMEOUT, async () => {
  site.answer = (await goldenPack("tiny_flow")).answer;
  const { page, problems, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  await page.evaluate(async (model) => {
    const engine = (window.engine = await window.fraise.Engine.create({ device: "cpu" }));
    await engine.load(model);
    const run = async (request) => {
      for await (const _step of engine.generate({ prompt: "a cat", ...request }));
      return { code: "painted" };
    };
    const uses = {
      image: (blob) => run({ image: blob }),
      mask: (blob) => run({ image: new ImageData(64, 64), mask: blob }),
      upscale: (blob) => engine.upscale(blob),
      score: (blob) => engine.score("a cat", [blob]),
      isMarked: (blob) => engine.isMarked(blob),
    };
    window.tryAll = async (base64, type) => {
      const blob = new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type });
      const ends = {};
      for (const [name, use] of Object.entries(uses)) {
        ends[name] = await use(blob).then(() => "taken", ({ code, message }) => `${code}: ${message}`);
      }
      return ends;
    };
  }, MODEL);
  const whole = makePng({ width: 64, height: 64 });
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><script>alert(1)</script></svg>';
  const cases = {
    bomb: [bomb(), "image/png", /pixels|side|large/],
    "65535 x 65535": [makePng({ width: 65_535, height: 65_535 }), "image/png", /pixels|side|large/],
    "SVG as PNG": [Buffer.from(svg), "image/png", /./],
    SVG: [Buffer.from(svg), "image/svg+xml", /./],
    pickle: [Buffer.from("PK\x03\x04\0\0archive/data.pkl"), "image/png", /./],
    empty: [Buffer.alloc(0), "image/png", /./],
    "half a header": [whole.subarray(0, 20), "image/png", /./],
  };
  for (const [name, [bytes, type, pattern]] of Object.entries(cases)) {
    const ends = await page.evaluate(([base64, kind]) => window.tryAll(base64, kind), [bytes.toString("base64"), type]);
    for (const [use, end] of Object.entries(ends)) assert.ok(end.startsWith("Request") && pattern.test(end), `${name}, ${use}: ${end}`);
  }
  // A PNG with a zip behind it is a PNG; what is behind it is not looked at.
  const polyglot = Buffer.concat([whole, writeZip([{ name: "evil.html", data: Buffer.from("<script>") }])]);
  const ends = await page.evaluate((base64) => window.tryAll(base64, "image/png"), polyglot.toString("base64"));
  assert.deepEqual(new Set(Object.values(ends)), new Set(["taken"]), JSON.stringify(ends));
  assert.deepEqual(problems, []);
  await close();
});

const MARKUP = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload="window.hacked=1">`;

/** Counts what the page's policy had to refuse, and what got through. */
async function openWatched() {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.page.evaluate(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, sample }) => window.violations.push(`${violatedDirective}: ${sample}`));
  });
  return studio;
}

async function assertHarmless(studio) {
  await studio.page.waitForTimeout(200);
  const found = await studio.page.evaluate(() => {
    const inside = (root) => [...root.querySelectorAll("*")].flatMap((node) => [node, ...(node.shadowRoot ? inside(node.shadowRoot) : [])]);
    const injected = inside(document).filter((node) => node.matches('img[src="x"], svg[onload], script:not([src]), [href^="javascript:"], [src^="javascript:"]'));
    return { hacked: window.hacked, violations: window.violations, injected: injected.map(({ outerHTML }) => outerHTML) };
  });
  assert.deepEqual(found, { hacked: undefined, violations: [], injected: [] });
  assert.deepEqual(studio.problems, []);
}

test("markup in every text from outside is shown as text, and Trusted Types have nothing to refuse", TIMEOUT, async () => {
  site.answer = await editedManifest((manifest) => {
    Object.assign(manifest, { name: MARKUP.slice(0, 100), license: MARKUP.slice(0, 100), license_restrictions: MARKUP, source: "javascript:window.hacked=1" });
    manifest.examples = { en: [MARKUP], zh: [MARKUP] };
  });
  const studio = await openWatched();
  await studio.until(() => /<img src=x/.test(window.tools.text("#model") ?? ""));
  await studio.settings({ ...FAST, prompt: MARKUP });
  await studio.generate();
  await studio.page.evaluate((markup) => {
    for (const data of [markup, { type: markup, message: markup }, { protocol: "fraise-painter", version: 1, type: "set", settings: { prompt: markup } }]) postMessage(data, "*");
    location.hash = `p=${encodeURIComponent(markup)}&n=${encodeURIComponent(markup)}&sa=${encodeURIComponent(markup)}&m=${encodeURIComponent(`other ${markup}`)}`;
  }, MARKUP);
  await studio.until(() => /other <img src=x/.test(window.tools.text("#other-model") ?? ""));
  const png = makePng({ chunks: [text("parameters", `${MARKUP}\nNegative prompt: ${MARKUP}\nSteps: 3, Sampler: ${MARKUP}, Model: ${MARKUP}, ${MARKUP}: ${MARKUP}`)] });
  for (const [name, bytes] of [[`${MARKUP.replaceAll("/", "")}.png`, png], [`${MARKUP.replaceAll("/", "").slice(0, 80)}.safetensors`, Buffer.from("none")]]) {
    await writeFile(join(folder, name), bytes);
    await studio.setFile(name.endsWith(".png") ? "#gallery-file" : "#checkpoint", join(folder, name));
    await studio.page.waitForTimeout(300);
  }
  await studio.until(() => window.tools.has("#convert-failure"));
  await assertHarmless(studio);
  await studio.close();
});

test("addresses that are none of a host's are refused by name, and run nothing", TIMEOUT, async () => {
  const studio = await openWatched();
  const ends = await studio.page.evaluate(async () => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    const addresses = ["javascript:window.hacked=1", "data:application/json,{}", "blob:null/1", "file:///etc/passwd", "https://elsewhere.example/manifest.json"];
    return Promise.all(addresses.map((address) => engine.load(address).then(() => "loaded", ({ code }) => code)));
  });
  assert.deepEqual(ends, ["Network", "Manifest", "Network", "Network", "Network"]);
  assert.equal(await studio.page.evaluate(() => window.hacked), undefined);
  assert.deepEqual([...studio.hosts], [new URL(site.url).host]);
  await studio.close();
});

test("twenty pictures make no request, and the policy lets none out", TIMEOUT, async () => {
  const studio = await openWatched();
  await studio.settings(FAST);
  await studio.generate();
  const requests = [];
  studio.page.on("request", (request) => requests.push(request.url()));
  site.log.length = 0;
  other.log.length = 0;
  await studio.page.evaluate(async (model) => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    await engine.load(model); // from the store
    window.paint = async (seed) => {
      for await (const _step of engine.generate({ prompt: "a secret", seed, steps: 1 }));
      return (await engine.last()).blob.size;
    };
  }, "models/fraise-1/manifest.json");
  const ofStart = site.log.splice(0);
  assert.ok(ofStart.every((path) => /\/worker-|\.wasm$/.test(path)), String(ofStart));
  requests.length = 0;
  for (let seed = 0; seed < 20; seed += 1) assert.ok((await studio.page.evaluate((given) => window.paint(given), seed)) > 1000);
  await studio.settings({ ...FAST, seed: 99 });
  await studio.generate();
  assert.deepEqual([site.log, other.log, requests.filter((url) => /^http/.test(url))], [[], [], []]);
  const refused = await studio.page.evaluate(async (url) => {
    const attempts = { fetch: () => fetch(url), beacon: async () => navigator.sendBeacon(url), socket: () => opened(new WebSocket(url.replace("http", "ws"))) };
    const opened = (socket) => new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
    for (const attempt of Object.values(attempts)) await attempt().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return window.violations.filter((line) => line.startsWith("connect-src")).length;
  }, `${other.url}steal`);
  assert.equal(refused, 3);
  assert.deepEqual(other.log, []);
  await studio.close();
});
