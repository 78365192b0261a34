// WebKit, Safari's engine, as Debian has it: without a GPU, driven by the W3C's WebDriver protocol, since neither Playwright nor
// Puppeteer speaks to this build. The same small interface as the browsers of browsers.mjs, as far as it goes.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { createServer } from "node:net";

const LIBRARIES = "/usr/lib";
const DRIVER = "/usr/bin/WebKitWebDriver";
const DISPLAY = "/usr/bin/Xvfb";
/** How WebDriver names a reference to an element. */
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";
const SCRIPT_TIMEOUT_MS = 300_000;
const START_TRIES = 50;

/** The browser's program, or null where something is missing. */
export async function webkitProgram() {
  const folders = (await readdir(LIBRARIES)).map((name) => `${LIBRARIES}/${name}/webkit2gtk-4.1/MiniBrowser`);
  const program = process.env.WEBKIT ?? folders.find((path) => existsSync(path));
  return program && existsSync(DRIVER) && existsSync(DISPLAY) ? program : null;
}

/** One browser on a screen of its own; each `newPage()` is a session with a fresh profile. */
export async function launchWebkit() {
  const binary = await webkitProgram();
  const { display, screen } = await openScreen();
  const port = await freePort();
  const env = { ...process.env, DISPLAY: display, NO_AT_BRIDGE: "1", WEBKIT_DISABLE_COMPOSITING_MODE: "1" };
  const driver = spawn(DRIVER, [`--port=${port}`], { env, stdio: "ignore" });
  const call = caller(`http://127.0.0.1:${port}`);
  const newPage = async () => {
    const options = { binary, args: ["--automation"] };
    const { sessionId } = await untilUp(() => call("POST", "/session", { capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } } }));
    const ask = (method, path, body) => call(method, `/session/${sessionId}${path}`, body);
    await ask("POST", "/timeouts", { script: SCRIPT_TIMEOUT_MS });
    await ask("POST", "/window/rect", { width: 1280, height: 900 });
    return { ...openedPage(ask), close: () => ask("DELETE", "") };
  };
  const close = async () => {
    driver.kill();
    screen.kill();
  };
  return { name: "webkit", newPage, close };
}

function openedPage(ask) {
  const problems = [];
  const page = {
    goto: (url) => ask("POST", "/url", { url }),
    reload: () => ask("POST", "/refresh", {}),
    /** What `read(argument)` gives, or what it promises. What went wrong on the page since the last question is noted on the way. */
    evaluate: async (read, argument = null) => {
      const script = `
        const [argument, done] = arguments;
        if (!window.problems) {
          window.problems = [];
          const note = (name, what) => addEventListener(name, (event) => window.problems.push(String(what(event))));
          note("error", ({ message }) => message);
          note("unhandledrejection", ({ reason }) => reason);
          note("securitypolicyviolation", ({ violatedDirective }) => violatedDirective);
        }
        const told = () => window.problems.splice(0);
        Promise.resolve(argument).then(${read}).then(
          (value) => done({ value, problems: told() }),
          (error) => done({ error: String(error), problems: told() }),
        );`;
      const { value, error, problems: found } = await ask("POST", "/execute/async", { script, args: [argument] });
      problems.push(...found);
      if (error !== undefined) throw new Error(error);
      return value;
    },
  };
  /** Through shadow roots, by {@link StudioDriver}'s tools. */
  const element = async (selector) => {
    const found = await ask("POST", "/execute/sync", { script: "return window.tools.find(arguments[0]);", args: [selector] });
    if (!found) throw new Error(`there is no ${selector}`);
    return `/element/${found[ELEMENT]}`;
  };
  const type = async (selector, text) => ask("POST", `${await element(selector)}/value`, { text });
  const find = (selector) => ({
    click: async () => ask("POST", `${await element(selector)}/click`, {}),
    fill: async (text) => {
      await ask("POST", `${await element(selector)}/clear`, {});
      await type(selector, text);
    },
  });
  return { page, problems, find, setFile: type };
}

/** Asks the driver; rejects with its word for what went wrong. */
const caller = (address) => async (method, path, body) => {
  const response = await fetch(address + path, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
  return value;
};

/** A screen that nobody sees, with a number that is free. */
async function openScreen() {
  const screen = spawn(DISPLAY, ["-displayfd", "3", "-screen", "0", "1280x900x24"], { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  const number = await new Promise((resolve, reject) => {
    screen.stdio[3].once("data", (digits) => resolve(String(digits).trim()));
    screen.once("exit", (code) => reject(new Error(`Xvfb ended with ${code}`)));
  });
  return { display: `:${number}`, screen };
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** The driver listens a moment after it was started. */
async function untilUp(ask) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await ask();
    } catch (error) {
      if (error.cause?.code !== "ECONNREFUSED" || tried === START_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
