/** More detail for a finished picture: it is painted once more at twice its size, tile by tile, each from what is there. */
import type { Engine, GenerateRequest } from "../engine/index";
import { pixelsOf } from "./film";
import type { Result } from "./state";
import { Blend, tilesOf, type Size, type Tile } from "./tiles";

/** How much of the schedule is run on each tile: enough for finer detail, too little for other things. */
const STRENGTH = 0.3;
const FACTOR = 2;
/** Largest side that the engine takes. */
const MAX_SIDE_PX = 2048;

/** What detailing depends on besides the picture. */
export interface Detailing {
  /** Of a tile: the size that the model paints best at. */
  readonly size: Size;
  /** Whether the model itself makes pictures twice as large; else they are only scaled. */
  readonly canUpscale: boolean;
}

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
export interface DetailOptions extends Detailing {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (progress: DetailProgress) => void;
}

/** Whether a picture can have more detail; a texture could not, since its edges would not meet any longer. */
export function canDetail({ request, width, height }: Result): boolean {
  return !request.tiling && Math.max(width, height) * (width > request.width ? 1 : FACTOR) <= MAX_SIDE_PX;
}

/** Paints a picture in overlapping tiles and blends them. Rejects as the engine does. */
export async function paintInTiles(engine: Engine, result: Result, { size, canUpscale, signal, onProgress }: DetailOptions): Promise<ImageData> {
  const large = await larger(engine, result, canUpscale, signal);
  const tiles = tilesOf(large, size);
  const blend = new Blend(large, tiles);
  const startMs = performance.now();
  for (const [at, tile] of tiles.entries()) {
    for await (const step of engine.generate(requestOf(result, large, tile, at), { signal })) {
      const isLast = step.index + 1 === step.total;
      if (isLast) blend.add(tile, pixelsOf(await step.image()));
      const [done, total, nowMs] = [at * step.total + step.index + 1, tiles.length * step.total, performance.now()];
      const endsAtMs = nowMs + ((nowMs - startMs) / done) * (total - done);
      onProgress({ done, total, endsAtMs, picture: isLast ? blend.picture() : null });
    }
  }
  return blend.picture();
}

/** The picture at the size at which it is to have more detail. */
async function larger(engine: Engine, { png, request, width }: Result, canUpscale: boolean, signal: AbortSignal | undefined): Promise<ImageData> {
  if (width > request.width) return scaled(png, 1); // it was made larger already
  return canUpscale ? scaled(await engine.upscale(png, { signal }), 1) : scaled(png, FACTOR);
}

/** What a tile is asked for: the picture's words, from what is there, with noise of its own. */
function requestOf({ asked }: Result, large: ImageData, tile: Tile, at: number): GenerateRequest {
  const { mask: _mask, variation: _variation, ...words } = asked;
  const seed = (asked.seed + at) % (Number.MAX_SAFE_INTEGER + 1);
  return { ...words, image: crop(large, tile), strength: STRENGTH, width: tile.width, height: tile.height, seed, upscale: false };
}

async function scaled(png: Blob, factor: number): Promise<ImageData> {
  const bitmap = await createImageBitmap(png);
  if (factor === 1) return pixelsOf(bitmap);
  const [resizeWidth, resizeHeight] = [bitmap.width * factor, bitmap.height * factor];
  const large = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
  bitmap.close();
  return pixelsOf(large);
}

function crop({ data, width }: ImageData, tile: Tile): ImageData {
  const cut = new ImageData(tile.width, tile.height);
  for (let y = 0; y < tile.height; y += 1) {
    const from = 4 * ((tile.y + y) * width + tile.x);
    cut.data.set(data.subarray(from, from + 4 * tile.width), 4 * y * tile.width);
  }
  return cut;
}
