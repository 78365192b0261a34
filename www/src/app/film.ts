/** The steps of a picture as they looked, kept for looking back and for animations. */
import type { Step } from "../engine/index";

/** The picture at one step; previews may be smaller than the finished picture. */
export interface Frame {
  /** Which step this is, from 0. */
  readonly index: number;
  readonly pixels: ImageData;
}

/** The kept steps of one picture, first to last. */
export interface Film {
  /** Steps in all. */
  readonly total: number;
  readonly frames: readonly Frame[];
}

/** What the frames of one picture may take, in bytes; of many or large ones only every second, third … is kept. */
const MAX_FILM_BYTES = 16 * 2 ** 20;
const MIN_FRAMES = 2;

/** Collects a run's steps. */
export class FilmRecorder {
  readonly #frames: Frame[] = [];
  #total = 0;
  /** Every so many steps one is kept, counted back from the last. */
  #stride = 1;

  /** What was collected so far. */
  get film(): Film {
    return { total: this.#total, frames: [...this.#frames] };
  }

  /** Whether there is room for the picture at this step. */
  wants({ index, total }: Step): boolean {
    return (total - 1 - index) % this.#stride === 0;
  }

  /** Keeps the picture at a step that is wanted. */
  add({ index, total }: Step, pixels: ImageData): void {
    this.#total = total;
    if (this.#frames.length === 0) {
      const room = Math.max(MIN_FRAMES, Math.floor(MAX_FILM_BYTES / pixels.data.byteLength));
      this.#stride = Math.ceil(total / room);
    }
    this.#frames.push({ index, pixels });
  }
}

/** Adds a step of pictures painted together to the film of each, if there is room; before the next step is taken. */
export async function record(step: Step, recorders: readonly FilmRecorder[]): Promise<void> {
  if (!recorders.every((recorder) => recorder.wants(step))) return;
  const pictures = (await step.images()).map(pixelsOf);
  for (const [at, recorder] of recorders.entries()) {
    const pixels = pictures[at];
    if (pixels) recorder.add(step, pixels);
  }
}

/** Finished pictures as a film, one frame each. */
export async function filmOf(pictures: readonly Blob[]): Promise<Film> {
  const frames = await Promise.all(
    pictures.map(async (png, index) => ({ index, pixels: pixelsOf(await createImageBitmap(png)) })),
  );
  return { total: frames.length, frames };
}

/** A bitmap's pixels; it is closed. */
export function pixelsOf(bitmap: ImageBitmap): ImageData {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no 2D context");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
