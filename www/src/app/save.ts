/** Gives the visitor a file. */

const RELEASE_URL_AFTER_MS = 60_000;

/** Saves `file` under `name` where the browser keeps downloads. */
export function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), RELEASE_URL_AFTER_MS);
}
