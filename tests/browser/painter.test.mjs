// The element on other people's pages: plain, in React and in Vue; the examples in www/examples are what is tested.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { pathToFileURL } from "node:url";
import { launchChromium } from "./browsers.mjs";
import { engineWorkers } from "./engine.mjs";
import { closedAfter, temporaryFolder } from "./setup.mjs";
import { modelFile, openSite, piecesIn } from "./site.mjs";

const TIMEOUT = { timeout: 300_000 };
const EXAMPLES = new URL("../../www/examples/", import.meta.url).pathname;
const DIST = new URL("../../dist/", import.meta.url);
const require = createRequire(new URL("../../www/package.json", import.meta.url));

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const folder = await temporaryFolder();
site.files["/examples/plain.html"] = join(EXAMPLES, "plain.html");

beforeEach(() => {
  site.log.length = 0;
});

/** A page on which nothing of the studio is kept. */
async function open(path) {
  const opened = await browser.newPage({ serviceWorkers: "block" });
  await opened.page.goto(site.url + path);
  return opened;
}

/** Puts an example together as its owner would, and serves it beside the site. */
async function bundle(name) {
  const { build } = await import(pathToFileURL(require.resolve("vite")));
  const { default: vue } = await import(pathToFileURL(require.resolve("@vitejs/plugin-vue")));
  const outDir = join(folder, name);
  const plugins = [vue({ template: { compilerOptions: { isCustomElement: (tag) => tag === "fraise-painter" } } })];
  await build({ configFile: false, logLevel: "error", root: join(EXAMPLES, name), base: "./", plugins, build: { outDir } });
  for (const file of await readdir(outDir, { recursive: true })) site.files[`/examples/${name}/${file}`] = join(outDir, file);
  site.files[`/examples/${name}/`] = join(outDir, "index.html");
}

/** What a painter's shadow holds, as text. */
const shown = (page, selector) => page.evaluate((wanted) => document.querySelector(wanted).shadowRoot.textContent, selector);
const isOfEngine = (path) => /\.(bin|wasm)$|\/worker-/.test(path);

test("a painter element downloads nothing before the click and tells what it does", TIMEOUT, async () => {
  const { page, problems, close } = await open("widget.html");
  await page.waitForFunction(() => document.querySelector("fraise-painter")?.shadowRoot?.textContent.includes("MB"));
  assert.deepEqual(site.log.filter(isOfEngine), []);
  await page.evaluate(() => {
    window.heard = [];
    for (const name of ["progress", "step", "result", "error"]) {
      document.addEventListener(`fraise-${name}`, (event) => {
        window.heard.push(name);
        if (name === "result") window.resultBytes = event.detail.blob.size;
      });
    }
  });
  await page.locator("fraise-painter button").click();
  await page.waitForFunction(() => window.heard.includes("result") || window.heard.includes("error"), null, { timeout: 300_000 });
  const heard = await page.evaluate(() => window.heard);
  assert.deepEqual([...new Set(heard)], ["progress", "step", "result"]);
  assert.equal(heard.filter((name) => name === "step").length, 2);
  assert.ok((await page.evaluate(() => window.resultBytes)) > 1000);
  assert.deepEqual(problems, []);
  await close();
});

test("about: the licence and its restrictions, as text, before anything is downloaded", TIMEOUT, async () => {
  const manifest = JSON.parse(await modelFile("manifest.json"));
  const card = { ...manifest, name: "<b>Foxes</b>", license: "OpenRAIL-M", license_restrictions: "Not for <i>deceiving</i>." };
  site.answer = (path) => (path.endsWith("/manifest.json") ? { body: JSON.stringify(card) } : null);
  const { page, problems, close } = await open("widget.html");
  const about = page.locator("fraise-painter [part=about]");
  await about.locator("summary").click();
  const text = await about.innerText();
  assert.match(text, /marked as made by AI/);
  assert.match(text, /<b>Foxes<\/b>\. Licence: OpenRAIL-M/);
  assert.match(text, /Not for <i>deceiving<\/i>\./);
  assert.deepEqual([site.log.filter(isOfEngine), problems], [[], []]);
  site.answer = null;
  await close();
});

