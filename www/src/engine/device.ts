/** Where an engine computes, and how. */

/**
 * Where to compute: `auto` takes the GPU where WebGPU has a real one that is faster at the loaded pack's layers than the CPU,
 * and the CPU elsewhere.
 */
export type DeviceChoice = "gpu" | "cpu" | "auto";

/**
 * Arithmetic of the UNet on a GPU: `float32`, with which pictures are the same everywhere but for the last digits, or `float16`
 * where the GPU has it and was measured to be faster so. Pictures then differ by less than what rounding weights to 8 bits costs.
 */
export type Precision = "float32" | "float16";

/** Where the engine computes. */
export interface DeviceInfo {
  readonly kind: "gpu" | "cpu";
  /** Threads that the processor computes with: 1 until a pack is loaded, beside a GPU, and on pages without cross-origin isolation. */
  readonly threads: number;
  /** The adapter as the browser names it; may be empty. */
  readonly description: string;
  /** Whether the GPU is emulated on the CPU by the browser. */
  readonly isFallback: boolean;
  /** Whether shaders may use 16-bit floats. */
  readonly hasShaderF16: boolean;
  /** Why `auto` did not take the GPU, or null. */
  readonly whyNotGpu: string | null;
  /** What loading a pack measured of the GPU, or kept from an earlier visit; null on the CPU and before. */
  readonly measured: Measured | null;
}

/** How fast this machine is at a pack's layers, in thousand million multiply-adds a second. */
export interface Measured {
  readonly gpuRate: number;
  /** On the processor, by as many threads as it may have. */
  readonly cpuRate: number;
  /** How often it was measured. Where a real GPU seemed slow at first, a later load measures it once more. */
  readonly times: number;
  readonly tuning: {
    /** How all products are spread over the GPU, where nothing is known of tiles' costs. */
    readonly variant: ProductVariant;
    /** What tiles in shared memory cost, where these are faster: each product goes by the one that suits it. Else null. */
    readonly costs: TileCosts | null;
    /** Whether the UNet computes at 16 bits. */
    readonly half: boolean;
    /** Multiply-adds that are sent to the GPU at once: a quarter of a second's. */
    readonly submit: number;
  };
}

/** What was measured of a GPU that shares memory well. */
export interface TileCosts {
  readonly tiles: readonly (TileCost | null)[];
  /** What a launch takes by itself, in µs. */
  readonly launchUs: number;
  /** Numbers that are read or written in a µs. */
  readonly numbersPerUs: number;
}

/** What a tile costs. */
export interface TileCost {
  readonly variant: ProductVariant;
  /** What a workgroup alone takes for a slab, in µs. */
  readonly aloneUs: number;
  /** Workgroups that take as long together as one does. */
  readonly atOnce: number;
}

/** Without shared memory, or by a workgroup for 32 x 32, 64 x 64 or 128 x 128 outputs. */
export type ProductVariant = "registers" | "tiles32" | "narrow64" | "tiles64" | "tiles128";
