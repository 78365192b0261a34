// Writing the prompt, in real Chromium: words offered while typing, manners as chips, and pictures that follow the typing.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true };

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

afterEach(() => {
  site.answer = null;
});

/** A studio whose model's words have arrived. */
async function open(options = {}) {
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block", ...options });
  await studio.until(() => window.tools.has("#manners"));
  return studio;
}

/** Types at the end of an emptied prompt. */
async function type(studio, text) {
  await studio.find("#prompt").fill("");
  await studio.find("#prompt").pressSequentially(text);
}

const prompt = (studio) => studio.page.evaluate(() => window.tools.find("#prompt").value);
const offered = (studio) => {
  return studio.page.evaluate(() => {
    const list = window.tools.find("#suggestions");
    if (!list) return null;
    return [...list.querySelectorAll('[role="group"]')].map((group) => ({
      kind: group.querySelector(".kind").textContent.trim(),
      words: [...group.querySelectorAll('[role="option"]')].map((option) => option.textContent.trim()),
    }));
  });
};

/** The picture's pixels for these settings, painted on the processor. */
async function painted(studio, { seed = 42, steps = 1 } = {}) {
  await studio.set("#seed", seed);
  await studio.set("#steps", steps);
  await studio.set("#device", "cpu");
  await studio.generate();
  return studio.pixelsOf("#canvas");
}

test("English words are offered by kind; arrows, Enter and Escape work, and the choice is what is painted", TIMEOUT, async () => {
  const studio = await open();
  await type(studio, "a fox in the for");
  assert.deepEqual(await offered(studio), [{ kind: "Places", words: ["in the forest", "in an autumn forest"] }, { kind: "Things", words: ["fork and knife"] }]);
  const role = () => studio.page.evaluate(() => {
    const field = window.tools.find("#prompt");
    const active = field.getAttribute("aria-activedescendant");
    return [field.getAttribute("role"), field.getAttribute("aria-expanded"), active && field.getRootNode().getElementById(active).textContent.trim()];
  });
  assert.deepEqual(await role(), ["combobox", "true", null]);
  await studio.page.keyboard.press("ArrowDown");
  assert.deepEqual(await role(), ["combobox", "true", "in the forest"]);
  await studio.page.keyboard.press("Enter");
  assert.equal(await prompt(studio), "a fox in the forest");
  assert.equal(await offered(studio), null);

  await studio.page.keyboard.type(", waterc");
  assert.deepEqual((await offered(studio)).map(({ kind }) => kind), ["Manners"]);
  await studio.page.keyboard.press("Escape");
  assert.equal(await offered(studio), null);
  assert.equal(await prompt(studio), "a fox in the forest, waterc");
  for (let letter = 0; letter < ", waterc".length; letter += 1) await studio.page.keyboard.press("Backspace");
  const chosen = await painted(studio);
  await studio.find("#prompt").fill("a fox in the forest");
  assert.deepEqual(await painted(studio), chosen);
  await studio.find("#prompt").fill("a fox in the for");
  assert.notDeepEqual(await painted(studio), chosen);
  await studio.close();
});

test("a word is put in at the caret, and small words that it brings itself are not doubled", TIMEOUT, async () => {
  const studio = await open();
  await studio.find("#prompt").fill("a red , watercolor");
  for (let step = 0; step < ", watercolor".length; step += 1) await studio.page.keyboard.press("ArrowLeft");
  await studio.page.keyboard.type("strawb");
  await studio.page.keyboard.press("ArrowUp");
  await studio.page.keyboard.press("Enter");
  await studio.page.keyboard.type("!");
  assert.equal(await prompt(studio), "a red strawberry!, watercolor");
  await type(studio, "a cat on the fores");
  await studio.page.keyboard.press("ArrowDown");
  await studio.page.keyboard.press("Enter");
  assert.equal(await prompt(studio), "a cat in a forest");
  await studio.close();
});

test("Chinese words are offered too, and an input method is left alone while it composes", TIMEOUT, async () => {
  const studio = await open({ locale: "zh-CN" });
  await studio.find("#prompt").fill("星空下的");
  const cdp = await studio.page.context().newCDPSession(studio.page);
  await cdp.send("Input.imeSetComposition", { text: "草", selectionStart: 1, selectionEnd: 1 });
  assert.equal(await prompt(studio), "星空下的草");
  assert.equal(await offered(studio), null, "nothing is offered while composing");
  await cdp.send("Input.insertText", { text: "草" });
  const groups = await offered(studio);
  assert.deepEqual(groups.find(({ kind }) => kind === "事物").words, ["草莓", "草帽", "草药", "草莓蛋糕"]);
  await studio.find('[role="option"]').filter({ hasText: "草莓" }).first().click();
  assert.equal(await prompt(studio), "星空下的草莓");
  await studio.close();
});

test("a pack without words offers none; words of any content are only text", TIMEOUT, async () => {
  site.answer = (path) => (path.endsWith("/words.json") ? { status: 404 } : null);
  const plain = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await plain.until(() => window.tools.text("#model")?.includes("MB"));
  await type(plain, "a strawb");
  assert.equal(await offered(plain), null);
  assert.equal(await plain.page.evaluate(() => window.tools.has("#manners")), false);
  await plain.close();

  const bad = { id: "x", kind: "thing", en: ["<img src=x onerror=alert(1)>", 7, "z".repeat(5000), "imp"] };
  const words = [bad, { id: "../y", kind: "thing", en: ["impala"] }, { id: "z", kind: "spell", en: ["impact"] }, null, "imp"];
  words.push({ id: "watercolour", kind: "manner", en: ["watercolor"], zh: "x" });
  site.answer = (path) => (path.endsWith("/words.json") ? { body: JSON.stringify({ words }) } : null);
  const studio = await open();
  await type(studio, "im");
  assert.deepEqual(await offered(studio), [{ kind: "Things", words: ["imp"] }]);
  await type(studio, "sr");
  assert.deepEqual(await offered(studio), [{ kind: "Things", words: ["<img src=x onerror=alert(1)>"] }]);
  assert.equal(await studio.page.evaluate(() => window.tools.has("#suggestions img")), false);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});

