/** A step of a run, as a page sees it. */
import { requestError } from "./errors";

/** One denoising step. */
export class Step {
  /** Which step this is, from 0. */
  readonly index: number;
  /** Steps in all. */
  readonly total: number;
  /** Estimated time to the last step, in milliseconds, by the steps measured so far. */
  readonly etaMs: number;
  readonly #images: () => Promise<ImageBitmap[]>;

  /** @internal */
  constructor(index: number, total: number, etaMs: number, images: () => Promise<ImageBitmap[]>) {
    this.index = index;
    this.total = total;
    this.etaMs = etaMs;
    this.#images = images;
  }

  /**
   * The picture as the model imagines it at this step, decoded only when asked for. Ask before taking the next step; the
   * last step's picture stays available until the next run. The caller closes the bitmap. Of a batch, the first picture.
   */
  async image(): Promise<ImageBitmap> {
    const [first, ...others] = await this.#images();
    for (const other of others) other.close();
    if (!first) throw requestError("step", "it has no picture");
    return first;
  }

  /** As {@link image}, all pictures of a batch in its order; of a single picture, that one. */
  images(): Promise<ImageBitmap[]> {
    return this.#images();
  }
}
