// usage: node tests/browser/manners.mjs [PROMPT [SEED]]: the small pictures on the page's manner chips, www/public/manners,
// painted in the page by the default model from dist/; build again afterwards.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { launchChromium } from "./browsers.mjs";
import { modelFile, openSite } from "./site.mjs";

const OUT = new URL("../../www/public/manners/", import.meta.url);
const SIZE_PX = 128;
const [prompt = "a fox in a forest", seed = "7"] = process.argv.slice(2);

const { words } = JSON.parse(await modelFile("words.json"));
const manners = words.filter(({ kind }) => kind === "manner");
const site = await openSite();
const browser = await launchChromium();
try {
  const { page } = await browser.newPage({ serviceWorkers: "block" });
  await page.goto(site.url);
  await page.evaluate(async () => {
    window.engine = await window.fraise.Engine.create();
    await window.engine.load("models/fraise-1/manifest.json");
  });
  await rm(OUT, { recursive: true, force: true });
  await mkdir(OUT, { recursive: true });
  for (const { id, en } of manners) {
    const base64 = await page.evaluate(paint, { prompt: `${prompt}, ${en[0]}`, seed: Number(seed), size: SIZE_PX });
    const bytes = Buffer.from(base64, "base64");
    await writeFile(new URL(`${id}.webp`, OUT), bytes);
    console.log(`${id}.webp ${bytes.length} bytes`);
  }
} finally {
  await browser.close();
  await site.close();
}

/** Runs in the page: a picture as a small WebP, in base64. */
async function paint({ size, ...request }) {
  for await (const _step of window.engine.generate(request));
  const bitmap = await createImageBitmap((await window.engine.last()).blob, { resizeWidth: size, resizeHeight: size });
  const canvas = new OffscreenCanvas(size, size);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/webp", quality: 0.8 });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
