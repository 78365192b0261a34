// Starting from a picture, in real Chromium: drawings, masks, moved pictures, variations, textures, the camera.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { seamsOf } from "./seams.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

const TIMEOUT = { timeout: 400_000 };
/** Longest that one picture takes. */
const PICTURE_MS = 200_000;
/** A page with a finished picture of `prompt`; the tests share it. */
let studio;
const prompt = "a red car on a beach";

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium({ camera: true }));

before(async () => {
  studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block", permissions: ["camera"] });
  await studio.settings({ prompt, seed: 42, steps: 4, device: "cpu" });
  await studio.generate();
});

const difference = (a, b) => a.reduce((sum, value, at) => sum + Math.abs(value - b[at]), 0) / a.length;

/** The finished picture's pixels, `{width, height, rgba}`. */
const picture = () => studio.page.evaluate(async () => {
  const { result } = window.tools.find("fraise-result").state;
  const bitmap = await createImageBitmap(result.png);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return { width, height, rgba: [...data] };
});
/** What lies on the easel. */
const easel = () => studio.page.evaluate(() => {
  const { easel: on } = window.tools.find("fraise-start").state.start;
  return { picture: [...on.picture().data], mask: on.mask() && [...on.mask().data] };
});

/** Draws a line on the easel with the mouse; places are shares of its sides. */
async function drag(from, to) {
  await studio.find("#easel").scrollIntoViewIfNeeded();
  const box = await studio.find("#easel").boundingBox();
  const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  await studio.page.mouse.move(...at(from));
  await studio.page.mouse.down();
  await studio.page.mouse.move(...at(to), { steps: 8 });
  await studio.page.mouse.up();
}

test("a drawing becomes a picture of the words that keeps its colours and places", TIMEOUT, async () => {
  const { rgba: fromNoise } = await picture();
  await studio.find("#start-draw").click();
  await studio.find("[data-brush=broad]").click();
  await drag([0.2, 0.5], [0.8, 0.5]);
  const { picture: drawn, mask } = await easel();
  assert.equal(mask, null);
  assert.ok(drawn.some((value, at) => at % 4 === 1 && value < 100), "there is something on the sheet");
  await studio.set("#strength", 30);
  await studio.generate();
  const { rgba: near } = await picture();
  await studio.set("#strength", 90);
  await studio.generate();
  const { rgba: far } = await picture();
  assert.ok(difference(near, drawn) < difference(far, drawn), "less strength stays nearer to the drawing");
  assert.ok(difference(near, drawn) < 0.6 * difference(fromNoise, drawn), "and near to it");
  assert.ok(difference(near, drawn) > 1, "but it was painted");
  await studio.find("#easel-undo").click();
  assert.ok((await easel()).picture.every((value) => value === 255), "undone, the sheet is empty");
  await studio.find("#start-drop").click();
});

test("only what is marked is repainted; the rest stays to the bit", TIMEOUT, async () => {
  await studio.generate();
  const before = await picture();
  await studio.find("#start-result").click();
  await studio.until(() => window.tools.has("#easel"));
  await studio.find("[data-tool=mark]").click();
  await studio.find("[data-brush=broad]").click();
  await drag([0.15, 0.1], [0.15, 0.9]);
  const { mask } = await easel();
  await studio.set("#prompt", "a tree in the snow");
  await studio.set("#strength", 100);
  await studio.generate();
  const after = await picture();
  let [kept, changed] = [0, 0];
  for (let at = 0; at < mask.length; at += 4) {
    const isSame = [0, 1, 2].every((channel) => after.rgba[at + channel] === before.rgba[at + channel]);
    if (mask[at] === 0) {
      kept += 1;
      assert.ok(isSame, `pixel ${at / 4} is not marked and changed`);
    } else if (mask[at] > 250 && !isSame) changed += 1;
  }
  assert.ok(kept > 0.3 * before.width * before.height, "most of the picture was not marked");
  assert.ok(changed > 0.02 * before.width * before.height, "what was marked is new");
  await studio.find("#easel-unmark").click();
  assert.equal((await easel()).mask, null);
});

test("a picture moved in its frame is continued where it ends", TIMEOUT, async () => {
  const before = (await easel()).picture;
  const { width } = await picture();
  await studio.find("[data-tool=move]").click();
  await studio.find("#easel").focus();
  await studio.page.keyboard.press("ArrowRight");
  await studio.page.keyboard.press("ArrowRight");
  const { picture: moved, mask } = await easel();
  const step = width / 4;
  const middle = 4 * ((width / 2) * width + width / 2);
  assert.deepEqual(moved.slice(middle, middle + 4), before.slice(middle - 4 * step, middle - 4 * step + 4));
  assert.ok(mask[4 * ((width / 2) * width + 2)] > 250, "what came into view is marked");
  assert.equal(mask[middle], 0, "what moved is not");
  await studio.generate();
  const { rgba } = await picture();
  assert.deepEqual(rgba.slice(middle, middle + 3), moved.slice(middle, middle + 3));
  await studio.find("#start-drop").click();
});

