/** A picture shared with the installed app, on its way from the service worker, which receives it, to the page. */

/** Where the operating system posts what is shared, relative to the page; `share_target` in manifest.webmanifest. */
export const SHARE_PATH = "share";
/** The form's field that holds the file; likewise. */
const FIELD = "picture";
/** Largest file that is handed on, in bytes. */
const MAX_SHARED_BYTES = 64 * 2 ** 20;

const CACHE = "fraise-shared";
/** There is one at most; a newer one takes its place. */
const KEY = "./shared-picture";
const NAME_HEADER = "x-file-name";

/** Keeps the picture of a posted form for the page; false where there is none that can be taken. */
export async function keepShared(form: FormData): Promise<boolean> {
  const file = form.get(FIELD);
  if (!(file instanceof File) || file.size === 0 || file.size > MAX_SHARED_BYTES) return false;
  const headers = { "content-type": file.type, [NAME_HEADER]: encodeURIComponent(file.name) };
  await (await caches.open(CACHE)).put(KEY, new Response(file, { headers }));
  return true;
}

/** The kept picture, which is then kept no longer; null where there is none. */
export async function takeShared(): Promise<File | null> {
  const kept = await caches.match(KEY, { cacheName: CACHE });
  if (!kept) return null;
  await caches.delete(CACHE);
  const { headers } = kept;
  const type = headers.get("content-type") ?? "";
  return new File([await kept.blob()], decodeURIComponent(headers.get(NAME_HEADER) ?? ""), { type });
}
