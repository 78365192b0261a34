// More detail in overlapping tiles, in real Chromium: a larger picture, repainted everywhere, without seams.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { readPng } from "./png.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** Where tiles of 256 pixels begin and end in 512. */
const BORDERS = [128, 256, 384];
let site;
let browser;

before(async () => {
  site = await openSite();
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  await site?.close();
});

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

test("tiles cover any picture, and blending gives back what was cut", TIMEOUT, async () => {
  const { importSource } = await import("./source.mjs");
  globalThis.ImageData ??= class {
    constructor(data, width, height) {
      Object.assign(this, { data, width, height });
    }
  };
  const { Blend, tilesOf } = await importSource("app/tiles.ts");
  for (const [width, height, side] of [[512, 512, 256], [1024, 640, 512], [300, 256, 256], [200, 700, 256], [1536, 64, 64]]) {
    const tiles = tilesOf({ width, height }, { width: side, height: side });
    const data = Uint8ClampedArray.from({ length: 4 * width * height }, (_, at) => (at % 4 === 3 ? 255 : (at * 37) % 251));
    const blend = new Blend({ data: new Uint8ClampedArray(data.length).fill(255), width, height }, tiles);
    for (const tile of tiles) {
      assert.ok(tile.width <= side && tile.height <= side && tile.x + tile.width <= width && tile.y + tile.height <= height);
      const cut = new Uint8ClampedArray(4 * tile.width * tile.height);
      for (let y = 0; y < tile.height; y += 1) cut.set(data.subarray(4 * ((tile.y + y) * width + tile.x), 4 * ((tile.y + y) * width + tile.x + tile.width)), 4 * y * tile.width);
      blend.add(tile, { data: cut });
    }
    assert.deepEqual(blend.picture().data, data, `${width}x${height} of ${tiles.length} tiles`);
  }
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
