/** What can be done with finished pictures: variations of one, a larger one, the one that fits its words best. */
import type { Engine, LoadOptions } from "../engine/index";
import { doubled, FACTOR, paintInTiles, type DetailProgress } from "./detail";
import { checkSettings } from "./exchange/found";
import { requestOf } from "./form";
import type { KeptPicture, Known } from "./gallery/database";
import type { ModelCard } from "./model";
import { batchOf, type QueueEntry } from "./queue";
import { randomId, randomSeed } from "./random";
import { parseSeed, type Result } from "./state";

/** How far a variation's noise is turned towards other noise. */
export const VARIATIONS = { subtle: 0.3, strong: 0.7 } as const;

/** How much a variation differs. */
export type VariationName = keyof typeof VARIATIONS;

const VARIATIONS_AT_ONCE = 4;

/** What refining needs of the studio. */
export interface RefineHost {
  /** Asks for pictures. */
  add(entries: readonly QueueEntry[]): Promise<void>;
  /** Runs `work` with the engine and its model where nothing else is painting; what goes wrong is shown. */
  withEngine(work: (engine: Engine, options: LoadOptions) => Promise<void>): Promise<void>;
  /** Shows how far a picture in tiles is. */
  progress(progress: DetailProgress): void;
  /** Shows these pictures and looks at one of them. */
  show(pictures: readonly Result[], shown: Result): void;
  /** Keeps a picture in the gallery. */
  keep(png: Blob, known: Known): void;
}

/** The actions. None rejects. */
export class Refiner {
  readonly #host: RefineHost;

  constructor(host: RefineHost) {
    this.#host = host;
  }

  /** Asks for pictures that are like a finished one. */
  async vary({ asked, id }: Result, name: VariationName): Promise<void> {
    const varied = () => ({ ...asked, variation: { seed: randomSeed(), strength: VARIATIONS[name] } });
    const entries = batchOf(asked, VARIATIONS_AT_ONCE, [id]).map((entry) => ({ ...entry, request: varied() }));
    await this.#host.add(entries);
  }

  /**
   * Asks for pictures between two kept ones: for each share of the second one in `shares`, from 0 to 1, the noise lies so
   * far on the way from the first one's to the second one's, and their words weigh so much. The rest is as in the first.
   */
  async cross(first: KeptPicture, second: KeptPicture, shares: readonly number[]): Promise<void> {
    const request = requestOf(checkSettings(first.settings).settings);
    const seed = parseSeed(second.settings.seed ?? "") ?? randomSeed();
    const [one, other] = [first, second].map(({ settings }) => settings.prompt ?? "") as [string, string];
    const entries = batchOf(request, shares.length, [first.id, second.id]).map((entry, at): QueueEntry => {
      const strength = shares[at] ?? 0;
      return { ...entry, request: { ...request, prompt: crossed(one, other, strength), variation: { seed, strength } } };
    });
    await this.#host.add(entries);
  }

  /**
   * Makes a picture larger and shows it beside the others: by the model's upscaler; without one twice as large, with new detail
   * where the model can paint from pictures, else by scaling alone.
   */
  async enlarge(result: Result, pictures: readonly Result[], card: ModelCard): Promise<void> {
    const { upscaleFactor: factor, canEncode } = card;
    if (factor === null && canEncode) return this.detail(result, pictures, card);
    await this.#host.withEngine(async (engine, options) => {
      const scaled = async () => engine.savedLike(await doubled(result), result.png, options);
      const png = factor === null ? await scaled() : await engine.upscale(result.png, options);
      this.#add(pictures, result, png, factor ?? FACTOR);
    });
  }

  /** Paints a picture once more, larger and in tiles, and shows it beside the others. */
  async detail(result: Result, pictures: readonly Result[], card: ModelCard): Promise<void> {
    await this.#host.withEngine(async (engine, options) => {
      try {
        const pixels = await paintInTiles(engine, result, { ...options, card, onTiles: (progress) => this.#host.progress(progress) });
        const png = await engine.savedLike(pixels, result.png, options);
        this.#add(pictures, result, png, pixels.width / result.width);
      } catch (error) {
        this.#host.show(pictures, result);
        throw error;
      }
    });
  }

  /** Shows and keeps what was made of a picture, so many times as large. */
  #add(pictures: readonly Result[], result: Result, png: Blob, factor: number): void {
    const made = { ...result, id: randomId(), png, width: result.width * factor, height: result.height * factor };
    this.#host.show([...pictures, made], made);
    this.#host.keep(png, { id: made.id, parents: [result.id] });
  }

  /** Puts the pictures that fit their words best first, by the model's scorer, and looks at the best. */
  async rank(pictures: readonly Result[]): Promise<void> {
    await this.#host.withEngine(async (engine, options) => {
      const prompt = pictures[0]?.request.prompt ?? "";
      const scores = await engine.score(prompt, pictures.map(({ png }) => png), options);
      const order = pictures.map((picture, at) => ({ picture, score: scores[at] ?? -1 })).sort((a, b) => b.score - a.score);
      const ranked = order.map(({ picture }) => picture);
      const [best] = ranked;
      if (best) this.#host.show(ranked, best);
    });
  }
}

/** Words of both pictures, weighed as AUTOMATIC1111 writes it; the same ones once. */
function crossed(one: string, other: string, share: number): string {
  if (one === other || share <= 0) return one;
  if (share >= 1) return other;
  const weighed = (text: string, weight: number) => `(${text.replace(/[()[\]\\]/g, "\\$&")}:${(2 * weight).toFixed(2)})`;
  return `${weighed(one, 1 - share)}, ${weighed(other, share)}`;
}
