/**
 * More workers for the processor's arithmetic, on pages that may share memory with them: those that are isolated across
 * origins (COOP and COEP). Elsewhere the engine's own worker computes alone.
 */
import { wasm } from "./wasm";

/** More than eight have more to tell each other than they gain, and each holds a memory of its own. */
const MOST_MEMBERS = 8;
/** How long the others may take to start. */
const START_LIMIT_MS = 5000;
/** What is shared at first, and at most: several layers of the largest models that processors paint with. It grows as needed. */
const FIRST_BYTES = 4 << 20;
const MOST_BYTES = 512 << 20;

/** What a worker is told that is to be a member. */
export interface Enlistment {
  readonly member: number;
  readonly module: WebAssembly.Module;
  readonly buffer: SharedArrayBuffer;
}

/** Others that wait for work. */
export interface Crew {
  readonly buffer: SharedArrayBuffer;
  readonly others: number;
  end(): void;
}

/** How many compute where that is possible, the engine's own worker among them. */
export function crewSize(): number {
  const isShared = globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function";
  return isShared ? Math.max(1, Math.min(navigator.hardwareConcurrency || 1, MOST_MEMBERS)) : 1;
}

/** Starts the others, from this worker's own script; null where one does not start. */
export async function startCrew(module: WebAssembly.Module): Promise<Crew | null> {
  const others = crewSize() - 1;
  const workers: Worker[] = [];
  const end = () => workers.forEach((worker) => worker.terminate());
  try {
    const buffer = new SharedArrayBuffer(FIRST_BYTES, { maxByteLength: MOST_BYTES });
    await Promise.all(Array.from({ length: others }, (_, member) => startMember({ member, module, buffer }, workers)));
    return { buffer, others, end };
  } catch (error) {
    console.warn("Fraise computes on one thread, since its other workers do not start:", error);
    end();
    return null;
  }
}

function startMember(enlistment: Enlistment, workers: Worker[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("it takes too long")), START_LIMIT_MS);
    const worker = new Worker(globalThis.location.href, { type: "module", name: "fraise-member" });
    workers.push(worker);
    worker.onmessage = () => {
      clearTimeout(timer);
      resolve();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      clearTimeout(timer);
      reject(new Error(event.message || "the script could not be loaded"));
    };
    worker.postMessage(enlistment);
  });
}

/** Makes this worker a member, which does nothing else from then on. */
export function enlist({ member, module, buffer }: Enlistment): void {
  wasm.initSync({ module });
  // Any message tells the engine's worker that this one is about to wait for work.
  (globalThis as unknown as { postMessage(message: null): void }).postMessage(null);
  wasm.serve(buffer, member);
}
