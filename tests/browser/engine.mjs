// A page for the engine alone.

/** The site's own model. */
export const DEFAULT_MODEL = "models/fraise-1/manifest.json";

/** A page of the site in a fresh profile, with an engine as {@link startEngine} starts it. */
export async function openEngine(browser, site, device, model = DEFAULT_MODEL) {
  const opened = await browser.newPage({ serviceWorkers: "block" });
  await opened.page.goto(site.url);
  await startEngine(opened.page, device, model);
  return opened;
}

/**
 * Gives a page of the site `window.engine` on `device`, which has loaded `model`; what that says of itself is `window.info`.
 * `window.pixels(picture)` gives the `ImageData` of a blob or a bitmap.
 */
export async function startEngine(page, device, model = DEFAULT_MODEL) {
  await page.evaluate(
    async ([kind, url]) => {
      window.engine = await window.fraise.Engine.create({ device: kind });
      window.info = await window.engine.load(url);
      window.pixels = async (picture) => {
        const bitmap = picture instanceof Blob ? await createImageBitmap(picture) : picture;
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
        context.drawImage(bitmap, 0, 0);
        return context.getImageData(0, 0, bitmap.width, bitmap.height);
      };
    },
    [device, model],
  );
}

/** The workers of a Chromium page that own an engine, oldest first; others help them. */
export async function engineWorkers(page) {
  const names = await Promise.all(page.workers().map((worker) => worker.evaluate(() => self.name)));
  return page.workers().filter((_worker, index) => names[index] === "fraise");
}

/** Has a page refuse to start workers of that name. */
export const refuseWorkers = (page, name) =>
  page.evaluate((refused) => {
    const { Worker } = window;
    window.Worker = class extends Worker {
      constructor(script, options) {
        if (options.name === refused) throw new DOMException("refused", "SecurityError");
        super(script, options);
      }
    };
  }, name);

/** Waits until so many locks are held whose names begin so. */
export async function untilHeld(page, prefix, count) {
  const held = () =>
    page.evaluate(async (start) => (await navigator.locks.query()).held.filter(({ name }) => name.startsWith(start)).length, prefix);
  for (let waited = 0; (await held()) !== count; waited += 50) {
    if (waited >= 5000) throw new Error(`${await held()} locks are held by the name of ${prefix}, not ${count}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
