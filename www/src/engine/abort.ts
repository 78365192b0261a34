/** Waiting that a caller can give up. */
import { abortError, FraiseError } from "./errors";

/** `work`, or an `AbortError` as soon as `signal` aborts; `onAbort` is called then. */
export async function orAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  onAbort: () => void = () => undefined,
): Promise<T> {
  if (!signal) return work;
  let stopListening: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    const abort = () => {
      onAbort();
      reject(abortError());
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    stopListening = () => signal.removeEventListener("abort", abort);
  });
  try {
    return await Promise.race([aborted, work]);
  } catch (error) {
    // The worker's own word for an abort, should it come first.
    throw error instanceof FraiseError && error.code === "Cancelled" ? abortError() : error;
  } finally {
    stopListening();
  }
}
