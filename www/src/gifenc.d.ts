/** What we use of gifenc, which brings no types. */
declare module "gifenc" {
  export type Palette = number[][];
  export interface FrameOptions {
    readonly palette: Palette;
    /** In milliseconds. */
    readonly delay: number;
  }
  export function GIFEncoder(): {
    readonly stream: { writeBytes(bytes: Uint8Array): void };
    writeFrame(indices: Uint8Array, width: number, height: number, options: FrameOptions): void;
    finish(): void;
    bytes(): Uint8Array<ArrayBuffer>;
  };
  export function quantize(rgba: Uint8ClampedArray, maxColours: number): Palette;
  export function applyPalette(rgba: Uint8ClampedArray, palette: Palette): Uint8Array;
}
