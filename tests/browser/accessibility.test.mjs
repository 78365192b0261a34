// What axe-core finds against the page, and whether anything overflows, at several widths, in both languages and both lights.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
const require = createRequire(new URL("../../www/package.json", import.meta.url));
/** Rules beyond axe's defaults would be opinions; `best-practice` ones are kept. */
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const WIDTHS = [320, 390, 768, 1280, 2560];

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());
const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

/** Every violation, as text. */
async function violations(studio) {
  const found = await studio.page.evaluate(async (tags) => {
    const { violations: list } = await window.axe.run(document, { runOnly: tags });
    return list.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.flat(9).join(" ")}: ${failureSummary}`));
  }, RULES);
  return found;
}

/** Elements that stick out of the page sideways. */
const overflow = (studio) => studio.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

for (const colorScheme of ["light", "dark"]) {
  for (const locale of ["en-US", "zh-CN"]) {
    test(`nothing stands in anyone's way, ${colorScheme}, ${locale}`, TIMEOUT, async () => {
      const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block", colorScheme, locale });
      await studio.settings({ prompt: "a red car on a beach", steps: 1, device: "cpu" });
      await studio.page.evaluate(axe);
      const check = async (what) => {
        assert.deepEqual(await violations(studio), [], what);
        for (const width of WIDTHS) {
          await studio.page.setViewportSize({ width, height: 900 });
          assert.ok((await overflow(studio)) <= 0, `${what}: wider than ${width} px`);
        }
        await studio.page.setViewportSize({ width: 1280, height: 900 });
      };
      await studio.find("fraise-settings summary").click();
      await check("before the first picture");
      await studio.find("[data-count='2']").click();
      await studio.generate();
      await studio.until(() => window.tools.find("fraise-queue").state.queue.length === 0, null, 200_000);
      await studio.find("fraise-models summary").click();
      await studio.until(() => window.tools.has("#models .remove"));
      await studio.find("#models .remove").first().click();
      await check("with pictures, and the models");
      for (const tool of ["start-draw", "start-drop", "start-result"]) await studio.find(`#${tool}`).click();
      for (const tool of ["colour", "move", "mark"]) {
        await studio.find(`[data-tool=${tool}]`).click();
        await check(`on the easel, ${tool}`);
      }
      await studio.close();
    });
  }
}

test("a picture in large, and two compared", TIMEOUT, async () => {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ prompt: "a red car on a beach", steps: 1, device: "cpu" });
  await studio.find("[data-count='2']").click();
  await studio.generate();
  const count = (wanted) => window.tools.find("fraise-grid")?.shadowRoot.querySelectorAll("[data-id]").length === wanted;
  await studio.until(count, 2, 200_000);
  await studio.page.evaluate(axe);
  await studio.find("[data-id]").first().click();
  await studio.until(() => window.tools.has("#viewed"));
  assert.deepEqual(await violations(studio), [], "in large");
  await studio.find("#compare").click();
  await studio.find("[data-id]").last().click();
  await studio.until(() => window.tools.has("#cut"));
  assert.deepEqual(await violations(studio), [], "compared");
  await studio.page.evaluate(() => document.body.append(document.createElement("img")));
  assert.match((await violations(studio)).join(), /image-alt/, "what is wrong would be found");
  await studio.close();
});
