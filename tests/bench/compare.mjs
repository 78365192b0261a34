// Fraise against onnxruntime-web on the same weights: their outputs first, then their times in turn.
import { QUANTS } from "./models.mjs";
import { median } from "./numbers.mjs";

/**
 * What is set against what. Errors are the largest, relative to the output's largest magnitude. Fraise keeps weights as
 * f16 or q8 and computes with 32 bits, "half" a UNet with 16; the peer's numbers are the very f16 ones, stored with as many bits as
 * it computes with. At 16 bits its sums lose most, 0.08 on SD 1.5's UNet, where torch, which sums with 32, loses 0.0035.
 */
const PAIRS = [
  { label: "f32", ours: "f16", peer: "f32", tolerance: 1e-3 },
  { label: "q8 against f32", ours: "q8", peer: "f32", tolerance: 0.1 },
  { label: "f16", ours: "f16", peer: "f16", tolerance: 0.1 },
  { label: "f16, both at 16 bits", ours: "half", peer: "f16", tolerance: 0.1, module: "unet" },
];

const TITLES = { default: "default model", half: "half-width SD", sd15: "SD 1.5" };
const MODULES = { text_encoder: "text encoder", unet: "UNet step", vae_decoder: "decoder" };

/** Side of the latents: what fits the patience of a software adapter, or 512 pixels. */
const LATENT_SIDES = { default: { software: 16, real: 16 }, half: { software: 16, real: 64 }, sd15: { software: 16, real: 64 } };

/** Firefox reports finished work every 100 ms; Node runs where time on a GPU is short. */
const LEAST_SAMPLE_MS = { chromium: 500, firefox: 500, node: 200 };
const MOST_REPEATS = 64;
const ROUNDS = 5;
const PATIENCE_MS = 120_000; // for the rounds of one contestant

/** The goals of UNet steps, as least ratios. */
const goalOf = ({ device, gpu, browser, label }) => {
  if (device === "cpu") return label.startsWith("q8") ? 1.2 : 1.0;
  if (gpu === "real") return 1.5;
  return browser === "chromium" ? 8 : 5;
};

/** Rows, memory and what was skipped, of one browser, added to `found` as they come. `adapter` is measureAdapter's. */
export async function compare({ browser, site, models, peer, adapter, options, found = { rows: [], memory: [], skipped: [] } }) {
  for (const model of models) {
    for (const device of options.devices) {
      const where = `${TITLES[model.size]}, ${browser.name}, ${device.toUpperCase()}`;
      const skip = (why) => {
        found.skipped.push({ name: where, why });
        console.log(`skipped: ${where}: ${why}`);
      };
      if (device === "gpu" && adapter.why_not) {
        skip(adapter.why_not);
        continue;
      }
      const bout = await Bout.open({ browser, site, model, device, adapter, options, peer, skip });
      try {
        await bout.fight(found);
      } catch (error) {
        skip(error.message);
      } finally {
        await bout.close();
      }
    }
  }
  return found;
}

/** One model on one device of one browser: a worker for each contestant, all on one page. */
class Bout {
  static async open(setting) {
    const opened = await setting.browser.newPage({ serviceWorkers: "block" });
    await opened.page.goto(`${setting.site.url}bench/bench.html`);
    return Object.assign(new Bout(), setting, opened);
  }

  get side() {
    return LATENT_SIDES[this.model.size][this.options.gpu];
  }

  async fight(found) {
    await this.startAll();
    for (const module of Object.keys(MODULES)) {
      const pairs = await this.agreeing(module);
      const times = await this.timesOf(module, new Set(pairs.flatMap(({ ours, peer }) => [`ours-${ours}`, `peer-${peer}`])));
      for (const pair of pairs) found.rows.push(this.row(module, pair, times));
    }
    for (const name of this.names) found.memory.push(await this.peaksOf(name));
  }

  /** Starts every contestant that this device can have. */
  async startAll() {
    const { model, device, side, adapter } = this;
    const base = `../models-of-bench/${model.size}`;
    const start = (name, script, options) => this.evaluate("start", name, script, { device, facts: model.facts, ...options });
    this.names = [];
    for (const quant of QUANTS) {
      await start(`ours-${quant}`, "ours.js", { manifest: `${base}/pack-${quant}/manifest.json` });
      this.names.push(`ours-${quant}`);
    }
    // Software adapters are slower with 16 bits, so that the engine would not take them.
    if (device === "gpu" && this.options.gpu === "real" && adapter.fma_f16_gflops) {
      await start("ours-half", "ours.js", { manifest: `${base}/pack-f16/manifest.json`, precision: "float16" });
      this.names.push("ours-half");
    }
    for (const floats of ["f32", "f16"]) {
      const why = whyNot(floats, { model, device, adapter });
      if (why) {
        this.skip(`the peer at ${floats}: ${why}`);
        continue;
      }
      const options = { folder: `${base}/onnx-${floats}`, modules: Object.keys(MODULES), side, floats };
      try {
        await start(`peer-${floats}`, "peer.js", options);
        this.names.push(`peer-${floats}`);
      } catch (error) {
        this.skip(`the peer at ${floats} does not start: ${error.message}`);
      }
    }
  }

