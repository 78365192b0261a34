/** What this browser can do, found out before anything is downloaded. */

/** Whether WebGPU can be used here, and if not, why. */
export type GpuSupport =
  | { readonly isAvailable: true; readonly hasFloat16: boolean }
  /** `insecure`: the page is not on https or localhost. `missing`: no WebGPU here. `blocked`: WebGPU, but no adapter. */
  | { readonly isAvailable: false; readonly reason: "insecure" | "missing" | "blocked" };

/** A GPU process that is just starting, or starting again, answers with no adapter; so a few questions are asked. */
const ADAPTER_TRIES = 3;
const ADAPTER_PAUSE_MS = 400;

/** Asks the browser for a WebGPU adapter. */
export async function detectGpu(): Promise<GpuSupport> {
  if (!globalThis.isSecureContext) return { isAvailable: false, reason: "insecure" };
  if (!("gpu" in navigator)) return { isAvailable: false, reason: "missing" };
  for (let tried = 0; tried < ADAPTER_TRIES; tried += 1) {
    if (tried > 0) await new Promise((resolve) => setTimeout(resolve, ADAPTER_PAUSE_MS));
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    if (adapter) return { isAvailable: true, hasFloat16: adapter.features.has("shader-f16") };
  }
  return { isAvailable: false, reason: "blocked" };
}