test("importing the package registers nothing and starts nothing", TIMEOUT, async () => {
  const { page, close } = await open("manners/"); // no page, but of this origin
  const names = await page.evaluate(async (url) => Object.keys(await import(url)), `${site.url}fraise.js`);
  assert.ok(names.includes("Engine") && names.includes("FraisePainter"), String(names));
  assert.equal(await page.evaluate(() => customElements.get("fraise-painter")), undefined);
  assert.deepEqual(site.log.filter(isOfEngine), []);
  assert.equal(page.workers().length, 0);
  await close();
});

test("two painters on a page: one engine, one download, each as its attributes say", TIMEOUT, async () => {
  const { page, problems, close } = await open("examples/plain.html");
  const painters = ["#postcard", "#plain"].map((id) => page.locator(id));
  await page.waitForFunction(() => document.querySelector("#postcard").shadowRoot?.querySelectorAll("[part=manner]").length === 2);
  assert.match(await shown(page, "#plain"), /开始画/, "its own language");
  await page.evaluate(() => document.querySelector("#plain").setAttribute("lang", "en"));
  await page.waitForFunction(() => document.querySelector("#plain").shadowRoot.textContent.includes("Generate"));
  const look = await painters[0].locator("[part=button]").evaluate((button) => {
    const { backgroundColor, borderRadius } = getComputedStyle(button);
    return [backgroundColor, borderRadius, getComputedStyle(button.getRootNode().querySelector("[part=status]")).fontStyle];
  });
  assert.deepEqual(look, ["rgb(10, 102, 64)", "4px", "italic"], "custom properties and parts");
  assert.ok(await painters[0].locator("img").isVisible(), "the poster");
  assert.deepEqual(site.log.filter(isOfEngine), []);

  await page.evaluate(() => {
    window.made = {};
    document.addEventListener("fraise-result", ({ target, detail }) => (window.made[target.id] = detail.request));
  });
  await painters[0].locator("textarea").fill("a lighthouse");
  await painters[0].locator("[part=manner]", { hasText: "ink" }).click();
  for (const painter of painters) await painter.locator("[part=button]").click();
  await page.waitForFunction(() => window.made.postcard && window.made.plain, null, { timeout: 200_000 });
  const { postcard, plain } = await page.evaluate(() => window.made);
  assert.match(postcard.prompt, /^a postcard of a lighthouse, .*ink/);
  assert.equal(postcard.steps, 4);
  assert.deepEqual([plain.prompt, plain.width, plain.height], ["a cat in the snow", 128, 128]);
  assert.equal((await engineWorkers(page)).length, 1, "one engine");
  assert.equal(new Set(piecesIn(site.log)).size, piecesIn(site.log).length, "one download");
  assert.equal(await painters[0].locator("img").isVisible(), false);
  assert.deepEqual(problems, []);
  await close();
});

test("cancelled by the page: no error is told, and the next picture is painted", TIMEOUT, async () => {
  const { page, problems, close } = await open("widget.html");
  const found = await page.evaluate(async () => {
    const painter = document.querySelector("fraise-painter");
    const heard = [];
    for (const name of ["error", "result"]) painter.addEventListener(`fraise-${name}`, () => heard.push(name));
    painter.steps = 40;
    painter.addEventListener("fraise-step", () => painter.cancel(), { once: true });
    const end = await painter.paint().then(() => "painted", ({ name }) => name);
    await painter.updateComplete;
    const status = painter.shadowRoot.querySelector("[part=status]").textContent;
    painter.steps = 1;
    const { width } = await painter.paint();
    return { end, status, heard, width };
  });
  assert.deepEqual(found, { end: "AbortError", status: "Cancelled", heard: ["result"], width: 256 });
  assert.deepEqual(problems, []);
  await close();
});

