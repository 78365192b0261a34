// usage: node summary.mjs FAILED_STAGES LOG...: one closing line over all test runners' closing lines.
import { readFileSync } from "node:fs";

const [failedStages, ...logs] = process.argv.slice(2);
const sum = { passed: 0, failed: 0, skipped: 0 };
const colors = /\u001b\[[0-9;]*m/g;

for (const log of logs) {
  const text = readFileSync(log, "utf8").replace(colors, "");
  for (const [, passed, failed, ignored] of text.matchAll(/^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    sum.passed += Number(passed);
    sum.failed += Number(failed);
    sum.skipped += Number(ignored);
  }
  for (const [, kind, count] of text.matchAll(/^[#ℹ] (pass|fail|cancelled|skipped|todo) (\d+)$/gm)) {
    if (kind === "pass") sum.passed += Number(count);
    else if (kind === "fail" || kind === "cancelled") sum.failed += Number(count);
    else sum.skipped += Number(count);
  }
}
sum.failed = Math.max(sum.failed, Number(failedStages));
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed > 0 ? 1 : 0;
