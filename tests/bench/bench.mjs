// ./build.sh bench: what a visitor waits for, in Chromium on its software GPU. Prints a table and writes results/latest.json.
// FRAISE_BIG_PACK=folder measures peak memory with that pack too (tests/parity/make_big_pack.py makes one).
import { createReadStream } from "node:fs";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { basename, join } from "node:path";
import { sizes, total } from "../../www/scripts/sizes.mjs";
import { launchChromium } from "../browser/browsers.mjs";
import { openSite } from "../browser/site.mjs";
import { StudioDriver } from "../browser/studio.mjs";

const DIST = new URL("../../dist", import.meta.url).pathname;
const RESULTS = new URL("results/", import.meta.url);
const WARM_RUNS = 3;
const rows = [];
const note = (name, value, unit, goal = null) => rows.push({ name, value: Math.round(value * 100) / 100, unit, goal });
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Whole pictures through the page, as a visitor gets them; the longest task of the main thread meanwhile. */
async function measurePictures(browser, site, device, where, warmRuns) {
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
  note(`${where}: next picture, ${steps} steps (median of ${warmRuns})`, median(warm) / 1000, "s", "≤ 40");
  note(`${where}: longest main-thread task (0: none over 50 ms)`, await studio.page.evaluate(() => window.longest), "ms", "≤ 50");

  await studio.page.reload();
  await studio.installTools();
  await studio.settings({ steps, device });
  note(`${where}: second visit, first picture, model from IndexedDB`, (await timed(() => studio.generate())) / 1000, "s");
  await studio.close();
}

/** Memory after loading a pack through the library; wasm memory never shrinks, so this is its peak. */
async function measureMemory(browser, site, name, manifest) {
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
  const megabyte = 1024 * 1024;
  note(`${name}: pieces`, report.after.packBytes / megabyte, "MiB");
  note(`${name}: weights on the device`, report.after.deviceBytes / megabyte, "MiB");
  note(`${name}: wasm memory before loading`, report.before.wasmBytes / megabyte, "MiB");
  note(`${name}: peak wasm memory while loading`, report.after.wasmBytes / megabyte, "MiB", "≤ pieces in flight + 64");
  note(`${name}: download and upload`, report.loadMs / 1000, "s");
  await close();
}

/** Serves the folder `pack` beside the site. */
function serveAlso(site, pack) {
  site.answer = async (path) => {
    const file = path.startsWith("/big/") ? join(pack, basename(path)) : null;
    if (!file || !(await stat(file).catch(() => null))) return null;
    const chunks = [];
    for await (const chunk of createReadStream(file)) chunks.push(chunk);
    return { body: Buffer.concat(chunks) };
  };
}

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function adapterOf(browser, site) {
  const { page, close } = await browser.newPage();
  await page.goto(site.url);
  const info = await page.evaluate(async () => {
    const adapter = await navigator.gpu?.requestAdapter();
    return adapter ? `${adapter.info.vendor} ${adapter.info.architecture} ${adapter.info.description}`.trim() : "none";
  });
  await close();
  return info;
}

function print() {
  const width = Math.max(...rows.map(({ name }) => name.length));
  for (const { name, value, unit, goal } of rows) {
    console.log(`${name.padEnd(width)}  ${String(value).padStart(10)} ${unit.padEnd(6)}${goal ? ` (goal ${goal})` : ""}`);
  }
}

const shell = await sizes(DIST, 11);
note("wasm, brotli 11", total(shell.filter(({ file }) => file.endsWith(".wasm")), "brotli_bytes") / 1e6, "MB");
note("wasm + JS + CSS + HTML, brotli 11", total(shell, "brotli_bytes") / 1e6, "MB", "≤ 3");
const site = await openSite();
const browser = await launchChromium();
try {
  const adapter = await adapterOf(browser, site);
  await measurePictures(browser, site, "auto", "best choice", WARM_RUNS);
  await measurePictures(browser, site, "gpu", "software GPU", 1);
  await measureMemory(browser, site, "default model", "models/fraise-1/manifest.json");
  if (process.env.FRAISE_BIG_PACK) {
    serveAlso(site, process.env.FRAISE_BIG_PACK);
    await measureMemory(browser, site, "big pack", "big/manifest.json");
  }
  print();
  const machine = {
    browser: "chromium",
    adapter,
    processors: cpus().length,
    processor: cpus()[0]?.model ?? "unknown",
    load_average: Math.round(loadavg()[0] * 10) / 10,
  };
  console.log(`adapter ${machine.adapter}; ${machine.processors} × ${machine.processor}; load average ${machine.load_average}`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(new URL("latest.json", RESULTS), `${JSON.stringify({ machine, rows }, null, 2)}\n`);
} finally {
  await browser.close();
  await site.close();
}
