/** Large pictures in overlapping tiles: where those lie, and how what was painted in them becomes one picture again. */

/** How much of a tile its neighbour covers too, at least. */
const OVERLAP = 0.25;

/** A tile's place, in pixels. */
export interface Tile {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A size in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Tiles of one size, row by row, that cover a picture evenly; no larger than the picture. */
export function tilesOf(picture: Size, tile: Size): Tile[] {
  const width = Math.min(tile.width, picture.width);
  const height = Math.min(tile.height, picture.height);
  return startsOf(picture.height, height).flatMap((y) => startsOf(picture.width, width).map((x) => ({ x, y, width, height })));
}

/** Where tiles of a length begin along a side, from one end to the other. */
function startsOf(side: number, tile: number): number[] {
  const count = 1 + Math.ceil((side - tile) / (tile * (1 - OVERLAP)));
  return Array.from({ length: count }, (_, at) => (count === 1 ? 0 : Math.round((at * (side - tile)) / (count - 1))));
}

/** Takes tiles in any order; where they overlap, each counts the less the nearer its own edge is. */
export class Blend {
  readonly #base: ImageData;
  readonly #tiles: readonly Tile[];
  /** Weighted red, green and blue of each pixel, and the weights' sum. */
  readonly #sums: Float32Array;

  /** @param base what shows where no tile has been added yet. */
  constructor(base: ImageData, tiles: readonly Tile[]) {
    this.#base = base;
    this.#tiles = tiles;
    this.#sums = new Float32Array(base.width * base.height * 4);
  }

  /** Adds what was painted in a tile, at its size. */
  add(tile: Tile, { data }: ImageData): void {
    const columns = weightsOf(tile.x, tile.width, this.#tiles.map(({ x }) => x));
    const rows = weightsOf(tile.y, tile.height, this.#tiles.map(({ y }) => y));
    for (let y = 0; y < tile.height; y += 1) {
      for (let x = 0; x < tile.width; x += 1) {
        const weight = (columns[x] ?? 0) * (rows[y] ?? 0);
        const from = 4 * (y * tile.width + x);
        const to = 4 * ((tile.y + y) * this.#base.width + tile.x + x);
        for (let channel = 0; channel < 3; channel += 1) this.#sums[to + channel]! += weight * (data[from + channel] ?? 0);
        this.#sums[to + 3]! += weight;
      }
    }
  }

  /** The picture so far. */
  picture(): ImageData {
    const { data, width, height } = this.#base;
    const blended = new ImageData(new Uint8ClampedArray(data), width, height);
    for (let at = 0; at < this.#sums.length; at += 4) {
      const weight = this.#sums[at + 3] ?? 0;
      if (weight === 0) continue;
      for (let channel = 0; channel < 3; channel += 1) blended.data[at + channel] = (this.#sums[at + channel] ?? 0) / weight;
    }
    return blended;
  }
}

/** How much each pixel along a tile's side counts: rising over what the tile before covers too, falling likewise. */
function weightsOf(start: number, length: number, starts: readonly number[]): number[] {
  const before = Math.max(...starts.filter((other) => other < start));
  const after = Math.min(...starts.filter((other) => other > start));
  const rise = before + length - start; // -Infinity where there is none
  const fall = start + length - after;
  const ramp = (distance: number, over: number) => (over > 0 ? Math.min(1, (distance + 0.5) / over) : 1);
  return Array.from({ length }, (_, at) => ramp(at, rise) * ramp(length - 1 - at, fall));
}
