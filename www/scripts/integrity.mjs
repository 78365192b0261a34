// Writes integrity.json beside the scripts that other people's pages load: the hashes of these and of all that they import,
// as the `integrity` of an import map. Usage: node integrity.mjs DIST
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join, posix } from "node:path";

const [dist] = process.argv.slice(2);
const ENTRIES = ["painter.js", "fraise.js", "frame.js"];
const IMPORT = /(?:\bfrom|\bimport)\s*["'](\.{1,2}\/[^"']+\.js)["']/g;

const integrity = {};
const waiting = [...ENTRIES];
for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
  const name = `./${file}`;
  if (integrity[name]) continue;
  const code = await readFile(join(dist, file));
  integrity[name] = `sha384-${createHash("sha384").update(code).digest("base64")}`;
  for (const [, imported] of code.toString().matchAll(IMPORT)) waiting.push(posix.join(posix.dirname(file), imported));
}
await writeFile(join(dist, "integrity.json"), `${JSON.stringify({ integrity }, null, 2)}\n`);
