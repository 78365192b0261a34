/** Settings as the part of an address after `#`, such as `#p=a+cat&s=42&st=4`. It never leaves the browser. */
import type { FoundSettings } from "./found";

/** Longest that is read, in characters. */
const MAX_HASH_CHARACTERS = 32_768;

const KEYS = {
  p: "prompt",
  n: "negative",
  s: "seed",
  vs: "variationSeed",
  vst: "variationStrength",
  st: "steps",
  g: "guidance",
  w: "width",
  h: "height",
  sa: "sampler",
  u: "upscale",
  t: "tiling",
  m: "model",
} as const satisfies Record<string, keyof FoundSettings>;

/** The settings in an address's hash, or null where it has none. */
export function readHash(hash: string): FoundSettings | null {
  if (hash.length > MAX_HASH_CHARACTERS) return null;
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  const found = Object.entries(KEYS).flatMap(([key, name]) => {
    const value = query.get(key);
    return value === null ? [] : [[name, value] as const];
  });
  return found.length > 0 ? Object.fromEntries(found) : null;
}

/** The hash that stands for settings, without `#`; what is empty is left out. */
export function writeHash(found: FoundSettings): string {
  const query = new URLSearchParams();
  for (const [key, name] of Object.entries(KEYS)) {
    const value = found[name];
    if (value) query.set(key, value);
  }
  return query.toString();
}
