// Real browsers for the tests: Chromium by Playwright, Firefox by Puppeteer (WebDriver BiDi), behind one small interface.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../www/package.json", import.meta.url));

const QUIET_FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** WebGPU on the software adapter, including presenting to a canvas from a worker. */
const SOFTWARE_GPU_FLAGS = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
  "--use-angle=vulkan",
  "--disable-vulkan-surface",
  "--ignore-gpu-blocklist",
];

const FIREFOX_PREFS = {
  "dom.webgpu.enabled": true,
  "dom.webgpu.workers.enabled": true,
  "gfx.webgpu.ignore-blocklist": true,
};

/** Console text of a GPU that was used wrongly: such work goes on with wrong buffers, so a test must not pass. */
const GPU_FAULT = /validation|wgpu|webgpu|GPU ?(Validation|OutOfMemory|Internal)Error|uncaptured/i;

/** Console text of something that the page's security policy forbids. */
const POLICY_FAULT = /Content Security Policy|Refused to (load|connect|execute|apply)/i;

/** Names of Chromium's own startup trouble, not of the page's doing. */
const HARMLESS = /No available adapters|external Instance reference|powerPreference option is currently ignored/i;

/**
 * One browser with fresh profiles. `newPage()` gives a page in a profile of its own:
 * `{page, find(selector), setFile(selector, path), problems, hosts, setOffline, close}`.
 */
export async function launchChromium({ hasGpu = true } = {}) {
  const { chromium } = require("playwright-core");
  const browser = await chromium.launch(chromiumOptions(hasGpu));
  const newPage = async ({ serviceWorkers = "allow", ...options } = {}) => {
    const context = await browser.newContext({ locale: "en-US", serviceWorkers, acceptDownloads: true, ...options });
    const page = await context.newPage();
    const seen = watch(page, (request) => request.url());
    return {
      ...seen,
      page,
      find: (selector) => page.locator(selector),
      setFile: (selector, path) => page.locator(selector).setInputFiles(path),
      setOffline: (isOffline) => context.setOffline(isOffline),
      close: () => context.close(),
    };
  };
  return { name: "chromium", newPage, close: () => browser.close() };
}

const chromiumOptions = (hasGpu) => ({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [...QUIET_FLAGS, ...(hasGpu ? SOFTWARE_GPU_FLAGS : ["--disable-features=WebGPU"])],
});

/** One page with a profile in a folder: profiles in memory are granted too little storage for the largest packs. */
export async function openInProfile(folder) {
  const { chromium } = require("playwright-core");
  const context = await chromium.launchPersistentContext(folder, { ...chromiumOptions(true), locale: "en-US" });
  const page = await context.newPage();
  return { ...watch(page, (request) => request.url()), page, close: () => context.close() };
}

/** As {@link launchChromium}; Firefox ESR on Mesa's software driver. */
export async function launchFirefox() {
  const puppeteer = require("puppeteer-core");
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    headless: true,
    protocolTimeout: 600_000,
    extraPrefsFirefox: { ...FIREFOX_PREFS, "intl.accept_languages": "en-US" },
  });
  let isClosing = false;
  browser.process().once("exit", (code, signal) => {
    if (!isClosing) console.error(`Firefox itself died: ${signal ?? `exit code ${code}`}`);
  });
  const close = () => {
    isClosing = true;
    return browser.close();
  };
  const newPage = async () => {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.setViewport({ width: 1280, height: 800 });
    const seen = watch(page, (request) => request.url());
    return {
      ...seen,
      page,
      find: (selector) => page.locator(`>>> ${selector}`),
      setFile: async (selector, path) => (await page.waitForSelector(`>>> ${selector}`)).uploadFile(path),
      close: () => context.close(),
    };
  };
  return { name: "firefox", newPage, close };
}

/** Collects what must not happen: exceptions, GPU faults, and requests to other hosts. */
function watch(page, urlOf) {
  const problems = [];
  const hosts = new Set();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    const text = message.text();
    const isSerious = ["error", "warning", "warn"].includes(message.type());
    if (isSerious && (GPU_FAULT.test(text) || POLICY_FAULT.test(text)) && !HARMLESS.test(text)) problems.push(`console: ${text}`);
    if (process.env.FRAISE_CONSOLE) console.log(`[${message.type()}] ${text}`);
  });
  page.on("request", (request) => {
    const url = new URL(urlOf(request));
    if (url.protocol.startsWith("http")) hosts.add(url.host);
  });
  return { problems, hosts };
}