test("a page's rules: a refused prompt fetches nothing, and no step of an unchecked picture is seen", TIMEOUT, async () => {
  const { page, problems, close } = await open("widget.html");
  const paint = (filter, check) =>
    page.evaluate(
      async ([filterSource, checkSource]) => {
        const painter = document.querySelector("fraise-painter");
        const rule = (source) => source && new Function(`return ${source}`)();
        Object.assign(painter, { promptFilter: rule(filterSource), pictureCheck: rule(checkSource), steps: 2 });
        const isSeen = () => getComputedStyle(painter.shadowRoot.querySelector("canvas")).visibility === "visible";
        const steps = [];
        const look = () => steps.push(painter.updateComplete.then(isSeen));
        painter.addEventListener("fraise-step", look);
        const end = await painter.paint().then(({ request }) => request.prompt, ({ code, details }) => `${code} ${details.field}`);
        painter.removeEventListener("fraise-step", look);
        await painter.updateComplete;
        return { end, steps: await Promise.all(steps), isSeen: isSeen(), status: painter.shadowRoot.querySelector("[part=status]").textContent };
      },
      [filter && String(filter), check && String(check)],
    );
  assert.deepEqual(await paint((prompt) => (prompt.includes("strawberry") ? null : prompt), null), {
    end: "Request prompt",
    steps: [],
    isSeen: false,
    status: "This page does not paint that.",
  });
  assert.deepEqual(site.log.filter(isOfEngine), [], "before anything is fetched");

  const rose = async (prompt) => prompt.replace("strawberry", "rose");
  assert.deepEqual(await paint(rose, null), { end: "a rose on a beach", steps: [true, true], isSeen: true, status: "" });
  const refused = await paint(null, async ({ blob, width }) => blob.size < 1000 || width !== 256);
  assert.deepEqual(refused, { end: "Request picture", steps: [false, false], isSeen: false, status: "This page does not show what came of that." });
  assert.deepEqual(await paint(null, () => true), { end: "a strawberry on a beach", steps: [false, false], isSeen: true, status: "" });
  assert.deepEqual(problems, []);
  await close();
});

test("scripts other than those that integrity.json names do not run", TIMEOUT, async () => {
  const { integrity } = JSON.parse(await readFile(new URL("integrity.json", DIST)));
  const chunks = Object.keys(integrity).filter((name) => name.startsWith("./assets/"));
  assert.ok(["./painter.js", "./fraise.js", "./frame.js"].every((name) => name in integrity) && chunks.length > 0);
  const isDefined = async (changed) => {
    const hashes = { ...integrity, ...(changed && { [changed]: integrity[changed].replace(/.{4}$/, "AAAA") }) };
    site.answer = (path) =>
      path === "/integrity.html"
        ? { headers: { "content-type": "text/html" }, body: `<script type="importmap">${JSON.stringify({ integrity: hashes })}</script><script type="module" src="./painter.js"></script>` }
        : null;
    const { page, close } = await open("integrity.html"); // whose load waits for the script, or its refusal
    const isThere = await page.evaluate(() => customElements.get("fraise-painter") !== undefined);
    site.answer = null;
    await close();
    return isThere;
  };
  assert.equal(await isDefined(null), true);
  for (const name of ["./painter.js", ...chunks]) assert.equal(await isDefined(name), false, name);
});

for (const name of ["react", "vue"]) {
  test(`a painter in ${name}: properties in, events out`, TIMEOUT, async () => {
    await bundle(name);
    const { page, problems, close } = await open(`examples/${name}/`);
    await page.locator("#prompt").fill("a red fish");
    await page.locator("fraise-painter [part=button]").click();
    await page.locator("#made").waitFor({ timeout: 200_000 });
    assert.match(await page.locator("#made").textContent(), /^a red fish, \d+ x \d+$/);
    assert.deepEqual(problems, []);
    await close();
  });
}

test("the custom-elements manifest says what the element has", TIMEOUT, async () => {
  const { modules } = JSON.parse(await readFile(new URL("custom-elements.json", DIST)));
  const [element] = modules[0].declarations;
  const named = (list) => list.map(({ name }) => name).sort();
  const { page, close } = await open("examples/plain.html");
  await page.waitForFunction(() => customElements.get("fraise-painter"));
  const [attributes, parts] = await page.evaluate(() => {
    const inside = [...document.querySelectorAll("fraise-painter")].flatMap(({ shadowRoot }) => [...shadowRoot.querySelectorAll("[part]")]);
    return [[...customElements.get("fraise-painter").observedAttributes].sort(), [...new Set(inside.map((part) => part.getAttribute("part")))].sort()];
  });
  assert.equal(element.tagName, "fraise-painter");
  assert.deepEqual(named(element.attributes), attributes);
  const always = (list) => list.filter((part) => !/^(manner|smaller)/.test(part)); // manners differ, and no device was lost
  assert.deepEqual(always(named(element.cssParts)), always(parts));
  assert.deepEqual(named(element.members.filter(({ kind }) => kind === "method")), ["cancel", "paint"]);
  assert.deepEqual(named(element.events), ["fraise-error", "fraise-progress", "fraise-result", "fraise-step"]);
  await close();
});
