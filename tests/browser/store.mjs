// What the browser keeps of packs, read past the engine; and random numbers that are the same on every run.

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
