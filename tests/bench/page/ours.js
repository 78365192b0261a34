// Fraise in a worker: the parity build, which can run one module of a pack alone.
import { peaks } from "./meters.js";
import { serve } from "./serve.js";
import { inputsOf } from "./inputs.js";
import init, { FraiseEngine } from "../parity/fraise_web.js";

const neverAborted = new AbortController().signal;
let engine;
let facts;
let last;

serve({
  async open({ device, manifest, precision, facts: given }) {
    facts = given;
    await init();
    engine = await FraiseEngine.create(device, (reason) => postMessage({ error: reason }), false, undefined, precision);
    await engine.load(new URL(manifest, location.href).href, () => {}, neverAborted);
  },
  /** Milliseconds for `repeats` passes, one after the other, and reading back the last. */
  async run(module, side, repeats) {
    const inputs = { [module]: inputsOf(module, side, facts) };
    const start = performance.now();
    last = await engine.runModule(inputs, repeats);
    return performance.now() - start;
  },
  output: () => last,
  /** Milliseconds for a whole picture. */
  async paint(request) {
    const start = performance.now();
    const run = await engine.generate(request, [], undefined, neverAborted);
    while (await run.next());
    run.free();
    return performance.now() - start;
  },
  peaks,
});
