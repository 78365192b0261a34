/** Where a picture lies that painting starts from, and over it the mask that says where it is repainted. */

/** How many strokes can be taken back. */
const MAX_UNDO = 12;
/** How far a moved picture's edge is repainted along with what came into view, so that no seam stays; of the side. */
const SEAM = 1 / 32;
/** The mask's edge is softened over about so much of the side, so that what is repainted flows into what is kept. */
const SOFT = 1 / 32;

/** Canvases draw nothing of a line without any length. */
const DOT_PX = 0.01;

/** A point on the easel, in pixels of its picture. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** What a stroke does: colours the picture, or marks it for repainting. */
export type Stroke = { readonly kind: "colour"; readonly colour: string } | { readonly kind: "mark" };

interface Snapshot {
  readonly picture: ImageData;
  readonly mask: ImageData;
}

/** A picture and its mask. Everything that changes them can be undone, step by step. */
export class Easel {
  readonly #picture: CanvasRenderingContext2D;
  /** Transparent: kept. */
  readonly #mask: CanvasRenderingContext2D;
  #undo: Snapshot[] = [];

  /** An empty sheet, in pixels. */
  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.#picture = contextOf(width, height);
    this.#mask = contextOf(width, height);
    this.#picture.fillStyle = "#ffffff";
    this.#picture.fillRect(0, 0, width, height);
  }

  /** Lays a picture on an empty sheet, cut to its shape around the middle. */
  lay(image: ImageBitmap): void {
    const scale = Math.max(this.width / image.width, this.height / image.height);
    const [width, height] = [image.width * scale, image.height * scale];
    this.#picture.imageSmoothingQuality = "high";
    this.#picture.drawImage(image, (this.width - width) / 2, (this.height - height) / 2, width, height);
  }

  /** Begins a stroke or a move: what {@link undo} comes back to. */
  begin(): void {
    this.#remember();
  }

  /** Draws a piece of a stroke `width` pixels wide. */
  stroke(stroke: Stroke, from: Point, to: Point, width: number): void {
    const context = stroke.kind === "mark" ? this.#mask : this.#picture;
    context.strokeStyle = stroke.kind === "mark" ? "#ffffff" : stroke.colour;
    context.lineWidth = width;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    const isDab = from.x === to.x && from.y === to.y;
    context.lineTo(to.x + (isDab ? DOT_PX : 0), to.y);
    context.stroke();
  }

  /**
   * Places the picture as it was at the last {@link begin} anew, `scale` times as large and moved by so many pixels. What
   * comes into view is filled from its edges and marked, so that it is painted.
   */
  place({ x, y }: Point, scale = 1): void {
    const before = this.#undo.at(-1);
    if (!before) return;
    const { width, height } = this;
    const [left, top, wide, high] = [(width * (1 - scale)) / 2 + x, (height * (1 - scale)) / 2 + y, width * scale, height * scale];
    const old = contextOf(width, height);
    old.putImageData(before.picture, 0, 0);
    const picture = this.#picture;
    picture.drawImage(old.canvas, 0, 0);
    const [right, bottom] = [width - left - wide, height - top - high];
    if (left > 0) picture.drawImage(old.canvas, 0, 0, 1, height, 0, top, left, high);
    if (right > 0) picture.drawImage(old.canvas, width - 1, 0, 1, height, left + wide, top, right, high);
    if (top > 0) picture.drawImage(old.canvas, 0, 0, width, 1, left, 0, wide, top);
    if (bottom > 0) picture.drawImage(old.canvas, 0, height - 1, width, 1, left, top + high, wide, bottom);
    picture.drawImage(old.canvas, left, top, wide, high);
    old.clearRect(0, 0, width, height);
    old.putImageData(before.mask, 0, 0);
    const [seamX, seamY] = [width * SEAM, height * SEAM];
    const inner = { left: left > 0 ? left + seamX : left, top: top > 0 ? top + seamY : top };
    const mask = this.#mask;
    mask.fillStyle = "#ffffff";
    mask.fillRect(0, 0, width, height);
    mask.clearRect(
      inner.left,
      inner.top,
      left + wide - (right > 0 ? seamX : 0) - inner.left,
      top + high - (bottom > 0 ? seamY : 0) - inner.top,
    );
    mask.drawImage(old.canvas, left, top, wide, high);
  }

  /** Marks nothing any more. */
  clearMask(): void {
    this.#remember();
    this.#mask.clearRect(0, 0, this.width, this.height);
  }

  /** Whether there is something to take back. */
  get canUndo(): boolean {
    return this.#undo.length > 0;
  }

  /** Takes the last change back. */
  undo(): void {
    const before = this.#undo.pop();
    if (!before) return;
    this.#picture.putImageData(before.picture, 0, 0);
    this.#mask.putImageData(before.mask, 0, 0);
  }

  /** The picture. */
  picture(): ImageData {
    return this.#picture.getImageData(0, 0, this.width, this.height);
  }

  /** Whether a part is marked. */
  get isMarked(): boolean {
    const { data } = this.#mask.getImageData(0, 0, this.width, this.height);
    return data.some((value, at) => at % 4 === 3 && value > 0);
  }

  /** The mask with soft edges, white where the picture is repainted; null where nothing is marked. */
  mask(): ImageData | null {
    if (!this.isMarked) return null;
    // Made small and large again, it is soft; `filter: blur()` is missing in some browsers.
    const small = contextOf(Math.max(1, Math.round(1 / SOFT)), Math.max(1, Math.round(1 / SOFT)));
    small.imageSmoothingQuality = "high";
    small.drawImage(this.#mask.canvas, 0, 0, small.canvas.width, small.canvas.height);
    const soft = contextOf(this.width, this.height);
    soft.fillStyle = "#000000";
    soft.fillRect(0, 0, this.width, this.height);
    soft.imageSmoothingQuality = "high";
    soft.drawImage(small.canvas, 0, 0, this.width, this.height);
    return soft.getImageData(0, 0, this.width, this.height);
  }

  /** Shows both on a canvas, which takes their size. */
  show(canvas: HTMLCanvasElement, maskColour: string): void {
    canvas.width = this.width;
    canvas.height = this.height;
    const context = canvas.getContext("2d");
    if (!context) return;
    const tinted = contextOf(this.width, this.height);
    tinted.drawImage(this.#mask.canvas, 0, 0);
    tinted.globalCompositeOperation = "source-in";
    tinted.fillStyle = maskColour;
    tinted.fillRect(0, 0, this.width, this.height);
    context.drawImage(this.#picture.canvas, 0, 0);
    context.globalAlpha = 0.55;
    context.drawImage(tinted.canvas, 0, 0);
  }

  #remember(): void {
    const mask = this.#mask.getImageData(0, 0, this.width, this.height);
    this.#undo = [...this.#undo, { picture: this.picture(), mask }].slice(-MAX_UNDO);
  }
}

function contextOf(width: number, height: number): CanvasRenderingContext2D {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("The browser gives no canvas to draw on");
  return context;
}
