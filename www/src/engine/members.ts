/**
 * The workers that help an engine's own: those of a crew (`crew.ts`), and the one that decodes previews (`previews.ts`). The page starts them, not the engine's worker: in Firefox, workers that start
 * workers of their own now and then hang for ever in doing so.
 */
import type { CrewCall, Enlistment } from "./crew";
import type { PreviewCall } from "./previews";

/** How long they may take to start. */
const START_LIMIT_MS = 5000;

/** One engine's helpers, there or not. */
export class Members {
  #crew = 0;
  #workers: Worker[] = [];
  #previewer: Worker | null = null;

  /** Starts a crew in the place of an earlier one; tells whether all of it waits for work. */
  async start({ crew, others, script, module, buffer }: CrewCall): Promise<boolean> {
    this.end();
    const workers: Worker[] = [];
    [this.#crew, this.#workers] = [crew, workers];
    try {
      const members = Array.from({ length: others }, (_, member) => started(script, { member, module, buffer }, workers));
      await Promise.all(members);
      return true;
    } catch (error) {
      if (crew === this.#crew) console.warn("Fraise computes on one thread, since its other workers do not start:", error);
      workers.forEach((worker) => worker.terminate());
      return false;
    }
  }

  /** Ends a crew, the present one by default; none where that is another one by now. */
  end(crew = this.#crew): void {
    if (crew !== this.#crew) return;
    this.#workers.forEach((worker) => worker.terminate());
    [this.#crew, this.#workers] = [0, []];
  }

  /** Starts the worker that decodes previews in the place of an earlier one, which says itself that it is there. */
  startPreviews({ previews, module, script }: PreviewCall, onFailure: () => void): void {
    this.endPreviews();
    const fail = (reason: unknown) => {
      console.warn("Fraise decodes previews in its own worker, since the other one does not start:", reason);
      this.endPreviews();
      onFailure();
    };
    try {
      const worker = new Worker(script, { type: "module", name: "fraise-previews" });
      this.#previewer = worker;
      worker.onerror = (event) => {
        event.preventDefault();
        if (this.#previewer === worker) fail(event.message);
      };
      worker.postMessage({ previews, module }, [previews]);
    } catch (error) {
      fail(error);
    }
  }

  /** Ends that worker. */
  endPreviews(): void {
    this.#previewer?.terminate();
    this.#previewer = null;
  }
}

/** Starts one worker, to be kept in `workers`; resolves once it waits for work. */
function started(script: string, enlistment: Enlistment, workers: Worker[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("it takes too long")), START_LIMIT_MS);
    const worker = new Worker(script, { type: "module", name: "fraise-member" });
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
