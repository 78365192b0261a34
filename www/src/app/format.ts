/** Numbers as people read them. */
import type { Words } from "../locales/index";

const KB = 1000;
const MB = 1000 * KB;
const GB = 1000 * MB;

/** Bytes in decimal units, as download sizes are given: `11.3 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes >= GB) return `${(bytes / GB).toFixed(2)} GB`;
  if (bytes >= 10 * MB) return `${(bytes / MB).toFixed(0)} MB`;
  if (bytes >= MB) return `${(bytes / MB).toFixed(1)} MB`;
  return `${Math.ceil(bytes / KB)} kB`;
}

/** A duration in words; one decimal below ten seconds where `isExact`. */
export function formatDuration(ms: number, words: Words, isExact = false): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds >= 60) return words.minutes(Math.floor(seconds / 60), Math.round(seconds % 60));
  return words.seconds(isExact && seconds < 10 ? seconds.toFixed(1) : String(Math.ceil(seconds)));
}
