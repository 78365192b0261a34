// The page's own modules, for tests of what needs no browser.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../../www/package.json", import.meta.url));
const { build } = await import(pathToFileURL(require.resolve("vite")));

/** What a TypeScript module of `www/src` exports. */
export async function importSource(path) {
  const entry = new URL(`../../www/src/${path}`, import.meta.url).pathname;
  const lib = { entry, formats: ["es"], fileName: "source" };
  const [{ output }] = await build({ configFile: false, logLevel: "error", build: { lib, write: false, minify: false } });
  return import(`data:text/javascript;base64,${Buffer.from(output[0].code).toString("base64")}`);
}
