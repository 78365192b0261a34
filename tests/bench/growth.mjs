// How Fraise's time and memory grow with the picture's size, with steps, and with guidance, whose two predictions are one
// batch of two. The default model's layers at q8, random weights.
import { rounded } from "./numbers.mjs";

const LATENT_SIDES = [4, 8, 16, 32];
const STEPS = [1, 2, 4, 8];
const BASE = { side: 16, steps: 4, guidance: 1 };

/**
 * Rows `{device, width_px, steps, batch, ms, wasm_bytes, gpu_bytes}`, in one browser. A worker paints one row, so that its peaks
 * are its own, or with `isQuick` all of a device's, without peaks. They are added to `rows` as they come.
 */
export async function measureGrowth({ browser, site, models, adapter, devices = ["gpu", "cpu"], isQuick = false, rows = [] }) {
  const model = models.find(({ size }) => size === "default");
  if (!model) return rows;
  const points = [
    ...LATENT_SIDES.map((side) => ({ ...BASE, side })),
    ...STEPS.filter((steps) => steps !== BASE.steps).map((steps) => ({ ...BASE, steps })),
    { ...BASE, guidance: 3 },
  ];
  for (const device of devices.filter((name) => name === "cpu" || !adapter.why_not)) {
    let painter;
    for (const point of points) {
      painter ??= await openPainter({ browser, site, model, device });
      rows.push(await measure({ painter, model, device, point, isQuick }));
      if (isQuick) continue;
      await painter.close();
      painter = null;
    }
    await painter?.close();
  }
  return rows;
}

async function openPainter({ browser, site, model, device }) {
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(`${site.url}bench/bench.html`);
  const options = { device, facts: model.facts, manifest: "../models-of-bench/default/pack-q8/manifest.json" };
  await page.evaluate((given) => window.start("ours", "ours.js", given), options);
  return { page, close };
}

/** The second of two pictures. */
async function measure({ painter, model, device, point: { side, steps, guidance }, isQuick }) {
  const { facts } = model;
  const width = side * facts.scale_px;
  const request = { prompt: facts.prompt, seed: 1, steps, guidance, width, height: width };
  const [ms, peaks] = await painter.page.evaluate(async (wanted) => {
    await window.ask("ours", "paint", wanted);
    return [await window.ask("ours", "paint", wanted), await window.ask("ours", "peaks")];
  }, request);
  const { wasmBytes: wasm_bytes, gpuBytes: gpu_bytes } = isQuick ? { wasmBytes: null, gpuBytes: null } : peaks;
  const row = { device, width_px: width, steps, batch: guidance > 1 ? 2 : 1, ms: rounded(ms), wasm_bytes, gpu_bytes };
  console.log(`growth, ${device}, ${width} px, ${steps} steps, batch of ${row.batch}: ${row.ms} ms`);
  return row;
}
