/** What can be done with finished pictures: variations of one, a larger one, the one that fits its words best. */
import type { Engine, LoadOptions } from "../engine/index";
import { paintInTiles, type Detailing, type DetailProgress } from "./detail";
import { checkSettings } from "./exchange/found";
import { requestOf } from "./form";
import type { KeptPicture, Known } from "./gallery/database";
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

  /** Makes a picture larger by the model's upscaler and shows it beside the others. */
  async enlarge(result: Result, pictures: readonly Result[], factor: number): Promise<void> {
    await this.#host.withEngine(async (engine, options) => {
      const png = await engine.upscale(result.png, options);
      const larger = { ...result, id: randomId(), png, width: result.width * factor, height: result.height * factor };
      this.#host.show([...pictures, larger], larger);
      this.#host.keep(png, { id: larger.id, parents: [result.id] });
    });
  }

  /** Paints a picture once more, larger and in tiles, and shows it beside the others. */
  async detail(result: Result, pictures: readonly Result[], detailing: Detailing): Promise<void> {
    await this.#host.withEngine(async (engine, { signal }) => {
      try {
        const pixels = await paintInTiles(engine, result, { ...detailing, signal, onProgress: (progress) => this.#host.progress(progress) });
        const png = await engine.savedLike(pixels, result.png, { signal });
        const detailed = { ...result, id: randomId(), png, width: pixels.width, height: pixels.height };
        this.#host.show([...pictures, detailed], detailed);
        this.#host.keep(png, { id: detailed.id, parents: [result.id] });
      } catch (error) {
        this.#host.show(pictures, result);
        throw error;
      }
    });
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
