// usage: node sizes.mjs DIST: raw and brotli bytes of what a first visit loads before the model.
import { readFile, readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { brotliCompress, constants } from "node:zlib";
import { promisify } from "node:util";

const compress = promisify(brotliCompress);

/** Of the engine's two WebAssembly files, the one that fewer browsers ask for; it is no larger. */
const ALTERNATIVE = /\/fraise_web_bg-[^/]*\.wasm$/;

/**
 * Raw and brotli bytes of every .wasm, .js, .css and .html file under `dist` that one browser may load, largest first.
 *
 * Quality 11 is what a host stores once; 9 is 15 % larger and takes a tenth of the time.
 */
export async function sizes(dist, quality) {
  const files = (await readdir(dist, { recursive: true })).filter((file) =>
    [".wasm", ".js", ".css", ".html"].includes(extname(file)) && !file.startsWith("models") && !ALTERNATIVE.test(file));
  const rows = await Promise.all(files.map(async (file) => {
    const bytes = await readFile(join(dist, file));
    const params = {
      [constants.BROTLI_PARAM_QUALITY]: quality,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      [constants.BROTLI_PARAM_LGWIN]: 24,
    };
    return { file, raw_bytes: bytes.length, brotli_bytes: (await compress(bytes, { params })).length };
  }));
  return rows.sort((a, b) => b.raw_bytes - a.raw_bytes);
}

/** Sum of one column. */
export const total = (rows, column) => rows.reduce((sum, row) => sum + row[column], 0);

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const rows = await sizes(process.argv[2] ?? "dist", 9);
  const line = (name, raw, brotli) =>
    console.log(`${name.padEnd(48)} ${String(raw).padStart(10)} ${String(brotli).padStart(10)}`);
  line("file", "raw bytes", "brotli 9");
  for (const row of rows) line(row.file, row.raw_bytes, row.brotli_bytes);
  line("wasm + JS + CSS + HTML", total(rows, "raw_bytes"), total(rows, "brotli_bytes"));
}
