// Every golden of tests/parity on WebGPU and on the processor, in Chromium: the same cases and tolerances as the native
// tests. Then products with quantized weights, which goldens have none of.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { openSite } from "./site.mjs";

for (const [device, title] of [["gpu", "WebGPU"], ["cpu", "the processor"]]) {
  test(`the engine on ${title} agrees with diffusers`, { timeout: 1_500_000 }, (t) => agrees(device, t));
}

async function agrees(device, t) {
  const site = await openSite();
  const browser = await launchChromium();
  try {
    const { page, problems } = await browser.newPage();
    await page.goto(`${site.url}parity.html?device=${device}`);
    const cases = await page.evaluate(() => window.cases());
    assert.ok(Object.keys(cases).length > 0);
    const judge = (t, verdicts) => {
      assert.ok(verdicts.length > 0);
      for (const { name: what, relative, tolerance, passes } of verdicts) {
        t.diagnostic(`${what}: ${relative.toExponential(1)} of ${tolerance.toExponential(0)}`);
        assert.ok(passes, `${what}: ${relative} is above ${tolerance}`);
      }
      assert.deepEqual(problems, []);
    };
    for (const [name, files] of Object.entries(cases)) {
      await t.test(name, async (t) =>
        judge(t, await page.evaluate(([wanted, paths]) => window.run(wanted, paths), [name, files])));
    }
    await t.test("stored weights stand for their numbers", async (t) => judge(t, await page.evaluate(() => window.schemes())));
  } finally {
    await browser.close();
    await site.close();
  }
}
