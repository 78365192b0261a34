// What the browser keeps of packs, read past the engine; and random numbers that are the same on every run.
import assert from "node:assert/strict";

/** The names of the stored pieces; none where the engine has not made its database yet (and it is not made here). */
export const storedNames = (page) =>
  page.evaluate(async () => {
    if (!(await indexedDB.databases()).some(({ name }) => name === "fraise")) return [];
    const database = await new Promise((resolve) => (indexedDB.open("fraise").onsuccess = ({ target }) => resolve(target.result)));
    const reading = database.transaction("pieces").objectStore("pieces").getAllKeys();
    await new Promise((resolve) => (reading.onsuccess = resolve));
    database.close();
    return reading.result;
  });

/** Waits until pieces are stored, and gives their names. */
export async function untilStored(page) {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; ) {
    const names = await storedNames(page);
    if (names.length > 0) return names;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return assert.fail("waited in vain for a stored piece");
}

/** `{pieces: [{sha256, hash, bytes}], packs: [{address, isPartial}]}`: every record, each piece with its true hash. */
export const storedIn = (page) =>
  page.evaluate(async () => {
    const asked = indexedDB.open("fraise");
    const database = await new Promise((resolve) => (asked.onsuccess = () => resolve(asked.result)));
    const read = (store, method) => {
      const reading = database.transaction(store).objectStore(store)[method]();
      return new Promise((resolve) => (reading.onsuccess = () => resolve(reading.result)));
    };
    const [names, bodies, addresses, records] = await Promise.all([
      read("pieces", "getAllKeys"),
      read("pieces", "getAll"),
      read("packs", "getAllKeys"),
      read("packs", "getAll"),
    ]);
    database.close();
    const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const hashes = await Promise.all(bodies.map((body) => crypto.subtle.digest("SHA-256", body)));
    return {
      pieces: names.map((sha256, at) => ({ sha256, hash: hex(hashes[at]), bytes: bodies[at].length })),
      packs: addresses.map((address, at) => ({ address, isPartial: records[at].isPartial === true })),
    };
  });

/** Numbers in [0, 1) by mulberry32. */
export function randomNumbers(seed) {
  let state = Math.imul(seed, 0x9e3779b9);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
