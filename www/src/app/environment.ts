/** What this browser can do, found out before anything is downloaded. */

/** Whether WebGPU can be used here, and if not, why. */
export type GpuSupport =
  | { readonly isAvailable: true }
  /** `insecure`: the page is not on https or localhost. `missing`: no WebGPU here. `blocked`: WebGPU, but no adapter. */
  | { readonly isAvailable: false; readonly reason: "insecure" | "missing" | "blocked" };

/** Asks the browser for a WebGPU adapter. */
export async function detectGpu(): Promise<GpuSupport> {
  if (!globalThis.isSecureContext) return { isAvailable: false, reason: "insecure" };
  if (!("gpu" in navigator)) return { isAvailable: false, reason: "missing" };
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return adapter ? { isAvailable: true } : { isAvailable: false, reason: "blocked" };
}
