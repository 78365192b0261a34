/** The text that AUTOMATIC1111's web UI and its many followers keep in a PNG's `parameters`. */
import { modelName, shortened, type FoundSettings } from "./found";
import { foreignSampler } from "./samplers";

const NEGATIVE = "Negative prompt:";
/** Longest line of settings that is looked at, in characters. */
const MAX_LINE_CHARACTERS = 16_384;
/** Keys that are read below, or say nothing that changes the picture. */
const KNOWN_KEYS = new Set([
  "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model", "Model hash", "Version", "VAE hash",
  "Tiling", "Variation seed", "Variation seed strength", "Lora hashes", "TI hashes", "Hashes", "RNG", "User", "Token merging ratio",
]); // prettier-ignore

/**
 * Prompt, then `Negative prompt: …`, then one line `Steps: 20, Sampler: Euler a, …`; the last two may be missing.
 *
 * Source: AUTOMATIC1111 stable-diffusion-webui 1.10, `modules/infotext_utils.py`, `parse_generation_parameters`.
 */
export function readParameters(text: string): FoundSettings {
  const lines = text.trim().split("\n");
  const last = (lines.at(-1) ?? "").trim();
  const pairs = /^Steps: |, Seed: /.test(last) ? pairsIn(last.slice(0, MAX_LINE_CHARACTERS)) : new Map<string, string>();
  if (pairs.size > 0) lines.pop();
  const negativeAt = lines.findIndex((line) => line.trimStart().startsWith(NEGATIVE));
  const isNegative = negativeAt >= 0;
  const prompt = lines.slice(0, isNegative ? negativeAt : undefined).join("\n").trim();
  const negative = isNegative ? lines.slice(negativeAt).join("\n").trimStart().slice(NEGATIVE.length).trim() : undefined;
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(pairs.get("Size") ?? "") ?? [];
  const model = pairs.get("Model");
  const { sampler, others } = samplerIn(pairs);
  for (const [key, value] of pairs) if (!KNOWN_KEYS.has(key)) others.push(`${key}: ${value}`);
  if (/<lora:/i.test(prompt)) others.push("<lora:…>");
  return {
    prompt,
    negative,
    seed: pairs.get("Seed"),
    variationSeed: pairs.get("Variation seed"),
    variationStrength: pairs.get("Variation seed strength"),
    steps: pairs.get("Steps"),
    guidance: pairs.get("CFG scale"),
    width,
    height,
    sampler,
    tiling: pairs.get("Tiling") === "True" ? "true" : undefined,
    model: model === undefined ? undefined : modelName(model),
    others: shortened(others),
  };
}

function samplerIn(pairs: ReadonlyMap<string, string>): { sampler: string | undefined; others: string[] } {
  const name = pairs.get("Sampler");
  if (name === undefined) return { sampler: undefined, others: [] };
  const schedule = pairs.get("Schedule type");
  const { sampler, isScheduleKept } = foreignSampler(name, schedule);
  if (sampler === null) return { sampler: undefined, others: [`Sampler: ${name}`] };
  return { sampler, others: isScheduleKept ? [] : [`Schedule type: ${schedule ?? "Karras"}`] };
}

/** `Key: value, Key: "value, with commas"`, in one pass. */
function pairsIn(line: string): Map<string, string> {
  const pairs = new Map<string, string>();
  let isQuoted = false;
  let start = 0;
  for (let at = 0; at <= line.length; at += 1) {
    const letter = line[at];
    if (letter === "\\" && isQuoted) at += 1;
    else if (letter === '"') isQuoted = !isQuoted;
    else if (letter === undefined || (letter === "," && !isQuoted)) {
      const pair = line.slice(start, at);
      const colon = pair.indexOf(":");
      if (colon > 0) pairs.set(pair.slice(0, colon).trim(), unquoted(pair.slice(colon + 1).trim()));
      start = at + 1;
    }
  }
  return pairs;
}

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value;
  try {
    return String(JSON.parse(value));
  } catch {
    return value;
  }
}
