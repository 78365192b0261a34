/** What this browser keeps for the page, and what room it has left. */
import type { Engine, StoredModel } from "../engine/index";

/** What was found when it was looked at. */
export interface StorageReport {
  readonly models: readonly StoredModel[];
  /** All that the page keeps, pictures and its own files among it, in bytes; null where the browser does not say. */
  readonly usedBytes: number | null;
  /** What the browser would still grant, by its own estimate. */
  readonly freeBytes: number | null;
}

/** Looks; `unavailable` where the browser keeps nothing for this page. */
export async function lookIntoStorage(engine: () => Promise<Engine>): Promise<StorageReport | "unavailable"> {
  try {
    const models = await (await engine()).models();
    const { usage, quota } = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
    const isKnown = usage !== undefined && quota !== undefined;
    return { models, usedBytes: usage ?? null, freeBytes: isKnown ? Math.max(0, quota - usage) : null };
  } catch {
    return "unavailable";
  }
}