test("an edge pulled inwards: the picture stays whole, smaller, and is continued beyond it", TIMEOUT, async () => {
  const { rgba: whole, width } = await picture();
  await studio.find("#start-result").click();
  await studio.until(() => window.tools.has("#easel"));
  await studio.find("[data-tool=move]").click();
  await drag([0.03, 0.5], [0.25, 0.5]); // the left edge, by a quarter of the side
  const { picture: pulled, mask } = await easel();
  /** Where a place of the whole picture, in shares of its sides, lies now: three quarters as large, at the right. */
  const now = (x, y) => 4 * (Math.round((0.125 + 0.75 * y) * width) * width + Math.round((0.25 + 0.75 * x) * width));
  const levels = { was: [], is: [] };
  for (let y = 0.1; y < 0.9; y += 0.02) {
    for (let x = 0.1; x < 0.9; x += 0.02) {
      const before = 4 * (Math.round(y * width) * width + Math.round(x * width));
      levels.was.push(...whole.slice(before, before + 3));
      levels.is.push(...pulled.slice(now(x, y), now(x, y) + 3));
    }
  }
  assert.ok(difference(levels.was, levels.is) < 12, `all of it is still there: ${difference(levels.was, levels.is)}`);
  const strip = 4 * ((width / 2) * width + Math.round(0.1 * width));
  assert.ok(mask[strip] > 250 && mask[now(0.5, 0.5)] === 0, "what came into view is marked, the picture is not");
  await studio.generate();
  const { rgba } = await picture();
  assert.deepEqual(rgba.slice(now(0.5, 0.5), now(0.5, 0.5) + 3), pulled.slice(now(0.5, 0.5), now(0.5, 0.5) + 3));
  let painted = 0;
  for (let y = 0; y < width; y += 1) for (let x = 0; x < 0.2 * width; x += 1) painted += Math.abs(rgba[4 * (y * width + x)] - pulled[4 * (y * width + x)]);
  assert.ok(painted / (0.2 * width * width) > 2, "beyond the edge it was painted");

  // The same by the keyboard.
  await studio.find("#easel-undo").click();
  await studio.find("#easel").focus();
  await studio.page.keyboard.press("Shift+ArrowRight");
  await studio.page.keyboard.press("Shift+ArrowUp");
  const { mask: marked } = await easel();
  const at = (x, y) => marked[4 * (Math.round(y * width) * width + Math.round(x * width))];
  assert.ok(at(0.04, 0.5) > 200 && at(0.5, 0.96) > 200 && at(0.6, 0.4) === 0, "left and bottom");
  await studio.find("#start-drop").click();
});

test("by keyboard: arrows move the brush, Space dabs, and Shift draws on the way", TIMEOUT, async () => {
  await studio.find("#start-draw").click();
  await studio.find("[data-tool=colour]").click();
  await studio.find("[data-brush=middle]").click();
  await studio.find("#easel").focus();
  const press = async (...keys) => {
    for (const key of keys) await studio.page.keyboard.press(key);
  };
  /** Whether there is colour at a place, in shares of the sides. */
  const isDrawn = async (x, y) => {
    const { picture: drawn } = await easel();
    const side = Math.sqrt(drawn.length / 4);
    return drawn[4 * (Math.floor(y * side) * side + Math.floor(x * side)) + 1] < 100;
  };
  await press("ArrowLeft", "ArrowLeft");
  assert.equal(await isDrawn(0.375, 0.5), false, "moving draws nothing");
  await press("Space");
  assert.deepEqual([await isDrawn(0.375, 0.5), await isDrawn(0.5, 0.5)], [true, false]);
  await press("Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowDown");
  assert.deepEqual([await isDrawn(0.375, 0.6), await isDrawn(0.375, 0.68)], [true, true], "on the way");
  await studio.find("#easel").click({ position: { x: 40, y: 40 } }); // a tap with the pointer is a dab, too
  const { width } = await studio.find("#easel").boundingBox();
  assert.equal(await isDrawn(40 / width, 40 / width), true);
  await studio.find("[data-tool=mark]").click();
  await studio.find("#easel").focus();
  await press("Enter");
  const { mask } = await easel();
  assert.ok(mask[4 * (Math.floor(0.6875 * Math.sqrt(mask.length / 4)) * Math.sqrt(mask.length / 4) + Math.floor(0.375 * Math.sqrt(mask.length / 4)))] > 128, "marked");
  await studio.find("#start-drop").click();
});

