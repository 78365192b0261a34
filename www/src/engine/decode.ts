/** What is checked of a picture file before the browser decodes it. */

/** Most pixels that a file may say it has; 256 MiB once decoded. */
const MAX_PIXELS = 64 * 2 ** 20;
const PNG_SIGNATURE = 0x89504e47;
/** The signature, then the header chunk up to its height. */
const PNG_HEAD_BYTES = 24;

/**
 * Whether a PNG says that it has more pixels than are decoded here: a few kilobytes may claim gigabytes. Files of other
 * formats say so only to the browser.
 *
 * Source: PNG specification (third edition), 5.2 and 11.2.1.
 */
export async function isTooLargeToDecode(file: Blob): Promise<boolean> {
  const head = new DataView(await file.slice(0, PNG_HEAD_BYTES).arrayBuffer());
  if (head.byteLength < PNG_HEAD_BYTES || head.getUint32(0) !== PNG_SIGNATURE) return false;
  return head.getUint32(16) * head.getUint32(20) > MAX_PIXELS;
}
