// The gallery, and files that speak the common language, as a visitor meets them.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { itxt, makePng, text, writeZip } from "./files.mjs";
import { readPng } from "./png.mjs";
import { closedAfter, temporaryFolder } from "./setup.mjs";
import { modelFile, openSite } from "./site.mjs";
import { importSource } from "./source.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
const FAST = { steps: 1, device: "cpu" };

/** The page on which pictures were painted; the tests after it go on with it. */
let studio;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const folder = await temporaryFolder();

const open = (options = {}) => StudioDriver.open(browser, site.url, { serviceWorkers: "block", ...options });
const onePixel = (colour, prompt) => makePng({ width: 64, height: 48, colour, chunks: [itxt("parameters", prompt)] });

/** What IndexedDB holds: each picture without its thumbnail, newest first, and its PNG in base64. */
function kept(driver) {
  return driver.page.evaluate(async () => {
    const database = await new Promise((resolve) => (indexedDB.open("fraise-gallery").onsuccess = (event) => resolve(event.target.result)));
    const ask = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const pictures = await ask(database.transaction("pictures").objectStore("pictures").getAll());
    const files = [];
    for (const { thumbnail, ...picture } of pictures.sort((a, b) => b.timeMs - a.timeMs)) {
      const png = await ask(database.transaction("files").objectStore("files").get(picture.id));
      const bytes = new Uint8Array(png.bytes);
      files.push({ ...picture, thumbnailType: thumbnail.type, png: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) });
    }
    database.close();
    return files;
  });
}

/** The accessible names of the thumbnails, in order. */
const names = (driver) =>
  driver.page.evaluate(() => [...(window.tools.find("fraise-grid")?.shadowRoot.querySelectorAll("button[data-id]") ?? [])].map((button) => button.getAttribute("aria-label")));
const untilCount = (driver, count) =>
  driver.until((wanted) => (window.tools.find("fraise-grid")?.shadowRoot.querySelectorAll("button[data-id]").length ?? 0) === wanted, count);
const untilNote = (driver, kind) => driver.until((wanted) => window.tools.find("#note")?.dataset.kind === wanted, kind);
const value = (driver, selector) => driver.page.evaluate((wanted) => window.tools.find(wanted).value, selector);
/** The accessible name of what has the focus. */
const focused = (driver) =>
  driver.page.evaluate(() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element?.getAttribute("aria-label") ?? element?.id ?? null;
  });
/** Mean colour of the image that an element shows. */
const colourOf = (driver, selector) =>
  driver.page.evaluate(async (wanted) => {
    const image = window.tools.find(wanted).shadowRoot.querySelector("img");
    await image.decode();
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.drawImage(image, 0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  }, selector);
const isNear = (a, b, most = 12) => a.every((level, at) => Math.abs(level - b[at]) <= most);

/** Drops files `{name, type, bytes}` on the page. */
const drop = (driver, files) =>
  driver.page.evaluate((given) => {
    const carried = new DataTransfer();
    for (const { name, type, base64 } of given) {
      carried.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name, { type }));
    }
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
  }, files.map(({ name, type, bytes }) => ({ name, type, base64: bytes.toString("base64") })));

async function pick(driver, name, bytes) {
  const path = join(folder, name);
  await writeFile(path, bytes);
  await driver.setFile("#gallery-file", path);
}

test("finished pictures are kept as they were saved, and survive a reload", TIMEOUT, async () => {
  studio = await open();
  const saved = [];
  for (const [prompt, seed] of [["a strawberry on a beach", 42], ["a fox in the forest", 7]]) {
    await studio.settings({ prompt, seed, ...FAST });
    await studio.generate();
    await studio.page.evaluate(() => delete window.savedBlob);
    saved.unshift((await studio.savedPng()).toString("base64"));
  }
  await untilCount(studio, 2);
  await studio.page.reload();
  await studio.installTools();
  await untilCount(studio, 2);
  assert.deepEqual(await names(studio), ["a fox in the forest", "a strawberry on a beach"]);
  const pictures = await kept(studio);
  assert.deepEqual(pictures.map(({ png }) => png), saved, "the very bytes");
  assert.equal(pictures[0].settings.seed, "7");
  assert.equal(pictures[0].thumbnailType, "image/webp");
  assert.match(await studio.text("#gallery-count"), /^2 pictures$/);

  // The thumbnail shows the picture.
  const small = await colourOf(studio, "button[data-id] fraise-image");
  const { rgba } = await studio.pixels(Buffer.from(pictures[0].png, "base64"));
  const mean = [0, 1, 2].map((channel) => rgba.reduce((sum, level, at) => sum + (at % 4 === channel ? level : 0), 0) / (rgba.length / 4));
  assert.ok(isNear(small, mean, 25), `thumbnail ${small}, picture ${mean}`);
});

