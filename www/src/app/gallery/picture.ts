/** From a PNG to what the gallery keeps of it. */
import { isTooLargeToDecode } from "../../engine/decode";
import { shortSettings } from "../exchange/found";
import { readPicture } from "../exchange/picture";
import { Refusal } from "../exchange/refusal";
import { randomId } from "../random";
import type { KeptPicture, Known } from "./database";

const THUMBNAIL_SIDE_PX = 256;
/** Pixels of a picture that is decoded; 16 per byte of memory that a phone can spare. */
const MAX_PIXELS = 4096 * 4096;

/**
 * Looks into a PNG and draws its thumbnail.
 *
 * @throws Refusal where it is no PNG that can be shown.
 */
export async function toKept(png: Blob, known: Known = {}): Promise<KeptPicture> {
  const { width, height, made } = await readPicture(png);
  if (width * height > MAX_PIXELS) throw new Refusal("tooLarge");
  return {
    id: known.id ?? randomId(),
    timeMs: known.timeMs ?? Date.now(),
    isFavourite: known.isFavourite ?? false,
    ...(known.parents && known.parents.length > 0 ? { parents: known.parents } : {}),
    settings: shortSettings(made?.found ?? {}),
    width,
    height,
    bytes: png.size,
    thumbnail: await thumbnail(png),
  };
}

async function thumbnail(png: Blob): Promise<Blob> {
  if (await isTooLargeToDecode(png)) throw new Refusal("tooLarge");
  const bitmap = await createImageBitmap(png).catch(() => {
    throw new Refusal("damaged");
  });
  const scale = Math.min(1, THUMBNAIL_SIDE_PX / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale))) as [number, number];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (context) {
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
  }
  bitmap.close();
  return canvas.convertToBlob({ type: "image/webp", quality: 0.85 }); // PNG where the browser cannot write WebP
}
