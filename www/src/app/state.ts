/** Everything the studio shows, as one plain value, and the rules that need no engine. */
import type { DeviceChoice, EffectiveRequest, GenerateRequest, Precision, Progress } from "../engine/index";
import type { Language, Words } from "../locales/index";
import type { Animation } from "./animation";
import type { Conversion } from "./conversion";
import type { GpuSupport } from "./environment";
import type { SamplerName } from "./exchange/samplers";
import type { Film } from "./film";
import { initialGallery, type GalleryState } from "./gallery/gallery";
import type { LocalModel } from "./library";
import { MODEL_URL, type ModelCard } from "./model";
import type { Note } from "./note";
import { remembersBareFiles } from "./saver";
import type { StorageReport } from "./storage";
import { initialStart, type StartState } from "./start/start";
import { MAX_QUEUE, type Count, type QueueEntry } from "./queue";
import type { Update } from "./update";
import type { Vocabulary } from "./vocabulary";

/** How far pictures are varied where nobody said. */
export const DEFAULT_VARIATION = 0.3;

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
  /** By which the gallery knows it. */
  readonly id: string;
  readonly png: Blob;
  /** What was asked for, with the picture that it started from. */
  readonly asked: GenerateRequest & { readonly seed: number };
  readonly request: EffectiveRequest;
  /** The PNG's, in pixels. */
  readonly width: number;
  readonly height: number;
  readonly film: Film;
  /** The same for pictures asked for at once. */
  readonly batch: string;
  /** The model's name. */
  readonly model: string | undefined;
}

/** How a model does on this device. */
export interface ModelSpeed {
  /** Whether the device has room for it at all. */
  readonly fits: boolean;
  /** What painting takes, in milliseconds. */
  readonly pictureMs: number;
}

/** The whole state. Texts of number fields stay texts, so that a half-typed number is nobody's problem but the field's. */
export interface StudioState {
  readonly language: Language;
  readonly prompt: string;
  readonly negative: string;
  /** Empty: a new seed for each picture. */
  readonly seed: string;
  /** Seed of the noise that pictures are varied towards. Empty: they are no variations. */
  readonly variationSeed: string;
  /** How far, 0 to 1. */
  readonly variationStrength: number;
  /** Null: what the model recommends. */
  readonly steps: number | null;
  /** Null: what the model recommends. */
  readonly guidance: number | null;
  /** Whether to make finished pictures larger. Null: what the model recommends. */
  readonly upscale: boolean | null;
  /** Whether pictures join themselves without a seam, as textures do. */
  readonly tiling: boolean;
  /** What painting starts from. */
  readonly start: StartState;
  /** How many pictures one press of Generate asks for. */
  readonly count: Count;
  /** Whether the picture follows the typing. */
  readonly isLive: boolean;
  /** In pixels. Null: what the model recommends. */
  readonly width: number | null;
  /** In pixels. Null: what the model recommends. */
  readonly height: number | null;
  /** Null: the model's own. */
  readonly sampler: SamplerName | null;
  readonly device: DeviceChoice;
  /** Of a GPU. */
  readonly precision: Precision;
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
  /** The words that the model knows that comes with the page. */
  readonly vocabulary: Vocabulary;
  /** Whether the model is loaded, so that the next picture starts at once. */
  readonly isModelLoaded: boolean;
  /** Whether this browser keeps the loaded model beyond this visit. */
  readonly isModelKept: boolean;
  /** Whether the browser promised not to clear away what it keeps; null where it was not asked or cannot say. */
  readonly isPersistent: boolean | null;
  /** What this browser keeps; null until that is looked at, `unavailable` where it cannot be. */
  readonly storage: StorageReport | "unavailable" | null;
  /** How fast this device is, by model address, where it was measured; null where that failed. */
  readonly speeds: Readonly<Record<string, ModelSpeed | "measuring" | null>>;
  /** Where the engine computes, once it runs. */
  readonly runsOn: "gpu" | "cpu" | null;
  /** Threads that the processor computes with. */
  readonly threads: number;
  readonly activity: Activity;
  /** How often the device was lost since a picture was finished or another device chosen. */
  readonly losses: number;
  readonly conversion: Conversion;
  /** What was asked for and is not painted yet, in the order in which it will be. */
  readonly queue: readonly QueueEntry[];
  /** The finished pictures that were asked for together with the newest one. */
  readonly pictures: readonly Result[];
  /** The picture that is looked at: the newest one, or one of {@link pictures} that the visitor chose. */
  readonly result: Result | null;
  /** Which of the film's frames is looked at; null: the finished picture. */
  readonly shownFrame: number | null;
  /** What is shown in the place of the canvas; null: the canvas itself. */
  readonly look: Blob | ImageData | null;
  /** Whether a seamless picture is shown beside itself. */
  readonly isTiled: boolean;
  /** Whether the canvas holds a picture, finished or not. */
  readonly hasPaint: boolean;
  /** The finished picture whose pixels the canvas holds. */
  readonly onCanvas: Result | null;
  readonly animation: Animation;
  /** Whether saved files say nothing of the words and settings that made them. */
  readonly areFilesBare: boolean;
  readonly gallery: GalleryState;
  /** What there is to tell beside all this. */
  readonly note: Note | null;
  /** Counts the engines started; each needs a canvas of its own. */
  readonly engineNumber: number;
  /** A newer version of the page, where there is one to tell of. */
  readonly update: Update | null;
  /** Whether the page offers itself as an app. */
  readonly isInstallOffered: boolean;
}