test("pictures that an earlier version kept as Blobs are shown still", TIMEOUT, async () => {
  /** Replaces each file that is stored, the thumbnails too. */
  const rewrite = (toBlobs) =>
    studio.page.evaluate(async (wanted) => {
      const database = await new Promise((resolve) => (indexedDB.open("fraise-gallery").onsuccess = (event) => resolve(event.target.result)));
      const ask = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
      const other = async (file) =>
        wanted ? new Blob([file.bytes], { type: file.type }) : { type: file.type, bytes: await file.arrayBuffer() };
      for (const picture of await ask(database.transaction("pictures").objectStore("pictures").getAll())) {
        const png = await other(await ask(database.transaction("files").objectStore("files").get(picture.id)));
        const thumbnail = await other(picture.thumbnail);
        await ask(database.transaction("pictures", "readwrite").objectStore("pictures").put({ ...picture, thumbnail }));
        await ask(database.transaction("files", "readwrite").objectStore("files").put(png, picture.id));
      }
      database.close();
    }, toBlobs);
  const thumbnail = await colourOf(studio, "button[data-id] fraise-image");
  await rewrite(true);
  await studio.page.reload();
  await studio.installTools();
  await untilCount(studio, 2);
  assert.deepEqual(await colourOf(studio, "button[data-id] fraise-image"), thumbnail);
  await studio.page.evaluate(() => window.tools.find('button[data-id][tabindex="0"]').focus());
  await studio.page.keyboard.press("Enter");
  await studio.until(() => window.tools.find("#viewed")?.shadowRoot.querySelector("img")?.src);
  const seen = await colourOf(studio, "#viewed");
  assert.ok(isNear(seen, thumbnail, 25), `picture ${seen}, thumbnail ${thumbnail}`);
  await studio.page.keyboard.press("Escape");
  await studio.until(() => !window.tools.has("#viewed-prompt"));
  await rewrite(false);
});

test("by keyboard: arrows move, Enter opens, F marks, Delete removes, and undo brings back", TIMEOUT, async () => {
  const before = await kept(studio);
  await studio.page.evaluate(() => window.tools.find('button[data-id][tabindex="0"]').focus());
  await studio.page.keyboard.press("ArrowRight");
  assert.equal(await focused(studio), "a strawberry on a beach");
  await studio.page.keyboard.press("Enter");
  await studio.until(() => window.tools.text("#viewed-prompt") === "a strawberry on a beach");
  await studio.page.keyboard.press("ArrowLeft");
  await studio.until(() => window.tools.text("#viewed-prompt") === "a fox in the forest");
  await studio.page.keyboard.press("Escape");
  await studio.until(() => !window.tools.has("#viewed-prompt"));
  await studio.until(() => window.tools.find("fraise-grid").shadowRoot.activeElement?.getAttribute("aria-label") === "a fox in the forest");

  await studio.page.keyboard.press("f");
  await studio.until(() => window.tools.find("button[data-id]").getAttribute("aria-label") === "Favourite: a fox in the forest");
  await studio.page.keyboard.press("Delete");
  await untilNote(studio, "removed");
  await untilCount(studio, 1);
  assert.equal((await kept(studio)).length, 1);
  assert.equal(await focused(studio), "a strawberry on a beach", "its neighbour has the focus");
  await studio.find("#undo").click();
  await untilNote(studio, "broughtBack");
  await untilCount(studio, 2);
  const after = await kept(studio);
  assert.deepEqual(after.map(({ png, id }) => [id, png]), before.map(({ png, id }) => [id, png]));
  assert.equal(after[0].isFavourite, true);
});

