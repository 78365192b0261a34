// Words to leave out, in real Chromium: said in the prompt where the pack has a phrase for that.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { openEngine } from "./engine.mjs";
import { editedManifest, goldenPack } from "./packs.mjs";
import { readPng } from "./png.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
const PHRASE = " without ";

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

/** A page with `window.engine`, and `window.paint(request)`: the picture's pixels. */
async function open(device, model) {
  const opened = await openEngine(browser, site, device, model);
  await opened.page.evaluate(() => {
    window.paint = async (request) => {
      for await (const _ of window.engine.generate(request));
      return window.pixels((await window.engine.last()).blob);
    };
  });
  return opened;
}

for (const [prompt, negative] of [
  ["a cat and a dog on a blue background", "dog"],
  ["蓝色背景上的猫和狗", "狗"],
]) {
  test(`the default model leaves out what it is told to: ${negative}`, TIMEOUT, async (t) => {
    const { page, problems, close } = await open("cpu");
    assert.equal(await page.evaluate(() => window.info.recommended.guidance), 1, "without guidance");
    const found = await page.evaluate(async ([words, unwanted]) => {
      /**
       * Of the columns from `left` to `right`, parts of the width: the part that is not of the border's colour, and by how
       * many levels more red than blue that is.
       */
      const look = ({ data, width, height }, left, right) => {
        const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
        const border = [0, 1, 2].map((channel) => middle(Array.from({ length: width }, (_, x) => data[x * 4 + channel])));
        const columns = [Math.round(left * width), Math.round(right * width)];
        let [count, warmth] = [0, 0];
        for (let y = 0; y < height; y += 1) {
          for (let x = columns[0]; x < columns[1]; x += 1) {
            const at = (y * width + x) * 4;
            if (border.every((level, channel) => Math.abs(data[at + channel] - level) <= 40)) continue;
            count += 1;
            warmth += data[at] - data[at + 2];
          }
        }
        return { covered: count / (height * (columns[1] - columns[0])), warmth: warmth / count };
      };
      const rows = [];
      for (const seed of [1, 2, 3, 4]) {
        const request = { prompt: words, seed, promptSyntax: "a1111" };
        const [all, without] = [await window.paint(request), await window.paint({ ...request, negative: unwanted })];
        // The second of two things stands in the right half; one alone, even in the middle, does not reach this far.
        const right = [all, without].map((picture) => look(picture, 0.86, 0.96).covered);
        const left = [all, without].map((picture) => look(picture, 0.1, 0.5));
        rows.push({ right, left });
      }
      return rows;
    }, [prompt, negative]);
    t.diagnostic(JSON.stringify(found));
    const mean = (side, at) => found.reduce((sum, row) => sum + row[side][at], 0) / found.length;
    assert.ok(mean("right", 0) > 0.08, `with both things the right is covered: ${mean("right", 0)}`);
    assert.ok(mean("right", 1) < 0.25 * mean("right", 0), `without the second, ${mean("right", 1)} of ${mean("right", 0)} stay`);
    // Cats are yellow here, dogs white and brown; a seed in ten or so pales the cat too.
    const cats = found.filter(({ left: [, kept] }) => kept.covered > 0.1 && kept.warmth > 90);
    assert.ok(cats.length >= found.length - 1, `the cat stays in ${cats.length} of ${found.length} pictures`);
    assert.deepEqual(problems, []);
    await close();
  });
}

test("guidance and the weights of words change the picture, and a weight of one changes nothing", TIMEOUT, async (t) => {
  const { page, problems, close } = await open("cpu");
  const apart = await page.evaluate(async () => {
    const paint = async (prompt, guidance) => (await window.paint({ prompt, guidance, seed: 5, steps: 4, promptSyntax: "a1111" })).data;
    const plain = await paint("a fox in the snow", 1);
    const difference = (other) => other.reduce((sum, value, at) => sum + Math.abs(value - plain[at]), 0) / plain.length;
    return {
      guided: difference(await paint("a fox in the snow", 3)),
      weighed: difference(await paint("a fox in the (snow:1.6)", 1)),
      unweighed: difference(await paint("a fox in the (snow:1)", 1)),
    };
  });
  t.diagnostic(JSON.stringify(apart));
  assert.ok(apart.guided > 2 && apart.weighed > 2, JSON.stringify(apart));
  assert.equal(apart.unweighed, 0);
  assert.deepEqual(problems, []);
  await close();
});

