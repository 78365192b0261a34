/** What a host does wrong with the engine's own files, by name: the browser itself says hardly anything. */
import { FraiseError, networkError } from "./errors";

/**
 * Why a file that could not be used did not come as it should: it is asked for again, and looked at. Null where it comes as
 * `type`, so that something else is wrong.
 */
export async function hostFault(url: string, type: string): Promise<FraiseError | null> {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) return networkError(url, response?.status ?? 0);
  const given = response.headers.get("content-type")?.split(";")[0]?.trim() || "a file of no type";
  if (given === type) return null;
  const message = `the host sends ${url} as ${given}, not as ${type}; check its MIME types, and that the file is there`;
  return new FraiseError({ code: "Network", message, details: { url, status: response.status, type: given } });
}
