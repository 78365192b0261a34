/**
 * One download per origin, however many tabs: whoever brings a pack, or a part of it, into the store first holds its lock,
 * the others wait, hear how far it is, and then find it there; nor is a pack removed meanwhile. A tab that is closed lets go
 * of its locks, so the next one takes over.
 */
import { isErrorShape } from "./errors";
import { ByteMeter } from "./pace";
import type { Progress } from "./protocol";

/** Tells how far a load or a conversion is, at every chunk. */
export type Report = (phase: Progress["phase"], loadedBytes: number, totalBytes: number) => void;

/** Work on the pack of one address. */
export interface Turn<T> {
  /** The pack's address. */
  readonly address: string;
  /** The phase that others wait for; once `work` reports a later one, they go on. */
  readonly phase: "download" | "convert";
  readonly signal: AbortSignal;
  readonly report: Report;
  readonly work: (report: Report) => Promise<T>;
}

/**
 * Does the work when it is this tab's turn. Where there are no locks (plain http, opaque origins) it does it at once.
 *
 * Work that finds a stored piece damaged or gone is done once more, in another turn: whoever comes first fetches it again.
 */
export function inTurn<T>(turn: Turn<T>): Promise<T> {
  return oneTurn(turn).catch((error: unknown) => (isDamaged(error) ? oneTurn(turn) : Promise.reject(error as Error)));
}

function isDamaged(error: unknown): boolean {
  return isErrorShape(error) && error.code === "CorruptPiece" && String(error.details.origin).startsWith("store");
}

async function oneTurn<T>({ address, phase, signal, report, work }: Turn<T>): Promise<T> {
  const name = `fraise ${address}`;
  const channel = new BroadcastChannel(name);
  const meter = new ByteMeter();
  channel.onmessage = ({ data: [loadedBytes, totalBytes] }: MessageEvent<[number, number]>) => report(phase, loadedBytes, totalBytes);
  try {
    const leave = await enter(name, signal);
    channel.onmessage = null;
    const tell: Report = (now, loadedBytes, totalBytes) => {
      if (now === phase && meter.report(now, loadedBytes, totalBytes, performance.now())) channel.postMessage([loadedBytes, totalBytes]);
      if (now === "upload") leave();
      report(now, loadedBytes, totalBytes);
    };
    return await work(tell).finally(leave);
  } finally {
    channel.close();
  }
}

/** Waits for a lock; the returned function releases it. */
function enter(name: string, signal: AbortSignal): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = () => new Promise<void>((release) => resolve(release));
    const asked = navigator.locks?.request(name, { signal }, hold);
    if (!asked) resolve(() => undefined);
    else asked.catch((error: unknown) => (signal.aborted ? reject(error) : resolve(() => undefined)));
  });
}