for (const device of ["gpu", "cpu"]) {
  test(`with a phrase it is the picture of the prompt that says so, without it changes nothing, on the ${device}`, TIMEOUT, async () => {
    const [speaking, silent] = await Promise.all([
      goldenPack("tiny_flow", (manifest) => (manifest.negative_phrase = PHRASE)),
      goldenPack("tiny_flow"),
    ]);
    site.answer = (path) => (path.startsWith("/speaking/") ? speaking.answer(path) : path.startsWith("/silent/") ? silent.answer(path) : null);
    const { page, problems, close } = await open(device, "speaking/manifest.json");
    const found = await page.evaluate(async () => {
      const prompt = "a photo of the red sea";
      const data = async (request) => (await window.paint({ seed: 3, steps: 2, guidance: 1, ...request })).data.join();
      const paintAll = async () => ({
        phrase: window.info.negativePhrase,
        plain: await data({ prompt }),
        negative: await data({ prompt, negative: "grass, (rain:1.2)", promptSyntax: "a1111" }),
        typed: await data({ prompt: `${prompt} without grass, (rain:1.2)`, promptSyntax: "a1111" }),
        request: await window.engine.last().then(({ request }) => request.prompt),
      });
      const spoken = await paintAll();
      window.info = await window.engine.load("silent/manifest.json");
      const unspoken = await paintAll();
      const same = ({ phrase, plain, negative, typed }) => ({ phrase, isTyped: negative === typed, isPlain: negative === plain });
      return [same(spoken), same(unspoken)];
    });
    site.answer = null;
    assert.deepEqual(found, [
      { phrase: PHRASE, isTyped: true, isPlain: false },
      { phrase: null, isTyped: false, isPlain: true },
    ]);
    assert.deepEqual(problems, []);
    await close();
  });
}

test("the studio says when words to leave out count, keeps them apart, and tells what found no room", TIMEOUT, async () => {
  const open = async (edit) => {
    site.answer = await editedManifest(edit);
    const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
    await studio.until(() => window.tools.text("#model")?.includes("MB"));
    return studio;
  };
  const silent = await open((manifest) => delete manifest.negative_phrase);
  assert.match(await silent.text("#negative-hint"), /guidance above 1/);
  await silent.close();

  const studio = await open((manifest) => (manifest.negative_phrase = PHRASE));
  assert.doesNotMatch(await studio.text("#negative-hint"), /guidance/);
  const paint = async (prompt, negative) => {
    await studio.settings({ prompt, seed: 5, steps: 1, device: "cpu" });
    await studio.set("#negative", negative);
    await studio.generate();
    return studio.savedPng();
  };
  const spoken = await paint("a cat and a dog", "dog");
  assert.match(readPng(spoken).texts.parameters, /^a cat and a dog\nNegative prompt: dog\nSteps: 1, /);
  assert.equal(await studio.text("#truncated"), null);
  const [said, typed, plain] = [spoken, await paint("a cat and a dog without dog", ""), await paint("a cat and a dog", "")];
  const pixels = await Promise.all([said, typed, plain].map((png) => studio.pixels(png)));
  assert.deepEqual(pixels[0].rgba, pixels[1].rgba);
  assert.notDeepEqual(pixels[0].rgba, pixels[2].rgba);

  await paint("a cat", "dog ".repeat(1500));
  assert.match(await studio.text("#truncated"), /not left out: “dog dog/);
  assert.deepEqual(studio.problems, []);
  site.answer = null;
  await studio.close();
});
