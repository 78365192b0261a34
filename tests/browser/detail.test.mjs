// More detail in overlapping tiles, in real Chromium: a larger picture, repainted everywhere, without seams.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { lackingPack } from "./packs.mjs";
import { readPng } from "./png.mjs";
import { seamsOf } from "./seams.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** Where tiles of 256 pixels begin and end in 512. */
const BORDERS = [128, 256, 384];

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

/** Mean differences of each column of pixels from the one before it, and of rows likewise: `rgba` is `side` wide. */
function stepsOf(rgba, side) {
  const columns = new Array(side).fill(0);
  const rows = new Array(side).fill(0);
  for (let y = 1; y < side; y += 1) {
    for (let x = 1; x < side; x += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const at = 4 * (y * side + x) + channel;
        columns[x] += Math.abs(rgba[at] - rgba[at - 4]) / (3 * side);
        rows[y] += Math.abs(rgba[at] - rgba[at - 4 * side]) / (3 * side);
      }
    }
  }
  return { columns, rows };
}

/** Mean of the steepest hundredth of the steps from a pixel to the one beside it, of `rgba` that is `side` wide. */
function steepest(rgba, side) {
  const steps = [];
  for (let at = 4; at < rgba.length; at += 4) if ((at / 4) % side !== 0) steps.push(Math.abs(rgba[at + 1] - rgba[at - 3]));
  const top = steps.sort((a, b) => b - a).slice(0, steps.length / 100);
  return top.reduce((sum, step) => sum + step, 0) / top.length;
}

test("finer detail: larger, repainted in tiles whose edges are not seen, marked, and cancelled at will", TIMEOUT, async (t) => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ prompt: "a fox in the forest", seed: 42, steps: 4, device: "cpu" });
  await studio.generate();
  const small = await studio.savedPng();
  const save = async () => {
    await studio.page.evaluate(() => delete window.savedBlob);
    return studio.savedPng();
  };
  const isDone = () => / 512/.test(window.tools.text("#made-with") ?? "") && !window.tools.has("#cancel");

  await studio.find("#detail").click();
  await studio.until(() => /^Step [2-5] of 9$/.test(window.tools.text("#progress-text") ?? ""), null, 120_000);
  assert.match(await studio.text("#progress-detail"), /left/);
  await studio.page.keyboard.press("Escape");
  await studio.until(() => window.tools.text("#progress-text") === "Cancelled");
  assert.match(await studio.text("#made-with"), /256/);
  assert.deepEqual(await save(), small, "the picture is what it was");

  await studio.find("#enlarge").click();
  await studio.until(isDone, null, 120_000);
  const plain = await studio.pixels(await save());
  const likeness = apart(halved(plain), (await studio.pixels(small)).rgba);
  const [sharp, soft] = [plain.rgba, await scaled(studio, small)].map((rgba) => steepest(rgba, 512));
  t.diagnostic(`steepest steps: ${sharp.toFixed(1)} by the upscaler, ${soft.toFixed(1)} by scaling; halved again it differs by ${likeness.toFixed(2)}`);
  assert.ok(likeness < 3, `the same picture, but for ${likeness}`);
  assert.ok(sharp > 1.15 * soft, `${sharp} is hardly sharper than ${soft}`);
  await studio.find("#batch li:nth-child(1) button").click();
  await studio.find("#detail").click();
  await studio.until(() => window.tools.find("#batch")?.querySelectorAll("button").length === 3 && !window.tools.has("#cancel"), null, 120_000);
  const png = await save();
  const { width, height, texts } = readPng(png);
  assert.deepEqual([width, height], [512, 512]);
  assert.match(texts.parameters, /a fox in the forest/);
  assert.match(texts["XML:com.adobe.xmp"], /trainedAlgorithmicMedia/);
  const fine = await studio.pixels(png);
  const change = fine.rgba.map((value, at) => value - plain.rgba[at]);
  for (const [x, y] of [[0, 0], [256, 0], [0, 256], [256, 256], [128, 128]]) {
    let sum = 0;
    for (let row = y; row < y + 256; row += 1) for (let column = x; column < x + 256; column += 1) sum += Math.abs(change[4 * (row * 512 + column)]);
    assert.ok(sum / 256 ** 2 > 0.5, `repainted at ${x}, ${y}: by ${sum / 256 ** 2}`);
  }
  for (const [name, steps] of Object.entries(stepsOf(fine.rgba, 512))) {
    for (const at of BORDERS) {
      // An edge would stand out from what is right beside it; a line of the picture may fall there, too.
      const beside = Math.max(...steps.slice(at - 8, at), ...steps.slice(at + 1, at + 9));
      t.diagnostic(`${name} ${at}: steps of ${steps[at].toFixed(2)}; beside it up to ${beside.toFixed(2)}`);
      assert.ok(steps[at] <= 1.5 * beside, `a tile's edge is seen at ${at} of the ${name}`);
    }
  }
  const isMarked = await studio.page.evaluate(async (base64) => {
    const engine = await window.fraise.Engine.create({ device: "cpu" });
    return engine.isMarked(new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" }));
  }, png.toString("base64"));
  assert.equal(isMarked, true);
  await studio.until(() => window.tools.text("#gallery-count") === "3 pictures");
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

/** Mean difference of two pictures' levels. */
const apart = (a, b) => a.reduce((sum, value, at) => sum + Math.abs(value - b[at]), 0) / a.length;
/** Of a picture, one of half its width and height: means of four pixels each. */
function halved({ width, height, rgba }) {
  const at = (x, y, channel) => rgba[4 * (y * width + x) + channel];
  return Array.from({ length: width * height }, (_, index) => {
    const [pixel, channel] = [index >> 2, index & 3];
    const [x, y] = [2 * (pixel % (width / 2)), 2 * Math.floor(pixel / (width / 2))];
    return (at(x, y, channel) + at(x + 1, y, channel) + at(x, y + 1, channel) + at(x + 1, y + 1, channel)) / 4;
  });
}
/** The picture twice as large, as the browser scales it. */
const scaled = (studio, png) => studio.page.evaluate(async (base64) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const [resizeWidth, resizeHeight] = [2 * bitmap.width, 2 * bitmap.height];
  const large = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
  const context = new OffscreenCanvas(resizeWidth, resizeHeight).getContext("2d");
  context.drawImage(large, 0, 0);
  return [...context.getImageData(0, 0, resizeWidth, resizeHeight).data];
}, png.toString("base64"));
/** Waits until what is shown is the `count`th picture, and gives its file. */
async function larger(studio, count) {
  await studio.until((wanted) => window.tools.find("#batch")?.querySelectorAll("button").length === wanted && !window.tools.has("#cancel"), count, 200_000);
  assert.match(await studio.text("#made-with"), / 512/);
  return studio.savedPng();
}

