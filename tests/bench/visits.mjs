// What a visitor waits for and what it weighs, in Chromium, with the model that ships.
// FRAISE_BIG_PACK=folder measures peak memory with that pack too (tests/parity/make_big_pack.py makes one).
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { sizes, total } from "../../www/scripts/sizes.mjs";
import { StudioDriver } from "../browser/studio.mjs";
import { median, rounded } from "./numbers.mjs";

const DIST = new URL("../../dist", import.meta.url).pathname;
const WARM_RUNS = 3;

/** Rows `{name, value, unit, goal}`. */
export async function measureVisits({ browser, site, adapter, options }) {
  const rows = [];
  const note = (name, value, unit, goal = null) => {
    rows.push({ name, value: rounded(value), unit, goal });
    console.log(`${name}: ${rounded(value)} ${unit}${goal ? ` (goal ${goal})` : ""}`);
  };
  const quality = options.isQuick ? 5 : 11;
  const shell = await sizes(DIST, quality);
  note(`wasm, brotli ${quality}`, total(shell.filter(({ file }) => file.endsWith(".wasm")), "brotli_bytes") / 1e6, "MB");
  note(`wasm + JS + CSS + HTML, brotli ${quality}`, total(shell, "brotli_bytes") / 1e6, "MB", "≤ 3");
  await measurePictures({ browser, site, note }, "auto", "best choice", options.isQuick ? 1 : WARM_RUNS);
  if (!adapter.why_not) {
    await measurePictures({ browser, site, note }, "gpu", `${options.gpu} GPU`, 1);
    await measureMemory({ browser, site, note }, "default model", "models/fraise-1/manifest.json");
  }
  if (!adapter.why_not && process.env.FRAISE_BIG_PACK) {
    const pack = process.env.FRAISE_BIG_PACK;
    for (const file of await readdir(pack)) site.files[`/big/${file}`] = join(pack, file);
    await measureMemory({ browser, site, note }, "big pack", "big/manifest.json");
  }
  return rows;
}

/** Whole pictures through the page, as a visitor gets them; the longest task of the main thread meanwhile. */
async function measurePictures({ browser, site, note }, device, where, warmRuns) {
  const studio = await StudioDriver.open(browser, site.url);
  await studio.until(() => /\d/.test(window.tools.text("#model") ?? ""));
  const steps = Number(await studio.page.evaluate(() => window.tools.find("#steps").value));
  await studio.settings({ steps, device });
  await studio.page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
    }).observe({ type: "longtask" });
  });
  const first = await timed(() => studio.generate());
  const warm = [];
  for (let run = 0; run < warmRuns; run += 1) warm.push(await timed(() => studio.generate()));
  note(`${where}: first picture, ${steps} steps, engine start and download included`, first / 1000, "s");
  note(`${where}: next picture, ${steps} steps (median of ${warmRuns})`, median(warm) / 1000, "s", device === "auto" ? "≤ 4" : null);
  note(`${where}: longest main-thread task (0: none over 50 ms)`, await studio.page.evaluate(() => window.longest), "ms", "≤ 50");

  const visitAgain = async (pauseMs) => {
    await studio.page.reload();
    await studio.installTools();
    await studio.settings({ steps, device });
    await studio.page.waitForTimeout(pauseMs);
    return (await timed(() => studio.generate())) / 1000;
  };
  note(`${where}: second visit, first picture, model from IndexedDB`, await visitAgain(0), "s");
  note(`${where}: · asked for two seconds after the first letter`, await visitAgain(2000), "s");
  await studio.close();
}

/** Memory after loading a pack through the library; wasm memory never shrinks, so this is its peak. */
async function measureMemory({ browser, site, note }, name, manifest) {
  const { page, problems, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  const report = await page.evaluate(async (url) => {
    const engine = await window.fraise.Engine.create({ device: "gpu" });
    const before = await engine.memory();
    const start = performance.now();
    await engine.load(url);
    const loadMs = performance.now() - start;
    const after = await engine.memory();
    engine.close();
    return { before, after, loadMs };
  }, manifest);
  if (problems.length > 0) throw new Error(problems.join("\n"));
  const mebibyte = 2 ** 20;
  note(`${name}: pieces`, report.after.packBytes / mebibyte, "MiB");
  note(`${name}: weights on the device`, report.after.deviceBytes / mebibyte, "MiB");
  note(`${name}: wasm memory before loading`, report.before.wasmBytes / mebibyte, "MiB");
  note(`${name}: peak wasm memory while loading`, report.after.wasmBytes / mebibyte, "MiB", "≤ pieces in flight + 64");
  note(`${name}: download and upload`, report.loadMs / 1000, "s");
  await close();
}

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