test("search and favourites narrow the grid", TIMEOUT, async () => {
  await studio.find("#gallery-search").fill("FOREST fox");
  await untilCount(studio, 1);
  assert.deepEqual(await names(studio), ["Favourite: a fox in the forest"]);
  await studio.find("#gallery-search").fill("penguin");
  await untilCount(studio, 0);
  await studio.find("#gallery-search").fill("");
  await untilCount(studio, 2);
  await studio.find("#favourites-only").click();
  await untilCount(studio, 1);
  await studio.find("#favourites-only").click();
  await untilCount(studio, 2);
});

test("a kept picture's settings paint it again, bit by bit", TIMEOUT, async () => {
  await studio.settings({ prompt: "something else", seed: 1, ...FAST });
  await studio.find('button[data-id][aria-label="a strawberry on a beach"]').click();
  await studio.find("#use").click();
  await untilNote(studio, "restored");
  assert.equal(await value(studio, "#prompt"), "a strawberry on a beach");
  const { recommended } = JSON.parse(await modelFile("manifest.json"));
  const restored = [await value(studio, "#seed"), await value(studio, "#steps"), await value(studio, "#width")];
  assert.deepEqual(restored, ["42", "1", String(recommended.width)]);
  assert.equal(await studio.page.evaluate(() => window.tools.has("#cancel") || window.tools.has("#made-with")), false, "nothing runs by itself");
  await studio.generate();
  await untilCount(studio, 3);
  const [again, , first] = await kept(studio);
  const pixels = async ({ png }) => (await studio.pixels(Buffer.from(png, "base64"))).rgba;
  assert.deepEqual(await pixels(again), await pixels(first));
  assert.ok(new Set(await pixels(again)).size > 8);
});

test("all pictures go out as a zip and come in elsewhere, once", TIMEOUT, async () => {
  const here = await kept(studio);
  const [download] = await Promise.all([studio.page.waitForEvent("download"), studio.find("#export").click()]);
  const zip = await readFile(await download.path());
  assert.match(download.suggestedFilename(), /^fraise-\d{4}-\d\d-\d\d\.zip$/);
  assert.ok(zip.includes("index.json") && zip.includes("-" + here[0].id.slice(0, 8) + ".png"));

  const elsewhere = await open({ locale: "zh-CN" });
  await drop(elsewhere, [{ name: "gallery.zip", type: "application/zip", bytes: zip }]);
  await untilNote(elsewhere, "imported");
  await untilCount(elsewhere, 3);
  assert.deepEqual(await kept(elsewhere), here, "pictures, times and favourites");
  await pick(elsewhere, "again.zip", zip);
  await elsewhere.until(() => /原本就有/.test(window.tools.text("#note") ?? ""));
  assert.equal((await kept(elsewhere)).length, 3);
  await elsewhere.close();
});

test("a hostile zip: names are labels, and what is no PNG or too large is left out", TIMEOUT, async () => {
  const own = await open();
  const index = { format: "fraise-gallery", version: 1, pictures: [{ file: "../../up.png", id: "zz", timeMs: 9e15, isFavourite: "yes" }, null, 7] };
  const files = [
    { name: "../../up.png", data: onePixel([255, 0, 0], "up\nSteps: 3, Seed: 5"), isDeflated: true },
    { name: "page.png", data: Buffer.from("<script>alert(1)</script>") },
    { name: "bomb.png", data: Buffer.alloc(1 << 20), isDeflated: true, bytes: 100 },
    { name: "huge.png", data: Buffer.alloc(10), bytes: 100 << 20 },
    { name: "wide.png", data: makePng({ width: 16_000, height: 16_000 }) },
    { name: "notes.txt", data: Buffer.from("hello") },
    { name: "index.json", data: Buffer.from(JSON.stringify(index)) },
  ];
  await pick(own, "hostile.zip", writeZip(files));
  await untilNote(own, "imported");
  await untilCount(own, 1);
  assert.match(await own.text("#note"), /1 picture was added\. 4 files/);
  const [picture] = await kept(own);
  assert.match(picture.id, /^[0-9a-f]{32}$/);
  assert.ok(picture.timeMs <= Date.now() && picture.isFavourite === false);
  for (const [bytes, words] of [[Buffer.from("PK nothing"), /not a zip/], [writeZip([{ name: "a.txt", data: Buffer.from("x") }]), /no PNG/]]) {
    await pick(own, "other.zip", bytes);
    await untilNote(own, "importFailed");
    assert.match(await own.text("#note"), words);
    await own.find("#note-close").click();
  }
  assert.deepEqual(own.problems, []);
  await own.close();
});

