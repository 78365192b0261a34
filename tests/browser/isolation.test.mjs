// A painter in a frame from another origin, the pages around it that mean no good, and the policies that owners may set.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { importSource } from "./source.mjs";

const { fromFrameMessage, RateLimit, toFrameMessage } = await importSource("embed/protocol.ts");

const TIMEOUT = { timeout: 300_000 };
/** What the README tells owners to allow. */
const OWNER_POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self' blob:; style-src 'self'";

/** The owner's site, which keeps a copy of frame.js, and the one that serves the frame. */

const owner = await closedAfter(openSite());
const host = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

beforeEach(() => {
  owner.answer = (path) => (path === "/owner.html" ? page("") : null);
  host.log.length = 0;
});

const page = (body, headers = {}) => ({
  body: `<!doctype html><html lang="en"><meta charset="utf-8"><title>Owner</title>${body}</html>`,
  headers: { "content-type": "text/html; charset=utf-8", ...headers },
});
const isOfEngine = (path) => /\.(bin|wasm)$|\/worker-/.test(path);
const originOf = ({ url }) => new URL(url).origin;

/** The owner's page, with a frame of `options` in it unless null. */
async function open(options = {}) {
  const opened = await browser.newPage({ serviceWorkers: "block" });
  await opened.page.goto(`${owner.url}owner.html`);
  if (options) {
    await opened.page.evaluate(
      async ([script, src, given]) => {
        const { PainterFrame } = await import(script);
        window.heard = [];
        window.painter = new PainterFrame(document.body, { src, ...given });
        for (const name of ["progress", "step", "result", "error"]) {
          window.painter.addEventListener(`fraise-${name}`, ({ detail }) => window.heard.push(detail));
        }
        await window.painter.ready;
      },
      [`${owner.url}frame.js`, `${host.url}embed.html`, options],
    );
  }
  return { ...opened, inside: (selector) => opened.page.frameLocator("iframe").locator(selector) };
}

/** A frame that the page made by hand. */
async function openByHand(parent) {
  const opened = await open(null);
  await opened.page.evaluate(
    (src) =>
      new Promise((loaded) => {
        window.heard = [];
        addEventListener("message", ({ data }) => window.heard.push(data));
        const frame = Object.assign(document.createElement("iframe"), { src, onload: loaded });
        document.body.append(frame);
        window.tell = (message) => frame.contentWindow.postMessage({ protocol: "fraise-painter", version: 1, ...message }, "*");
      }),
    `${host.url}embed.html?parent=${encodeURIComponent(parent)}`,
  );
  return opened;
}

const promptIn = ({ inside }) => inside("fraise-painter").evaluate((painter) => painter.prompt);
const tell = ({ page: driver }, message) => driver.evaluate((given) => window.tell(given), message);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const untilPrompt = async (opened, prompt) => {
  for (let waited = 0; (await promptIn(opened)) !== prompt; waited += 50) {
    assert.ok(waited < 5000, `the prompt is ${await promptIn(opened)}`);
    await pause(50);
  }
};

test("a framed painter takes settings, paints after a click inside, and hands the picture out", TIMEOUT, async () => {
  const opened = await open({ prompt: "a fox <img src=x onerror=alert(1)>", steps: 2, editable: true });
  const { page: driver, inside, problems, close } = opened;
  await untilPrompt(opened, "a fox <img src=x onerror=alert(1)>");
  assert.equal(await inside("img").count(), 0, "markup is shown as text");
  await driver.waitForFunction(() => parseFloat(document.querySelector("iframe").style.height) > 200);
  await driver.evaluate(() => window.painter.set({ prompt: "a fox in the snow", steps: 1, seed: 9 }));
  await untilPrompt(opened, "a fox in the snow");
  for (const type of ["paint", "generate", "click", "start"]) {
    await driver.evaluate(
      ([kind, origin]) => window.painter.element.contentWindow.postMessage({ protocol: "fraise-painter", version: 1, type: kind }, origin),
      [type, originOf(host)],
    );
  }
  await pause(500);
  assert.deepEqual(host.log.filter(isOfEngine), [], "nothing starts from outside");

  await inside("[part=button]").click();
  await driver.waitForFunction(() => window.heard.some(({ type }) => type === "result" || type === "error"), null, { timeout: 200_000 });
  const heard = await driver.evaluate(async () => {
    const { png, ...result } = window.heard.at(-1);
    return { types: [...new Set(window.heard.map(({ type }) => type))], result, head: [...new Uint8Array(await png.slice(0, 4).arrayBuffer())] };
  });
  assert.deepEqual(heard, {
    types: ["progress", "step", "result"],
    result: { type: "result", prompt: "a fox in the snow", seed: 9 },
    head: [0x89, 0x50, 0x4e, 0x47],
  });
  assert.ok(piecesIn(host.log).length > 0);
  assert.deepEqual(problems, []);
  await close();
});

