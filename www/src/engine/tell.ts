import type { FromWorker } from "./protocol";

/** Sends something from this worker to the page. */
export function tell(message: FromWorker | null, transfer: Transferable[] = []): void {
  (globalThis as unknown as { postMessage(message: FromWorker | null, transfer: Transferable[]): void }).postMessage(message, transfer);
}
