// The bench where there is no browser: Fraise's wasm and onnxruntime-web in Node, on Dawn, the WebGPU of Chromium.
//
//   node tests/bench/node.mjs OUT.json [--gpu real|software] [--parts adapter,compare,pictures,growth]
//     [--sizes default,half,sd15] [--quick]
//
// Adds to OUT.json, in the form of results/latest.json, and draws OUT.svg after each part, so that a run that is ended keeps
// what it has; the adapter is measured once. Needs target/parity (build_parity in build.sh), npm's `webgpu` and
// onnxruntime-web in tests/bench/node_modules, a Vulkan driver, and what models.mjs needs where a model is not made yet.
// DAWN_NODE names another dawn.node, DAWN_OPTIONS what it is created with, BENCH_MODELS another folder of models.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { measureAdapter } from "./adapter.mjs";
import { chart } from "./chart.mjs";
import { compare } from "./compare.mjs";
import { measureGrowth } from "./growth.mjs";
import { FOLDER, peerName, prepare } from "./models.mjs";
import { launchNode, openStage } from "./node/browser.mjs";
import { measurePictures } from "./pictures.mjs";
import { noResults, roundedRow } from "./results.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    gpu: { type: "string", default: "real" },
    parts: { type: "string", default: "adapter,compare,pictures,growth" },
    sizes: { type: "string", default: "default,half" },
    quick: { type: "boolean", default: false },
  },
});
const [out] = positionals;
if (!out) throw new Error("no OUT.json is given; the head of this file says what may be");
const options = { gpu: values.gpu, devices: ["gpu"], isQuick: values.quick };

const results = await readFile(out, "utf8").then(JSON.parse, noResults);

async function keep() {
  await mkdir(dirname(out), { recursive: true });
  const written = { ...results, rows: results.rows.map(roundedRow) };
  await writeFile(out, `${JSON.stringify(written, null, 2)}\n`);
  await writeFile(out.replace(/\.json$/, ".svg"), chart(written));
}

// A limit ended it.
process.on("SIGTERM", () => keep().finally(() => process.exit(1)));

/** Every part takes what it needs of `{browser, site, models, adapter}`. */
const PARTS = {
  adapter: async () => {},
  compare: async (setting) => {
    const peer = await peerName();
    for (const model of setting.models) {
      const found = { rows: results.rows, memory: results.memory, skipped: results.skipped };
      await compare({ ...setting, models: [model], peer, options, found });
      await keep();
    }
  },
  pictures: async (setting) => {
    await measurePictures({ ...setting, device: "gpu", rows: results.visits });
  },
  growth: async (setting) => {
    await measureGrowth({ ...setting, devices: ["gpu"], isQuick: true, rows: results.growth });
  },
};

const browser = await launchNode();
const site = await openStage(FOLDER);
if (results.adapters.length === 0) {
  results.adapters.push(await measureAdapter({ browser, site, options }));
  await keep();
}
const [adapter] = results.adapters;
console.log(`adapter: ${JSON.stringify(adapter)}`);
if (adapter.why_not) {
  console.log(`nothing is measured: ${adapter.why_not}`);
  process.exit(1);
}
const parts = values.parts.split(",");
const models = [];
const needsModels = parts.includes("compare") || parts.includes("growth");
for (const size of needsModels ? values.sizes.split(",") : []) models.push(await prepare(size));
for (const part of parts) {
  try {
    await PARTS[part]({ browser, site, models, adapter });
  } catch (error) {
    results.skipped.push({ name: part, why: error.message });
    console.log(`skipped: ${part}: ${error.message}`);
  }
  await keep();
}
await browser.close();
process.exit(0);
