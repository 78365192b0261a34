// The npm package as others use it: packed, installed, put together by three bundlers, and painting; with its types checked.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { launchChromium } from "./browsers.mjs";
import { closedAfter, temporaryFolder } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";

const TIMEOUT = { timeout: 300_000 };
const WWW = new URL("../../www/", import.meta.url).pathname;
const PACKAGE = new URL("../../target/package/", import.meta.url).pathname;
const require = createRequire(`${WWW}package.json`);
const tool = (name) => import(pathToFileURL(require.resolve(name)));
const run = promisify(execFile);

const MAIN = `import { Engine, FraiseError, type Progress } from "fraise";
import "fraise/define";
import { PainterFrame } from "fraise/frame";
const painter = document.createElement("fraise-painter");
Object.assign(painter, { model: "/models/fraise-1/manifest.json", prompt: "a cat in the snow", steps: 1, device: "cpu" });
const heard: string[] = [];
painter.addEventListener("fraise-progress", (event) => heard.push((event as CustomEvent<Progress>).detail.phase));
painter.addEventListener("fraise-error", (event) => heard.push((event as CustomEvent<FraiseError>).detail.message));
document.body.append(painter);
Object.assign(window, { Engine, PainterFrame, heard, painted: painter.paint().then(({ blob }) => blob.size) });
`;

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const project = await temporaryFolder();

before(async () => {
  await run("npm", ["pack", "--pack-destination", project], { cwd: PACKAGE });
  const tarball = (await readdir(project)).find((name) => name.endsWith(".tgz"));
  // As `npm install` would lay it out; what it depends on comes from the page's own modules, not over the network.
  await mkdir(join(project, "node_modules/fraise"), { recursive: true });
  await run("tar", ["-xzf", tarball, "--strip-components=1", "-C", "node_modules/fraise"], { cwd: project });
  for (const name of ["lit", "lit-element", "lit-html", "@lit", "@types"]) {
    await symlink(join(WWW, "node_modules", name), join(project, "node_modules", name));
  }
  await writeFile(join(project, "main.ts"), MAIN);
  await writeFile(join(project, "package.json"), '{ "type": "module", "private": true }');
  await writeFile(join(project, "index.html"), '<!doctype html><meta charset="utf-8"><body><script type="module" src="./main.ts"></script>');
});

/** How each bundler is used; each leaves its files, and a page, in `out`. */
const BUNDLERS = {
  vite: async (out) => {
    const { build } = await tool("vite");
    await build({ configFile: false, logLevel: "error", root: project, base: "./", build: { outDir: out } });
  },
  webpack: async (out) => {
    const { default: webpack } = await tool("webpack");
    await asScript(join(project, "main.js"));
    const output = { path: out, filename: "main.js", publicPath: "auto" };
    const options = { mode: "production", context: project, entry: "./main.js", output, performance: false };
    const result = await new Promise((resolve, reject) => webpack(options, (error, stats) => (error ? reject(error) : resolve(stats))));
    assert.equal(result.hasErrors(), false, result.toString());
    await writePage(out);
  },
  esbuild: async (out) => {
    const { default: esbuild } = await tool("esbuild");
    const entryPoints = [join(project, "main.ts")];
    await esbuild.build({ entryPoints, bundle: true, format: "esm", outfile: join(out, "main.js"), logLevel: "error" });
    // What the package's README says to do.
    for (const name of ["worker.js", "fraise_web_bg.wasm", "fraise_web_relaxed_bg.wasm", "merges.txt"]) await cp(join(project, "node_modules/fraise", name), join(out, name));
    await writePage(out);
  },
};

const writePage = (out) => writeFile(join(out, "index.html"), '<!doctype html><meta charset="utf-8"><body><script type="module" src="./main.js"></script>');

async function asScript(path) {
  const { default: esbuild } = await tool("esbuild");
  await writeFile(path, (await esbuild.transform(await readFile(join(project, "main.ts"), "utf8"), { loader: "ts" })).code);
}

for (const [name, bundle] of Object.entries(BUNDLERS)) {
  test(`installed and bundled by ${name}, a painter paints`, TIMEOUT, async () => {
    const out = join(project, `out-${name}`);
    await bundle(out);
    for (const file of await readdir(out, { recursive: true })) site.files[`/with-${name}/${file}`] = join(out, file);
    site.log.length = 0;
    const { page, problems, hosts, close } = await browser.newPage({ serviceWorkers: "block" });
    await page.goto(`${site.url}with-${name}/index.html`);
    await page.waitForFunction(() => window.painted);
    const [size, heard] = await page.evaluate(async () => [await window.painted.catch((error) => String(error)), window.heard]);
    assert.ok(size > 1000, `${size}; ${heard}`);
    assert.ok(heard.includes("upload"), String(heard));
    assert.ok(piecesIn(site.log).length > 0);
    assert.equal(await page.evaluate(() => typeof window.Engine.create + typeof window.PainterFrame), "functionfunction");
    assert.deepEqual([...hosts], [new URL(site.url).host]);
    assert.deepEqual(problems, []);
    await close();
  });
}

test("its types fit a strict project", TIMEOUT, async () => {
  const strict = ["--strict", "--noEmit", "--skipLibCheck", "false", "--exactOptionalPropertyTypes"];
  const modern = ["--target", "es2022", "--lib", "es2023,dom,dom.iterable,dom.asynciterable", "--module", "esnext", "--moduleResolution", "bundler", "--types", ""];
  const tsc = join(WWW, "node_modules/.bin/tsc");
  await run(tsc, [...strict, ...modern, "main.ts"], { cwd: project }).catch(({ stdout }) => assert.fail(stdout));
});
