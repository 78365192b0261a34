/** Everything the studio shows, as one plain value, and the rules that need no engine. */
import type { DeviceChoice, EffectiveRequest, Progress } from "../engine/index";
import type { Language, Words } from "../locales/index";
import type { Conversion } from "./conversion";
import type { GpuSupport } from "./environment";
import type { LocalModel } from "./library";
import type { ModelCard } from "./model";

/** What the studio is doing. */
export type Activity =
  | { readonly kind: "idle" }
  /** The engine's code and its device are starting. */
  | { readonly kind: "starting" }
  | { readonly kind: "loading"; readonly progress: Progress }
  /** `done` steps of `total` are on the canvas; `endsAtMs` is on the clock of `performance.now()`, null where unknown. */
  | { readonly kind: "painting"; readonly done: number; readonly total: number; readonly endsAtMs: number | null }
  | { readonly kind: "finished"; readonly elapsedMs: number }
  | { readonly kind: "cancelled" }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

/** A finished picture. */
export interface Result {
  readonly png: Blob;
  readonly request: EffectiveRequest;
  /** The PNG's, in pixels. */
  readonly width: number;
  readonly height: number;
}

/** The whole state. Texts of number fields stay texts, so that a half-typed number is nobody's problem but the field's. */
export interface StudioState {
  readonly language: Language;
  readonly prompt: string;
  readonly negative: string;
  /** Empty: a new seed for each picture. */
  readonly seed: string;
  /** Null: what the model recommends. */
  readonly steps: number | null;
  /** Null: what the model recommends. */
  readonly guidance: number | null;
  /** Whether to make finished pictures larger. Null: what the model recommends. */
  readonly upscale: boolean | null;
  readonly device: DeviceChoice;
  /** Null while it is being found out. */
  readonly gpu: GpuSupport | null;
  /** The address of the chosen model. */
  readonly modelUrl: string;
  /** The models converted in this browser. */
  readonly localModels: readonly LocalModel[];
  /** The model that comes with the page; null until its manifest has arrived, `unreadable` where it cannot be had. */
  readonly defaultModel: ModelCard | "unreadable" | null;
  /** The chosen model, likewise. */
  readonly model: ModelCard | "unreadable" | null;
  /** Whether the model is loaded, so that the next picture starts at once. */
  readonly isModelLoaded: boolean;
  /** Where the engine computes, once it runs. */
  readonly runsOn: "gpu" | "cpu" | null;
  readonly activity: Activity;
  readonly conversion: Conversion;
  readonly result: Result | null;
  /** Counts the engines started; each needs a canvas of its own. */
  readonly engineNumber: number;
  /** A newer version of the page is waiting. */
  readonly isUpdateWaiting: boolean;
}

/** Largest seed that every other tool takes too. */
export const MAX_SEED = 2 ** 32 - 1;

/** Whether a picture is on its way. */
export function isBusy({ activity }: StudioState): boolean {
  return activity.kind === "starting" || activity.kind === "loading" || activity.kind === "painting";
}

/** Whether a checkpoint is being looked into or converted. */
export function isConverting({ conversion }: StudioState): boolean {
  return conversion.kind === "looking" || conversion.kind === "converting";
}

/** Whether pressing Generate would start one. */
export function canGenerate(state: StudioState): boolean {
  return !isBusy(state) && !isConverting(state) && state.gpu !== null && !needsChoice(state);
}

/** Whether there is no GPU and the visitor has not yet agreed to paint on the processor. */
export function needsChoice({ gpu, device }: StudioState): boolean {
  return gpu?.isAvailable === false && device !== "cpu";
}

/** The model's example prompts in the visitor's language, or in English where it has none. */
export function examples({ model, language }: StudioState): readonly string[] {
  if (!model || model === "unreadable") return [];
  return model.examples[language] ?? model.examples["en"] ?? [];
}

/** What is painted where the visitor asks for nothing in particular. */
export function suggestion(state: StudioState, words: Words): string {
  return examples(state)[0] ?? words.promptPlaceholder;
}

/** The seed that the text stands for, or null where a new one is wanted or the text is no seed. */
export function parseSeed(text: string): number | null {
  const trimmed = text.trim();
  if (!/^\d{1,16}$/.test(trimmed)) return null;
  const seed = Number(trimmed);
  return Number.isSafeInteger(seed) ? seed : null;
}

/** A seed drawn at random. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
