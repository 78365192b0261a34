// The comparison as a picture: one bar a row, its length the ratio on a logarithmic scale.

const LINE_PX = 20;
const NAMES_PX = 430;
const BARS_PX = 380;
const WIDTH_PX = NAMES_PX + BARS_PX + 70;
const TOP_PX = 46;
const COLOURS = { "chromium gpu": "#2a78d6", "node gpu": "#2a78d6", "firefox gpu": "#d9681d", "chromium cpu": "#7fb0e6", "firefox cpu": "#ecae80" };

/** An SVG of results as bench.mjs has them. */
export function chart({ rows, machine }) {
  const ratios = rows.map(({ ratio }) => ratio);
  const [low, high] = [Math.min(0.5, ...ratios), Math.max(2, ...ratios)].map(Math.log2);
  const at = (ratio) => NAMES_PX + ((Math.log2(ratio) - low) / (high - low)) * BARS_PX;
  const height = TOP_PX + rows.length * LINE_PX + 12;
  const lines = rows.map((row, index) => line(row, TOP_PX + index * LINE_PX, at));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH_PX} ${height}" font-family="system-ui, sans-serif" font-size="12">
<style>
  text { fill: #222 } .quiet { fill: #666 } .axis { stroke: #888 } .paper { fill: #fff }
  @media (prefers-color-scheme: dark) { text { fill: #eee } .quiet { fill: #aaa } .paper { fill: #16181c } }
</style>
<rect class="paper" width="100%" height="100%"/>
<text x="8" y="18">How many times as fast as onnxruntime-web (longer is better)</text>
<text x="8" y="34" class="quiet">${escaped(`${machine.processors} × ${machine.processor}; medians of turns taken in one run`)}</text>
<line class="axis" x1="${at(1)}" x2="${at(1)}" y1="${TOP_PX - 4}" y2="${height - 8}"/>
<text x="${at(1)}" y="${TOP_PX - 8}" text-anchor="middle" class="quiet">1x</text>
${lines.join("\n")}
</svg>
`;
}

function line({ name, browser, adapter, ratio }, y, at) {
  const kind = adapter.startsWith("CPU") ? "cpu" : "gpu";
  const [start, end] = [at(1), at(ratio)].sort((a, b) => a - b);
  return `<text x="8" y="${y + 14}">${escaped(name)} <tspan class="quiet">${escaped(`${browser} ${kind.toUpperCase()}`)}</tspan></text>
<rect x="${start.toFixed(1)}" y="${y + 4}" width="${Math.max(1, end - start).toFixed(1)}" height="${LINE_PX - 8}" fill="${COLOURS[`${browser} ${kind}`]}"/>
<text x="${(at(ratio) + (ratio < 1 ? -4 : 4)).toFixed(1)}" y="${y + 14}" text-anchor="${ratio < 1 ? "end" : "start"}">${ratio.toFixed(2)}</text>`;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
