/** What callers ask for, checked by field before anything is sent. Ranges are the engine's business; types are checked here. */
import { requestError } from "./errors";
import { MAX_BATCH, type GenerateRequest } from "./protocol";

/** Refuses what is no picture to look at. */
export function checkPicture(picture: unknown, field: string): void {
  if (picture instanceof Blob || picture instanceof ImageData) return;
  throw requestError(field, "it is neither a picture file (Blob or File) nor ImageData");
}

const INTEGER_FIELDS = ["steps", "width", "height"] as const;
const TEXT_FIELDS = ["prompt", "negative", "sampler", "promptSyntax"] as const;
const TRUTH_FIELDS = ["upscale", "tiling"] as const;
const PICTURE_FIELDS = ["image", "mask"] as const;
const FIELDS: readonly string[] = [
  ...INTEGER_FIELDS, ...TEXT_FIELDS, ...TRUTH_FIELDS, ...PICTURE_FIELDS, "seed", "guidance", "strength", "variation", "batch",
]; // prettier-ignore
const MAX_SEED = 2n ** 64n - 1n;

/** The request without absent fields. */
export function checkedRequest(request: GenerateRequest): GenerateRequest {
  const cleaned = Object.fromEntries(
    Object.entries(request).filter(([, value]) => value !== undefined && value !== null),
  ) as unknown as GenerateRequest;
  const unknown = Object.keys(cleaned).find((field) => !FIELDS.includes(field));
  if (unknown !== undefined) throw requestError(unknown, `it is not one of ${FIELDS.join(", ")}`);
  for (const field of TEXT_FIELDS) {
    const value: unknown = cleaned[field];
    if (value !== undefined && typeof value !== "string") throw requestError(field, "it must be text");
  }
  for (const field of INTEGER_FIELDS) {
    const value: unknown = cleaned[field];
    if (value !== undefined && !(Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32)) {
      throw requestError(field, `${String(value)} is not a whole number`);
    }
  }
  for (const field of TRUTH_FIELDS) {
    const value: unknown = cleaned[field];
    if (value !== undefined && typeof value !== "boolean") throw requestError(field, "it must be true or false");
  }
  const { seed, guidance, promptSyntax = "plain", variation } = cleaned;
  if (!["plain", "a1111"].includes(promptSyntax)) {
    throw requestError("promptSyntax", `${promptSyntax} is neither plain nor a1111`);
  }
  if (seed !== undefined) checkSeed("seed", seed);
  if (guidance !== undefined && !Number.isFinite(guidance)) {
    throw requestError("guidance", `${String(guidance)} is not a number`);
  }
  checkStart(cleaned);
  if (variation !== undefined) checkVariation("variation", variation);
  if (cleaned.batch !== undefined) checkBatch(cleaned);
  return cleaned;
}

function checkBatch({ batch, seed, variation }: GenerateRequest): void {
  const entries: unknown = batch;
  if (!Array.isArray(entries) || entries.length === 0 || entries.length > MAX_BATCH) {
    throw requestError("batch", `it must be an array of 1 to ${MAX_BATCH} seeds`);
  }
  if (seed !== undefined || variation !== undefined) throw requestError("batch", "it takes the place of `seed` and `variation`");
  for (const entry of entries as readonly unknown[]) {
    const noise = asFields("batch", entry);
    checkSeed("batch.seed", noise["seed"]);
    if (noise["variation"] !== undefined) checkVariation("batch.variation", noise["variation"]);
    if (noise["prompt"] !== undefined && typeof noise["prompt"] !== "string") throw requestError("batch.prompt", "it must be text");
  }
}

/** A start picture, and what goes with one alone. */
function checkStart(request: GenerateRequest): void {
  for (const field of PICTURE_FIELDS) if (request[field] !== undefined) checkPicture(request[field], field);
  const { image, mask, strength } = request;
  if (image === undefined && mask !== undefined) throw requestError("mask", "it needs an `image` to repaint a part of");
  if (strength === undefined) return;
  if (image === undefined) throw requestError("strength", "it needs an `image` to start from");
  checkFraction("strength", strength);
}

function checkVariation(field: string, variation: unknown): void {
  const { seed, strength } = asFields(field, variation);
  checkSeed(`${field}.seed`, seed);
  checkFraction(`${field}.strength`, strength);
}

function asFields(field: string, value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw requestError(field, "it must be an object with a seed");
  return value as Record<string, unknown>;
}

function checkFraction(field: string, value: unknown): void {
  if (typeof value !== "number" || !(value >= 0 && value <= 1)) {
    throw requestError(field, `${String(value)} is outside 0 to 1`);
  }
}

function checkSeed(field: string, seed: unknown): void {
  const fits = typeof seed === "bigint" ? seed >= 0n && seed <= MAX_SEED : Number.isSafeInteger(seed) && Number(seed) >= 0;
  if (!fits) {
    throw requestError(field, `${String(seed)} is not a whole number from 0 to 2^53-1 (or to 2^64-1 as a bigint)`);
  }
}
