/** The model as the page introduces it before anything is downloaded: the small part of its manifest that people read. */

/** Where the default model is, relative to the page. */
export const MODEL_URL = "models/fraise-1/manifest.json";
/** Where a model is, as the engine's storage names it: absolute. */
export function addressOf(url: string): string {
  return new URL(url, document.baseURI).href;
}
/** Where the default model is, likewise. */
export function defaultAddress(): string {
  return addressOf(MODEL_URL);
}

/** What a person wants to know before a download. */
export interface ModelCard {
  readonly name: string;
  readonly license: string;
  /** Empty where the licence restricts no use. */
  readonly licenseRestrictions: string;
  readonly totalBytes: number;
  readonly steps: number;
  readonly guidance: number;
  /** What says to the model that words are to be left out; empty where that takes guidance. */
  readonly negativePhrase: string;
  /** Whether finished pictures should be made larger. */
  readonly upscale: boolean;
  /** How many times as large its upscaler makes a picture along each side; null where it has none. */
  readonly upscaleFactor: number | null;
  /** Whether pictures can be painted from others. */
  readonly canEncode: boolean;
  /** Whether it can say how well a picture fits its words. */
  readonly hasScorer: boolean;
  /** The size that it paints best at, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Example prompts by language. */
  readonly examples: Readonly<Record<string, readonly string[]>>;
}

/** Reads the manifest at `url`. The engine checks it again, and more strictly, before it loads anything. */
export async function fetchModelCard(url: string): Promise<ModelCard> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return toModelCard(await response.json());
}

/** The card in a manifest; the manifest is untrusted, so whatever is not of the right type is left out. */
export function toModelCard(manifest: unknown): ModelCard {
  const root = asRecord(manifest);
  const recommended = asRecord(root["recommended"]);
  return {
    name: asText(root["name"]) || "?",
    license: asText(root["license"]),
    licenseRestrictions: asText(root["license_restrictions"]),
    totalBytes: neededBytes(root),
    steps: asNumber(recommended["steps"], 20),
    guidance: asNumber(recommended["guidance"], 4),
    negativePhrase: asText(root["negative_phrase"]),
    upscale: recommended["upscale"] === true,
    upscaleFactor: upscaleFactor(asRecord(root["components"])["upscaler"]),
    canEncode: asRecord(root["components"])["vae_encoder"] !== undefined,
    hasScorer: asRecord(root["components"])["scorer"] !== undefined,
    width: asNumber(recommended["width"], 512),
    height: asNumber(recommended["height"], 512),
    examples: Object.fromEntries(
      Object.entries(asRecord(root["examples"])).map(([language, prompts]) => [language, asTexts(prompts)]),
    ),
  };
}

function upscaleFactor(upscaler: unknown): number | null {
  return asNumber(asRecord(asRecord(upscaler)["config"])["upscale"], 0) || null;
}

/** What painting needs; parts marked as optional are not fetched for it. */
function neededBytes(manifest: Record<string, unknown>): number {
  const components = Object.values(asRecord(manifest["components"])).map(asRecord);
  return components
    .filter((component) => component["optional"] !== true)
    .reduce((sum, component) => sum + asNumber(component["bytes"], 0), 0);
}

/** The fields of what may be no object. */
export function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function asText(value: unknown): string {
  return typeof value === "string" ? value.slice(0, 2000) : "";
}

function asTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.map(asText).filter((text) => text !== "") : [];
}

function asNumber(value: unknown, otherwise: number): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : otherwise;
}
