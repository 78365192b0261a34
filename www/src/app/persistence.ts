/** Whether the browser may clear away what this page keeps, when space runs short. */

/**
 * Asks the browser to keep everything until the visitor removes it; to be called on an action of the visitor's own. Null
 * where the browser has no such promise to give.
 */
export async function askToPersist(): Promise<boolean | null> {
  return (await navigator.storage?.persist?.().catch(() => null)) ?? null;
}
