/** All pictures as one zip of PNGs with an index, and back. What comes back is untrusted. */
import { Zip, ZipPassThrough } from "fflate";
import { MAX_PNG_BYTES, withoutSettings } from "../exchange/png";
import { Refusal } from "../exchange/refusal";
import { listZip, readEntry, type ZipEntry } from "../exchange/zip";
import type { KeptPicture, Known } from "./database";

/** Largest zip without the zip64 extension, less room for its directory. */
const MAX_ARCHIVE_BYTES = 2 ** 32 - 2 ** 24;
/** Most pictures of a zip; its directory counts files in 16 bits. */
const MAX_PICTURES = 20_000;
const EARLIEST_MS = Date.UTC(1981, 0);
const MAX_PARENTS = 2;
const INDEX = "index.json";
const MAX_INDEX_BYTES = 64 << 20;
const FORMAT = "fraise-gallery";

/** What the index says of a picture. The settings are for other programs: here the PNG's own are read. */
type IndexEntry = Pick<KeptPicture, "id" | "timeMs" | "isFavourite" | "parents"> & Partial<Pick<KeptPicture, "settings">> & { readonly file: string };

/** How to pack pictures. */
export interface Packing {
  /** Whether words and settings are left out, of the PNGs and of the index. */
  readonly isBare: boolean;
  readonly onProgress: (done: number) => void;
}

/**
 * Packs pictures; PNGs are stored as they are, being compressed already.
 *
 * @throws Refusal `tooLarge` where they are more than a zip can hold.
 */
export async function packArchive(
  pictures: readonly KeptPicture[],
  fileOf: (id: string) => Promise<Blob | undefined>,
  { isBare, onProgress }: Packing,
): Promise<Blob> {
  const bytes = pictures.reduce((sum, picture) => sum + picture.bytes, 0);
  if (bytes > MAX_ARCHIVE_BYTES || pictures.length > MAX_PICTURES) throw new Refusal("tooLarge");
  const parts: Blob[] = [];
  const zip = new Zip((error, data) => {
    if (error) throw error;
    parts.push(new Blob([data as Uint8Array<ArrayBuffer>])); // browsers keep large blobs on disk
  });
  const add = (name: string, data: Uint8Array, timeMs: number) => {
    const file = new ZipPassThrough(name);
    file.mtime = new Date(timeMs);
    zip.add(file);
    file.push(data, true);
  };
  const index: IndexEntry[] = [];
  for (const [at, { id, timeMs, isFavourite, parents = [], settings }] of pictures.entries()) {
    const kept = await fileOf(id);
    const png = kept && isBare ? await withoutSettings(kept) : kept;
    if (png) {
      const file = `${String(at + 1).padStart(5, "0")}-${id.slice(0, 8)}.png`;
      index.push({ file, id, timeMs, isFavourite, parents, ...(isBare ? {} : { settings }) });
      add(file, new Uint8Array(await png.arrayBuffer()), timeMs);
    }
    onProgress(at + 1);
  }
  const json = JSON.stringify({ format: FORMAT, version: 1, pictures: index }, null, 1);
  add(INDEX, new TextEncoder().encode(json), Date.now());
  zip.end();
  return new Blob(parts, { type: "application/zip" });
}

/** A zip's pictures, to be read one by one. */
export interface Archive {
  /** What a picture that is kept here may be known by already; read before the picture is. */
  readonly pictures: readonly { readonly known: Known; readonly read: () => Promise<Blob> }[];
}

/**
 * Looks into a zip; folders and other files in it are of no interest.
 *
 * @throws Refusal `notZip`, `damaged`, `noPictures`, or `tooLarge` where its pictures are more than are taken at once.
 */
export async function openArchive(zip: Blob): Promise<Archive> {
  const entries = await listZip(zip);
  const pngs = entries.filter(({ name }) => /\.png$/i.test(name));
  if (pngs.length === 0) throw new Refusal("noPictures");
  const bytes = pngs.reduce((sum, png) => sum + png.bytes, 0);
  if (bytes > MAX_ARCHIVE_BYTES || pngs.length > MAX_PICTURES) throw new Refusal("tooLarge");
  const index = await readIndex(zip, entries);
  const read = async (entry: ZipEntry) => new Blob([await readEntry(zip, entry, MAX_PNG_BYTES)], { type: "image/png" });
  return { pictures: pngs.map((entry) => ({ known: index.get(entry.name) ?? {}, read: () => read(entry) })) };
}

/** Without an index, or with one that cannot be understood, the pictures come as they are. */
async function readIndex(zip: Blob, entries: readonly ZipEntry[]): Promise<Map<string, Known>> {
  const entry = entries.find(({ name }) => name === INDEX);
  if (!entry) return new Map();
  try {
    const { format, pictures } = JSON.parse(new TextDecoder().decode(await readEntry(zip, entry, MAX_INDEX_BYTES)));
    if (format !== FORMAT || !Array.isArray(pictures)) return new Map();
    return new Map(pictures.slice(0, MAX_PICTURES).map((picture: unknown) => knownOf(picture)));
  } catch {
    return new Map();
  }
}

function isId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}

function knownOf(picture: unknown): [string, Known] {
  const { file, id, timeMs, isFavourite, parents } = (picture ?? {}) as Record<string, unknown>;
  const known: { -readonly [Name in keyof Known]: Known[Name] } = { isFavourite: isFavourite === true };
  if (isId(id)) known.id = id;
  if (Array.isArray(parents)) known.parents = parents.filter(isId).slice(0, MAX_PARENTS);
  // A picture of tomorrow would stay the newest for ever; and a zip knows no time before 1980.
  if (typeof timeMs === "number" && timeMs >= EARLIEST_MS && timeMs <= Date.now()) known.timeMs = timeMs;
  return [String(file), known];
}
