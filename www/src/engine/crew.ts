/**
 * More workers for the processor's arithmetic, on pages that may share memory with them: those that are isolated across
 * origins (COOP and COEP). Elsewhere the engine's own worker computes alone. The page starts and ends them (`members.ts`).
 */
import { tell } from "./tell";
import { wasm } from "./wasm";

/** More than eight have more to tell each other than they gain, and each holds a memory of its own. */
const MOST_MEMBERS = 8;
/** What is shared at first, and at most: several layers of the largest models that processors paint with. It grows as needed. */
const FIRST_BYTES = 4 << 20;
const MOST_BYTES = 512 << 20;

/** What a worker is told that is to be a member. */
export interface Enlistment {
  readonly member: number;
  readonly module: WebAssembly.Module;
  readonly buffer: SharedArrayBuffer;
}

/** What the page is told that is to start a crew, in the place of an earlier one. */
export interface CrewCall extends Omit<Enlistment, "member"> {
  /** Counts this worker's crews. */
  readonly crew: number;
  readonly others: number;
  /** Address of the members' script, which is this worker's own. */
  readonly script: string;
}

/** Others that wait for work. */
export interface Crew {
  readonly buffer: SharedArrayBuffer;
  readonly others: number;
  end(): void;
}

let lastCrew = 0;
/** Hears whether the crew that was called last is there. */
let answer: (isThere: boolean) => void = () => undefined;

/** How many compute where that is possible, the engine's own worker among them. One core is left to previews, if there are three. */
export function crewSize(): number {
  const isShared = globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function";
  const cores = navigator.hardwareConcurrency || 1;
  return isShared ? Math.min(Math.max(cores - 1, 2), cores, MOST_MEMBERS) : 1;
}

/** Has the page start the others; null where one does not start. */
export async function startCrew(module: WebAssembly.Module): Promise<Crew | null> {
  const others = crewSize() - 1;
  const crew = (lastCrew += 1);
  let buffer: SharedArrayBuffer;
  try {
    buffer = new SharedArrayBuffer(FIRST_BYTES, { maxByteLength: MOST_BYTES });
  } catch (error) {
    console.warn("Fraise computes on one thread, since no memory can be shared:", error);
    return null;
  }
  answer(false); // to a call whose load was given up
  const answered = new Promise<boolean>((resolve) => {
    answer = resolve;
  });
  tell({ crew, module, buffer, others, script: globalThis.location.href });
  return (await answered) ? { buffer, others, end: () => tell({ dismissed: crew }) } : null;
}

/** The page says whether a crew waits for work. */
export function mustered(crew: number, isThere: boolean): void {
  if (crew === lastCrew) answer(isThere);
}

/** Makes this worker a member, which does nothing else from then on. */
export function enlist({ member, module, buffer }: Enlistment): void {
  wasm.initSync({ module });
  // Any message tells the page that this worker is about to wait for work.
  tell(null);
  wasm.serve(buffer, member);
}
