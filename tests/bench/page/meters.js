// What a worker holds, counted the same way for every engine: import this before the engine.

const memories = new Set();
const gpu = { live: 0, peak: 0 };

/** The memories among what a module imports or exports. */
function keepMemories(...namespaces) {
  for (const value of namespaces.flatMap((names) => Object.values(names ?? {}))) {
    if (value instanceof WebAssembly.Memory) memories.add(value);
  }
}

for (const name of ["instantiate", "instantiateStreaming"]) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (source, imports) => {
    const result = await original.call(WebAssembly, source, imports);
    keepMemories(...Object.values(imports ?? {}), (result.instance ?? result).exports);
    return result;
  };
}

if (globalThis.GPUDevice) {
  const destroyed = new WeakSet();
  const subtract = (bytes) => (gpu.live -= bytes);
  const collected = new FinalizationRegistry(subtract);
  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    gpu.live += descriptor.size;
    gpu.peak = Math.max(gpu.peak, gpu.live);
    collected.register(buffer, descriptor.size, buffer);
    return buffer;
  };
  const { destroy } = GPUBuffer.prototype;
  GPUBuffer.prototype.destroy = function () {
    if (!destroyed.has(this)) {
      destroyed.add(this);
      collected.unregister(this);
      subtract(this.size);
    }
    return destroy.call(this);
  };
}

/** `{wasmBytes, gpuBytes}`: wasm memory, which never shrinks, and the most that GPU buffers came to at one time. */
export const peaks = () => ({
  wasmBytes: [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0),
  gpuBytes: gpu.peak,
});
