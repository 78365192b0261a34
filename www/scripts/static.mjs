// A plain static file server, as any host would be: parts of files where asked for, no special headers, no routing. The
// tests build on it.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, resolve, sep } from "node:path";

const TYPES = {
  ".bin": "application/octet-stream",
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
  ".webmanifest": "application/manifest+json",
};

/** The file that a request path names inside `root`, or null where there is none. */
async function locate(root, path) {
  let file = normalize(join(root, decodeURIComponent(path)));
  if (file !== root && !file.startsWith(root + sep)) return null;
  let found = await stat(file).catch(() => null);
  if (found?.isDirectory()) {
    file = join(file, "index.html");
    found = await stat(file).catch(() => null);
  }
  return found?.isFile() ? { file, bytes: found.size } : null;
}

/** The first and last byte that a `Range: bytes=FIRST-LAST` header asks for; undefined for the whole, null for none. */
function partOf(range, bytes) {
  const [, first, last] = range?.match(/^bytes=(\d+)-(\d*)$/) ?? [];
  if (first === undefined) return undefined;
  const [start, end] = [Number(first), Math.min(last ? Number(last) : Infinity, bytes - 1)];
  return start <= end ? { start, end } : null;
}

/** Sends a file of so many bytes, or the part of it that is asked for. */
export function send(request, response, { file, bytes }) {
  const part = partOf(request.headers.range, bytes);
  if (part === null) {
    response.writeHead(416, { "content-range": `bytes */${bytes}` }).end();
    return;
  }
  response.writeHead(part ? 206 : 200, {
    "content-type": TYPES[extname(file)] ?? "application/octet-stream",
    "content-length": part ? part.end - part.start + 1 : bytes,
    "cache-control": "no-cache",
    "accept-ranges": "bytes",
    ...(part && { "content-range": `bytes ${part.start}-${part.end}/${bytes}` }),
  });
  if (request.method === "HEAD") response.end();
  else createReadStream(file, part).pipe(response);
}

/**
 * Serves `root` on `port` (0: any free one).
 *
 * `intercept(request, response, path)`, if given, sees every request first and returns true when it has answered it.
 */
export async function serveFolder(root, port, intercept = () => false) {
  const folder = resolve(root);
  const server = createServer(async (request, response) => {
    try {
      const path = new URL(request.url, "http://localhost").pathname;
      if (await intercept(request, response, path)) return;
      const found = await locate(folder, path);
      if (!found) {
        response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
        return;
      }
      send(request, response, found);
    } catch {
      response.writeHead(400).end();
    }
  });
  await new Promise((ready, failed) => server.once("error", failed).listen(port, ready));
  return server;
}
