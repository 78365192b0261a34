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

/** WebGPU by Vulkan, including presenting to a canvas from a worker. */
const GPU_FLAGS = [
  "--enable-unsafe-webgpu",
  "--enable-features=Vulkan",
  "--use-angle=vulkan",
  "--disable-vulkan-surface",
  "--ignore-gpu-blocklist",
];

/** Flags by adapter: Chromium's own software, the machine's, or none. */
const ADAPTER_FLAGS = {
  software: [...GPU_FLAGS, "--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader"],
  real: [...GPU_FLAGS, "--use-vulkan=native"],
  none: ["--disable-features=WebGPU"],
};

/** A camera that shows a moving test pattern. */
const CAMERA_FLAGS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

const FIREFOX_PREFS = {
  "dom.webgpu.enabled": true,
  "dom.webgpu.workers.enabled": true,
  "gfx.webgpu.ignore-blocklist": true,
};

/** Which drivers the Vulkan loader may take: Mesa's software alone, or any but that. */
const VULKAN_DRIVERS = {
  software: { VK_LOADER_DRIVERS_SELECT: "lvp*" },
  real: { VK_LOADER_DRIVERS_DISABLE: "lvp*" },
};

/** Console text of a GPU that was used wrongly: such work goes on with wrong buffers, so a test must not pass. */
const GPU_FAULT = /validation|wgpu|webgpu|GPU ?(Validation|OutOfMemory|Internal)Error|uncaptured/i;

/** Console text of something that the page's security policy forbids. */
const POLICY_FAULT = /Content Security Policy|requires '?Trusted|Refused to (load|connect|execute|apply)/i;

/** Names of Chromium's own startup trouble, not of the page's doing. */
const HARMLESS = /No available adapters|external Instance reference|powerPreference option is currently ignored/i;

/**
 * Measures the JavaScript heaps of a page and its workers, in bytes after a collection; Chromium only. Gives a function for
 * `{objects, browser}`: objects and buffers (WebAssembly's memory is none of them), and what the browser holds for them.
 */
export async function heapMeter(page) {
  const session = await page.context().newCDPSession(page);
  const answers = new Map();
  const workers = new Set();
  let lastId = 0;
  session.on("Target.attachedToTarget", ({ sessionId }) => workers.add(sessionId));
  session.on("Target.detachedFromTarget", ({ sessionId }) => workers.delete(sessionId));
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    answers.get(id)?.(result);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const askWorker = (sessionId, method) => {
    const id = (lastId += 1);
    const message = JSON.stringify({ id, method });
    return new Promise((resolve) => {
      answers.set(id, resolve);
      void session.send("Target.sendMessageToTarget", { sessionId, message });
    });
  };
  const askers = () => [(method) => session.send(method), ...[...workers].map((worker) => (method) => askWorker(worker, method))];
  return async () => {
    let [objects, browser] = [0, 0];
    for (const ask of askers()) {
      // More than once: what a finalizer let go of goes only then.
      for (let round = 0; round < 3; round += 1) await ask("HeapProfiler.collectGarbage");
      const { usedSize, embedderHeapUsedSize, backingStorageSize } = await ask("Runtime.getHeapUsage");
      objects += usedSize + backingStorageSize;
      browser += embedderHeapUsedSize;
    }
    return { objects, browser };
  };
}

/**
 * One browser with fresh profiles. `newPage()` gives a page in a profile of its own:
 * `{page, find(selector), setFile(selector, path), problems, hosts, setOffline, close}`.
 */
export async function launchChromium({ gpu = "software", camera = false } = {}) {
  const { chromium } = require("playwright-core");
  const options = chromiumOptions(gpu);
  const browser = await chromium.launch({ ...options, args: [...options.args, ...(camera ? CAMERA_FLAGS : [])] });
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

const chromiumOptions = (gpu) => ({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [...QUIET_FLAGS, ...ADAPTER_FLAGS[gpu]],
});

/** One page with a profile in a folder: profiles in memory are granted too little storage for the largest packs. */
export async function openInProfile(folder) {
  const { chromium } = require("playwright-core");
  const context = await chromium.launchPersistentContext(folder, { ...chromiumOptions("software"), locale: "en-US" });
  const page = await context.newPage();
  return { ...watch(page, (request) => request.url()), page, close: () => context.close() };
}

/** As {@link launchChromium}; Firefox ESR on Mesa's software driver, or on the machine's own. */
export async function launchFirefox({ gpu = "software" } = {}) {
  const puppeteer = require("puppeteer-core");
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    headless: true,
    protocolTimeout: 600_000,
    env: { ...process.env, ...VULKAN_DRIVERS[gpu] },
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
  // Firefox tells pages nothing of its adapter.
  const adapterName = gpu === "software" ? "Mesa lavapipe" : "a hardware Vulkan driver";
  return { name: "firefox", adapterName, newPage, close };
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