test("packs without an upscaler: pictures become twice as large all the same, with new detail where the pack allows it", TIMEOUT, async () => {
  for (const canEncode of [true, false]) {
    const lacking = ["upscaler", ...(canEncode ? [] : ["vae_encoder"])];
    site.answer = await lackingPack(...lacking);
    const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
    await studio.settings({ prompt: "a fox in the forest", seed: 42, steps: 4, device: "cpu" });
    await studio.generate();
    const small = await studio.savedPng();
    const buttons = () => studio.page.evaluate(() => ["#enlarge", "#detail"].map((button) => window.tools.has(button)));
    assert.deepEqual(await buttons(), [true, false], "one way to more pixels");
    assert.match(await studio.text("#enlarge"), /2x larger/);
    await studio.find("#enlarge").click();
    if (canEncode) {
      await studio.until(() => /^Step [2-5] of 9$/.test(window.tools.text("#progress-text") ?? ""), null, 120_000);
      await studio.page.keyboard.press("Escape");
      await studio.until(() => window.tools.text("#progress-text") === "Cancelled");
      assert.deepEqual(await studio.savedPng(), small, "cancelled, the picture is what it was");
      await studio.find("#enlarge").click();
    }
    const png = await larger(studio, 2);
    const { width, height, texts } = readPng(png);
    assert.deepEqual([width, height], [512, 512]);
    assert.match(texts.parameters, /a fox in the forest/);
    assert.match(texts["XML:com.adobe.xmp"], /trainedAlgorithmicMedia/);
    const [before, after] = [await studio.pixels(small), await studio.pixels(png)];
    assert.ok(apart(halved(after), before.rgba) < 12, `the same picture: ${apart(halved(after), before.rgba)}`);
    // The faint mark alone changes levels by about 2.
    const added = apart(after.rgba, await scaled(studio, small));
    assert.ok(canEncode ? added > 3 : added < 2.5, `beyond scaling: ${added}`);
    assert.deepEqual(await buttons(), [false, canEncode]);
    assert.deepEqual(studio.problems, []);
    await studio.close();
  }
  site.answer = null;
});

