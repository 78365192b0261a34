/** Pictures that callers give, as the engine takes them. */
import { requestError } from "./errors";
import type { PictureSource } from "./protocol";

/** Longest picture file that is read. */
export const MAX_PICTURE_BYTES = 64 * 2 ** 20;
/** Largest side that the engine takes; larger pictures are made smaller here. */
const MAX_SIDE_PX = 2048;
/** What shows where a picture is transparent: paper, and of a mask what is kept. */
const GROUNDS = { image: "white", mask: "black" };

/** A start picture's or a mask's pixels. Rejects with `Request` where the browser cannot read it. */
export async function pixelsOf(source: PictureSource, field: "image" | "mask"): Promise<ImageData> {
  if (source instanceof Blob && source.size > MAX_PICTURE_BYTES) {
    throw requestError(field, `it is ${source.size} bytes long, at most ${MAX_PICTURE_BYTES} are read`);
  }
  const bitmap = await createImageBitmap(source).catch(() => null);
  if (bitmap === null) throw requestError(field, "the browser cannot read it as a picture");
  try {
    const scale = Math.min(1, MAX_SIDE_PX / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale))) as [number, number];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    if (!context) throw requestError(field, "the browser has no canvas to read it with");
    context.imageSmoothingQuality = "high";
    context.fillStyle = GROUNDS[field];
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  } finally {
    bitmap.close();
  }
}
