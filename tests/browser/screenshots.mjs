// usage: node tests/browser/screenshots.mjs [SEED]: the README's pictures of the page, from dist/, with the default model.
import { mkdir } from "node:fs/promises";
import { launchChromium } from "./browsers.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const OUT = new URL("screenshots/", import.meta.url).pathname;
const SEED = process.argv[2] ?? "42";
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
const SHOTS = [
  { name: "desktop", viewport: DESKTOP, colorScheme: "light", prompt: "a strawberry island under a starry sky" },
  { name: "desktop-dark", viewport: DESKTOP, colorScheme: "dark", prompt: "a fox in the forest, watercolor", settings: true },
  { name: "phone", viewport: PHONE, colorScheme: "light", prompt: "a castle island in the sea", hasTouch: true },
  { name: "phone-zh", viewport: PHONE, colorScheme: "dark", locale: "zh-CN", prompt: "雪地里的企鹅", hasTouch: true },
];

await mkdir(OUT, { recursive: true });
const site = await openSite();
const browser = await launchChromium();
try {
  for (const { name, prompt, settings = false, ...options } of SHOTS) {
    const studio = await StudioDriver.open(browser, site.url, options);
    await studio.until(() => /\d/.test(window.tools.text("#model") ?? ""));
    const steps = await studio.page.evaluate(() => window.tools.find("#steps").value);
    await studio.settings({ prompt, seed: SEED, steps, device: "auto" });
    await studio.generate();
    if (settings) await studio.find("fraise-settings summary").click();
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
