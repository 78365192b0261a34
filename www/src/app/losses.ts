/** Losses of what pictures are painted on, and the smaller picture that is offered when they go on. */
import type { DeviceChoice } from "../engine/index";
import { halved, type Sides } from "./sides";

/** The device is gone or full, does not come back, or the worker died with it. */
const LOSSES: ReadonlySet<string> = new Set(["DeviceLost", "OutOfMemory", "NoWebGpu", "Internal"]);
/** After one, trying again is the remedy. */
const LOSSES_BEFORE_OFFER = 2;

/** Whether an error's code says that the device or its memory was lost. */
export function isLoss(code: string): boolean {
  return LOSSES.has(code);
}

/** What takes less than the picture that could not be painted: fewer pixels, the processor, or both. */
export interface SmallerOffer extends Sides {
  readonly device: DeviceChoice;
  readonly isSmaller: boolean;
  /** Whether it moves to the processor, and was not painted there. */
  readonly toProcessor: boolean;
}

/** How a picture was painted when the device was lost. */
export interface LostPicture {
  readonly sides: Sides;
  /** The size that the model recommends. */
  readonly recommended: Sides;
  readonly device: DeviceChoice;
  /** Where that was, once it is known. */
  readonly runsOn: "gpu" | "cpu" | null;
}

/** The offer after so many losses without a finished picture; null where it is too early, or nothing is left to take off. */
export function offerAfter(losses: number, { sides, recommended, device, runsOn }: LostPicture): SmallerOffer | null {
  if (losses < LOSSES_BEFORE_OFFER) return null;
  const smaller = halved(sides, recommended);
  const isSmaller = smaller.width < sides.width || smaller.height < sides.height;
  const toProcessor = device !== "cpu" && runsOn !== "cpu";
  return isSmaller || toProcessor ? { ...smaller, device: toProcessor ? "cpu" : device, isSmaller, toProcessor } : null;
}
