// usage: node tests/browser/screenshots.mjs [SEED [NAME]]: pictures of the page, from dist/, with the default model.
import { mkdir } from "node:fs/promises";
import { launchChromium } from "./browsers.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const OUT = new URL("screenshots/", import.meta.url).pathname;
const [SEED = "42", NAME] = process.argv.slice(2);
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
const SHOTS = [
  { name: "desktop", viewport: DESKTOP, colorScheme: "light", prompt: "a strawberry island under a starry sky" },
  { name: "desktop-dark", viewport: DESKTOP, colorScheme: "dark", prompt: "a fox in the forest, watercolor", settings: true },
  { name: "phone", viewport: PHONE, colorScheme: "light", prompt: "a castle island in the sea", hasTouch: true },
  { name: "gallery", viewport: DESKTOP, colorScheme: "light", prompt: "a strawberry island under a starry sky", gallery: true },
  { name: "gallery-phone", viewport: PHONE, colorScheme: "dark", prompt: "a castle island in the sea", gallery: true, hasTouch: true },
  { name: "easel", viewport: { width: 1280, height: 900 }, colorScheme: "light", prompt: "a strawberry island under a starry sky", easel: true },
  { name: "easel-phone", viewport: PHONE, colorScheme: "dark", prompt: "a fox in the forest", easel: true, hasTouch: true },
  { name: "phone-zh", viewport: PHONE, colorScheme: "dark", locale: "zh-CN", prompt: "雪地里的企鹅", hasTouch: true },
];
/** Lays the finished picture on the easel, marks a part of it, and shows that. */
async function mark(studio) {
  await studio.find("#start-result").click();
  const canvas = studio.find("#easel");
  await studio.find("[data-brush=broad]").click(); // which may scroll
  await canvas.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await canvas.boundingBox();
  for (const [step, [across, down]] of [[0.3, 0.3], [0.7, 0.3], [0.7, 0.5], [0.35, 0.5]].entries()) {
    await studio.page.mouse.move(x + across * width, y + down * height, { steps: 6 });
    if (step === 0) await studio.page.mouse.down();
  }
  await studio.page.mouse.up();
  await studio.page.evaluate(() => window.tools.find("fraise-start").scrollIntoView());
}

/** Painted before the gallery is shown. */
const GALLERY = ["a fox in the forest, watercolor", "a red car on a beach", "a penguin in the snow"];

await mkdir(OUT, { recursive: true });
const site = await openSite();
const browser = await launchChromium();
try {
  for (const { name, prompt, settings = false, gallery = false, easel = false, ...options } of SHOTS) {
    if (NAME && name !== NAME) continue;
    const studio = await StudioDriver.open(browser, site.url, options);
    await studio.until(() => /\d/.test(window.tools.text("#model") ?? ""));
    const steps = await studio.page.evaluate(() => window.tools.find("#steps").value);
    for (const wanted of gallery ? [...GALLERY, prompt] : [prompt]) {
      await studio.settings({ prompt: wanted, seed: SEED, steps, device: "auto" });
      await studio.generate();
    }
    if (settings) await studio.find("fraise-settings summary").click();
    if (gallery) await studio.page.evaluate(() => window.tools.find("#gallery").scrollIntoView());
    if (easel) await mark(studio);
    await studio.page.mouse.move(0, 0);
    await studio.page.evaluate(() => document.activeElement?.shadowRoot?.activeElement?.blur());
    await studio.page.waitForTimeout(500);
    await studio.page.screenshot({ path: `${OUT}${name}.png` });
    await studio.close();
  }
} finally {
  await browser.close();
  await site.close();
}