test("manners: two taps to a first picture on a phone", TIMEOUT, async () => {
  const studio = await open(PHONE);
  const isInView = (selector) => studio.page.evaluate((wanted) => {
    const { left, top, right, bottom } = window.tools.find(wanted).getBoundingClientRect();
    return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
  }, selector);
  await studio.until(() => window.tools.find('[data-manner="watercolour"] img')?.naturalWidth > 0);
  assert.ok((await isInView('[data-manner="watercolour"]')) && (await isInView("#generate")), "neither needs scrolling");
  const width = await studio.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `the page is ${width} px wide`);
  await studio.find('[data-manner="watercolour"]').tap();
  await studio.find("#generate").tap();
  await studio.finish();
  await studio.until(() => {
    const { top, bottom } = window.tools.find("#canvas").getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  });
  assert.ok((await isInView('[data-manner="watercolour"]')) && (await isInView("#generate")), "all on one screen");
  assert.match(await prompt(studio), /, watercolor$/);
  const { rgba } = await studio.pixels(await studio.savedPng());
  assert.ok(new Set(rgba).size > 8, "a picture, not a plain colour");
  await studio.close();
});

test("manners: a tap changes the prompt and the picture, another brings both back; one without a picture is its word", TIMEOUT, async () => {
  site.answer = (path) => (path.endsWith("/manners/neon.webp") ? { status: 404 } : null);
  const studio = await open();
  const isPressed = (id) => studio.page.evaluate((manner) => window.tools.find(`[data-manner="${manner}"]`).ariaPressed, id);
  await studio.until(() => !window.tools.has('[data-manner="neon"] img'));
  assert.equal(await studio.text('[data-manner="neon"]'), "neon");
  await studio.find("#prompt").fill("a fox in a forest");
  const without = await painted(studio, { steps: 4 });
  await studio.find('[data-manner="ink"]').click();
  assert.equal(await prompt(studio), "a fox in a forest, ink wash");
  assert.equal(await isPressed("ink"), "true");
  const changed = await painted(studio, { steps: 4 });
  const difference = changed.reduce((sum, value, at) => sum + Math.abs(value - without[at]), 0) / changed.length;
  assert.ok(difference > 5, `the picture changed by ${difference} of 255 on average`);
  await studio.find('[data-manner="ink"]').click();
  assert.equal(await prompt(studio), "a fox in a forest");
  assert.deepEqual(await painted(studio, { steps: 4 }), without);

  await studio.find("#prompt").fill("像素画：城市里的机器人");
  assert.equal(await isPressed("pixel"), "true");
  await studio.find('[data-manner="pixel"]').click();
  assert.equal(await prompt(studio), "城市里的机器人");
  await studio.find('[data-manner="neon"]').click();
  assert.equal(await prompt(studio), "城市里的机器人，霓虹");
  await studio.close();
});

test("live: the picture follows the typing, without flicker, and starts by itself on no visit", TIMEOUT, async () => {
  site.log.length = 0;
  const studio = await open();
  await studio.set("#device", "cpu");
  await type(studio, "a red apple");
  await studio.page.waitForTimeout(800);
  assert.deepEqual(piecesIn(site.log), [], "off, it fetches and paints nothing");
  await studio.find("#live").click();
  const made = (words) => studio.until((wanted) => window.tools.find("#canvas")?.ariaLabel === `The picture: ${wanted}`, words, 120_000);
  await made("a red apple");
  const shown = () => studio.pixelsOf("#canvas");
  const apple = await shown();
  const line = await studio.text("#made-with");
  assert.match(line, /2 steps/);

  await studio.page.evaluate(() => {
    window.gaps = 0;
    const look = () => {
      const canvas = window.tools.find("#canvas");
      if (!canvas || canvas.hidden || window.tools.find("fraise-stage").shadowRoot.querySelector("img") || !window.tools.has("#made-with")) window.gaps += 1;
      window.watching = requestAnimationFrame(look);
    };
    look();
  });
  await studio.find("#prompt").focus();
  await studio.page.keyboard.press("End");
  for (const letters of [" in", " the", " snow"]) {
    await studio.page.keyboard.type(letters);
    await studio.page.waitForTimeout(350); // longer than the words must rest, shorter than a picture takes
  }
  await made("a red apple in the snow");
  const snow = await shown();
  assert.notDeepEqual(snow, apple);
  assert.equal(await studio.text("#made-with"), line, "the same seed and steps");
  assert.equal(await studio.page.evaluate(() => window.gaps), 0);
  assert.ok(await studio.page.evaluate(() => window.tools.has("#generate")), "it blocks nothing");

  const seed = /seed (\d+)/.exec(line)[1];
  await studio.find("#live").click();
  assert.deepEqual(await painted(studio, { seed, steps: 2 }), snow, "the newest words alone");
  await studio.page.reload();
  await studio.installTools();
  await studio.until(() => window.tools.has("#live"));
  await studio.page.waitForTimeout(800);
  assert.deepEqual(await studio.page.evaluate(() => [window.tools.find("#live").checked, window.tools.has("#made-with")]), [false, false]);
  assert.deepEqual(studio.problems, []);
  await studio.close();
});
