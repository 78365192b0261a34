/**
 * Large pictures in overlapping tiles: where those lie, and how what was painted in them becomes one picture again. Tiles of a
 * texture go on over its edges, at the opposite side.
 */

/** How much of a tile its neighbour covers too, at least. */
const OVERLAP = 0.25;

/** A tile's place, in pixels; what lies beyond the picture is taken from its opposite side. */
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

/** Tiles of one size, row by row, that cover a picture evenly; no larger than the picture, and of a texture over its edges. */
export function tilesOf(picture: Size, tile: Size, isSeamless = false): Tile[] {
  const width = Math.min(tile.width, picture.width);
  const height = Math.min(tile.height, picture.height);
  const starts = isSeamless ? startsAround : startsOf;
  return starts(picture.height, height).flatMap((y) => starts(picture.width, width).map((x) => ({ x, y, width, height })));
}

/** What a tile shows of a picture. */
export function cut({ data, width, height }: ImageData, tile: Tile): ImageData {
  const pixels = new ImageData(tile.width, tile.height);
  for (let y = 0; y < tile.height; y += 1) {
    const row = width * wrapped(tile.y + y, height);
    for (let x = 0; x < tile.width; ) {
      const left = wrapped(tile.x + x, width);
      const run = Math.min(tile.width - x, width - left);
      pixels.data.set(data.subarray(4 * (row + left), 4 * (row + left + run)), 4 * (y * tile.width + x));
      x += run;
    }
  }
  return pixels;
}

function wrapped(place: number, side: number): number {
  return ((place % side) + side) % side;
}

/** Where tiles of a length begin around a side whose ends meet: two at least, so that each end lies within another one. */
function startsAround(side: number, tile: number): number[] {
  const count = Math.max(2, Math.ceil(side / (tile * (1 - OVERLAP))));
  return Array.from({ length: count }, (_, at) => Math.round((at * side) / count));
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
  readonly #isSeamless: boolean;
  /** Weighted red, green and blue of each pixel, and the weights' sum. */
  readonly #sums: Float32Array;

  /**
   * @param base what shows where no tile has been added yet.
   * @param isSeamless as {@link tilesOf} was told.
   */
  constructor(base: ImageData, tiles: readonly Tile[], isSeamless = false) {
    this.#base = base;
    this.#tiles = tiles;
    this.#isSeamless = isSeamless;
    this.#sums = new Float32Array(base.width * base.height * 4);
  }

  /** Adds what was painted in a tile, at its size. */
  add(tile: Tile, { data }: ImageData): void {
    const { width, height } = this.#base;
    const columns = weightsOf(tile.x, tile.width, this.#around(this.#tiles.map(({ x }) => x), width));
    const rows = weightsOf(tile.y, tile.height, this.#around(this.#tiles.map(({ y }) => y), height));
    for (let y = 0; y < tile.height; y += 1) {
      for (let x = 0; x < tile.width; x += 1) {
        const weight = (columns[x] ?? 0) * (rows[y] ?? 0);
        const from = 4 * (y * tile.width + x);
        const to = 4 * (wrapped(tile.y + y, height) * width + wrapped(tile.x + x, width));
        for (let channel = 0; channel < 3; channel += 1) this.#sums[to + channel]! += weight * (data[from + channel] ?? 0);
        this.#sums[to + 3]! += weight;
      }
    }
  }

  /** Where tiles begin along a side, those of a texture beyond its ends too. */
  #around(starts: readonly number[], side: number): readonly number[] {
    return this.#isSeamless ? starts.flatMap((start) => [start - side, start, start + side]) : starts;
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
