// What a person does on the studio page, in either browser.
import assert from "node:assert/strict";

const PICTURE_TIMEOUT_MS = 300_000;
const CONVERT_TIMEOUT_MS = 200_000;

/** A page with the studio open, driven through its controls. */
export class StudioDriver {
  constructor(opened) {
    Object.assign(this, opened);
  }

  /** Opens the studio in a fresh profile and waits until it could generate. */
  static async open(browser, url, options) {
    const studio = new StudioDriver(await browser.newPage(options));
    await studio.page.goto(url);
    await studio.installTools();
    return studio;
  }

  /** Functions that look through shadow roots; again after each navigation. */
  async installTools() {
    await this.page.evaluate(() => {
      const find = (selector, root = document) => {
        const found = root.querySelector(selector);
        if (found) return found;
        for (const host of root.querySelectorAll("*")) {
          const inside = host.shadowRoot && find(selector, host.shadowRoot);
          if (inside) return inside;
        }
        return null;
      };
      window.tools = { find, has: (selector) => find(selector) !== null, text: (selector) => find(selector)?.textContent.trim() ?? null };
    });
  }

  /** Runs `read` in the page until it gives something truthy. */
  async until(read, argument, timeoutMs = 30_000) {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const value = await this.page.evaluate(read, argument);
      if (value) return value;
      assert.ok(Date.now() < deadline, `waited ${timeoutMs} ms in vain for ${read}; page: ${await this.text("body")}`);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
  }

  /** `[{ms, rgba}]`: how long each picture of a GIF is seen, and its channels. */
  framesOfGif(bytes) {
    return this.page.evaluate(async (base64) => {
      const data = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const decoder = new ImageDecoder({ type: "image/gif", data });
      await Promise.all([decoder.tracks.ready, decoder.completed]);
      const found = [];
      for (let frameIndex = 0; frameIndex < decoder.tracks.selectedTrack.frameCount; frameIndex += 1) {
        const { image } = await decoder.decode({ frameIndex });
        const context = new OffscreenCanvas(image.displayWidth, image.displayHeight).getContext("2d");
        context.drawImage(image, 0, 0);
        const { data: rgba } = context.getImageData(0, 0, image.displayWidth, image.displayHeight);
        found.push({ ms: image.duration / 1000, rgba: [...rgba] });
      }
      return found;
    }, bytes.toString("base64"));
  }

  /** The text of the first element that matches, or null. */
  text(selector) {
    return this.page.evaluate((wanted) => window.tools.text(wanted), selector);
  }

  /** Sets a field as typing or sliding would. */
  set(selector, value) {
    return this.page.evaluate(
      ([wanted, text]) => {
        const field = window.tools.find(wanted);
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        field.dispatchEvent(new Event("change", { bubbles: true }));
      },
      [selector, String(value)],
    );
  }

  /** Chooses prompt, seed, steps and device. */
  async settings({ prompt = "a strawberry on a beach", seed = 42, steps = 4, device = "gpu" } = {}) {
    await this.until(() => window.tools.has("#prompt"));
    await this.find("#prompt").fill(prompt);
    await this.set("#seed", seed);
    await this.set("#steps", steps);
    await this.set("#device", device);
  }

  /** Presses Generate. */
  async press() {
    await this.until(() => window.tools.find("#generate")?.disabled === false);
    await this.find("#generate").click();
  }

  /** Presses Generate and waits for the picture; rejects with the shown code where there is none. */
  async generate() {
    await this.press();
    return this.finish();
  }

  /** Waits for how it ends: `finished`, or the failure's code. */
  async end() {
    await this.until(
      () => window.tools.has("#failure-code") || (window.tools.has("#made-with") && !window.tools.has("#cancel")),
      null,
      PICTURE_TIMEOUT_MS,
    );
    return (await this.text("#failure-code")) ?? "finished";
  }

  /** Waits for the picture. */
  async finish() {
    const end = await this.end();
    assert.equal(end, "finished", `${end}: ${await this.text("#failure")}`);
    assert.deepEqual(this.problems, []);
  }

  /** Picks a checkpoint and waits until the page has said what it is, or why not. */
  async pickCheckpoint(path) {
    await this.until(() => window.tools.has("#checkpoint"));
    await this.setFile("#checkpoint", path);
    await this.until(() => window.tools.has("#convert-start") || window.tools.has("#convert-failure"), null, 60_000);
  }

  /** Converts what was picked, keeping weights so. */
  async convert(quant) {
    await this.find(`input[name=quant][value=${quant}]`).click();
    await this.find("#convert-start").click();
    await this.until(
      () => /is ready/.test(window.tools.text("#convert-text") ?? "") || window.tools.has("#convert-failure"),
      null,
      CONVERT_TIMEOUT_MS,
    );
    assert.equal(await this.text("#convert-failure"), null);
  }

  /** Notes from now on each text of the progress line, and a fingerprint of the canvas, as they change. */
  watchSteps() {
    return this.page.evaluate(() => {
      const seen = { lines: [], details: [], prints: [] };
      const add = (list, value) => value && list.at(-1) !== value && list.push(value);
      const small = new OffscreenCanvas(24, 24).getContext("2d", { willReadFrequently: true });
      window.seen = seen;
      const read = () => {
        add(seen.lines, window.tools.text("#progress-text"));
        add(seen.details, window.tools.text("#progress-detail"));
      };
      const line = window.tools.find("fraise-progress").shadowRoot;
      new MutationObserver(read).observe(line, { subtree: true, childList: true, characterData: true });
      const look = async () => {
        const canvas = window.tools.find("#canvas");
        if (canvas && !canvas.hidden) {
          const bitmap = await createImageBitmap(canvas).catch(() => null);
          if (bitmap) {
            small.drawImage(bitmap, 0, 0, 24, 24);
            bitmap.close();
            add(seen.prints, small.getImageData(0, 0, 24, 24).data.join());
          }
        }
        setTimeout(look, 25);
      };
      void look();
    });
  }

  /** What {@link watchSteps} has noted. */
  seen() {
    return this.page.evaluate(() => ({ ...window.seen, prints: window.seen.prints.length }));
  }

  /** The bytes that "Save PNG" gives, or another button that saves. */
  async savedPng(button = "#save") {
    await this.page.evaluate(() => {
      delete window.savedBlob;
      const create = URL.createObjectURL.bind(URL);
      const blobs = new Map(); // the gallery's thumbnails among them
      URL.createObjectURL = (blob) => {
        const url = create(blob);
        blobs.set(url, blob);
        return url;
      };
      // The bytes are enough here; a real download has its own test.
      HTMLAnchorElement.prototype.click = function () {
        window.savedBlob = blobs.get(this.href);
      };
    });
    await this.page.evaluate((wanted) => window.tools.find(wanted).click(), button);
    const base64 = await this.until(async () => {
      if (!window.savedBlob) return null;
      const bytes = new Uint8Array(await window.savedBlob.arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    });
    return Buffer.from(base64, "base64");
  }

  /** The pixels that a PNG decodes to, as the browser sees them. */
  pixels(png) {
    return this.page.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return { width: bitmap.width, height: bitmap.height, rgba: [...context.getImageData(0, 0, bitmap.width, bitmap.height).data] };
    }, png.toString("base64"));
  }

  /** The pixels that a canvas shows, the engine's too. */
  pixelsOf(selector) {
    return this.page.evaluate(async (wanted) => {
      const bitmap = await createImageBitmap(window.tools.find(wanted));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data];
    }, selector);
  }
}