test("two pictures are compared, the slider moving the edge", TIMEOUT, async () => {
  const own = await open();
  const files = [["red.png", [230, 20, 20]], ["blue.png", [20, 20, 230]]].map(([name, colour]) => ({ name, data: onePixel(colour, name) }));
  await pick(own, "two.zip", writeZip(files));
  await untilCount(own, 2);
  await own.find('button[data-id][aria-label="red.png"]').click();
  await own.find("#compare").click();
  await own.until(() => window.tools.has("#comparison"));
  await own.find('button[data-id][aria-label="blue.png"]').click();
  await own.until(() => window.tools.has("#cut"));
  assert.ok(isNear(await colourOf(own, "#above"), [230, 20, 20]) && isNear(await colourOf(own, "#below"), [20, 20, 230]));
  const box = await own.find("fraise-compare .picture").boundingBox();
  const at = async (fraction) => {
    const shot = await own.page.screenshot({ clip: { x: box.x + box.width * fraction - 2, y: box.y + box.height / 2, width: 4, height: 4 } });
    return (await own.pixels(shot)).rgba.slice(0, 3);
  };
  const [left, right] = [0.45, 0.55];
  assert.ok(isNear(await at(left), [230, 20, 20]) && isNear(await at(right), [20, 20, 230]), `${await at(left)} | ${await at(right)}`);
  await own.find("#cut").focus();
  await own.page.keyboard.press("Home");
  assert.ok(isNear(await at(left), [20, 20, 230]));
  await own.page.keyboard.press("End");
  assert.ok(isNear(await at(right), [230, 20, 20]));
  await own.page.keyboard.press("Escape");
  await own.until(() => !window.tools.has("#cut"));
  await own.close();
});

test("the lineage: what a picture came from and what came of it, to any depth, each a press away", TIMEOUT, async () => {
  const own = await open();
  await own.settings({ ...FAST, prompt: "a red car on a beach" });
  await own.generate();
  for (const count of [5, 9]) {
    await own.find("#vary-strong").click();
    await untilCount(own, count);
    await own.until(() => !window.tools.has("#cancel"));
  }
  const parents = Object.fromEntries((await kept(own)).map(({ id, parents: of = [] }) => [id, of]));
  const [root] = Object.keys(parents).filter((id) => parents[id].length === 0);
  const children = (of) => Object.keys(parents).filter((id) => parents[id].includes(of));
  const [middle] = children(root).filter((id) => children(id).length > 0);
  assert.deepEqual([children(root).length, children(middle).length], [4, 4]);
  /** The lineage as shown: each picture's name and those beneath it. */
  const tree = () => own.page.evaluate(() => {
    const read = (list) => [...list.children].map((row) => {
      const beneath = row.querySelector(":scope > ul");
      const button = row.querySelector(":scope > button");
      return { id: button.dataset.relative, isViewed: button.ariaCurrent === "true", beneath: beneath ? read(beneath) : [] };
    });
    const list = window.tools.find("#lineage");
    return list ? read(list) : null;
  });
  const leaf = children(middle)[0];
  await own.find(`button[data-id="${leaf}"]`).click();
  await own.until(() => window.tools.has("#lineage"));
  const of = (id, isViewed, beneath) => ({ id, isViewed, beneath });
  assert.deepEqual(await tree(), [of(root, false, [of(middle, false, [of(leaf, true, [])])])], "from the first one to this one");
  await own.find(`[data-relative="${root}"]`).click();
  await own.until((id) => window.tools.find(`[data-relative="${id}"]`)?.ariaCurrent === "true", root);
  const [all] = await tree();
  assert.deepEqual([all.beneath.length, all.beneath.flatMap(({ beneath }) => beneath).length], [4, 4], "all that came of it");
  assert.ok(all.beneath.some(({ id, beneath }) => id === middle && beneath.some((other) => other.id === leaf)));

  // A variation's settings come back as such, and paint it again.
  await own.find(`[data-relative="${leaf}"]`).click();
  await own.until((id) => window.tools.find(`[data-relative="${id}"]`)?.ariaCurrent === "true", leaf);
  await own.find("#use").click();
  await untilNote(own, "restored");
  assert.match(await value(own, "#variation-seed"), /^\d+$/);
  assert.equal(await own.text('output[for="variation-strength"]'), "70 %");
  await own.generate();
  await untilCount(own, 10);
  const [again, ...others] = await kept(own);
  const pixelsOf = async ({ png }) => (await own.pixels(Buffer.from(png, "base64"))).rgba;
  assert.deepEqual(await pixelsOf(again), await pixelsOf(others.find(({ id }) => id === leaf)), "bit by bit");
  await own.close();

  const { lineageOf } = await importSource("app/gallery/lineage.ts");
  const picture = (id, ...from) => ({ id, timeMs: 0, parents: from });
  const names = (branches) => branches.map(({ picture: { id }, branches: beneath }) => (beneath.length > 0 ? [id, ...names(beneath)] : id));
  const crossed = picture("c", "a", "b");
  assert.deepEqual(names(lineageOf(crossed, [picture("a"), picture("b"), crossed, picture("d", "c"), picture("e")])), [["a", ["c", "d"]], ["b", "c"]]);
  const loop = [picture("a", "b"), picture("b", "a")];
  assert.ok(names(lineageOf(loop[0], loop)).length === 1, "pictures that name each other as parents end");
});

