/**
 * The engine's WebAssembly, of which there are two: with relaxed SIMD, which makes the processor's kernels faster, and without,
 * for browsers that do not know it. Only the one in use is fetched.
 */
import * as plain from "../wasm/fraise_web.js";
import * as relaxed from "../wasm/fraise_web_relaxed.js";
import { hasRelaxedSimd } from "./simd";

const isRelaxed = hasRelaxedSimd();
const PLAIN_URL = new URL("../wasm/fraise_web_bg.wasm", import.meta.url).href;
const RELAXED_URL = new URL("../wasm/fraise_web_relaxed_bg.wasm", import.meta.url).href;

/** Where it lies. */
export const WASM_URL = isRelaxed ? RELAXED_URL : PLAIN_URL;

/** What it offers; `default` starts it. Both modules offer the same. */
export const wasm: typeof plain = isRelaxed ? (relaxed as unknown as typeof plain) : plain;
