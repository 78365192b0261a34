// The built site on a port of its own, with a log of what was asked for and, where a test wants it, wrong answers.
import { readdir, readFile, stat } from "node:fs/promises";
import { extname } from "node:path";
import { send, serveFolder } from "../../www/scripts/static.mjs";

const DIST = new URL("../../dist", import.meta.url).pathname;

/** The engine with the goldens' comparisons, from `build.sh`'s build_parity, and the goldens. */
const FOLDERS = {
  "/parity/": new URL("../../target/parity/web/", import.meta.url),
  "/goldens/": new URL("../parity/goldens/", import.meta.url),
};

/** Pages that only tests need, beside the site's own. */
const PAGES = {
  "/widget.html": `<!doctype html><html lang="en"><meta charset="utf-8"><title>A page with a painter</title>
    <script type="module" src="./painter.js"></script>
    <fraise-painter model="models/fraise-1/manifest.json" prompt="a strawberry on a beach" seed="7" steps="2" device="cpu">
    </fraise-painter></html>`,
  "/parity.html": `<!doctype html><html lang="en"><meta charset="utf-8"><title>Goldens</title>
    <script type="module">
      const worker = new Worker("./parity-worker.js" + location.search, { type: "module" });
      const ask = (question) => new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => ("error" in data ? reject(new Error(data.error)) : resolve(data.answer));
        worker.onerror = (event) => reject(new Error(event.message));
        worker.postMessage(question);
      });
      window.cases = () => ask({});
      window.run = (name, files) => ask({ name, files });
      window.schemes = () => ask({ schemes: true });
    </script></html>`,
};

/** Runs the goldens where the engine runs: in a worker. */
const PARITY_WORKER = `
  import init, { FraiseEngine } from "./parity/fraise_web.js";
  let engine;
  const start = async () => {
    await init();
    return FraiseEngine.create(new URLSearchParams(location.search).get("device"), (reason) => postMessage({ error: reason }));
  };
  const read = async (file) => [file, new Uint8Array(await (await fetch("goldens/" + file)).arrayBuffer())];
  const answerTo = async ({ name, files, schemes }) => {
    if (schemes) return engine.paritySchemes();
    if (!name) return FraiseEngine.parityCases();
    return engine.parityCase(name, Object.fromEntries(await Promise.all(files.map(read))));
  };
  onmessage = async ({ data }) => {
    try {
      engine ??= await start();
      const answer = await answerTo(data);
      postMessage({ answer });
    } catch (error) {
      postMessage({ error: error.code ? error.code + ": " + error.message : String(error) });
    }
  };`;

/**
 * Serves dist/, and the files on disk that `site.files` names by path, all with `site.headers`. `site.answer(path)` may be set to a function giving
 * `{status?, body?, headers?}` to send instead; with `begin` in place of `body`, that is sent and then nothing more.
 */
export async function openSite() {
  const site = { url: "", log: [], files: {}, headers: {}, answer: null, close: null };
  const server = await serveFolder(DIST, 0, async (request, response, path) => {
    site.log.push(path);
    for (const [name, value] of Object.entries(site.headers)) response.setHeader(name, value);
    const file = site.files[path];
    if (file) {
      send(request, response, { file, bytes: (await stat(file)).size });
      return true;
    }
    const answer = (await site.answer?.(path)) ?? (await ownAnswer(path));
    if (!answer) return false;
    const { status = 200, body = Buffer.alloc(0), headers = {}, begin } = answer;
    response.writeHead(status, { "cache-control": "no-store", ...headers });
    if (begin) response.write(begin);
    else response.end(body);
    return true;
  });
  site.url = `http://localhost:${server.address().port}/`;
  site.close = () => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  };
  return site;
}

/** An `answer` that has the engine's worker begin with `code`. */
export async function changedWorker(code) {
  const assets = `${DIST}/assets`;
  const worker = (await readdir(assets)).find((name) => /^worker-.*\.js$/.test(name));
  const body = `${code};\n${await readFile(`${assets}/${worker}`, "utf8")}`;
  return (path) => (path.endsWith(worker) ? { body, headers: { "content-type": "text/javascript" } } : null);
}

/** What a worker may begin with: each GPU device stays where a test finds it, the newest last in `self.devices`. */
export const KEEP_DEVICES = `{
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...given) {
    const device = await request.apply(this, given);
    (self.devices ??= []).push(device);
    return device;
  };
}`;

/** The pieces asked for so far. */
export const piecesIn = (log) => log.filter((path) => path.endsWith(".bin"));

/** The default model's files as they are on disk. */
export const modelFile = (name) => readFile(`${DIST}/models/fraise-1/${name}`);

/** What the tests add to the site, or null. */
async function ownAnswer(path) {
  if (PAGES[path]) return page(PAGES[path]);
  if (path === "/parity-worker.js") return { body: PARITY_WORKER, headers: { "content-type": "text/javascript" } };
  const folder = Object.keys(FOLDERS).find((prefix) => path.startsWith(prefix));
  if (!folder) return null;
  const body = await readFile(new URL(path.slice(folder.length), FOLDERS[folder]));
  return { body, headers: { "content-type": TYPES[extname(path)] ?? "application/octet-stream" } };
}

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

const page = (html) => ({ body: html, headers: { "content-type": "text/html; charset=utf-8" } });
