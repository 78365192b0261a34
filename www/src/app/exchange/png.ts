/** A PNG's size and its texts. The file is untrusted: each length is checked before it is followed, pixels stay undecoded. */
import { inflate } from "./inflate";
import { Refusal } from "./refusal";

/** Longest PNG that is read, in bytes; the engine's own bound. */
export const MAX_PNG_BYTES = 64 << 20;
/** Largest side of a PNG that is read, in pixels; likewise. */
export const MAX_PNG_SIDE_PX = 16_384;
/** Longest text that is read, in bytes after decompression; large ComfyUI workflows take a tenth of it. */
export const MAX_TEXT_BYTES = 1 << 20;

/** Keyword of the text with the AI mark. Source: XMP specification part 3, 1.1.5. */
const XMP = "XML:com.adobe.xmp";
const TEXT_TYPES = ["tEXt", "zTXt", "iTXt"];
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** Length, type and CRC of a chunk. */
const CHUNK_FRAME_BYTES = 12;
const IHDR_BYTES = 13;

/** What a PNG says besides its pixels. */
export interface PngInfo {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Of the texts asked for, the first of each keyword. */
  readonly texts: ReadonlyMap<string, string>;
}

/**
 * Reads a PNG's header and, of its tEXt, zTXt and iTXt chunks, those with one of the `keywords`.
 *
 * @throws Refusal `notPng`, `tooLarge`, `damaged` or `textTooLarge`.
 *
 * Source: PNG specification (third edition), 5.3 and 11.3.3.
 */
export async function readPng(bytes: Uint8Array<ArrayBuffer>, keywords: readonly string[]): Promise<PngInfo> {
  const texts = new Map<string, string>();
  let size: { width: number; height: number } | null = null;
  for (const { type, data } of chunksOf(bytes)) {
    if (size === null) size = sizeIn(type, data);
    else if (type === "IEND") return { ...size, texts };
    else await addText(texts, keywords, type, data);
  }
  throw new Refusal("damaged");
}

/**
 * The same picture without what says how it was made: of its texts the XMP packet alone is left, which marks it as made by
 * AI; Exif data goes too. Pixels stay as they are, byte by byte.
 *
 * @throws Refusal `notPng`, `tooLarge` or `damaged`.
 */
export async function withoutSettings(png: Blob): Promise<Blob> {
  const bytes = new Uint8Array(await png.arrayBuffer());
  const parts: Uint8Array<ArrayBuffer>[] = [Uint8Array.from(SIGNATURE)];
  for (const { type, data, whole } of chunksOf(bytes)) {
    const isXmp = type === "iTXt" && latin1(data.subarray(0, XMP.length + 1)) === `${XMP}\0`;
    if (isXmp || !(TEXT_TYPES.includes(type) || type === "eXIf")) parts.push(whole);
    if (type === "IEND") return new Blob(parts, { type: "image/png" });
  }
  throw new Refusal("damaged");
}

interface Chunk {
  readonly type: string;
  readonly data: Uint8Array<ArrayBuffer>;
  /** With its length, type and CRC. */
  readonly whole: Uint8Array<ArrayBuffer>;
}

/** A PNG's chunks, one by one. */
function* chunksOf(bytes: Uint8Array<ArrayBuffer>): Generator<Chunk, void, undefined> {
  if (!SIGNATURE.every((byte, at) => bytes[at] === byte)) throw new Refusal("notPng");
  if (bytes.length > MAX_PNG_BYTES) throw new Refusal("tooLarge");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = SIGNATURE.length; at + CHUNK_FRAME_BYTES <= bytes.length; ) {
    const length = view.getUint32(at);
    if (length > bytes.length - at - CHUNK_FRAME_BYTES) throw new Refusal("damaged");
    const whole = bytes.subarray(at, at + CHUNK_FRAME_BYTES + length);
    yield { type: latin1(whole.subarray(4, 8)), data: whole.subarray(8, 8 + length), whole };
    at += whole.length;
  }
}

/** The picture's size, from the chunk that has to come first. */
function sizeIn(type: string, data: Uint8Array): { width: number; height: number } {
  if (type !== "IHDR" || data.length !== IHDR_BYTES) throw new Refusal("damaged");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  if (width === 0 || height === 0) throw new Refusal("damaged");
  if (Math.max(width, height) > MAX_PNG_SIDE_PX) throw new Refusal("tooLarge");
  return { width, height };
}

async function addText(
  texts: Map<string, string>,
  keywords: readonly string[],
  type: string,
  data: Uint8Array<ArrayBuffer>,
): Promise<void> {
  if (!TEXT_TYPES.includes(type)) return;
  const [keywordBytes, rest] = untilZero(data);
  const keyword = latin1(keywordBytes.subarray(0, 79)); // the specification's longest
  if (!keywords.includes(keyword) || texts.has(keyword)) return;
  if (rest.length > MAX_TEXT_BYTES) throw new Refusal("textTooLarge");
  texts.set(keyword, type === "tEXt" ? latin1(rest) : type === "zTXt" ? await compressedText(rest) : await internationalText(rest));
}

/** Compression method, then Latin-1 text. */
async function compressedText(data: Uint8Array<ArrayBuffer>): Promise<string> {
  if (data[0] !== 0) throw new Refusal("damaged");
  return latin1(await inflated(data.subarray(1)));
}

/** Compression flag and method, language, translated keyword, then UTF-8 text. */
async function internationalText(data: Uint8Array<ArrayBuffer>): Promise<string> {
  if (data.length < 2) throw new Refusal("damaged");
  const [, afterLanguage] = untilZero(data.subarray(2));
  const [, text] = untilZero(afterLanguage);
  return new TextDecoder().decode(data[0] === 1 ? await inflated(text) : text);
}

function inflated(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return inflate(new Blob([data]), "deflate", MAX_TEXT_BYTES, "textTooLarge");
}

/** What comes before and after the first zero byte. */
function untilZero(data: Uint8Array<ArrayBuffer>): [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>] {
  const end = data.indexOf(0);
  if (end < 0) throw new Refusal("damaged");
  return [data.subarray(0, end), data.subarray(end + 1)];
}

/** `TextDecoder("latin1")` would be Windows-1252. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return text;
}
