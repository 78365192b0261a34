/**
 * Looks into a zip without unpacking it: entries one by one, by the directory at its end. The file is untrusted: every
 * offset and size is checked before it is followed, and nothing is inflated beyond the size that was agreed to.
 *
 * Source: PKWARE APPNOTE 6.3.10, 4.3. Neither zip64 nor encryption nor more than one disk.
 */
import { inflate } from "./inflate";
import { Refusal } from "./refusal";

const END_SIGNATURE = 0x06054b50;
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;
const ENTRY_SIGNATURE = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;
const MAX_DIRECTORY_BYTES = 16 << 20;
const [STORED, DEFLATED] = [0, 8];

/** A file in a zip. */
export interface ZipEntry {
  /** As written there; it is a label, and names no place on this machine. */
  readonly name: string;
  /** After inflating, as the directory says. */
  readonly bytes: number;
  readonly storedBytes: number;
  readonly method: number;
  readonly offset: number;
}

/**
 * The files that a zip lists.
 *
 * @throws Refusal `notZip` or `damaged`.
 */
export async function listZip(zip: Blob): Promise<ZipEntry[]> {
  const tailStart = Math.max(0, zip.size - END_BYTES - MAX_COMMENT_BYTES);
  const tail = await viewOf(zip, tailStart, zip.size);
  const end = endIn(tail);
  const count = tail.getUint16(end + 10, true);
  const directoryBytes = tail.getUint32(end + 12, true);
  const directoryStart = tail.getUint32(end + 16, true);
  if (directoryBytes > MAX_DIRECTORY_BYTES) throw new Refusal("tooLarge");
  if (directoryStart + directoryBytes > tailStart + end) throw new Refusal("damaged");
  const directory = await viewOf(zip, directoryStart, directoryStart + directoryBytes);
  const entries: ZipEntry[] = [];
  for (let at = 0; entries.length < count; ) {
    const isEntry = at + ENTRY_BYTES <= directory.byteLength && directory.getUint32(at, true) === ENTRY_SIGNATURE;
    if (!isEntry) throw new Refusal("damaged");
    const nameBytes = directory.getUint16(at + 28, true);
    const next = at + ENTRY_BYTES + nameBytes + directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true);
    if (next > directory.byteLength) throw new Refusal("damaged");
    entries.push({
      name: new TextDecoder().decode(new Uint8Array(directory.buffer, at + ENTRY_BYTES, nameBytes)),
      method: directory.getUint16(at + 10, true),
      storedBytes: directory.getUint32(at + 20, true),
      bytes: directory.getUint32(at + 24, true),
      offset: directory.getUint32(at + 42, true),
    });
    at = next;
  }
  return entries;
}

/**
 * One file of a zip.
 *
 * @throws Refusal `tooLarge` where it says to be longer than `maxBytes`, before anything of it is read; `damaged` where it
 *   is not as long as it says.
 */
export async function readEntry(zip: Blob, entry: ZipEntry, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const { method, storedBytes, bytes, offset } = entry;
  if (Math.max(bytes, storedBytes) > maxBytes) throw new Refusal("tooLarge");
  const local = await viewOf(zip, offset, offset + LOCAL_BYTES);
  if (local.byteLength < LOCAL_BYTES || local.getUint32(0, true) !== LOCAL_SIGNATURE) throw new Refusal("damaged");
  const start = offset + LOCAL_BYTES + local.getUint16(26, true) + local.getUint16(28, true);
  if (start + storedBytes > zip.size || (method !== STORED && method !== DEFLATED)) throw new Refusal("damaged");
  const stored = zip.slice(start, start + storedBytes);
  const data = method === STORED ? new Uint8Array(await stored.arrayBuffer()) : await inflate(stored, "deflate-raw", bytes, "damaged");
  if (data.length !== bytes) throw new Refusal("damaged");
  return data;
}

/** Where the directory's end begins: the last place that looks so and reaches to the file's end. */
function endIn(tail: DataView): number {
  for (let at = tail.byteLength - END_BYTES; at >= 0; at -= 1) {
    const reachesEnd = at + END_BYTES + tail.getUint16(at + 20, true) === tail.byteLength;
    if (reachesEnd && tail.getUint32(at, true) === END_SIGNATURE) return at;
  }
  throw new Refusal("notZip");
}

async function viewOf(zip: Blob, start: number, end: number): Promise<DataView<ArrayBuffer>> {
  return new DataView(await zip.slice(start, end).arrayBuffer());
}
