// Results as results/latest.json has them, whatever measures: empty at first, and what a row of a comparison becomes in the file.
import { cpus, loadavg } from "node:os";
import { rounded } from "./numbers.mjs";

/** Results of this machine, of nothing yet. */
export const noResults = () => ({
  machine: { processors: cpus().length, processor: cpus()[0]?.model ?? "unknown", load_average: rounded(loadavg()[0], 2) },
  adapters: [],
  visits: [],
  rows: [],
  memory: [],
  growth: [],
  skipped: [],
});

/** A comparison's row with its numbers rounded. */
export const roundedRow = (row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, rounded(value)]));
