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

  /** Keeps the picture at this step if there is room; before the next step is taken. */
  async add(step: Step): Promise<void> {
    this.#total = step.total;
    if ((step.total - 1 - step.index) % this.#stride !== 0) return;
    const pixels = await readPixels(step);
    if (this.#frames.length === 0) {
      const room = Math.max(MIN_FRAMES, Math.floor(MAX_FILM_BYTES / pixels.data.byteLength));
      this.#stride = Math.ceil(step.total / room);
    }
    this.#frames.push({ index: step.index, pixels });
  }
}

/** Finished pictures as a film, one frame each. */
export async function filmOf(pictures: readonly Blob[]): Promise<Film> {
  const frames = await Promise.all(
    pictures.map(async (png, index) => ({ index, pixels: pixelsOf(await createImageBitmap(png)) })),
  );
  return { total: frames.length, frames };
}

async function readPixels(step: Step): Promise<ImageData> {
  return pixelsOf(await step.image());
}

/** A bitmap's pixels; it is closed. */
function pixelsOf(bitmap: ImageBitmap): ImageData {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no 2D context");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
