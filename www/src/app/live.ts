/** Live painting: the picture follows the words. Of runs that overtake each other the newest wins. */

/** How long the words must rest before they are painted. */
const REST_MS = 300;

/** Paints the words as they are once it is ready. `stopped` ends everything, `stale` only the painting; never rejects. */
export type PaintLive = (stopped: AbortSignal, stale: AbortSignal) => Promise<void>;

/** Decides when to paint; how is the caller's business. */
export class LivePainter {
  readonly #paint: PaintLive;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #run: AbortController | null = null;
  /** Outlives single runs: a model is not loaded anew because of a letter. */
  #session: AbortController | null = null;
  /** Settles when no run is under way. */
  #ended: Promise<void> = Promise.resolve();

  constructor(paint: PaintLive) {
    this.#paint = paint;
  }

  /** The words have changed; they are painted when they have rested so long. */
  wake(restMs = REST_MS): void {
    this.#sleep();
    this.#timer = setTimeout(() => this.#begin(), restMs);
  }

  /** Cancels the run under way, and what was about to be painted; settles when both are over. */
  stop(): Promise<void> {
    this.#sleep();
    this.#session?.abort();
    this.#session = null;
    this.#run?.abort();
    return this.#ended;
  }

  #sleep(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #begin(): void {
    this.#run?.abort();
    this.#session ??= new AbortController();
    this.#run = new AbortController();
    const { signal: stopped } = this.#session;
    const { signal: stale } = this.#run;
    // The stale run must be out of the way first: an engine is started, and a model loaded, once.
    this.#ended = this.#ended.then(() => (stale.aborted ? undefined : this.#paint(stopped, stale)));
  }
}