test("a page of another origin than the named one is neither heard nor told anything", TIMEOUT, async () => {
  for (const named of [originOf(host), "https://example.org", "null", "*", `${originOf(owner)}/`, "javascript:alert(1)"]) {
    const opened = await openByHand(named);
    await tell(opened, { type: "hello" });
    await tell(opened, { type: "set", settings: { prompt: "taken over" } });
    await pause(300);
    assert.equal(await promptIn(opened), "", named);
    assert.deepEqual(await opened.page.evaluate(() => window.heard), [], named);
    await opened.close();
  }
});

test("a window of the right origin that is not the page around is not heard", TIMEOUT, async () => {
  const opened = await open({ prompt: "mine" });
  await untilPrompt(opened, "mine");
  await opened.page.evaluate(
    () =>
      new Promise((done) => {
        const sibling = document.createElement("iframe");
        sibling.src = location.href;
        sibling.onload = () => {
          const script = sibling.contentDocument.createElement("script");
          script.textContent = `parent.frames[0].postMessage({ protocol: "fraise-painter", version: 1, type: "set", settings: { prompt: "theirs" } }, "*"); parent.sent = true`;
          sibling.contentDocument.body.append(script);
          done();
        };
        document.body.append(sibling);
      }),
  );
  await pause(300);
  assert.ok(await opened.page.evaluate(() => window.sent));
  assert.equal(await opened.page.frames()[1].evaluate(() => document.querySelector("fraise-painter").prompt), "mine");
  await opened.close();
});

test("a flood of messages is cut off, and what comes after it is heard again", TIMEOUT, async () => {
  const opened = await openByHand(originOf(owner));
  await tell(opened, { type: "hello" });
  await opened.page.waitForFunction(() => window.heard.some(({ type }) => type === "ready"));
  await opened.inside("fraise-painter").evaluate((painter) => {
    window.heeded = 0;
    new MutationObserver((changes) => (window.heeded += changes.length)).observe(painter, { attributes: true });
  });
  const startMs = performance.now();
  await opened.page.evaluate(() => {
    for (let at = 0; at < 20_000; at += 1) window.tell({ type: "set", settings: { prompt: `flood ${at}` } });
  });
  await pause(1500);
  const heeded = await opened.inside("fraise-painter").evaluate(() => window.heeded);
  const most = 20 + (10 * (performance.now() - startMs)) / 1000;
  assert.ok(heeded > 0 && heeded <= most, `${heeded} messages of the flood came through, at most ${most}`);
  await pause(1500);
  await tell(opened, { type: "set", settings: { prompt: "calm" } });
  await untilPrompt(opened, "calm");
  await opened.close();
});

test("hostile settings change nothing but themselves", TIMEOUT, async () => {
  const opened = await openByHand(originOf(owner));
  await tell(opened, { type: "hello" });
  await opened.page.evaluate(() => {
    window.tell({ type: "set", settings: JSON.parse('{"__proto__":{"polluted":1,"prompt":"inherited"},"constructor":{"prototype":{"polluted":1}}}') });
    window.tell({ type: "set", settings: { onclick: "alert(1)", style: "x", model: "https://example.org/manifest.json", steps: NaN, seed: -1, size: "9" } });
    window.tell(JSON.parse('{"__proto__":{"type":"set"}}'));
    window.tell({ type: "set", settings: { prompt: "x".repeat(1e6), lang: "zh" } });
  });
  await untilPrompt(opened, "x".repeat(4000));
  const [polluted, attributes, modelOrigin] = await opened
    .inside("fraise-painter")
    .evaluate((painter) => ["polluted" in {}, painter.getAttributeNames().sort(), new URL(painter.model).origin]);
  assert.deepEqual([polluted, attributes, modelOrigin], [false, ["lang", "prompt"], originOf(host)]);
  await opened.close();
});

