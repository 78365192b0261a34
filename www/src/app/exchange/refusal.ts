/** Why a file from outside was not taken. */

/** A file's fault, as the page words it in the visitor's language. */
export type RefusalReason =
  | "notPng"
  | "damaged"
  | "tooLarge"
  /** A text in it would grow beyond what is read. */
  | "textTooLarge"
  | "notZip"
  | "noPictures";

/** A file that is not taken, and why. */
export class Refusal extends Error {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason) {
    super(reason);
    this.reason = reason;
  }
}
