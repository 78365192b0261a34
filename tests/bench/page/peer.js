// onnxruntime-web in a worker, on WebGPU or on one thread of wasm.
import { peaks } from "./meters.js";
import { serve } from "./serve.js";
import { inputsOf } from "./inputs.js";

let ort;
let sessions;
let facts;
let floats;
let last;

const OPTIONS = {
  gpu: { executionProviders: ["webgpu"], preferredOutputLocation: "gpu-buffer" },
  cpu: { executionProviders: ["wasm"] },
};

serve({
  async open({ device, folder, modules, side, floats: kind, facts: given }) {
    [facts, floats] = [given, kind];
    ort = await import(device === "gpu" ? "../ort/ort.webgpu.min.mjs" : "../ort/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("../ort/", location.href).href;
    ort.env.logLevel = "error";
    const options = { ...OPTIONS[device], freeDimensionOverrides: { height: side, width: side } };
    sessions = {};
    for (const module of modules) sessions[module] = await ort.InferenceSession.create(`${folder}/${module}.onnx`, options);
  },
  /** As in ours.js. */
  async run(module, side, repeats) {
    const inputs = inputsOf(module, side, facts);
    const start = performance.now();
    const feeds = Object.fromEntries(sessions[module].inputNames.map((name) => [name, feed(name, inputs)]));
    for (let pass = 1; pass < repeats; pass += 1) (await sessions[module].run(feeds)).output.dispose();
    const { output } = await sessions[module].run(feeds);
    last = await output.getData(true);
    return performance.now() - start;
  },
  output: () => (last instanceof Float32Array ? last : Float32Array.from(last)),
  peaks,
});

function feed(name, inputs) {
  if (name === "input_ids") return new ort.Tensor("int32", Int32Array.from(inputs.ids), [1, inputs.ids.length]);
  if (name === "timestep") return new ort.Tensor("float32", Float32Array.of(inputs.timestep), [1]);
  const { data, shape } = inputs[name];
  return floats === "f16" ? new ort.Tensor("float16", Float16Array.from(data), shape) : new ort.Tensor("float32", data, shape);
}
