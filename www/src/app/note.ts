/** What the page tells a visitor once: how something went that they did, or that happened beside the painting. */
import type { SettingName } from "./exchange/found";
import type { Source } from "./exchange/picture";
import { Refusal, type RefusalReason } from "./exchange/refusal";

/** Why something did not work. */
export type Problem =
  | { readonly reason: RefusalReason | "full" }
  | { readonly reason: "other"; readonly message: string };

/** Settings that were filled in, and those that were not. */
export interface Restored {
  readonly kind: "restored";
  /** Where they were found. */
  readonly source: Source | "link" | "gallery";
  /** Fields that are as they were found. */
  readonly kept: readonly SettingName[];
  /** Fields that were moved into their range. */
  readonly changed: readonly SettingName[];
  /** Fields whose values cannot be used. */
  readonly refused: readonly SettingName[];
  /** The model it was painted with, where that is not the chosen one now. */
  readonly otherModel: string | null;
  /** What else it was made with and that has no counterpart here. */
  readonly others: readonly string[];
}

/** Something to tell. */
export type Note =
  | Restored
  | { readonly kind: "link"; readonly url: string; readonly isCopied: boolean }
  | { readonly kind: "removed" | "broughtBack" | "removedAll" | "marked" | "unmarked" }
  | { readonly kind: "imported"; readonly added: number; readonly known: number; readonly refused: number }
  | Failure;

/** Something that did not work. `notKept`: a finished picture, which stays on the canvas. `unreadable`: a file. */
export interface Failure {
  readonly kind: "notKept" | "galleryFailed" | "exportFailed" | "importFailed" | "unreadable" | "cameraFailed";
  readonly problem: Problem;
}

/** What stands in the way, as the page words it; else in the browser's own words. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Refusal) return { reason: error.reason };
  if (error instanceof DOMException && error.name === "QuotaExceededError") return { reason: "full" };
  return { reason: "other", message: error instanceof Error ? error.message : String(error) };
}
