/** Encodes one animation, then is done. GIF by gifenc; MP4 or WebM by WebCodecs and mediabunny. */
import { applyPalette, GIFEncoder, quantize } from "gifenc";
import {
  BufferTarget,
  getFirstEncodableVideoCodec,
  Mp4OutputFormat,
  Output,
  QUALITY_VERY_HIGH,
  VideoSample,
  VideoSampleSource,
  WebMOutputFormat,
} from "mediabunny";
import type { EncodeAnswer, EncodeMessage, Shot } from "./animation";

interface WorkerScope {
  postMessage(message: EncodeAnswer): void;
  onmessage: ((event: MessageEvent<EncodeMessage>) => void) | null;
}

const GIF_COLOURS = 256;
/** Says in the file what made it, as the PNGs do. */
const MARK = "Made by AI (Fraise). http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

const scope = self as unknown as WorkerScope;
scope.onmessage = async ({ data: { kind, shots } }) => {
  try {
    scope.postMessage({ file: kind === "gif" ? await encodeGif(shots) : await encodeVideo(shots) });
  } catch (error) {
    scope.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
};

/** The animation's size: the finished picture's, at its end. */
function sizeOf(shots: readonly Shot[]): ImageData {
  const last = shots.at(-1);
  if (!last) throw new Error("there is nothing to encode");
  return last.pixels;
}

/** Pixels at the animation's size. */
async function resized(pixels: ImageData, { width, height }: ImageData): Promise<ImageData> {
  if (pixels.width === width && pixels.height === height) return pixels;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no 2D context");
  context.drawImage(await createImageBitmap(pixels), 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

async function encodeGif(shots: readonly Shot[]): Promise<Blob> {
  const gif = GIFEncoder();
  const size = sizeOf(shots);
  for (const [index, { pixels, ms }] of shots.entries()) {
    const { data, width, height } = await resized(pixels, size);
    const palette = quantize(data, GIF_COLOURS);
    gif.writeFrame(applyPalette(data, palette), width, height, { palette, delay: ms });
    scope.postMessage({ done: index + 1 });
  }
  const mark = new TextEncoder().encode(MARK);
  gif.stream.writeBytes(Uint8Array.of(0x21, 0xfe, mark.length, ...mark, 0)); // a comment extension
  gif.finish();
  return new Blob([gif.bytes()], { type: "image/gif" });
}

async function encodeVideo(shots: readonly Shot[]): Promise<Blob> {
  const size = sizeOf(shots);
  const { width, height } = size;
  // Players on every system know MP4 with AVC; browsers without an encoder for it make WebM.
  const isMp4 = (await getFirstEncodableVideoCodec(["avc"], { width, height })) !== null;
  const codec = isMp4 ? "avc" : await getFirstEncodableVideoCodec(["vp9", "vp8", "av1"], { width, height });
  if (!codec) throw new Error("this browser encodes no video of this size");
  const target = new BufferTarget();
  const output = new Output({ format: isMp4 ? new Mp4OutputFormat() : new WebMOutputFormat(), target });
  const source = new VideoSampleSource({ codec, quality: QUALITY_VERY_HIGH });
  output.addVideoTrack(source);
  output.setMetadataTags({ comment: MARK });
  await output.start();
  let timestamp = 0;
  for (const [index, { pixels, ms }] of shots.entries()) {
    const duration = ms / 1000;
    const { data } = await resized(pixels, size);
    const sample = new VideoSample(data, { format: "RGBX", codedWidth: width, codedHeight: height, timestamp, duration });
    await source.add(sample);
    sample.close();
    timestamp += duration;
    scope.postMessage({ done: index + 1 });
  }
  await output.finalize();
  if (!target.buffer) throw new Error("the encoder gave nothing");
  return new Blob([target.buffer], { type: isMp4 ? "video/mp4" : "video/webm" });
}