test("full storage is said, and the picture stays on the canvas", TIMEOUT, async () => {
  const own = await open();
  await own.settings(FAST);
  await own.generate();
  await untilCount(own, 1);
  const session = await own.page.context().newCDPSession(own.page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 1000 });
  await own.page.waitForTimeout(35_000); // Chromium counts on the room that it found in the last half minute
  await own.settings({ ...FAST, seed: 43 });
  await own.generate();
  await untilNote(own, "notKept");
  assert.match(await own.text("#note"), /still on the canvas.*storage for the page is full/s);
  assert.equal((await kept(own)).length, 1);
  assert.match(await own.text("#made-with"), /seed 43/);
  const painted = readPng(await own.savedPng());
  assert.match(painted.texts.parameters, /Seed: 43/);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin });
  await own.close();
});

test("keeping can be switched off, and everything removed", TIMEOUT, async () => {
  await studio.find("#keep-pictures").click();
  await studio.page.reload();
  await studio.installTools();
  await untilCount(studio, 3);
  assert.equal(await studio.page.evaluate(() => window.tools.find("#keep-pictures").checked), false);
  await studio.settings(FAST);
  await studio.generate();
  await studio.page.waitForTimeout(1000);
  assert.equal((await kept(studio)).length, 3);
  await studio.find("#remove-all").click();
  await studio.find("#remove-all-cancel").click();
  assert.equal((await kept(studio)).length, 3);
  await studio.find("#remove-all").click();
  await studio.find("#remove-all-confirm").click();
  await untilNote(studio, "removedAll");
  assert.equal((await kept(studio)).length, 0);
  assert.deepEqual(studio.problems, []);
  assert.deepEqual([...studio.hosts], [new URL(site.url).host]);
  await studio.close();
});

