// The models of the comparison, made when first wanted and kept in target/bench.
import { execFileSync } from "node:child_process";
import { readFile, readdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";

const ROOT = new URL("../../", import.meta.url).pathname;
export const FOLDER = process.env.BENCH_MODELS ?? join(ROOT, "target/bench/models");
const PYTHON = process.env.BENCH_PYTHON ?? join(ROOT, "target/bench/venv/bin/python");
const FRAISE = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/fraise");
const ORT = join(ROOT, "tests/bench/node_modules/onnxruntime-web");

/** A changed one makes the models anew. */
const MADE_FROM = ["tests/bench/make_peer.py", "tests/bench/make_full_size.py", "models/fraise-1/manifest.json"];

export const QUANTS = ["f16", "q8"];

/** Name and version of what Fraise is compared with. Rejects where it is not installed. */
export async function peerName() {
  const { name, version } = JSON.parse(await readFile(join(ORT, "package.json"), "utf8"));
  return `${name} ${version}`;
}

/** Makes a model for both sides unless it is there: `{size, folder, facts}`, facts being those of make_peer.py. */
export async function prepare(size) {
  const folder = join(FOLDER, size);
  const facts = join(folder, "peer.json");
  if (!(await isNewerThanSources(facts))) {
    console.log(`making ${size}: random weights for Fraise, ONNX files for the peer`);
    await rm(folder, { recursive: true, force: true });
    run(PYTHON, join(ROOT, "tests/bench/make_peer.py"), size, folder);
  }
  for (const quant of QUANTS) {
    const pack = join(folder, `pack-${quant}`);
    if (await exists(join(pack, "manifest.json"))) continue;
    await rm(pack, { recursive: true, force: true });
    run(FRAISE, "pack", join(folder, "diffusers"), pack, "--quant", quant, "--name", `bench-${size}-${quant}`);
  }
  return { size, folder, facts: JSON.parse(await readFile(facts, "utf8")) };
}

/** Adds the models, the peer and the bench's own page to what the site serves. */
export async function serveBench(site, models) {
  await serveFolder(site, "/bench/", join(ROOT, "tests/bench/page"));
  if (models.length > 0) await serveFolder(site, "/ort/", join(ORT, "dist"));
  for (const { size, folder } of models) await serveFolder(site, `/models-of-bench/${size}/`, folder);
}

async function serveFolder(site, prefix, folder) {
  for (const path of await readdir(folder, { recursive: true })) {
    if ((await stat(join(folder, path))).isFile()) site.files[prefix + path] = join(folder, path);
  }
}

async function isNewerThanSources(file) {
  const made = await stat(file).catch(() => null);
  const sources = await Promise.all(MADE_FROM.map((path) => stat(join(ROOT, path))));
  return made !== null && sources.every(({ mtimeMs }) => mtimeMs < made.mtimeMs);
}

const exists = (path) => stat(path).then(() => true, () => false);

function run(command, ...args) {
  try {
    execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  } catch (error) {
    throw new Error(`${basename(command)} ${error.code === "ENOENT" ? "is not there" : "failed"}`);
  }
}
