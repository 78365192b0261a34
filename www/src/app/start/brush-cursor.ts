/** The brush by keyboard: a cursor on the easel that the arrow keys move. */
import type { Frame } from "./edges";
import type { Point } from "./easel";

/** How far an arrow key moves it, of the frame's side. */
const STEP = 1 / 16;

/** A piece of a stroke; where it begins and ends at one place, a dab. */
export interface Piece {
  readonly from: Point;
  readonly to: Point;
}

/** Where the arrow keys point. */
export const ARROWS: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};

/** In the middle at first. */
export class BrushCursor {
  /** In shares of the frame's sides. */
  #at: Point = { x: 0.5, y: 0.5 };

  /** Where it is, in shares of the frame's sides. */
  get at(): Point {
    return this.#at;
  }

  /** Answers a key: arrows move, with Shift they draw on the way, Space and Enter dab. Null: it was another key. */
  press({ key, shiftKey }: Pick<KeyboardEvent, "key" | "shiftKey">, frame: Frame): Piece | "moved" | null {
    const place = ({ x, y }: Point) => ({ x: x * frame.width, y: y * frame.height });
    const from = place(this.#at);
    if (key === " " || key === "Enter") return { from, to: from };
    const arrow = ARROWS[key];
    if (!arrow) return null;
    this.#at = { x: clamped(this.#at.x + STEP * arrow.x), y: clamped(this.#at.y + STEP * arrow.y) };
    return shiftKey ? { from, to: place(this.#at) } : "moved";
  }
}

function clamped(share: number): number {
  return Math.min(1, Math.max(0, share));
}
