// node tests/bench/readme.mjs: writes the bench's results between the markers of the README (what visitors wait for, and the
// comparisons) and of the one here (memory, growth, what was left out).
import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const RESULTS = new URL("results/", import.meta.url);
const PAGES = [
  [new URL("../../README.md", import.meta.url), summary],
  [new URL("README.md", import.meta.url), details],
];
const MARKERS = ["<!-- bench: written by tests/bench/readme.mjs -->", "<!-- bench ends -->"];

/** Replaces what is between the markers. */
export async function updateReadme() {
  const kept = [];
  for (const [stem, title] of [["latest", "No GPU"], ["real", "On a GPU"]]) {
    const results = await readFile(new URL(`${stem}.json`, RESULTS), "utf8").then(JSON.parse, () => null);
    if (results) kept.push({ ...results, stem, title });
  }
  for (const [page, section] of PAGES) {
    const text = await readFile(page, "utf8");
    const [before, rest] = text.split(MARKERS[0]);
    const after = rest?.split(MARKERS[1])[1];
    if (after === undefined) throw new Error(`${page.pathname} lacks ${MARKERS.join(" or ")}`);
    await writeFile(page, `${before}${MARKERS[0]}\n\n${kept.map(section).join("\n\n")}\n\n${MARKERS[1]}${after}`);
  }
}

const whereOf = (adapters) => (adapters[0]?.browser === "node" ? "Node with Dawn" : "Chromium");
const titled = ({ title, machine: { processors, processor, load_average } }) =>
  `**${title}**: ${processors} × ${processor}, load average ${load_average} at the start.`;

function summary(results) {
  const { adapters, visits, rows, stem } = results;
  const blocks = [
    titled(results),
    adapters.map(adapterLine).join("\n"),
    table(
      [`with the model that ships, ${whereOf(adapters)}`, "measured", "goal"],
      visits.map(({ name, value, unit, goal }) => [name, `${value} ${unit}`, goal ?? ""]),
    ),
  ];
  if (rows.length > 0) {
    blocks.push(
      "How many times as fast as onnxruntime-web on the same weights and inputs; ms of both; the share of the adapter's FMA peak:",
      comparisons(rows),
      `![The ratios as bars](tests/bench/results/${stem}.svg)`,
    );
  }
  return blocks.filter(Boolean).join("\n\n");
}

function details(results) {
  const { adapters, memory, growth, skipped } = results;
  const where = whereOf(adapters);
  const blocks = [titled(results)];
  if (memory.length > 0) {
    const head = [`peak memory after the comparisons, ${where}`, "where", "engine", "wasm, MiB", "GPU buffers, MiB"];
    blocks.push(table(head, memory.filter(({ browser }) => browser !== "firefox").map(peaks)));
  }
  if (growth.length > 0) {
    const head = [`growth: default model's layers, q8, ${where}`, "steps", "batch", "where", "picture, ms", "wasm, MiB", "GPU buffers, MiB"];
    blocks.push(table(head, growth.map(grown)));
  }
  if (skipped.length > 0) blocks.push(["Left out:", ...skipped.map(({ name, why }) => `- ${name}: ${why}`)].join("\n"));
  return blocks.join("\n\n");
}

function adapterLine({ browser, name, why_not, fma_gflops, fma_f16_gflops, dot_i8_gops, bandwidth_gb_s }) {
  if (fma_gflops === undefined) return `- ${browser}: ${[name, why_not].filter(Boolean).join("; ")}`;
  const f16 = fma_f16_gflops === null ? "no shader-f16" : `${fma_f16_gflops} in f16`;
  const dot = dot_i8_gops ? `; \`dot4I8Packed\` ${dot_i8_gops} GOP/s` : "";
  return `- ${browser}: ${name}; FMA peak ${fma_gflops} GFLOP/s (${f16}${dot}), copies ${bandwidth_gb_s} GB/s`;
}

const mebibytes = (bytes) => (bytes === null ? "" : (bytes / 2 ** 20).toFixed(1));
const place = ({ adapter }) => (adapter.startsWith("CPU") ? "CPU" : "GPU");
const peaks = (row) => [row.name, place(row), row.engine, mebibytes(row.wasm_bytes), mebibytes(row.gpu_bytes)];

function grown({ width_px, steps, batch, device, ms, wasm_bytes, gpu_bytes }) {
  return [`${width_px} x ${width_px}`, steps, batch, device.toUpperCase(), ms, mebibytes(wasm_bytes), mebibytes(gpu_bytes)];
}

/** A line for each module and a column for each browser and device. */
function comparisons(rows) {
  const where = (row) => `${row.browser}, ${place(row)}`;
  const [names, places] = [rows.map(({ name }) => name), rows.map(where)].map((values) => [...new Set(values)]);
  const cell = (name) => (at) => comparison(rows.find((row) => row.name === name && where(row) === at));
  return table(["", ...places], names.map((name) => [name, ...places.map(cell(name))]));
}

function comparison(row) {
  if (row === undefined) return "";
  const goal = row.goal === null ? "" : ` (goal ${row.goal})`;
  const share = row.ours_share_of_fma_peak === null ? "" : `, ${Math.round(100 * row.ours_share_of_fma_peak)} %`;
  return `**${Number(row.ratio.toPrecision(3))}**${goal}<br>${row.ours_ms} / ${row.peer_ms}${share}`;
}

const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

if (import.meta.url === pathToFileURL(process.argv[1]).href) await updateReadme();
