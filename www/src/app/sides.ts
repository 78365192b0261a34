/** A picture's sides, and how to make them smaller. */

/** A size in pixels. */
export interface Sides {
  readonly width: number;
  readonly height: number;
}

/** Bounds of a side in pixels; the largest is the engine's, as in its `request.rs`, which checks again. */
export const MIN_SIDE_PX = 64;
export const MAX_SIDE_PX = 2048;
/** Pixels that one latent stands for, in most models. */
export const SIDE_STEP_PX = 8;

/**
 * Half of `sides` in their ratio, in whole latents; less is taken off where the longer side would come below half of the
 * model's own (`recommended`), or the shorter one below {@link MIN_SIDE_PX}. Never larger than `sides`.
 */
export function halved(sides: Sides, recommended: Sides): Sides {
  const { width, height } = sides;
  const least = Math.max(recommended.width, recommended.height) / 2;
  const share = Math.max(1 / 2, least / Math.max(width, height), MIN_SIDE_PX / Math.min(width, height));
  if (share >= 1) return sides;
  const scaled = (side: number) => Math.min(side, Math.max(MIN_SIDE_PX, Math.round((side * share) / SIDE_STEP_PX) * SIDE_STEP_PX));
  return { width: scaled(width), height: scaled(height) };
}
