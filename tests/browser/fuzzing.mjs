// What the fuzzers of the page's readers share: random choices, the loop over a target's inputs, and a smallest input.
import assert from "node:assert/strict";
import { inspect } from "node:util";

/** Inputs of a target: FRAISE_FUZZ, or a few thousand. */
const COUNT = Number(process.env.FRAISE_FUZZ ?? 4000);
/** Long runs say how far they are as often as this. */
const REPORTED = 1_000_000;
/** An input that takes longer than this hangs: all are small. */
const HANG_MS = 10_000;

/** Random numbers by sfc32 (Doty-Humphrey's PractRand), the same on every run. */
export class Random {
  #a = 0;
  #b = 0;
  #c;
  #counter = 1;

  constructor(seed) {
    this.#c = seed;
    for (let round = 0; round < 12; round += 1) this.next();
  }

  /** 32 bits. */
  next() {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number from 0, less than `end`. */
  below(end) {
    return Math.floor((this.next() / 2 ** 32) * end);
  }

  /** Whether something with a chance of one in `n` happens. */
  oneIn(n) {
    return this.below(n) === 0;
  }

  pick(choices) {
    return choices[this.below(choices.length)];
  }

  bytes(length) {
    return Buffer.from(Array.from({ length }, () => this.next() & 255));
  }

  /** Up to `most` of what `make(random)` gives. */
  several(most, make) {
    return Array.from({ length: this.below(most + 1) }, () => make(this));
  }

  /** Up to 40 characters: mostly of ASCII, or of Unicode, halves of characters among them. */
  text() {
    const end = this.pick([0x80, 0x80, 0x250, 0x10000, 0x110000]);
    return String.fromCodePoint(...this.several(40, () => this.below(end)));
  }

  /** Bytes as they are, or with up to three parts overwritten or replaced. */
  edited(bytes) {
    for (let edits = this.oneIn(2) ? 0 : this.below(4); edits > 0; edits -= 1) {
      const [at, added] = [this.below(bytes.length + 1), this.bytes(this.below(7))];
      const removed = this.oneIn(2) ? added.length : this.below(13);
      bytes = Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
    }
    return bytes;
  }
}

/**
 * Checks the corpus, then COUNT inputs of `next(random)`. `check` throws where a rule is broken, or else says whether the
 * input was accepted; both must happen, or the target would test nothing. Both may be promised.
 */
export async function fuzz(context, corpus, next, check) {
  const random = new Random(1);
  const tried = corpus.length + COUNT;
  let accepted = 0;
  for (let index = 0; index < tried; index += 1) {
    if (index > 0 && index % REPORTED === 0) console.log(`${context.name}: ${index} inputs so far, ${accepted} accepted`);
    const input = index < corpus.length ? corpus[index] : next(random);
    const startMs = performance.now();
    try {
      const answer = check(input);
      if (answer instanceof Promise ? await answer : answer) accepted += 1;
      for (const name in Object.prototype) assert.fail(`the prototype of all objects has ${name}`);
    } catch (error) {
      const shown = inspect(await smallest(input, check), { maxStringLength: null, maxArrayLength: null });
      throw new Error(`input ${index} breaks a rule: ${shown}`, { cause: error });
    }
    if (performance.now() - startMs > HANG_MS) await assertEnds(input, index, check);
  }
  assert.ok(accepted > 0 && accepted < tried, `${accepted} of ${tried} inputs were accepted`);
  context.diagnostic(`${context.name}: ${tried} inputs, ${accepted} accepted`);
}

/** Once more: the machine may have slept. */
async function assertEnds(input, index, check) {
  const startMs = performance.now();
  await check(input);
  assert.ok(performance.now() - startMs < HANG_MS, `input ${index} hangs: ${inspect(input)}`);
}

/** Leaves out ever smaller parts of a text, or of bytes or an input's `bytes`, for as long as `check` still throws. */
async function smallest(input, check) {
  const [start, wrap] = input.bytes ? [input.bytes, (bytes) => ({ ...input, bytes })] : [input, (part) => part];
  const join = (a, b) => (typeof start === "string" ? a + b : Buffer.concat([a, b]));
  let found = start;
  for (let part = start.length; part > 0; part >>= 1) {
    for (let at = 0; at < found.length; ) {
      const shorter = join(found.slice(0, at), found.slice(at + part));
      try {
        await check(wrap(shorter));
        at += part;
      } catch {
        found = shorter;
      }
    }
  }
  return wrap(found);
}
