// Whole pictures by the engine alone, without the page around it, with the model that ships.
import { median, rounded } from "./numbers.mjs";

const WARM_RUNS = 5;
const REQUEST = { prompt: "a strawberry island under a starry sky", seed: 7, steps: 4, width: 256, height: 256 };
const MANIFEST = "../models/fraise-1/manifest.json";

/**
 * Rows `{name, value, unit, goal}`, as visits.mjs has them, of one device, added to `rows` as they come. `site` serves
 * `models/` beside `bench/`.
 */
export async function measurePictures({ browser, site, device, rows = [] }) {
  const { page, close } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(`${site.url}bench/bench.html`);
  const note = (name, ms, goal = null) => {
    rows.push({ name, value: rounded(ms / 1000), unit: "s", goal });
    console.log(`${name}: ${rounded(ms)} ms`);
  };
  const paint = () => page.evaluate((request) => window.ask("ours", "paint", request), REQUEST);
  try {
    const start = performance.now();
    await page.evaluate((options) => window.start("ours", "ours.js", options), { device, manifest: MANIFEST });
    note(`engine on ${device}: start, load, measure and compile`, performance.now() - start);
    note(`engine on ${device}: first picture, ${REQUEST.steps} steps, 256 x 256`, await paint());
    const warm = [];
    for (let run = 0; run < WARM_RUNS; run += 1) warm.push(await paint());
    note(`engine on ${device}: next picture (median of ${WARM_RUNS})`, median(warm), "≤ 4");
  } finally {
    await close();
  }
  return rows;
}
