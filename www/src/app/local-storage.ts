/** Small things that the page remembers between visits. Storage may be off; they then last for one. */

/** What was remembered under `key`, of whatever form; null where nothing was. */
export function remembered(key: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null; // off, or someone else's
  }
}

/** Remembers `value`, in place of what was there. */
export function remember(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // off, or full
  }
}
