// How Fraise's time and memory grow with the picture's size, with steps, and with guidance, whose two predictions are one
// batch of two. The default model's layers at q8, random weights.
import { rounded } from "./numbers.mjs";

const LATENT_SIDES = [4, 8, 16, 32];
const STEPS = [1, 2, 4, 8];
const BASE = { side: 8, steps: 4, guidance: 1 };

/** Rows `{device, width_px, steps, batch, ms, wasm_bytes, gpu_bytes}`, in one browser. */
export async function measureGrowth({ browser, site, models, adapter }) {
  const model = models.find(({ size }) => size === "default");
  if (!model) return [];
  const points = [
    ...LATENT_SIDES.map((side) => ({ ...BASE, side })),
    ...STEPS.filter((steps) => steps !== BASE.steps).map((steps) => ({ ...BASE, steps })),
    { ...BASE, guidance: 3 },
  ];
  const rows = [];
  for (const device of adapter.why_not ? ["cpu"] : ["gpu", "cpu"]) {
    for (const point of points) rows.push(await measure({ browser, site, model, device, point }));
  }
  return rows;
}

/** The second of two pictures, in a worker of its own so that its peaks are its own. */
async function measure({ browser, site, model, device, point: { side, steps, guidance } }) {
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(`${site.url}bench/bench.html`);
  const { facts } = model;
  const width = side * facts.scale_px;
  const request = { prompt: facts.prompt, seed: 1, steps, guidance, width, height: width };
  const options = { device, facts, manifest: "../models-of-bench/default/pack-q8/manifest.json" };
  const [ms, peaks] = await page.evaluate(
    async ([openOptions, wanted]) => {
      await window.start("ours", "ours.js", openOptions);
      await window.ask("ours", "paint", wanted);
      return [await window.ask("ours", "paint", wanted), await window.ask("ours", "peaks")];
    },
    [options, request],
  );
  await close();
  const row = { device, width_px: width, steps, batch: guidance > 1 ? 2 : 1, ms: rounded(ms), wasm_bytes: peaks.wasmBytes, gpu_bytes: peaks.gpuBytes };
  console.log(`growth, ${device}, ${width} px, ${steps} steps, batch of ${row.batch}: ${row.ms} ms`);
  return row;
}