test("a dropped PNG by another program fills in its settings, says what it could not, and does not run", TIMEOUT, async () => {
  const own = await open();
  await own.settings({ prompt: "before", seed: 1, ...FAST });
  const a1111 = "a cat <b>bold</b>\nNegative prompt: rain\nSteps: 500, Sampler: Euler a, CFG scale: 6.5, Seed: 123, Size: 512x256, Model: dreams, Denoising strength: 0.4";
  await drop(own, [{ name: "cat.png", type: "image/png", bytes: makePng({ chunks: [text("parameters", a1111)] }) }]);
  await untilNote(own, "restored");
  const form = {};
  for (const name of ["prompt", "negative", "seed", "width", "height", "sampler"]) form[name] = await value(own, `#${name}`);
  assert.deepEqual(form, { prompt: "a cat <b>bold</b>", negative: "rain", seed: "123", width: "512", height: "256", sampler: "euler_a" });
  assert.equal(await own.text('output[for="steps"]'), "150");
  assert.equal(await own.text('output[for="guidance"]'), "6.5");
  assert.match(await own.text("#note"), /AUTOMATIC1111.*Moved into its range: steps.*Denoising strength: 0\.4.*model dreams/s);

  const graph = { 1: { class_type: "KSampler", inputs: { seed: 9, steps: 6, cfg: 2, sampler_name: "dpmpp_2m", scheduler: "karras", positive: ["2", 0] } }, 2: { class_type: "CLIPTextEncode", inputs: { text: "a dog" } } };
  await pick(own, "dog.png", makePng({ chunks: [text("prompt", JSON.stringify(graph))] }));
  await own.until(() => window.tools.find("#prompt").value === "a dog");
  assert.deepEqual([await value(own, "#negative"), await value(own, "#sampler"), await value(own, "#width"), await value(own, "#steps")], ["", "dpmpp_2m_karras", "", "6"]);

  for (const [bytes, words] of [[Buffer.from("GIF89a"), /no picture/], [makePng({ width: 0 }), /damaged/]]) {
    await pick(own, "bad.png", bytes);
    await own.until((source) => new RegExp(source).test(window.tools.text("#note") ?? ""), words.source);
  }
  assert.equal(await value(own, "#prompt"), "a dog");
  assert.equal(await own.page.evaluate(() => window.tools.has("#cancel") || window.tools.has("#made-with") || window.tools.has("#convert-start")), false);

  await drop(own, [{ name: "model.safetensors", type: "", bytes: Buffer.from("no checkpoint") }]);
  await own.until(() => window.tools.has("#convert-failure"), null, 60_000);
  assert.deepEqual(own.problems, []);
  await own.close();
});

test("sampler and size that were filled in are painted with", TIMEOUT, async () => {
  const own = await open();
  await own.settings({ ...FAST, seed: 5 });
  await own.set("#sampler", "euler_a");
  await own.set("#width", 130); // taken to the nearest that can be painted
  await own.set("#height", 64);
  await own.generate();
  const { width, height, texts } = readPng(await own.savedPng());
  assert.deepEqual([width, height], [128, 64]);
  assert.equal(JSON.parse(texts.fraise).request.sampler, "euler_a");
  await own.close();
});

test("a link fills in the form, clamped, never runs, and leaves the address", TIMEOUT, async () => {
  const own = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  await own.settings({ prompt: "星空, a & b", seed: 77, steps: 3, device: "cpu" });
  await own.find("fraise-settings summary").click();
  await own.find("#copy-form-link").click();
  await untilNote(own, "link");
  const link = await own.page.evaluate(() => navigator.clipboard.readText());
  assert.ok(link.startsWith(`${site.url}#p=`) && /&s=77&st=3&/.test(link) && /&m=fraise-1$/.test(link), link);
  await own.close();

  const other = await open();
  site.log.length = 0;
  await other.page.goto(`${site.url}?x=1#${link.split("#")[1]}`);
  await other.installTools();
  await untilNote(other, "restored");
  assert.deepEqual([await value(other, "#prompt"), await value(other, "#seed"), await value(other, "#steps")], ["星空, a & b", "77", "3"]);
  assert.equal(await other.page.evaluate(() => location.href), `${site.url}?x=1`);
  assert.equal(await other.text("#other-model"), null);

  await other.page.evaluate(() => (location.hash = "p=%3Cimg%20src%3Dx%3E&st=9999&g=1e9&s=-4&w=1&sa=magic&m=https://evil.example/manifest.json"));
  await other.until(() => window.tools.find("#prompt").value === "<img src=x>");
  assert.match(await other.text("#note"), /range: steps, width\..*taken over: seed, guidance, sampler\./s);
  assert.match(await other.text("#other-model"), /evil\.example/);
  assert.equal(await other.text('output[for="steps"]'), "150");
  await other.page.waitForTimeout(500);
  assert.equal(await other.page.evaluate(() => window.tools.has("#cancel") || window.tools.has("#made-with")), false, "never run by itself");
  assert.equal(site.log.filter((path) => path.endsWith(".bin")).length, 0);
  assert.deepEqual([...other.hosts], [new URL(site.url).host]);
  await other.close();
});
