// The built site on a port of its own, with a log of what was asked for and, where a test wants it, wrong answers.
import { readFile } from "node:fs/promises";
import { serveFolder } from "../../www/scripts/static.mjs";

const DIST = new URL("../../dist", import.meta.url).pathname;

/** Pages that only tests need, beside the site's own. */
const PAGES = {
  "/widget.html": `<!doctype html><html lang="en"><meta charset="utf-8"><title>A page with a painter</title>
    <script type="module" src="./painter.js"></script>
    <fraise-painter model="models/fraise-1/manifest.json" prompt="a strawberry on a beach" seed="7" steps="2" device="gpu">
    </fraise-painter></html>`,
};

/** Serves dist/. `site.answer(path)` may be set to a function giving `{status?, body?, headers?}` to send instead. */
export async function openSite() {
  const site = { url: "", log: [], answer: null, close: null };
  const server = await serveFolder(DIST, 0, async (_request, response, path) => {
    site.log.push(path);
    const answer = (await site.answer?.(path)) ?? (PAGES[path] ? page(PAGES[path]) : null);
    if (!answer) return false;
    const { status = 200, body = Buffer.alloc(0), headers = {} } = answer;
    response.writeHead(status, { "cache-control": "no-store", ...headers }).end(body);
    return true;
  });
  site.url = `http://localhost:${server.address().port}/`;
  site.close = () => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  };
  return site;
}

/** The pieces asked for so far. */
export const piecesIn = (log) => log.filter((path) => path.endsWith(".bin"));

/** The default model's files as they are on disk. */
export const modelFile = (name) => readFile(`${DIST}/models/fraise-1/${name}`);

const page = (html) => ({ body: html, headers: { "content-type": "text/html; charset=utf-8" } });