test("the page around hears only its own frame", TIMEOUT, async () => {
  const { page: driver, close } = await open({});
  await driver.evaluate(() => postMessage({ protocol: "fraise-painter", version: 1, type: "error", code: "Forged", message: "" }, "*"));
  await pause(200);
  assert.deepEqual(await driver.evaluate(() => window.heard), []);
  await close();
});

test("messages are taken field by field, at a bounded rate", () => {
  const ours = (fields) => ({ protocol: "fraise-painter", version: 1, ...fields });
  for (const data of [null, 7, "hello", [], {}, ours({}), ours({ type: "toString" }), { ...ours({ type: "hello" }), version: 2 }, Object.create(ours({ type: "hello" }))]) {
    assert.equal(toFrameMessage(data), null);
    assert.equal(fromFrameMessage(data), null);
  }
  assert.deepEqual(toFrameMessage(ours({ type: "hello", more: 1 })), { type: "hello" });
  assert.deepEqual(toFrameMessage(ours({ type: "set", settings: { steps: 4, width: Infinity, editable: null, upscale: 1, other: 2 } })), {
    type: "set",
    settings: { steps: 4, editable: null },
  });
  assert.deepEqual(fromFrameMessage(ours({ type: "step", index: 1, total: "2" })), { type: "step", index: 1, total: 0 });
  assert.equal(fromFrameMessage(ours({ type: "result", png: "no blob" })), null);
  const limit = new RateLimit(3, 2);
  assert.deepEqual([0, 0, 0, 0, 400, 600, 700, 10_000, 10_000, 10_000, 10_000].map((ms) => limit.allows(ms)), [true, true, true, false, false, true, false, true, true, true, false]);
});

test("an owner's page paints under the documented policy, without unsafe-eval", TIMEOUT, async () => {
  owner.answer = (path) =>
    path === "/strict.html"
      ? page(
          `<script type="module" src="./painter.js"></script>
           <fraise-painter model="models/fraise-1/manifest.json" prompt="a cat" steps="1" device="cpu"></fraise-painter>`,
          { "content-security-policy": OWNER_POLICY },
        )
      : null;
  const { page: driver, problems, close } = await browser.newPage({ serviceWorkers: "block" });
  await driver.goto(`${owner.url}strict.html`);
  await driver.locator("fraise-painter [part=button]").click();
  await driver.waitForFunction(() => document.querySelector("fraise-painter").shadowRoot.querySelector("[part=status]").textContent === "" && document.querySelector("fraise-painter").hasPaint, null, { timeout: 200_000 });
  assert.deepEqual(problems, []);
  await close();
});

test("the studio enforces Trusted Types: no text becomes a script or markup", TIMEOUT, async () => {
  const { page: driver, close } = await browser.newPage({ serviceWorkers: "block" });
  await driver.goto(owner.url);
  const refused = await driver.evaluate(async () => {
    const names = [];
    await new Promise((resolve) => setTimeout(resolve)); // out of the tools' own call, which may evaluate
    const attempt = (name, work) => {
      try {
        work();
      } catch (error) {
        names.push(`${name}: ${error.name}`);
      }
    };
    attempt("markup", () => (document.createElement("div").innerHTML = "<b>x</b>"));
    attempt("foreign worker", () => new Worker("https://example.org/worker.js"));
    attempt("eval", () => (0, eval)("1"));
    return names;
  });
  assert.deepEqual(refused.map((line) => line.split(":")[0]), ["markup", "foreign worker", "eval"]);
  await close();
});
