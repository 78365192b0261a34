/** How fast things go and how long they will take, from measured times. Plain arithmetic; the caller brings the clock. */
import type { Progress } from "./protocol";

/** Bytes a second are measured over windows of at least this length. */
const WINDOW_MS = 500;
/** Weight of the newest window in the running rate. */
const NEWEST_WEIGHT = 0.4;
/** The time left is not guessed before this share of a phase was seen. */
const SHARE_BEFORE_GUESSING = 0.02;
/** Progress is reported at most this often within a phase. */
const REPORT_INTERVAL_MS = 100;

/** Turns byte counts into progress reports with rate and time left. */
export class ByteMeter {
  #phase: Progress["phase"] | null = null;
  #rate: number | null = null;
  #windowStartMs = 0;
  #windowStartBytes = 0;
  #phaseStartBytes = 0;
  #reportedMs = -Infinity;

  /** The report to send for this count, or null where the last one was sent just before. */
  report(phase: Progress["phase"], loadedBytes: number, totalBytes: number, nowMs: number): Progress | null {
    const isNewPhase = phase !== this.#phase;
    if (isNewPhase) {
      this.#phase = phase;
      this.#rate = null;
      this.#windowStartMs = nowMs;
      // What the store had already is not speed.
      this.#windowStartBytes = loadedBytes;
      this.#phaseStartBytes = loadedBytes;
    }
    const windowMs = nowMs - this.#windowStartMs;
    if (windowMs >= WINDOW_MS) {
      const rate = ((loadedBytes - this.#windowStartBytes) * 1000) / windowMs;
      this.#rate = this.#rate === null ? rate : NEWEST_WEIGHT * rate + (1 - NEWEST_WEIGHT) * this.#rate;
      this.#windowStartMs = nowMs;
      this.#windowStartBytes = loadedBytes;
    }
    const isComplete = totalBytes > 0 && loadedBytes >= totalBytes;
    if (!isNewPhase && !isComplete && nowMs - this.#reportedMs < REPORT_INTERVAL_MS) return null;
    this.#reportedMs = nowMs;
    const isSeenEnough = loadedBytes - this.#phaseStartBytes >= totalBytes * SHARE_BEFORE_GUESSING;
    const etaMs = this.#rate && isSeenEnough ? ((totalBytes - loadedBytes) * 1000) / this.#rate : null;
    return { phase, loadedBytes, totalBytes, rate: this.#rate, etaMs: isComplete ? 0 : etaMs };
  }
}

/** Estimates the time left in a run. What is computed first also compiles shaders, so it counts only while it is alone. */
export class StepMeter {
  #done = 0;
  #later = 0;
  #laterMs = 0;

  /** Notes what it took until `done` steps of `total` were computed, and gives the time left, in milliseconds. */
  note(durationMs: number, done: number, total: number): number {
    const steps = done - this.#done;
    if (this.#done > 0) {
      this.#later += steps;
      this.#laterMs += durationMs;
    }
    this.#done = done;
    const msOfOne = this.#later > 0 ? this.#laterMs / this.#later : durationMs / steps;
    return done < total ? (total - done) * msOfOne : 0;
  }
}
