// Node with Dawn in a browser's place: `launchNode` gives what `measureAdapter`, `compare` and `measurePictures` use of one.
import { fork } from "node:child_process";
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const BENCH = fileURLToPath(new URL("../", import.meta.url));
const TARGET = resolve(BENCH, "../../target");
const STAGE = join(TARGET, "bench/node");
const FOLDERS = {
  bench: join(BENCH, "page"),
  parity: join(TARGET, "parity/web"),
  ort: join(BENCH, "node_modules/onnxruntime-web/dist"),
};

/** Lays the folders out as the bench's site has them, `models` being a folder of what models.mjs prepares: `{url}`. */
export async function openStage(models) {
  await rm(STAGE, { recursive: true, force: true });
  await mkdir(STAGE, { recursive: true });
  const folders = { ...FOLDERS, "models-of-bench": resolve(models), models: resolve(BENCH, "../../models") };
  for (const [name, folder] of Object.entries(folders)) await symlink(folder, join(STAGE, name));
  await writeFile(join(STAGE, "package.json"), '{"type": "module"}\n');
  return { url: `${pathToFileURL(STAGE)}/` };
}

/** A worker of the page: a process with an engine and a GPU device of its own. */
class ProcessWorker {
  static all = new Set();

  constructor(script) {
    const flags = ["--preserve-symlinks", "--preserve-symlinks-main", "--no-warnings"];
    const options = { execArgv: flags, cwd: join(STAGE, "bench"), serialization: "advanced" };
    this.process = fork(join(BENCH, "node/worker.mjs"), [join(STAGE, "bench", script)], options);
    this.process.on("message", (data) => this.onmessage?.({ data }));
    this.process.on("exit", (code, signal) => this.onerror?.({ message: `the worker ended: ${signal ?? code}` }));
    ProcessWorker.all.add(this);
  }

  postMessage(data) {
    if (this.process.connected) this.process.send(data);
    else this.onerror?.({ message: "the worker has ended" });
  }

  terminate() {
    ProcessWorker.all.delete(this);
    this.process.removeAllListeners("exit");
    this.process.kill("SIGKILL");
  }
}

/** `{name, newPage, close}`. There is one page, this process; opening another ends the workers of the last. */
export async function launchNode() {
  globalThis.window = globalThis;
  globalThis.Worker = ProcessWorker;
  await import("../page/bench.js");
  const endAll = async () => ProcessWorker.all.forEach((worker) => worker.terminate());
  const page = { goto: async () => {}, evaluate: async (work, given) => work(given) };
  return { name: "node", newPage: async () => ({ page, problems: [], close: endAll }), close: endAll };
}
