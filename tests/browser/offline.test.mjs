// The page as an app: without the network, with a newer version beside it, installed, and given files by the system.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { itxt, makePng } from "./files.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 300_000 };
const FAST = { steps: 1, device: "cpu" };
const DIST = new URL("../../dist/", import.meta.url);

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

beforeEach(() => {
  site.answer = null;
  site.log.length = 0;
});

/** The studio, kept by its service worker. */
async function openKept() {
  const studio = await StudioDriver.open(browser, site.url);
  await studio.page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  return studio;
}

/** The same studio in another tab. */
async function anotherTab({ page, problems }) {
  const tab = new StudioDriver({ page: await page.context().newPage(), problems, find: null });
  tab.find = (selector) => tab.page.locator(selector);
  await tab.page.goto(site.url);
  await tab.installTools();
  return tab;
}

const untilGone = (studio, selector) => studio.until((wanted) => !window.tools.has(wanted), selector);
const setting = (studio, selector) => studio.page.evaluate((wanted) => window.tools.find(wanted)?.value, selector);

test("offline after the first visit: reloads, paints, and shows and exports the gallery without one request", TIMEOUT, async () => {
  const studio = await openKept();
  await studio.settings({ ...FAST, seed: 5 });
  await studio.generate();
  const online = await studio.pixels(await studio.savedPng());
  await studio.setOffline(true);
  site.answer = () => ({ status: 503 });
  site.log.length = 0;
  await studio.page.reload();
  await studio.installTools();
  assert.match(await studio.until(() => window.tools.text("#model")), /MB/, "the model is introduced");
  await studio.until(() => window.tools.find("fraise-manners")?.shadowRoot.querySelector("img")?.naturalWidth > 0);
  await studio.settings({ ...FAST, seed: 5 });
  await studio.generate();
  assert.deepEqual(await studio.pixels(await studio.savedPng()), online, "the same picture as online");

  await studio.until(() => window.tools.find("fraise-grid")?.shadowRoot.querySelectorAll("button[data-id]").length === 2);
  await studio.page.evaluate(() => delete window.savedBlob);
  await studio.find("#export").click();
  assert.ok(await studio.until(() => window.savedBlob?.size > 10_000), "a zip with both pictures");
  // The browser's own look for a newer service worker gets past the emulated offline state; nothing else may.
  assert.deepEqual(site.log.filter((path) => path !== "/sw.js"), []);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

/** A later build, in which the icon and the page have changed. */
async function newerBuild() {
  const icon = (await readFile(new URL("icon.svg", DIST), "utf8")).replace("<svg", '<svg data-build="newer"');
  const page = (await readFile(new URL("index.html", DIST), "utf8")).replace("<body>", '<body data-build="newer">');
  const script = await readFile(new URL("sw.js", DIST), "utf8");
  const worker = script.replace(/("?revision"?:\s*)(["'`])[0-9a-f]{32}\2/g, "$1$2newer$2");
  assert.notEqual(worker, script);
  const types = { "/": ["text/html", page], "/index.html": ["text/html", page], "/icon.svg": ["image/svg+xml", icon], "/sw.js": ["text/javascript", worker] };
  return (path) => types[path] && { body: types[path][1], headers: { "content-type": types[path][0] } };
}

test("a newer version waits for the visitor; an old tab never gets its files, and paints no more once it took over", TIMEOUT, async () => {
  const studio = await openKept();
  const other = await anotherTab(studio);
  const isNewer = (tab) => tab.page.evaluate(async () => [
    document.body.dataset.build === "newer",
    (await (await fetch("icon.svg")).text()).includes("newer"),
  ]);
  site.answer = await newerBuild();
  await studio.page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).update());
  for (const tab of [studio, other]) {
    await tab.until(() => window.tools.has("#update-now"));
    assert.deepEqual(await isNewer(tab), [false, false]);
  }
  await studio.find("#update-later").click();
  await untilGone(studio, "#update");
  await studio.page.reload();
  await studio.installTools();
  assert.deepEqual(await isNewer(studio), [false, false], "later: a reload stays with the old version");

  await studio.until(() => window.tools.has("#update-now"));
  await studio.settings({ prompt: "a heron at dusk", ...FAST });
  await Promise.all([studio.page.waitForEvent("load"), studio.find("#update-now").click()]);
  await studio.installTools();
  assert.deepEqual(await isNewer(studio), [true, true]);
  await studio.until(() => window.tools.find("#prompt")?.value === "a heron at dusk");

  await other.until(() => window.tools.text("#update")?.startsWith("Another tab"));
  assert.equal(await other.page.evaluate(() => window.tools.find("#generate").disabled), true);
  await Promise.all([other.page.waitForEvent("load"), other.find("#update-now").click()]);
  await other.installTools();
  assert.deepEqual(await isNewer(other), [true, true]);
  await other.until(() => window.tools.find("#generate")?.disabled === false);
  await studio.close();
});

test("the page offers itself as an app after the first picture, and not again after a no", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  const beInstallable = () =>
    studio.page.evaluate(() => {
      const event = new Event("beforeinstallprompt", { cancelable: true });
      event.prompt = async () => void (window.asked = true);
      dispatchEvent(event);
      return event.defaultPrevented;
    });
  assert.ok(await beInstallable(), "the browser's own question is held back");
  assert.equal(await studio.text("#install"), null);
  await studio.settings(FAST);
  await studio.generate();
  await studio.until(() => window.tools.has("#install"));
  await studio.find("#install-yes").click();
  await studio.until(() => window.asked);
  await untilGone(studio, "#install");
  await beInstallable();
  await studio.find("#install-no").click();
  await untilGone(studio, "#install");

  await studio.page.reload();
  await studio.installTools();
  await studio.settings(FAST);
  await beInstallable();
  await studio.generate();
  assert.equal(await studio.text("#install"), null, "remembered");
  await studio.close();
});

test("the app's manifest: icons of the sizes that it says, and the pictures that it takes", async () => {
  const { icons, file_handlers: handlers, share_target: target } = JSON.parse(await readFile(new URL("manifest.webmanifest", DIST)));
  assert.ok(["any", "maskable"].every((purpose) => icons.some((icon) => (icon.purpose ?? "any").includes(purpose))));
  for (const { src, sizes, type } of icons.filter((icon) => icon.type === "image/png")) {
    const { width, height } = readPng(await readFile(new URL(src, DIST)));
    assert.equal(`${width}x${height}`, sizes, `${src} of type ${type}`);
  }
  assert.deepEqual(handlers.map(({ accept }) => accept), [{ "image/png": [".png"] }]);
  assert.ok(target.params.files[0].accept.includes("image/*") && target.method === "POST");
});

/** Posts a file as the system's share sheet does. */
const share = (studio, base64, name) =>
  Promise.all([
    studio.page.waitForEvent("load"),
    studio.page.evaluate(
      async ([bytes, fileName]) => {
        const { share_target: target } = await (await fetch("manifest.webmanifest")).json();
        const form = document.createElement("form");
        Object.assign(form, { action: target.action, method: target.method, enctype: target.enctype });
        const input = Object.assign(document.createElement("input"), { type: "file", name: target.params.files[0].name });
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], fileName, { type: "image/png" }));
        input.files = data.files;
        form.append(input);
        document.body.append(form);
        document.querySelector("meta[http-equiv]")?.remove();
        form.submit();
      },
      [base64, name],
    ),
  ]);