  /** The pairs whose outputs are near enough, with how near; others are worth no timing. */
  async agreeing(module) {
    const ran = new Set();
    for (const name of this.names) {
      try {
        await this.run(name, module, 1);
        ran.add(name);
      } catch (error) {
        this.skip(`${MODULES[module]} of ${name}: ${error.message}`);
      }
    }
    const agreeing = [];
    for (const pair of PAIRS.filter((pair) => (pair.module ?? module) === module)) {
      const [ours, peer] = [`ours-${pair.ours}`, `peer-${pair.peer}`];
      if (!ran.has(ours) || !ran.has(peer)) continue;
      const relative_error = await this.evaluate("difference", ours, peer);
      if (relative_error <= pair.tolerance) agreeing.push({ ...pair, relative_error });
      else this.skip(`${MODULES[module]}, ${pair.label}: outputs differ by ${relative_error}, ${pair.tolerance} is allowed`);
    }
    return agreeing;
  }

  /** Median milliseconds by contestant, all taking turns: A B C A B C. */
  async timesOf(module, names) {
    const plans = [];
    let rounds = this.options.isQuick ? 1 : ROUNDS;
    for (const name of names) {
      const ms = await this.run(name, module, 1);
      plans.push({ name, repeats: Math.min(MOST_REPEATS, Math.ceil(LEAST_SAMPLE_MS[this.browser.name] / ms)), samples: [] });
      rounds = Math.min(rounds, Math.max(1, Math.floor(PATIENCE_MS / ms)));
    }
    for (let round = 0; round < rounds; round += 1) {
      for (const { name, repeats, samples } of plans) samples.push((await this.run(name, module, repeats)) / repeats);
    }
    return { rounds, ...Object.fromEntries(plans.map(({ name, samples }) => [name, median(samples)])) };
  }

  row(module, { label, ours, peer, tolerance, relative_error }, times) {
    const { browser, device, adapter, model, side, options } = this;
    const [ours_ms, peer_ms] = [times[`ours-${ours}`], times[`peer-${peer}`]];
    const gflop = model.facts.gflop[module][side];
    const share = (ms) => (device === "gpu" ? gflop / (ms / 1000) / adapter.fma_gflops : null);
    const row = {
      name: `${TITLES[model.size]}: ${MODULES[module]}, ${label}`,
      browser: browser.name,
      adapter: device === "gpu" ? adapter.name : "CPU, one thread",
      ours_ms,
      peer: `${this.peer} ${device === "gpu" ? "WebGPU" : "wasm"} ${peer}`,
      peer_ms,
      ratio: peer_ms / ours_ms,
      goal: module === "unet" ? goalOf({ device, gpu: options.gpu, browser: browser.name, label }) : null,
      latents: `${side} x ${side}`,
      gflop,
      ours_share_of_fma_peak: share(ours_ms),
      peer_share_of_fma_peak: share(peer_ms),
      relative_error,
      tolerance,
      rounds: times.rounds,
    };
    console.log(`${row.name}, ${row.browser}, ${row.adapter}: ${ours_ms.toFixed(1)} / ${peer_ms.toFixed(1)} ms, ${row.ratio.toFixed(2)}x`);
    return row;
  }

  async peaksOf(name) {
    const { wasmBytes: wasm_bytes, gpuBytes: gpu_bytes } = await this.evaluate("ask", name, "peaks");
    const [side, kind] = name.split("-");
    const engine = side === "ours" ? `Fraise ${kind}` : `${this.peer} ${kind}`;
    const adapter = this.device === "gpu" ? this.adapter.name : "CPU, one thread";
    return { name: TITLES[this.model.size], browser: this.browser.name, adapter, engine, wasm_bytes, gpu_bytes };
  }

  run(name, module, repeats) {
    return this.evaluate("ask", name, "run", module, this.side, repeats);
  }

  evaluate(method, ...args) {
    return this.page.evaluate(([name, given]) => window[name](...given), [method, args]);
  }
}

/** Why the peer cannot run with such floats, or null. */
function whyNot(floats, { model, device, adapter }) {
  if (floats === "f32") return model.size === "sd15" ? "4 GB of weights are more than wasm can address" : null;
  if (device === "cpu") return "its wasm has no 16-bit arithmetic";
  return adapter.fma_f16_gflops ? null : "the adapter has no shader-f16";
}
