/** What a page may have its painters refuse: prompts before anything is painted, pictures before anyone sees them. */
import { FraiseError, type Picture } from "../engine/index";

/** Gives what is painted in the prompt's place, or null where nothing is. Sees the whole prompt, prefix and manner included. */
export type PromptFilter = (prompt: string) => string | null | Promise<string | null>;

/** Whether a finished picture may be seen. */
export type PictureCheck = (picture: Picture) => boolean | Promise<boolean>;

/** Fields of a request that a page's rules refuse; they stand in the error's details as `refused`. */
export type Refused = "prompt" | "picture";

/**
 * The prompt as the page wants it painted.
 *
 * @throws FraiseError `Request` where it wants nothing painted; what the filter itself throws.
 */
export async function filtered(prompt: string, filter: PromptFilter | null): Promise<string> {
  const kept = filter ? await filter(prompt) : prompt;
  if (kept === null) throw refusal("prompt");
  return kept;
}

/**
 * The picture, once the page has said that it may be seen.
 *
 * @throws FraiseError `Request` where it may not; what the check itself throws.
 */
export async function checked(picture: Picture, check: PictureCheck | null): Promise<Picture> {
  if (check && !(await check(picture))) throw refusal("picture");
  return picture;
}

/** What a page's rules refused, or null where the error is another one. */
export function refusedIn(error: unknown): Refused | null {
  return error instanceof FraiseError ? ((error.details.refused as Refused | undefined) ?? null) : null;
}

function refusal(refused: Refused): FraiseError {
  const message = `the page's rules refuse this ${refused}`;
  return new FraiseError({ code: "Request", message, details: { field: refused, reason: message, refused } });
}
