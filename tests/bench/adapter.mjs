// Which adapter a browser's pages get, and how fast that is at all.
import { rounded } from "./numbers.mjs";

/** Chromium says nothing for ever where Vulkan offers only a driver that it does not like. */
const ANSWER_MS = 60_000;
const noAnswer = () => new Promise((_resolve, reject) => {
  setTimeout(reject, ANSWER_MS, new Error("the browser does not say which adapter it has")).unref();
});

/** Names by which software adapters give themselves away. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render/i;

/**
 * `{browser, gpu, name, fma_gflops, fma_f16_gflops, dot_i8_gops, bandwidth_gb_s}`; with `why_not` where it is not the
 * adapter that was asked for.
 */
export async function measureAdapter({ browser, site, options }) {
  const adapter = { browser: browser.name, gpu: options.gpu, name: "none" };
  const { page, close } = await browser.newPage();
  await page.goto(`${site.url}bench/bench.html`);
  try {
    const found = await Promise.race([page.evaluate(() => window.start("probe", "probe.js")), noAnswer()]);
    if (!found) return { ...adapter, why_not: "the browser has no WebGPU adapter" };
    adapter.name = found.name || browser.adapterName || "unnamed";
    if (options.gpu === "real" && (found.isFallback || SOFTWARE.test(adapter.name))) {
      return { ...adapter, why_not: `a real GPU was asked for, and the browser gives ${adapter.name}` };
    }
    const peaks = await page.evaluate(() => window.ask("probe", "peaks"));
    await close();
    return { ...adapter, ...Object.fromEntries(Object.entries(peaks).map(([name, value]) => [name, rounded(value)])) };
  } catch (error) {
    // The page may be stuck for good: it ends with its browser.
    return { ...adapter, why_not: error.message.split("\n")[0] };
  }
}