test("a picture shared with the app, or opened in it, fills in its settings", TIMEOUT, async () => {
  const studio = await openKept();
  // The share sheet is no page; the page's own policy forbids forms, so that the post comes from another one.
  await studio.page.goto(`${site.url}widget.html`);
  const png = (prompt) => makePng({ chunks: [itxt("parameters", `${prompt}\nSteps: 3, CFG scale: 2, Seed: 77`)] }).toString("base64");
  site.log.length = 0;
  await share(studio, png("a lighthouse in fog"), "灯塔.png");
  await studio.installTools();
  await studio.until(() => window.tools.find("#prompt")?.value === "a lighthouse in fog");
  assert.equal(await setting(studio, "#seed"), "77");
  assert.equal(studio.page.url(), site.url, "a reload does not take it again");
  assert.equal(await studio.page.evaluate(() => caches.has("fraise-shared")), false, "it is not kept");
  assert.deepEqual(site.log.filter((path) => path === "/share"), [], "it never reaches the server");

  await studio.page.goto(`${site.url}widget.html`);
  await share(studio, makePng({ width: 64, height: 64 }).toString("base64"), "photo.png");
  await studio.installTools();
  await studio.until(() => window.tools.has("#strength")); // a picture that says nothing is what painting begins with

  await studio.page.addInitScript((base64) => {
    const getFile = async () => new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], "a.png", { type: "image/png" });
    Object.defineProperty(window, "launchQueue", { value: { setConsumer: (consume) => consume({ files: [{ getFile }] }) } });
  }, png("a mill by a brook"));
  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.find("#prompt")?.value === "a mill by a brook");
  await studio.close();
});

test("other people's pages beside the studio are left to the network, and paint without isolation", TIMEOUT, async () => {
  const studio = await openKept();
  await studio.page.reload();
  assert.ok(await studio.page.evaluate(() => crossOriginIsolated), "the studio itself has it");
  site.log.length = 0;
  await studio.page.goto(`${site.url}embed.html`);
  assert.equal(await studio.page.evaluate(() => crossOriginIsolated), false);
  await studio.page.goto(`${site.url}widget.html`);
  await studio.page.waitForFunction(() => customElements.get("fraise-painter"));
  assert.ok(["/embed.html", "/widget.html", "/painter.js"].every((path) => site.log.includes(path)), String(site.log));
  assert.equal(await studio.page.evaluate(() => crossOriginIsolated), false);
  const bytes = await studio.page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const painter = document.querySelector("fraise-painter");
        painter.addEventListener("fraise-result", ({ detail }) => resolve(detail.blob?.size ?? detail.png?.size));
        painter.addEventListener("fraise-error", ({ detail }) => reject(new Error(JSON.stringify(detail))));
        painter.shadowRoot.querySelector("[part~=button]").click();
      }),
  );
  assert.ok(bytes > 10_000, "with the kept worker, whose script says more than the page");
  await studio.close();
});
