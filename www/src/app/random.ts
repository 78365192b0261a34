/** Seeds and names drawn at random. */

/** 32 hexadecimal digits, drawn at random; not `crypto.randomUUID`, which plain http pages lack. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A seed drawn at random. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
