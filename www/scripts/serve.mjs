// usage: node serve.mjs FOLDER PORT [--isolated]
import { serveFolder } from "./static.mjs";

const [folder = "dist", port = "8080", option] = process.argv.slice(2);
/** What isolates a page across origins, so that the processor's path may use several threads. */
const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** Sends the headers along and leaves the rest to the server. */
function isolate(_request, response) {
  if (option === "--isolated") for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value);
  return false;
}

try {
  const server = await serveFolder(folder, Number(port), isolate);
  console.log(`http://localhost:${server.address().port}/`);
} catch (error) {
  console.error(error.code === "EADDRINUSE" ? `port ${port} is in use; try PORT=8081 ./build.sh serve` : error.message);
  process.exitCode = 1;
}
