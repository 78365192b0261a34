// Bad packs and bad networks: each ends in its own error code, never in a picture, and the page can go on afterwards.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { editedManifest, editedPack, editedPieces } from "./packs.mjs";
import { closedAfter } from "./setup.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { storedIn } from "./store.mjs";
import { StudioDriver } from "./studio.mjs";

// On the CPU device: what is tested comes before any computing, and nothing has to be compiled.
const TIMEOUT = { timeout: 200_000 };

const site = await closedAfter(openSite());
const browser = await closedAfter(launchChromium());

beforeEach(() => {
  site.answer = null;
  site.log.length = 0;
});

/** Generates in a fresh profile while `answer` is in force; gives the code shown, and the studio for more. */
async function failWith(answer) {
  site.answer = answer;
  const studio = await StudioDriver.open(browser, site.url, { serviceWorkers: "block" });
  await studio.settings({ steps: 1, device: "cpu" });
  await studio.press();
  return { studio, code: await studio.end() };
}

/** Checks the code and what is shown, and that with the fault gone "Try again" paints. */
async function failsThenWorks(answer, expected, check = () => undefined) {
  const { studio, code } = await failWith(answer);
  const shown = await studio.text("#failure");
  assert.equal(code, expected, shown);
  await check(shown);
  site.answer = null;
  await studio.find("#retry").click();
  await studio.finish();
  return studio;
}

/** Checks the code only: the pack itself is at fault. */
async function fails(answer, expected, pattern = /./) {
  const { studio, code } = await failWith(answer);
  const shown = await studio.text("#failure");
  assert.equal(code, expected, shown);
  assert.match(shown, pattern);
  assert.equal(await studio.text("#made-with"), null, "no picture is made from it");
  assert.deepEqual(studio.problems, []);
  await studio.close();
}

for (const [what, edit] of [
  ["truncated", (bytes) => bytes.subarray(0, bytes.length >> 1)],
  ["with one byte too many", (bytes) => Buffer.concat([bytes, Buffer.alloc(1)])],
  ["with one byte flipped", (bytes) => ((bytes[bytes.length >> 1] ^= 1), bytes)],
]) {
  test(`a piece ${what}: fetched once more, and named`, TIMEOUT, async () => {
    const studio = await failsThenWorks(editedPieces(edit), "CorruptPiece", async (shown) => {
      const [sha256] = /[0-9a-f]{64}/.exec(shown) ?? [];
      assert.equal(piecesIn(site.log).filter((path) => path.includes(sha256)).length, 2, shown);
    });
    const { pieces } = await storedIn(studio.page);
    assert.ok(pieces.length > 0 && pieces.every(({ sha256, hash }) => sha256 === hash));
    await studio.close();
  });
}

for (const [what, ending, answer, code] of [
  ["a piece that is not there", ".bin", { status: 404 }, "Network"],
  ["no manifest", "/manifest.json", { status: 404 }, "Network"],
  ["a manifest that is a web page", "/manifest.json", { body: "<!doctype html><title>Not found</title>" }, "Manifest"],
]) {
  test(what, TIMEOUT, async () => {
    const studio = await failsThenWorks((path) => (path.endsWith(ending) ? answer : null), code);
    await studio.close();
  });
}

test("a manifest that asks for too much is refused before any piece is fetched", TIMEOUT, async () => {
  const answer = await editedManifest((manifest) => {
    manifest.components.unet.pieces[0].bytes = 1e15;
  });
  await fails(answer, "Manifest", /components\.unet/);
  assert.deepEqual(piecesIn(site.log), []);
});

test("a manifest whose piece names leave the folder", TIMEOUT, async () => {
  const answer = await editedManifest((manifest) => {
    manifest.components.unet.pieces[0].sha256 = "../../../secret";
  });
  await fails(answer, "Manifest", /sha256/);
  assert.deepEqual(piecesIn(site.log), []);
});

test("a pack without one of its tensors", TIMEOUT, async () => {
  const name = "conv_out.bias";
  const answer = await editedPack("unet", (tensors) => tensors.filter((tensor) => tensor.name !== name));
  await fails(answer, "MissingTensor", /conv_out\.bias/);
});

test("a pack with a tensor of another shape", TIMEOUT, async () => {
  const answer = await editedPack("unet", (tensors) =>
    tensors.map((tensor) => (tensor.name === "conv_norm_out.weight" ? { ...tensor, shape: [tensor.shape[0] / 2, 2] } : tensor)));
  await fails(answer, "ShapeMismatch", /conv_norm_out\.weight/);
});

test("a pack with a tensor too many", TIMEOUT, async () => {
  const answer = await editedPack("unet", (tensors) => [...tensors, { ...tensors[0], name: "stowaway.weight" }]);
  await fails(answer, "UnexpectedTensor", /stowaway/);
});
