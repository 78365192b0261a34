// The adapter's own peaks, by small shaders: multiply-adds in registers, of floats and of packed integers, and a copy between
// two buffers.
import { serve } from "./serve.js";

const WORKGROUP = 64;
/** Firefox reports finished work every 100 ms; Node runs where time on a GPU is short. */
const PROBE_MS = globalThis.process ? 200 : 1000;
/** Independent sums per invocation: too few wait for one another, too many spill. */
const CHAINS = [4, 8, 16];
const ROUNDS = 64;
/** Enough to keep a large GPU busy for a while, and a software adapter not for long. */
const INVOCATIONS = 2 ** 19;
const COPIED_BYTES = 128 * 2 ** 20; // beyond caches, within the default binding limit
const COPIES = 4; // per invocation

const listed = (chains, line) => Array.from({ length: chains }, (_, i) => line(i));

const fma = (type, chains) => {
  const each = (line) => listed(chains, line).join(" ");
  return `${type === "f16" ? "enable f16;" : ""}
    @group(0) @binding(0) var<storage, read_write> sums: array<vec4<${type}>>;
    @compute @workgroup_size(${WORKGROUP}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      let a = vec4<${type}>(sums[id.x & 63u]);
      ${each((i) => `var s${i} = a + ${type}(${i});`)}
      for (var round = 0u; round < ${ROUNDS}u; round++) { ${each((i) => `s${i} = fma(s${i}, a, a);`)} }
      sums[id.x & 63u] = ${listed(chains, (i) => `s${i}`).join(" + ")};
    }`;
};

/** Four multiply-adds of 8-bit integers at once, where WGSL has them. */
const dot = (chains) => {
  const each = (line) => listed(chains, line).join(" ");
  return `
    @group(0) @binding(0) var<storage, read_write> sums: array<i32>;
    @compute @workgroup_size(${WORKGROUP}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      let a = u32(sums[id.x & 63u]);
      ${each((i) => `var s${i} = i32(a) + ${i};`)}
      for (var round = 0u; round < ${ROUNDS}u; round++) { ${each((i) => `s${i} += dot4I8Packed(u32(s${i}), a);`)} }
      sums[id.x & 63u] = ${listed(chains, (i) => `s${i}`).join(" + ")};
    }`;
};

const COPY = `
  @group(0) @binding(0) var<storage, read_write> to: array<vec4<f32>>;
  @group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
  @compute @workgroup_size(${WORKGROUP}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    for (var i = 0u; i < ${COPIES}u; i++) { let at = i * ${COPIED_BYTES / 16 / COPIES}u + id.x; to[at] = source[at]; }
  }`;

let device;

serve({
  /** `{name, isFallback}` of the adapter that pages get, or null. */
  async open() {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return null;
    device = await adapter.requestDevice({ requiredFeatures: adapter.features.has("shader-f16") ? ["shader-f16"] : [] });
    const { vendor, architecture, device: model, description } = adapter.info ?? {};
    return {
      name: [vendor, architecture, model, description].filter(Boolean).join(" "),
      isFallback: Boolean(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter),
    };
  },
  /**
   * `{fma_gflops, fma_f16_gflops, dot_i8_gops, bandwidth_gb_s}`; null what the adapter or the browser lacks: f16's without
   * shader-f16, the integers' without WGSL's packed dot product.
   */
  async peaks() {
    const [to, from] = [buffer(COPIED_BYTES), buffer(COPIED_BYTES)];
    // Both shaders do four multiply-adds for each chain in a round.
    const multiply = async (shader) => {
      let best = 0;
      for (const chains of CHAINS) {
        const ms = await time(shader(chains), [to], INVOCATIONS / WORKGROUP);
        best = Math.max(best, (INVOCATIONS * ROUNDS * chains * 4 * 2) / ms / 1e6);
      }
      return best;
    };
    const hasDot = navigator.gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product");
    const copyMs = await time(COPY, [to, from], COPIED_BYTES / 16 / COPIES / WORKGROUP);
    return {
      fma_gflops: await multiply((chains) => fma("f32", chains)),
      fma_f16_gflops: device.features.has("shader-f16") ? await multiply((chains) => fma("f16", chains)) : null,
      dot_i8_gops: hasDot ? await multiply(dot) : null,
      bandwidth_gb_s: (2 * COPIED_BYTES) / copyMs / 1e6, // read and written
    };
  },
});

function buffer(size) {
  return device.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
}

/** Milliseconds of one dispatch, as a share of as many as take a second. */
async function time(code, buffers, workgroups) {
  const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  for (let dispatches = 1; ; dispatches *= 4) {
    const start = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < dispatches; i += 1) pass.dispatchWorkgroups(workgroups);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    const ms = performance.now() - start;
    if (ms > PROBE_MS) return ms / dispatches;
  }
}
