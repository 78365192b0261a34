/** Pictures that callers give, as the engine takes them. */
import { isTooLargeToDecode } from "./decode";
import { requestError } from "./errors";
import type { PictureSource } from "./protocol";

/** Longest picture file that is read. */
export const MAX_PICTURE_BYTES = 64 * 2 ** 20;
/** Largest side that the engine takes; larger pictures are made smaller here. */
const MAX_SIDE_PX = 2048;
/** What shows where a picture is transparent: paper, and of a mask what is kept. */
const GROUNDS = { image: "white", mask: "black" };

/** A start picture's or a mask's pixels. Rejects with `Request` where the browser cannot read it. */
export function pixelsOf(source: PictureSource, field: "image" | "mask"): Promise<ImageData> {
  return drawn(source, field, (context, bitmap) => {
    const scale = Math.min(1, MAX_SIDE_PX / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale))) as [number, number];
    resize(context, width, height, GROUNDS[field]);
    context.drawImage(bitmap, 0, 0, width, height);
  });
}

/** The middle of a picture, in its own pixels, as far as the engine takes it. Rejects as {@link pixelsOf}. */
export function croppedPixelsOf(source: PictureSource): Promise<ImageData> {
  return drawn(source, "picture", (context, bitmap) => {
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.min(MAX_SIDE_PX, side)) as [number, number];
    resize(context, width, height, GROUNDS.image);
    context.drawImage(bitmap, Math.round((width - bitmap.width) / 2), Math.round((height - bitmap.height) / 2));
  });
}

type Context = OffscreenCanvasRenderingContext2D;

async function drawn(source: PictureSource, field: string, draw: (context: Context, bitmap: ImageBitmap) => void): Promise<ImageData> {
  if (source instanceof Blob && source.size > MAX_PICTURE_BYTES) {
    throw requestError(field, `it is ${source.size} bytes long, at most ${MAX_PICTURE_BYTES} are read`);
  }
  if (source instanceof Blob && (await isTooLargeToDecode(source))) {
    throw requestError(field, "it has more pixels than are decoded here");
  }
  const bitmap = await createImageBitmap(source).catch(() => null);
  if (bitmap === null) throw requestError(field, "the browser cannot read it as a picture");
  try {
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    if (!context) throw requestError(field, "the browser has no canvas to read it with");
    draw(context, bitmap);
    return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
  } finally {
    bitmap.close();
  }
}

function resize(context: Context, width: number, height: number, ground: string): void {
  Object.assign(context.canvas, { width, height });
  context.imageSmoothingQuality = "high";
  context.fillStyle = ground;
  context.fillRect(0, 0, width, height);
}
