/**
 * What an isolated painter and the page around it say to each other, by `postMessage`.
 *
 * Every message is `{protocol: "fraise-painter", version: 1, type, …}`. The page says `hello` when its frame has loaded; the
 * frame answers `ready`, and says nothing before. Neither side trusts the other: a message counts only if its origin and
 * its source equal those expected, and of it only the known fields, of the right type and length.
 */

/** Marks the messages. */
export const PROTOCOL = "fraise-painter";
/** Changes whenever an older side would misunderstand a newer one. */
export const VERSION = 1;

/** Settings that the page may give; names are the element's attributes. Null: as if never given. */
export interface PainterSettings {
  prompt?: string | null;
  "prompt-prefix"?: string | null;
  negative?: string | null;
  manners?: string | null;
  lang?: string | null;
  seed?: number | null;
  steps?: number | null;
  guidance?: number | null;
  size?: number | null;
  width?: number | null;
  height?: number | null;
  editable?: boolean | null;
  upscale?: boolean | null;
}

/** What the page may say. There is nothing to start a picture with: that takes a click inside the frame. */
export type ToFrame =
  | { readonly type: "hello" | "cancel" }
  | { readonly type: "set"; readonly settings: PainterSettings };

/** What the frame may say. */
export type FromFrame =
  | { readonly type: "ready" }
  /** Its content's height, in CSS pixels. */
  | { readonly type: "height"; readonly px: number }
  | { readonly type: "progress"; readonly loadedBytes: number; readonly totalBytes: number }
  | { readonly type: "step"; readonly index: number; readonly total: number }
  | { readonly type: "result"; readonly png: Blob; readonly prompt: string; readonly seed: number }
  | { readonly type: "error"; readonly code: string; readonly message: string };

const MAX_TEXT_LENGTH = 4000;
const KINDS = {
  prompt: "string",
  "prompt-prefix": "string",
  negative: "string",
  manners: "string",
  lang: "string",
  seed: "number",
  steps: "number",
  guidance: "number",
  size: "number",
  width: "number",
  height: "number",
  editable: "boolean",
  upscale: "boolean",
} as const satisfies Record<keyof PainterSettings, string>;

/** The message in what came from the page; null where there is none. */
export function toFrameMessage(data: unknown): ToFrame | null {
  const message = new Fields(data);
  if (!isOurs(message)) return null;
  const type = message.text("type");
  if (type === "hello" || type === "cancel") return { type };
  return type === "set" ? { type, settings: toSettings(new Fields(message.get("settings"))) } : null;
}

/** The message in what came from the frame; null where there is none. */
export function fromFrameMessage(data: unknown): FromFrame | null {
  const message = new Fields(data);
  if (!isOurs(message)) return null;
  const type = message.text("type");
  switch (type) {
    case "ready":
      return { type };
    case "height":
      return { type, px: message.number("px") };
    case "progress":
      return { type, loadedBytes: message.number("loadedBytes"), totalBytes: message.number("totalBytes") };
    case "step":
      return { type, index: message.number("index"), total: message.number("total") };
    case "result": {
      const png = message.get("png");
      return png instanceof Blob ? { type, png, prompt: message.text("prompt"), seed: message.number("seed") } : null;
    }
    case "error":
      return { type, code: message.text("code"), message: message.text("message") };
    default:
      return null;
  }
}

/** How many messages are heeded: a burst, and then so many a second. */
export class RateLimit {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #atMs = 0;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** Whether one more may pass at this time. */
  allows(nowMs: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

function isOurs(message: Fields): boolean {
  return message.get("protocol") === PROTOCOL && message.get("version") === VERSION;
}

/** The known settings of the right type; a prototype's are nobody's. */
function toSettings(given: Fields): PainterSettings {
  const entries = Object.entries(KINDS).flatMap(([name, kind]) => {
    const value = given.get(name);
    const isUsable = typeof value === kind && (typeof value !== "number" || (Number.isFinite(value) && value >= 0));
    if (!isUsable && value !== null) return [];
    return [[name, typeof value === "string" ? value.slice(0, MAX_TEXT_LENGTH) : value] as const];
  });
  return Object.fromEntries(entries) as PainterSettings;
}

/** Fields of an untrusted value: own ones only. */
class Fields {
  readonly #of: object;

  constructor(value: unknown) {
    this.#of = typeof value === "object" && value !== null ? value : {};
  }

  get(name: string): unknown {
    return Object.hasOwn(this.#of, name) ? (this.#of as Record<string, unknown>)[name] : undefined;
  }

  text(name: string): string {
    const value = this.get(name);
    return typeof value === "string" ? value.slice(0, MAX_TEXT_LENGTH) : "";
  }

  number(name: string): number {
    const value = this.get(name);
    return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
  }
}
