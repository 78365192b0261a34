// Bad packs and bad networks: each ends in its own error code, never in a picture, and the page can go on afterwards.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { launchChromium } from "./browsers.mjs";
import { editedManifest, editedPack, editedPieces } from "./packs.mjs";
import { openSite, piecesIn } from "./site.mjs";
import { StudioDriver } from "./studio.mjs";

// On the CPU device: what is tested comes before any computing, and nothing has to be compiled.
const TIMEOUT = { timeout: 200_000 };
let site;
let browser;

before(async () => {
  site = await openSite();
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  await site?.close();
});
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

/** Checks the code, and that with the fault gone "Try again" paints. */
async function failsThenWorks(answer, expected) {
  const { studio, code } = await failWith(answer);
  assert.equal(code, expected, await studio.text("#failure"));
  site.answer = null;
  await studio.find("#retry").click();
  await studio.finish();
  await studio.close();
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

test("a truncated piece", TIMEOUT, () =>
  failsThenWorks(editedPieces((bytes) => bytes.subarray(0, bytes.length >> 1)), "CorruptPiece"));

test("a piece with one byte flipped", TIMEOUT, () =>
  failsThenWorks(
    editedPieces((bytes) => {
      bytes[bytes.length >> 1] ^= 1;
      return bytes;
    }),
    "CorruptPiece",
  ));

test("a piece that is not there", TIMEOUT, () =>
  failsThenWorks((path) => (path.endsWith(".bin") ? { status: 404 } : null), "Network"));

test("no manifest", TIMEOUT, () =>
  failsThenWorks((path) => (path.endsWith("/manifest.json") ? { status: 404 } : null), "Network"));

test("a manifest that is a web page", TIMEOUT, () =>
  failsThenWorks(
    (path) => (path.endsWith("/manifest.json") ? { body: "<!doctype html><title>Not found</title>" } : null),
    "Manifest",
  ));

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
