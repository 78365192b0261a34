// Stable Diffusion 1.5's full width on WebGPU in Chromium: loads the pack of full_width.py's model, paints its request, and
// compares with diffusers. Minutes to an hour on a software adapter, so `check` leaves it out.
//
//   node full_width.mjs FOLDER PACK [gpu|cpu]      (FOLDER as full_width.py made it; needs ./build.sh build and build_parity)
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { openInProfile } from "../browser/browsers.mjs";
import { openSite } from "../browser/site.mjs";

const LATENTS_TOLERANCE = 1e-2; // of their standard deviation, as in full_width.py
const IMAGE_TOLERANCE = 10 / 255; // mean

const [folder, pack, device = "gpu"] = process.argv.slice(2);
if (!pack) throw new Error("usage: node full_width.mjs FOLDER PACK [gpu|cpu]");

const words = (await readFile(join(folder, "request.txt"), "utf8")).match(/--(\w+) ("[^"]*"|\S+)/g);
const request = Object.fromEntries(
  words.map((word) => [word.slice(2, word.indexOf(" ")), JSON.parse(word.slice(word.indexOf(" ") + 1))]),
);

/** Runs in the worker, so that only numbers come back. */
const WORKER = `
  import init, { FraiseEngine } from "./parity/fraise_web.js";
  const float32 = (file, header, name) => {
    const [begin, end] = header[name].data_offsets;
    const start = 8 + Number(new DataView(file).getBigUint64(0, true));
    return new Float32Array(file.slice(start + begin, start + end));
  };
  const errors = (found, expected) => {
    if (found.length !== expected.length) throw new Error(found.length + " values, not " + expected.length);
    let [sum, squares, largest, total] = [0, 0, 0, 0];
    for (let i = 0; i < found.length; i += 1) {
      const difference = Math.abs(found[i] - expected[i]);
      [sum, squares] = [sum + expected[i], squares + expected[i] ** 2];
      [largest, total] = [difference <= largest ? largest : difference, total + difference];
    }
    const mean = sum / found.length;
    return { deviation: Math.sqrt(squares / found.length - mean ** 2), largest, mean: total / found.length };
  };
  onmessage = async ({ data: { device, request } }) => {
    try {
      await init();
      const engine = await FraiseEngine.create(device, (reason) => postMessage({ error: reason }));
      const before = engine.memory().wasmBytes;
      let start = performance.now();
      await engine.load(new URL("big/manifest.json", location.href).href, () => {}, new AbortController().signal);
      const [loadMs, loaded] = [performance.now() - start, engine.memory()];
      start = performance.now();
      const { latents, image } = await engine.parityPaint(request);
      const paintMs = performance.now() - start;
      const file = await (await fetch("big/golden.safetensors")).arrayBuffer();
      const length = Number(new DataView(file).getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
      postMessage({
        before, loaded, loadMs, paintMs, after: engine.memory().wasmBytes,
        latents: errors(latents, float32(file, header, "final_latents")),
        image: errors(image, float32(file, header, "image")),
      });
    } catch (error) {
      postMessage({ error: error.code ? error.code + ": " + error.message : String(error) });
    }
  };`;
const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Full width</title><script type="module">
  window.run = (question) => new Promise((resolve, reject) => {
    const worker = new Worker("./full-width-worker.js", { type: "module" });
    worker.onmessage = ({ data }) => ("error" in data ? reject(new Error(data.error)) : resolve(data));
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(question);
  });
</script></html>`;

const site = await openSite();
site.answer = async (path) => {
  if (path === "/full-width.html") return { body: PAGE, headers: { "content-type": "text/html" } };
  if (path === "/full-width-worker.js") return { body: WORKER, headers: { "content-type": "text/javascript" } };
  if (!path.startsWith("/big/")) return null;
  const name = basename(path);
  const file = name === "golden.safetensors" ? join(folder, name) : join(pack, name);
  return (await stat(file).catch(() => null)) ? { body: await readFile(file) } : null;
};
const profile = await mkdtemp(join(tmpdir(), "fraise-"));
const { page, problems, close } = await openInProfile(profile);
try {
  page.setDefaultTimeout(0);
  await page.goto(`${site.url}full-width.html`);
  const result = await page.evaluate((question) => window.run(question), { device, request });
  const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  console.log(`wasm memory: ${mebibytes(result.before)} before, ${mebibytes(result.loaded.wasmBytes)} after loading, ${mebibytes(result.after)} after painting`);
  console.log(`weights on the device: ${mebibytes(result.loaded.deviceBytes)} of a pack of ${mebibytes(result.loaded.packBytes)}`);
  console.log(`loaded in ${(result.loadMs / 1000).toFixed(0)} s, painted in ${(result.paintMs / 1000).toFixed(0)} s`);
  const latents = result.latents.largest / result.latents.deviation;
  console.log(`final latents: ${latents.toExponential(1)} of their standard deviation (${LATENTS_TOLERANCE} allowed)`);
  console.log(`image: ${(result.image.mean * 255).toFixed(4)}/255 on average (10/255 allowed)`);
  if (problems.length > 0) throw new Error(problems.join("\n"));
  if (!(latents <= LATENTS_TOLERANCE && result.image.mean <= IMAGE_TOLERANCE)) throw new Error("too far from the reference");
} finally {
  await close();
  await site.close();
  await rm(profile, { recursive: true, force: true });
}
