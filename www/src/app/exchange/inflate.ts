/** Inflating what may have been made to burst. */
import { Refusal, type RefusalReason } from "./refusal";

/**
 * Inflates `data` and stops as soon as it grows beyond `maxBytes`.
 *
 * @throws Refusal `beyond` where it does, `damaged` where it is no such stream.
 */
export async function inflate(
  data: Blob,
  format: "deflate" | "deflate-raw",
  maxBytes: number,
  beyond: RefusalReason,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = data.stream().pipeThrough(new DecompressionStream(format)).getReader();
  const parts: BlobPart[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.byteLength;
      if (bytes > maxBytes) throw new Refusal(beyond);
      parts.push(value as Uint8Array<ArrayBuffer>);
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw error instanceof Refusal ? error : new Refusal("damaged");
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