/** What there is before anything has happened. */
export function initialState(language: Language): StudioState {
  return {
    language,
    prompt: "",
    negative: "",
    seed: "",
    variationSeed: "",
    variationStrength: DEFAULT_VARIATION,
    steps: null,
    guidance: null,
    upscale: null,
    tiling: false,
    start: initialStart(),
    count: 1,
    isLive: false,
    width: null,
    height: null,
    sampler: null,
    device: "auto",
    precision: "float32",
    gpu: null,
    modelUrl: MODEL_URL,
    localModels: [],
    defaultModel: null,
    model: null,
    vocabulary: [],
    isModelLoaded: false,
    isModelKept: true,
    isPersistent: null,
    storage: null,
    speeds: {},
    runsOn: null,
    threads: 1,
    activity: { kind: "idle" },
    losses: 0,
    conversion: { kind: "none" },
    queue: [],
    pictures: [],
    result: null,
    shownFrame: null,
    look: null,
    isTiled: false,
    hasPaint: false,
    onCanvas: null,
    animation: { kind: "none" },
    areFilesBare: remembersBareFiles(),
    gallery: initialGallery(),
    note: null,
    engineNumber: 0,
    update: null,
    isInstallOffered: false,
  };
}

/** Largest seed that every other tool takes too. */
export const MAX_SEED = 2 ** 32 - 1;

/** The file of the finished picture that is looked at alone; null while it is painted, and where something else is shown. */
export function finishedFile({ result, look, shownFrame, onCanvas }: StudioState): Blob | null {
  if (!result || shownFrame !== null) return null;
  return (look === null ? onCanvas === result : look === result.png) ? result.png : null;
}

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
  return !isBusy(state) && canQueue(state);
}

/** Whether a picture can be asked for now, to be painted at once or after others. */
export function canQueue(state: StudioState): boolean {
  const { gpu, queue, update } = state;
  return !isConverting(state) && gpu !== null && !lacksGpu(state) && queue.length < MAX_QUEUE && update !== "elsewhere";
}

/** Whether the visitor wants a GPU to paint, and there is none. */
export function lacksGpu({ gpu, device }: StudioState): boolean {
  return gpu?.isAvailable === false && device === "gpu";
}

/** The model's example prompts in the visitor's language, or in English where it has none. */
export function examples({ model, language }: StudioState): readonly string[] {
  if (!model || model === "unreadable") return [];
  return model.examples[language] ?? model.examples["en"] ?? [];
}

/** The words that the chosen model knows; none where it does not say. */
export function vocabularyOf({ modelUrl, vocabulary }: StudioState): Vocabulary {
  return modelUrl === MODEL_URL ? vocabulary : [];
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
