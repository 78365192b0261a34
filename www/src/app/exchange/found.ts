/** Settings found outside: in a picture, in a link, in a field. Texts, until they are checked here, and only here. */
import type { Settings } from "../form";
import { asRecord } from "../model";
import { MAX_SIDE_PX, MIN_SIDE_PX, SIDE_STEP_PX } from "../sides";
import { parseSeed } from "../state";
import { isSampler } from "./samplers";

/** Settings as they were found. Nothing in it is checked; all of it is text. */
export interface FoundSettings {
  readonly prompt?: string | undefined;
  readonly negative?: string | undefined;
  readonly seed?: string | undefined;
  /** Of a variation: the seed towards whose noise it goes, and how far, 0 to 1. */
  readonly variationSeed?: string | undefined;
  readonly variationStrength?: string | undefined;
  readonly steps?: string | undefined;
  readonly guidance?: string | undefined;
  readonly width?: string | undefined;
  readonly height?: string | undefined;
  readonly sampler?: string | undefined;
  /** `true` or `false`. */
  readonly upscale?: string | undefined;
  /** `true` or `false`. */
  readonly tiling?: string | undefined;
  /** The name of the model that painted it. */
  readonly model?: string | undefined;
  /** What else it was made with and that has no counterpart here, in its own words. */
  readonly others?: readonly string[] | undefined;
}

/** Name of a setting that can be found outside. */
export type SettingName = keyof Omit<FoundSettings, "model" | "others">;

/** Found settings that can be used. */
export interface CheckedSettings {
  readonly settings: Partial<Settings>;
  /** Fields that were moved into their range. */
  readonly changed: readonly SettingName[];
  /** Fields whose values cannot be used. */
  readonly refused: readonly SettingName[];
}

/** Characters of a prompt; what the fields take. */
export const MAX_PROMPT_CHARACTERS = 2000;
/** The engine's bounds, as in its `request.rs`; the engine checks again. */
const MAX_STEPS = 150;
const MAX_GUIDANCE = 30;

/** A value that can be used, or null; `isChanged` where it is not quite the one found. */
type Check<T> = (text: string) => { readonly value: T; readonly isChanged: boolean } | null;

const CHECKS: { readonly [Name in SettingName]: Check<Settings[Name]> } = {
  prompt,
  negative: prompt,
  seed,
  variationSeed: seed,
  variationStrength: number(0, 1, 0),
  steps: number(1, MAX_STEPS, 1),
  guidance: number(0, MAX_GUIDANCE, 0),
  width: number(MIN_SIDE_PX, MAX_SIDE_PX, SIDE_STEP_PX),
  height: number(MIN_SIDE_PX, MAX_SIDE_PX, SIDE_STEP_PX),
  sampler: (text) => (isSampler(text) ? { value: text, isChanged: false } : null),
  upscale: truth,
  tiling: truth,
};

/** Names of all settings that can be found outside. */
export const SETTING_NAMES = Object.keys(CHECKS) as SettingName[];

/** Checks what was found for a model that can make pictures larger or cannot, moving numbers into their range. */
export function checkSettings(found: FoundSettings, { canUpscale = true } = {}): CheckedSettings {
  const settings: { [Name in SettingName]?: Settings[SettingName] } = {};
  const changed: SettingName[] = [];
  const refused: SettingName[] = [];
  for (const name of SETTING_NAMES) {
    const text = found[name];
    if (text === undefined) continue;
    const checked = CHECKS[name](text);
    if (checked === null || (name === "upscale" && checked.value && !canUpscale)) {
      refused.push(name);
      continue;
    }
    settings[name] = checked.value;
    if (checked.isChanged) changed.push(name);
  }
  return { settings: settings as Partial<Settings>, changed, refused };
}

/** Of a value that others wrote, the fields that are settings as texts; a `variation` as the engine has it counts as two. */
export function asFoundSettings(value: unknown): FoundSettings {
  const { variation, ...fields } = asRecord(value);
  const { seed: variationSeed, strength: variationStrength } = asRecord(variation);
  const record: Record<string, unknown> = variation ? { ...fields, variationSeed, variationStrength } : fields;
  const texts = [...SETTING_NAMES, "model"].flatMap((name) => {
    const text = Object.hasOwn(record, name) ? asText(record[name]) : undefined;
    return text === undefined ? [] : [[name, text] as const];
  });
  return Object.fromEntries(texts);
}

/** The same, each text cut to what a field takes, so that many can be kept. */
export function shortSettings(found: FoundSettings): FoundSettings {
  const cut = (value: unknown) => (typeof value === "string" ? value.slice(0, MAX_PROMPT_CHARACTERS) : value);
  return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, cut(value)]));
}

/** A text, a number or a truth as a text, else undefined. */
export function asText(value: unknown): string | undefined {
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  return typeof value === "string" ? value : undefined;
}

/** Characters of a model's name that are shown. */
export const MAX_NAME_CHARACTERS = 128;

/** A model's name without the folder and the ending that other programs give with it, short enough to be shown. */
export function modelName(text: string): string {
  return text.split(/[\\/]/).at(-1)?.replace(/\.(safetensors|ckpt)$/i, "").slice(0, MAX_NAME_CHARACTERS) ?? "";
}

const MAX_OTHERS = 12;
const MAX_OTHER_CHARACTERS = 60;

/** What has no counterpart here, short enough to be shown. */
export function shortened(others: readonly string[]): string[] {
  return [...new Set(others)].slice(0, MAX_OTHERS).map((other) => [...other].slice(0, MAX_OTHER_CHARACTERS).join(""));
}

/** Text without control characters and halves of characters, of a bounded length. */
function prompt(text: string): { value: string; isChanged: boolean } {
  const whole = text.replace(/\p{Surrogate}/gu, "\ufffd");
  const clean = whole.replace(/\r\n?/g, "\n").replace(/[\u0000-\u0009\u000b-\u001f\u007f]/g, " ").trim();
  const value = clean.slice(0, MAX_PROMPT_CHARACTERS).replace(/[\ud800-\udbff]$/, ""); // no half of a character
  return { value, isChanged: value.length < clean.length };
}

function seed(text: string): { value: string; isChanged: boolean } | null {
  return parseSeed(text) === null ? null : { value: text.trim(), isChanged: false };
}

/** `true` or `false`. */
function truth(text: string): { value: boolean; isChanged: boolean } | null {
  return text === "true" || text === "false" ? { value: text === "true", isChanged: false } : null;
}

/** A number from `min` to `max`, a multiple of `step` (0: any); what is beyond takes the nearest. */
function number(min: number, max: number, step: number): Check<number> {
  return (text) => {
    if (!/^\s*-?\d{1,9}(\.\d{0,17})?\s*$/.test(text)) return null;
    const found = Number(text);
    const stepped = step > 0 ? Math.round(found / step) * step : found;
    const value = Math.min(max, Math.max(min, stepped));
    return { value, isChanged: value !== found };
  };
}
