/** What can go wrong, as callers see it: one error class with a stable `code`, and the standard `AbortError`. */

/** Stable names of what can go wrong. Branch on these, never on the message. New ones may be added. */
export type ErrorCode =
  | "MissingTensor"
  | "UnexpectedTensor"
  | "ShapeMismatch"
  | "CorruptPiece"
  | "Manifest"
  | "Quota"
  | "DeviceLimit"
  | "NoWebGpu"
  | "DeviceLost"
  | "OutOfMemory"
  | "Network"
  | "Request"
  | "Storage"
  | "Cancelled"
  /** The engine stopped where it should not have. The message is for a bug report; `load` starts it again. */
  | "Internal";

/** The facts of an error, by name: `{field, reason}`, `{url, status}`, … Values survive `postMessage`. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** An error as it crosses from the worker: a plain object, since classes do not survive `postMessage`. */
export interface ErrorShape {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** Every failure of the engine except an abort, which is a `DOMException` named `AbortError`. */
export class FraiseError extends Error implements ErrorShape {
  override readonly name = "FraiseError";
  /** Which failure this is; stable between versions. */
  readonly code: ErrorCode;
  /** The facts behind the message. */
  readonly details: ErrorDetails;

  constructor({ code, message, details }: ErrorShape) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** The error with which an aborted load or run rejects. */
export function abortError(): DOMException {
  return new DOMException("The caller aborted this.", "AbortError");
}

/** Whether `error` says that the caller aborted, as opposed to a failure. */
export function isAbortError(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** A request that cannot be granted, in the engine's own form. */
export function requestError(field: string, reason: string): FraiseError {
  return new FraiseError({ code: "Request", message: `request field \`${field}\`: ${reason}`, details: { field, reason } });
}

/** A file that could not be fetched, in the engine's own form; status 0 where there was no answer. */
export function networkError(url: string, status: number): FraiseError {
  const message = `could not get ${url} (status ${status}); check the address and the connection, then try again`;
  return new FraiseError({ code: "Network", message, details: { url, status } });
}

/** An unforeseen exception, in the engine's own form. */
export function internalError(reason: string): FraiseError {
  return new FraiseError({
    code: "Internal",
    message: `the engine stopped unexpectedly: ${reason}; load the pack again to go on`,
    details: { reason },
  });
}

/** Whether `value` has the form of an engine error. */
export function isErrorShape(value: unknown): value is ErrorShape {
  return typeof value === "object" && value !== null && "code" in value && "message" in value && "details" in value;
}
