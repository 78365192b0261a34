// Makes the npm package in target/package. Its worker and its WebAssembly stay files of their own beside the modules that
// name them by `new URL("…", import.meta.url)`, which Vite and webpack follow; nothing is inlined, and lit stays outside.
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { rolldown } from "rolldown";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const out = path("../../target/package/");

/** Addresses of files beside a source module, and where they are in the package. */
const ADDRESSES = {
  "./worker.ts": "./worker.js",
  "../wasm/fraise_web_bg.wasm": "./fraise_web_bg.wasm",
  "../wasm/fraise_web_relaxed_bg.wasm": "./fraise_web_relaxed_bg.wasm",
  "../../../models/clip-vocabulary/merges.txt": "./merges.txt",
};

/** Has the addresses above point to where the package keeps those files. */
const moveAddresses = {
  name: "fraise-addresses",
  transform: (code) => {
    const moved = Object.entries(ADDRESSES).reduce((text, [from, to]) => text.replaceAll(`new URL("${from}"`, `new URL("${to}"`), code);
    return moved === code ? null : moved;
  },
};

/** Entries that may share code, or one that must not. */
async function bundle(input) {
  const bundled = await rolldown({ input, external: /^lit($|\/)/, plugins: [moveAddresses], tsconfig: path("../tsconfig.json") });
  await bundled.write({ dir: out, format: "es", entryFileNames: "[name].js", chunkFileNames: "[name].js", minify: false });
  await bundled.close();
}

/** What npm reads; versions are those of the page. */
async function manifest() {
  const { name, version, description, license, type, dependencies } = JSON.parse(await readFile(path("../package.json")));
  const entry = (at, types) => ({ types: `./types/${types}.d.ts`, default: `./${at}.js` });
  return {
    name,
    version,
    description,
    license,
    type,
    exports: {
      ".": entry("index", "index"),
      "./define": entry("define", "define"),
      "./frame": entry("frame", "embed/parent"),
      "./custom-elements.json": "./custom-elements.json",
      "./package.json": "./package.json",
    },
    customElements: "./custom-elements.json",
    sideEffects: ["./define.js", "./worker.js"],
    dependencies: { lit: dependencies.lit },
  };
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await bundle({ index: path("../src/index.ts"), define: path("../src/define.ts"), frame: path("../src/embed/parent.ts") });
await bundle({ worker: path("../src/engine/worker.ts") });
const types = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--rootDir", path("../src"), "--outDir", `${out}types`];
await promisify(execFile)("npx", ["--no-install", "tsc", "-p", path("package.tsconfig.json"), ...types], { cwd: path("..") });
const copies = {
  "../src/wasm/fraise_web_bg.wasm": "fraise_web_bg.wasm",
  "../src/wasm/fraise_web_relaxed_bg.wasm": "fraise_web_relaxed_bg.wasm",
  "../../models/clip-vocabulary/merges.txt": "merges.txt",
  "../../models/clip-vocabulary/LICENSE": "merges.LICENSE",
  "../../dist/custom-elements.json": "custom-elements.json",
  "../../LICENSE": "LICENSE",
  "package.readme.md": "README.md",
};
for (const [from, to] of Object.entries(copies)) await cp(path(from), out + to);
await writeFile(`${out}package.json`, `${JSON.stringify(await manifest(), null, 2)}\n`);
