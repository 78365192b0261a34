/** Makes animations of a picture's steps, in a worker of their own, so that they can be followed and cancelled. */
import { isAbortError } from "../engine/index";
import type { Film } from "./film";
import { save } from "./save";

/** The kinds of animation. `video` is MP4 or WebM, whichever the browser can encode. */
export type AnimationKind = "gif" | "video";

/** An animation on its way. */
export type Animation =
  | { readonly kind: "none" }
  | { readonly kind: "encoding"; readonly done: number; readonly total: number }
  | { readonly kind: "failed"; readonly message: string };

/** One picture of an animation and how long it stays. */
export interface Shot {
  readonly pixels: ImageData;
  readonly ms: number;
}

/** What the worker is asked for. */
export interface EncodeMessage {
  readonly kind: AnimationKind;
  /** At least one; all become as large as the last. */
  readonly shots: readonly Shot[];
}

/** What the worker answers. */
export type EncodeAnswer = { readonly done: number } | { readonly file: Blob } | { readonly error: string };

/** All steps but the last share this time, within the limits for one. */
const STEPS_MS = 2400;
const STEP_MS = { least: 80, most: 400 };
const LAST_MS = 1500;

/** Whether this browser encodes video. */
export function canEncodeVideo(): boolean {
  return "VideoEncoder" in globalThis;
}

/** Makes one animation at a time and saves it. */
export class Animator {
  readonly #show: (animation: Animation) => void;
  #work: AbortController | null = null;

  /** @param show hears what is going on. */
  constructor(show: (animation: Animation) => void) {
    this.#show = show;
  }

  /** Animates a film and saves it as `name` with the ending of its kind. Never rejects: how it ended is shown. */
  async save(film: Film, kind: AnimationKind, name: string): Promise<void> {
    if (this.#work) return;
    const { signal } = (this.#work = new AbortController());
    const shots = shotsOf(film);
    const show = (done: number) => this.#show({ kind: "encoding", done, total: shots.length });
    show(0);
    try {
      const file = await encode({ kind, shots }, signal, show);
      save(file, `${name}.${file.type.split("/").at(-1)}`);
      this.#show({ kind: "none" });
    } catch (error) {
      this.#show(isAbortError(error) ? { kind: "none" } : { kind: "failed", message: String(error) });
    } finally {
      this.#work = null;
    }
  }

  /** Stops what is being made. */
  cancel(): void {
    this.#work?.abort();
  }
}

/** The film as an animation: one shot for each kept step, the finished picture for longer. */
function shotsOf({ frames }: Film): Shot[] {
  const ms = Math.min(STEP_MS.most, Math.max(STEP_MS.least, STEPS_MS / frames.length));
  return frames.map(({ pixels }, index) => ({ pixels, ms: index + 1 < frames.length ? ms : LAST_MS }));
}

/** Encodes; `onProgress` hears how many shots are done. Aborting ends the worker and rejects with `AbortError`. */
function encode(message: EncodeMessage, signal: AbortSignal, onProgress: (done: number) => void): Promise<Blob> {
  const worker = new Worker(new URL("./animation-worker.ts", import.meta.url), { type: "module" });
  const encoding = new Promise<Blob>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data }: MessageEvent<EncodeAnswer>) => {
      if ("done" in data) onProgress(data.done);
      else if ("file" in data) resolve(data.file);
      else reject(new Error(data.error));
    };
    worker.postMessage(message);
  });
  return encoding.finally(() => worker.terminate());
}