test("a texture stays one: larger or with finer detail, its edges fit together", TIMEOUT, async (t) => {
  const make = async (studio) => {
    await studio.settings({ prompt: "flowers in a meadow", seed: 45, steps: 4, device: "cpu" });
    await studio.page.evaluate(() => window.tools.find("#tiling").click());
    await studio.generate();
  };
  const check = async (studio, png, name) => {
    for (const [at, { edge, inner }] of seamsOf(await studio.pixels(png)).entries()) {
      t.diagnostic(`${name}, ${at === 0 ? "rows" : "columns"}: ${edge.toFixed(2)} over the edge, inside up to ${inner.toFixed(2)}`);
      assert.ok(edge <= inner, `${name}: ${edge} over the edge, inside up to ${inner}`);
    }
  };
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await make(studio);
  await check(studio, await studio.savedPng(), "as painted");
  await studio.find("#enlarge").click();
  await check(studio, await larger(studio, 2), "by the upscaler");
  await studio.find("#detail").click();
  await check(studio, await larger(studio, 3), "with finer detail");
  await studio.close();
  site.answer = await lackingPack("upscaler");
  const without = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await make(without);
  await without.find("#enlarge").click();
  await check(without, await larger(without, 2), "without an upscaler");
  assert.deepEqual([...studio.problems, ...without.problems], []);
  await without.close();
  site.answer = null;
});

test("tiles cover any picture, and blending gives back what was cut", TIMEOUT, async () => {
  const { importSource } = await import("./source.mjs");
  globalThis.ImageData ??= class {
    constructor(...given) {
      const [data, width, height] = given.length === 3 ? given : [new Uint8ClampedArray(4 * given[0] * given[1]), ...given];
      Object.assign(this, { data, width, height });
    }
  };
  const { Blend, cut, tilesOf } = await importSource("app/tiles.ts");
  const sizes = [[512, 512, 256], [1024, 640, 512], [300, 256, 256], [200, 700, 256], [1536, 64, 64], [128, 96, 256]];
  for (const [width, height, side, isSeamless] of sizes.flatMap((size) => [[...size, false], [...size, true]])) {
    const tiles = tilesOf({ width, height }, { width: side, height: side }, isSeamless);
    const data = Uint8ClampedArray.from({ length: 4 * width * height }, (_, at) => (at % 4 === 3 ? 255 : (at * 37) % 251));
    const blend = new Blend({ data: new Uint8ClampedArray(data.length).fill(255), width, height }, tiles, isSeamless);
    for (const tile of tiles) {
      assert.ok(tile.width <= Math.min(side, width) && tile.height <= Math.min(side, height));
      assert.ok(isSeamless || (tile.x + tile.width <= width && tile.y + tile.height <= height));
      const { data: pixels } = cut({ data, width, height }, tile);
      for (const [x, y] of [[0, 0], [tile.width - 1, 0], [0, tile.height - 1]]) {
        const from = 4 * (((tile.y + y) % height) * width + ((tile.x + x) % width));
        assert.deepEqual(pixels.subarray(4 * (y * tile.width + x), 4 * (y * tile.width + x) + 4), data.subarray(from, from + 4));
      }
      blend.add(tile, { data: pixels });
    }
    assert.deepEqual(blend.picture().data, data, `${width}x${height} of ${tiles.length} tiles`);
  }
  // Of a texture, each edge lies inside a tile and counts less the nearer a tile's own edge is.
  const around = tilesOf({ width: 512, height: 256 }, { width: 256, height: 256 }, true);
  assert.ok(around.some(({ x, width }) => x + width > 512 + 32), "a tile lies over the edge");
  // Neighbours that differ by 40 levels pass into each other without a step.
  const tiles = tilesOf({ width: 448, height: 256 }, { width: 256, height: 256 });
  assert.equal(tiles.length, 2);
  const blend = new Blend({ data: new Uint8ClampedArray(4 * 448 * 256), width: 448, height: 256 }, tiles);
  for (const [at, tile] of tiles.entries()) blend.add(tile, { data: new Uint8ClampedArray(4 * 256 * 256).fill(100 + 40 * at) });
  const { data } = blend.picture();
  const row = Array.from({ length: 448 }, (_, x) => data[4 * (448 * 100 + x)]);
  assert.deepEqual([row[0], row[447]], [100, 140]);
  assert.ok(row.every((value, x) => x === 0 || (value >= row[x - 1] && value - row[x - 1] <= 1)), `steps: ${row}`);
});
