// usage: node serve.mjs FOLDER PORT
import { serveFolder } from "./static.mjs";

const [folder = "dist", port = "8080"] = process.argv.slice(2);
try {
  const server = await serveFolder(folder, Number(port));
  console.log(`http://localhost:${server.address().port}/`);
} catch (error) {
  console.error(error.code === "EADDRINUSE" ? `port ${port} is in use; try PORT=8081 ./build.sh serve` : error.message);
  process.exitCode = 1;
}
