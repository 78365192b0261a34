// One worker of the bench's page as a Node process of its own: node worker.mjs SCRIPT, where SCRIPT is a file of the stage.
// It gets what such a script asks of a browser: WebGPU (npm's `webgpu`, which is Dawn), `fetch` of files, messages.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { Half } from "./half.mjs";

// Node 20 knows relaxed SIMD, as the module has it that most browsers get, but has to be told to use it.
if (Number.parseInt(process.versions.node, 10) < 21) setFlagsFromString("--experimental-wasm-relaxed-simd");

const require = createRequire(import.meta.url);
const { create, globals } = require(process.env.DAWN_NODE ?? `webgpu/dist/${process.platform}-${process.arch}/dawn.node`);
const script = pathToFileURL(process.argv[2]);

const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
const hostFetch = globalThis.fetch;

Object.assign(globalThis, globals);
define("self", globalThis);
define("isSecureContext", true);
define("location", { href: script.href, origin: "file://" });
define("navigator", { gpu: create(process.env.DAWN_OPTIONS?.split(" ") ?? []), userAgent: `Node ${process.version} with Dawn` });
// wgpu takes the global object for a browser's only where one of these classes is there.
define("Window", class Window {});
define("Float16Array", globalThis.Float16Array ?? Half);
define("onmessage", null);
define("onunhandledrejection", null);
define("postMessage", (message) => process.send(message));
define("fetch", async (address, options) => {
  const url = new URL(address.url ?? address, location.href);
  if (url.protocol !== "file:") return hostFetch(address, options);
  const type = url.pathname.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
  try {
    return new Response(await readFile(fileURLToPath(url)), { headers: { "content-type": type } });
  } catch {
    return new Response(null, { status: 404 });
  }
});

// Dawn's binding for Node takes no shared memory, which is where the peer's wasm keeps what it writes.
const { writeBuffer } = GPUQueue.prototype;
GPUQueue.prototype.writeBuffer = function (buffer, offset, data, ...range) {
  return writeBuffer.call(this, buffer, offset, data.buffer instanceof SharedArrayBuffer ? data.slice() : data, ...range);
};

// Questions may come before the script is ready for them.
const early = [];
process.on("message", (data) => (globalThis.onmessage ? globalThis.onmessage({ data }) : early.push(data)));
process.on("unhandledRejection", (reason) => globalThis.onunhandledrejection?.({ reason }));
process.on("disconnect", () => process.exit());
await import(script.href);
for (const data of early) globalThis.onmessage({ data });
