// ./build.sh bench: what a visitor waits for, and Fraise against onnxruntime-web on the same weights, in one run. The README
// says what the columns mean. Writes results/latest.json (results/real.json on a real GPU), its chart and the tables of both READMEs.
import { mkdir, writeFile } from "node:fs/promises";
import { launchChromium, launchFirefox } from "../browser/browsers.mjs";
import { openSite } from "../browser/site.mjs";
import { measureAdapter } from "./adapter.mjs";
import { chart } from "./chart.mjs";
import { compare } from "./compare.mjs";
import { measureGrowth } from "./growth.mjs";
import { peerName, prepare, serveBench } from "./models.mjs";
import { readOptions } from "./options.mjs";
import { updateReadme } from "./readme.mjs";
import { noResults, roundedRow } from "./results.mjs";
import { measureVisits } from "./visits.mjs";

const RESULTS = new URL("results/", import.meta.url);
const UNKEPT = new URL("../../target/bench/", import.meta.url);
const LAUNCH = { chromium: launchChromium, firefox: launchFirefox };

const options = readOptions(process.argv.slice(2));
const results = noResults();

function skip(name, why) {
  results.skipped.push({ name, why });
  console.log(`skipped: ${name}: ${why}`);
}

/** What to compare with, and the models that can be made here. */
async function prepareAll() {
  const models = [];
  const peer = await peerName().catch(() => null);
  if (!peer) skip("every comparison", "onnxruntime-web is not installed");
  for (const size of peer ? options.sizes : []) {
    try {
      models.push(await prepare(size));
    } catch (error) {
      skip(`comparison on ${size}`, `it could not be made: ${error.message}`);
    }
  }
  if (!options.sizes.includes("sd15")) skip("comparison on sd15", "only where asked for, with --sizes or --gpu real");
  if (models.length < options.sizes.length) options.isComplete = false;
  return { peer, models };
}

async function measureIn(name, site, models, peer) {
  const browser = await LAUNCH[name]({ gpu: options.gpu });
  try {
    const adapter = await measureAdapter({ browser, site, options });
    results.adapters.push(adapter);
    console.log(`${name}: adapter ${adapter.name}${adapter.why_not ? `: ${adapter.why_not}` : ""}`);
    if (adapter.why_not && options.gpu === "real") throw new Error(adapter.why_not);
    if (name === "chromium") results.visits = await measureVisits({ browser, site, adapter, options });
    const { rows, memory, skipped } = await compare({ browser, site, models, peer, adapter, options });
    results.rows.push(...rows.map(roundedRow));
    results.memory.push(...memory);
    results.skipped.push(...skipped);
    if (name === "chromium") results.growth = await measureGrowth({ browser, site, models, adapter });
  } finally {
    await browser.close();
  }
}

async function keep() {
  const folder = options.isComplete ? RESULTS : UNKEPT;
  const stem = options.gpu === "real" ? "real" : "latest";
  await mkdir(folder, { recursive: true });
  await writeFile(new URL(`${stem}.json`, folder), `${JSON.stringify(results, null, 2)}\n`);
  await writeFile(new URL(`${stem}.svg`, folder), chart(results));
  if (options.isComplete) await updateReadme();
  console.log(`results in ${new URL(`${stem}.json`, folder).pathname}${options.isComplete ? "" : ", for this once: something was left out"}`);
}

const site = await openSite();
try {
  const { peer, models } = await prepareAll();
  await serveBench(site, models);
  for (const name of options.browsers) {
    try {
      await measureIn(name, site, models, peer);
    } catch (error) {
      skip(name, error.message);
      options.isComplete = false;
    }
  }
  await keep();
} finally {
  await site.close();
}
