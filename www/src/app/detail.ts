/** Larger pictures, and more detail in them: painted once more, tile by tile, each from what is there. */
import type { Engine, GenerateRequest, LoadOptions } from "../engine/index";
import { pixelsOf } from "./film";
import type { ModelCard } from "./model";
import type { Result } from "./state";
import { Blend, cut, tilesOf, type Tile } from "./tiles";

/** How much of the schedule is run on each tile: enough for finer detail, too little for other things. */
const STRENGTH = 0.3;
/** How many times as large a picture becomes along each side where the model has no upscaler, and for more detail. */
export const FACTOR = 2;
/** Largest side that the engine takes. */
const MAX_SIDE_PX = 2048;
/** How far scaling looks beyond a pixel, and more. */
const MARGIN_PX = 8;

/** How far it is. */
export interface DetailProgress {
  /** Steps of all tiles. */
  readonly done: number;
  readonly total: number;
  /** On the clock of `performance.now()`. */
  readonly endsAtMs: number;
  /** The picture so far, where a tile was finished. */
  readonly picture: ImageData | null;
}

/** What a run of tiles is given. */
export interface DetailOptions extends LoadOptions {
  /** The model: its size is that of a tile, and its upscaler, if it makes pictures twice as large, comes before the tiles. */
  readonly card: ModelCard;
  readonly onTiles: (progress: DetailProgress) => void;
}

/** Whether a picture can be twice as large, or, where it was made larger before, have more detail. */
export function canDetail({ request, width, height }: Result): boolean {
  return Math.max(width, height) * (width > request.width ? 1 : FACTOR) <= MAX_SIDE_PX;
}

/** Paints a picture in overlapping tiles and blends them; a texture's edges still fit together. Rejects as the engine does. */
export async function paintInTiles(engine: Engine, result: Result, { card, onTiles, ...options }: DetailOptions): Promise<ImageData> {
  const { tiling } = result.request;
  const large = await larger(engine, result, card.upscaleFactor === FACTOR, options);
  const tiles = tilesOf(large, card, tiling);
  const blend = new Blend(large, tiles, tiling);
  const startMs = performance.now();
  for (const [at, tile] of tiles.entries()) {
    for await (const step of engine.generate(requestOf(result, large, tile, at), options)) {
      const isLast = step.index + 1 === step.total;
      if (isLast) blend.add(tile, pixelsOf(await step.image()));
      const [done, total, nowMs] = [at * step.total + step.index + 1, tiles.length * step.total, performance.now()];
      const endsAtMs = nowMs + ((nowMs - startMs) / done) * (total - done);
      onTiles({ done, total, endsAtMs, picture: isLast ? blend.picture() : null });
    }
  }
  return blend.picture();
}

/** A picture twice as large, by scaling alone; a texture's edges still fit together. */
export async function doubled({ png, request }: Result): Promise<ImageData> {
  const picture = await pixelsIn(png);
  const margin = request.tiling ? MARGIN_PX : 0;
  const [width, height] = [picture.width + 2 * margin, picture.height + 2 * margin];
  const around = cut(picture, { x: -margin, y: -margin, width, height });
  const size = { resizeWidth: FACTOR * width, resizeHeight: FACTOR * height, resizeQuality: "high" } as const;
  const large = pixelsOf(await createImageBitmap(around, size));
  const inside = { x: FACTOR * margin, y: FACTOR * margin, width: FACTOR * picture.width, height: FACTOR * picture.height };
  return cut(large, inside);
}

/** The picture at the size at which it is to have more detail. */
async function larger(engine: Engine, result: Result, canUpscale: boolean, options: LoadOptions): Promise<ImageData> {
  if (result.width > result.request.width) return pixelsIn(result.png); // it was made larger already
  return canUpscale ? pixelsIn(await engine.upscale(result.png, options)) : doubled(result);
}

/** What a tile is asked for: the picture's words, from what is there, with noise of its own. */
function requestOf({ asked }: Result, large: ImageData, tile: Tile, at: number): GenerateRequest {
  const { mask: _mask, variation: _variation, ...words } = asked;
  const { width, height } = tile;
  const seed = (asked.seed + at) % (Number.MAX_SAFE_INTEGER + 1);
  return { ...words, image: cut(large, tile), strength: STRENGTH, width, height, seed, upscale: false, tiling: false };
}

async function pixelsIn(png: Blob): Promise<ImageData> {
  return pixelsOf(await createImageBitmap(png));
}