test("a photo that is dropped becomes the start; whether it was made here is told from its pixels", TIMEOUT, async () => {
  const drop = (name, type, quality) => studio.page.evaluate(async ([file, format, share]) => {
    const bitmap = await createImageBitmap(window.tools.find("fraise-result").state.result.png);
    const [width, height] = [Math.round(0.9 * bitmap.width), Math.round(0.9 * bitmap.height)];
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage(bitmap, -9, -5);
    const blob = await canvas.convertToBlob({ type: format, quality: share });
    window.tools.find("fraise-start").studio.take(new File([blob], file, { type: format }));
  }, [name, type, quality]);
  await studio.generate();
  await drop("photo.jpg", "image/jpeg", 0.8);
  await studio.until(() => window.tools.has("#check-mark"));
  await studio.find("#check-mark").click();
  await studio.until(() => window.tools.find("#note")?.dataset.kind === "marked", null, 60_000);
  // Variations of it: like it, each in its own way.
  const photo = (await easel()).picture;
  await studio.set("#strength", 40);
  const variations = [];
  for (const seed of [7, 8]) {
    await studio.set("#seed", seed);
    await studio.generate();
    variations.push((await picture()).rgba);
  }
  const likeness = variations.map((rgba) => difference(rgba, photo));
  assert.ok(likeness.every((apart) => apart > 1 && apart < 25), `like the photo: ${likeness}`);
  assert.ok(difference(...variations) > 0.5, "but not like each other");
  const version = await studio.page.evaluate(() => window.tools.find("fraise-start").state.start.version);
  // A picture that nobody here has made.
  await studio.page.evaluate(async () => {
    const canvas = new OffscreenCanvas(200, 160);
    const context = canvas.getContext("2d");
    for (let y = 0; y < 160; y += 4) {
      context.fillStyle = `hsl(${y} 60% ${30 + (y * 7) % 40}%)`;
      context.fillRect(y % 30, y, 170, 9);
    }
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
    window.tools.find("fraise-start").studio.take(new File([blob], "stripes.jpg", { type: "image/jpeg" }));
  });
  await studio.until((before) => window.tools.find("fraise-start").state.start.version > before, version);
  await studio.find("#check-mark").click();
  await studio.until(() => window.tools.find("#note")?.dataset.kind === "unmarked", null, 60_000);
  await studio.find("#start-drop").click();
});

test("variations are like the picture, subtle ones more so", TIMEOUT, async () => {
  await studio.set("#prompt", prompt);
  await studio.generate();
  const original = (await picture()).rgba;
  const varied = async (button) => {
    await studio.page.evaluate(() => {
      const { pictures } = window.tools.find("fraise-batch").state;
      window.first = pictures[0];
    });
    await studio.find(button).click();
    await studio.until(() => {
      const { pictures, queue } = window.tools.find("fraise-batch").state;
      return queue.length === 0 && pictures.length === 4 && pictures[0] !== window.first;
    }, null, 4 * PICTURE_MS);
    const differences = [];
    for (let index = 0; index < 4; index += 1) {
      await studio.page.evaluate((at) => {
        const batch = window.tools.find("fraise-batch");
        batch.studio.select(batch.state.pictures[at]);
      }, index);
      differences.push(difference((await picture()).rgba, original));
    }
    return differences;
  };
  const subtle = await varied("#vary-subtle");
  const strong = await varied("#vary-strong");
  assert.ok(subtle.every((value) => value > 0.2), `each is another picture: ${subtle}`);
  const mean = (values) => values.reduce((sum, value) => sum + value) / values.length;
  assert.ok(mean(subtle) < mean(strong), `${subtle} and ${strong}`);
});

test("a seamless picture joins itself, and is shown so", TIMEOUT, async () => {
  await studio.set("#prompt", "flowers in a meadow");
  await studio.set("#seed", 45);
  await studio.generate();
  const [rows] = seamsOf(await picture());
  assert.ok(rows.edge > 3 * rows.inner, `sky above a meadow does not join: ${JSON.stringify(rows)}`);
  await studio.page.evaluate(() => window.tools.find("#tiling").click());
  await studio.generate();
  for (const { edge, inner } of seamsOf(await picture())) assert.ok(edge <= inner, `${edge} over the edge, inside up to ${inner}`);
  await studio.find("#tiled").click();
  const { width } = await picture();
  await studio.until((side) => window.tools.find("#look").width === 3 * side, width);
  const shown = await studio.pixelsOf("#look");
  assert.deepEqual(shown.slice(0, 4 * width), shown.slice(4 * width, 8 * width));
  await studio.find("#tiled").click();
  await studio.page.evaluate(() => window.tools.find("#tiling").click());
});

test("the camera is repainted as it moves, and only here", TIMEOUT, async () => {
  await studio.set("#prompt", "watercolor");
  await studio.find("#start-camera").click();
  await studio.until(() => window.tools.has("#strength"), null, 60_000);
  await studio.set("#strength", 50);
  await studio.until(() => /^\d+(\.\d)? /.test(window.tools.text("#camera-rate") ?? ""), null, PICTURE_MS);
  const seen = new Set();
  for (const deadline = Date.now() + PICTURE_MS; seen.size < 3 && Date.now() < deadline; ) {
    seen.add((await studio.pixelsOf("#canvas")).join());
    await studio.page.waitForTimeout(250);
  }
  assert.ok(seen.size >= 3, "the picture follows the camera");
  await studio.find("#start-drop").click();
  assert.equal(await studio.page.evaluate(() => window.tools.has("#camera-rate")), false);
  assert.deepEqual([...studio.hosts], [new URL(site.url).host]);
  assert.deepEqual(studio.problems, []);
});
