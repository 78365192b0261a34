/**
 * What the page and the worker say to each other.
 *
 * The page calls, the worker answers each call once by its `id`. Loads and runs are jobs with a number of their own, so
 * that a cancel or a late answer can never hit the next one. Notices have no answer.
 */
import type { CrewCall, Enlistment } from "./crew";
import type { DeviceChoice, DeviceInfo, Precision } from "./device";
import type { ErrorShape } from "./errors";
import type { PreviewCall, PreviewEnlistment } from "./previews";

/**
 * How prompts are read: `plain` as diffusers does, cut off at the text encoder's length; `a1111` as AUTOMATIC1111's web UI
 * does, with weights such as `(word:1.3)` and room for long texts.
 */
export type PromptSyntax = "plain" | "a1111";

/** The end of a text that found no room in the text encoder. */
export interface Truncated {
  readonly field: "prompt" | "negative";
  /** How many tokens were cut off. */
  readonly tokens: number;
  /** What they say, in lower case. */
  readonly text: string;
}

/** What a caller may ask for. Fields left out take the pack's recommendation. */
export interface GenerateRequest {
  /** What to paint. */
  readonly prompt: string;
  /**
   * What to keep out of the picture. Counts with guidance above 1; where the pack has a {@link PackInfo.negativePhrase},
   * always. SDXL takes "" for a prompt, unlike an absent one.
   */
  readonly negative?: string | undefined;
  /** Seed of the noise, an integer from 0 to 2^64-1; 0 where absent. */
  readonly seed?: number | bigint | undefined;
  /** Denoising steps, 1 to 150. */
  readonly steps?: number | undefined;
  /** Classifier-free guidance scale, 0 to 30. */
  readonly guidance?: number | undefined;
  /** Picture width in pixels. */
  readonly width?: number | undefined;
  /** Picture height in pixels. */
  readonly height?: number | undefined;
  /** Sampler name; the pack's own where absent. */
  readonly sampler?: string | undefined;
  /** How `prompt` and `negative` are read; `plain` where absent. */
  readonly promptSyntax?: PromptSyntax | undefined;
  /** Whether the finished picture goes through the pack's upscaler and becomes larger; false where absent. */
  readonly upscale?: boolean | undefined;
  /** Picture to start from, of any size: scaled to cover `width` x `height`, and what stands out cut off on both sides. */
  readonly image?: PictureSource | undefined;
  /** How much of the schedule is run from `image`: 0 keeps it but for one step, 1 leaves little of it; 0.6 where absent. */
  readonly strength?: number | undefined;
  /**
   * Where to repaint `image`: white is painted anew, black is kept to the bit, greys blend; fitted as `image` is. Kept
   * pixels are those of the fitted `image`, unless `upscale` makes the whole larger.
   */
  readonly mask?: PictureSource | undefined;
  /** Whether opposite edges fit together, as a texture's do: convolutions see the picture wrapped around; false where absent. */
  readonly tiling?: boolean | undefined;
  /** Noise on the way from that of `seed` to that of another seed: a variation of the picture. */
  readonly variation?: Variation | undefined;
  /**
   * Several pictures painted together, at most {@link MAX_BATCH}: the seed of each, instead of `seed` and `variation`, and its
   * words where they are not `prompt`. Each is the picture that it would be alone, to within a level or two of its pixels; on a
   * GPU with room for them they take less time together.
   */
  readonly batch?: readonly BatchPicture[] | undefined;
}

/** Most pictures that are painted together. */
export const MAX_BATCH = 4;

/** Which noise a picture begins with, as {@link GenerateRequest} has it. */
export interface Noise {
  readonly seed: number | bigint;
  readonly variation?: Variation | undefined;
}

/** One of several pictures painted together. */
export interface BatchPicture extends Noise {
  /** What to paint; the request's `prompt` where absent. */
  readonly prompt?: string | undefined;
}

/** Another seed, and how far to go there. */
export interface Variation {
  /** An integer from 0 to 2^64-1. */
  readonly seed: number | bigint;
  /** 0 is the request's own noise, 1 that of this seed. */
  readonly strength: number;
}

/** A request with every value decided. Seeds are bigints only above 2^53-1. */
export interface EffectiveRequest {
  readonly prompt: string;
  readonly negative: string | null;
  readonly seed: number | bigint;
  readonly steps: number;
  readonly guidance: number;
  readonly width: number;
  readonly height: number;
  readonly sampler: string | null;
  readonly promptSyntax: PromptSyntax;
  /** Whether the pack's upscaler made the picture larger; `width` and `height` are those before. */
  readonly upscale: boolean;
  /** How much of the schedule was run from a start picture; null where there was none. */
  readonly strength: number | null;
  /** Whether a mask said which part of the start picture to paint anew. */
  readonly masked: boolean;
  /** Whether opposite edges fit together. */
  readonly tiling: boolean;
  readonly variation: Variation | null;
  /** What of `prompt` and `negative` was not painted, the text encoder having no room for it; mostly nothing. */
  readonly truncated: readonly Truncated[];
}

/** How far a load or a conversion is. */
export interface Progress {
  /**
   * Of a load: `manifest`, then `download` (skipped where everything is stored), `upload`, and `compile` where the device
   * needs it. Of a component that is fetched when it is first used: `download` and `upload`. Of a conversion: `convert`.
   */
  readonly phase: "manifest" | "download" | "upload" | "compile" | "convert";
  /** Bytes of this phase that are done; of `compile`, parts of the model. */
  readonly loadedBytes: number;
  /** Bytes of this phase in all; 0 where unknown. */
  readonly totalBytes: number;
  /** Bytes a second lately, or null where not yet measured. */
  readonly rate: number | null;
  /** Estimated time left in this phase, in milliseconds, or null where not yet measured. */
  readonly etaMs: number | null;
}

/** What a loaded pack says of itself. */
export interface PackInfo {
  readonly name: string;
  readonly license: string;
  /** The licence's use restrictions, in words; null where there are none. */
  readonly licenseRestrictions: string | null;
  readonly source: string | null;
  readonly recommended: {
    readonly steps: number;
    readonly guidance: number;
    readonly width: number;
    readonly height: number;
    /** Whether finished pictures should go through the upscaler; absent where not. */
    readonly upscale?: boolean;
  };
  /**
   * What is said between `prompt` and `negative` to a model that understands it, such as " without "; null where it takes
   * guidance to leave something out.
   */
  readonly negativePhrase: string | null;
  /** Example prompts by language. */
  readonly examples: Readonly<Record<string, readonly string[]>>;
  readonly totalBytes: number;
  /** How many times as large the pack's upscaler makes a picture along each side; null where there is none. */
  readonly upscaleFactor: number | null;
  /** Whether {@link Engine.score} can be asked. */
  readonly hasScorer: boolean;
  /** Whether {@link GenerateRequest.image} can be given. */
  readonly hasEncoder: boolean;
}

/** A pack that was loaded. */
export interface LoadedPack extends PackInfo {
  /** Whether this browser keeps it beyond the visit. Else, for want of room or of storage, it runs from memory. */
  readonly isKept: boolean;
}

/** What a pack needs of the device to paint at its recommended size; known from its manifest alone. */
export interface PackRequirements {
  /** What has to be downloaded, or is stored already. */
  readonly totalBytes: number;
  readonly weightsBytes: number;
  /** Besides the weights, while a step is computed. */
  readonly paintingBytes: number;
  /** Besides the weights, while the picture is decoded. */
  readonly decodingBytes: number;
  /** Besides the weights, while the picture is made larger; null where the pack has no upscaler. */
  readonly upscalingBytes: number | null;
  /** Besides the weights, while pictures are scored; null where the pack has no scorer. */
  readonly scoringBytes: number | null;
  readonly largestBufferBytes: number;
  /** What the device allows one buffer, or null on the processor. */
  readonly bufferLimitBytes: number | null;
  /** Whether loading would go ahead; else it rejects with `DeviceLimit`. */
  readonly fits: boolean;
  /**
   * What the denoising of a recommended picture takes here at least, in milliseconds (text and decoding come on top), from a measurement of this device's speed in the
   * largest layers: two seconds on a GPU the first time, nearly nothing after that and on the processor.
   */
  readonly pictureMs: number;
}

/** How a conversion stores weights; `mixed` keeps more bits where the model is sensitive. */
export type Quant = "mixed" | "f16" | "q8" | "q4";

/** What a model predicts at each step: the noise, or a mixture of noise and picture. */
export type Prediction = "epsilon" | "v_prediction";

/** What a checkpoint file holds and what converting it takes; found out from its header, without reading the weights. */
export interface CheckpointInfo {
  /** The model family as people call it, e.g. `Stable Diffusion 1.x`. */
  readonly family: string;
  /** What it is taken to predict. Nothing in the files of SD-Turbo and Stable Diffusion 2.0 base says that it is `epsilon`. */
  readonly prediction: Prediction;
  readonly checkpointBytes: number;
  /** Size of the pack for each way of storing the weights; of `mixed`, which depends on the weights, the most to expect. */
  readonly packBytes: Readonly<Record<Quant, number>>;
  /** What the browser would still store, or null where it does not say. */
  readonly availableBytes: number | null;
  /** Conversions of this very file that were begun and not ended; converting so again goes on where they stopped. */
  readonly unfinished: readonly UnfinishedConversion[];
}

/** A conversion that was cancelled or cut off. */
export interface UnfinishedConversion {
  /** What the finished model's address will be. */
  readonly address: string;
  readonly name: string;
  readonly quant: Quant;
  /** Bytes of the pack that are stored already. */
  readonly doneBytes: number;
}

/** A pack in this browser's storage. */
export interface StoredModel {
  /** What {@link Engine.load} takes: the manifest's URL, or `local:…` for a converted checkpoint. */
  readonly address: string;
  readonly name: string;
  /** What of it is stored; parts that are fetched when first needed may be absent. */
  readonly bytes: number;
  /** Whether it can be loaded without the network; false for a download or a conversion that was begun and not ended. */
  readonly isComplete: boolean;
  /** Null where it does not say, as an unfinished conversion does not. */
  readonly license: string | null;
  /** The licence's use restrictions, in words; null where there are none. */
  readonly licenseRestrictions: string | null;
}

/** A finished conversion. */
export interface ConvertedModel extends PackInfo {
  /** What {@link Engine.load} takes, `local:` and the encoded name; no address on the network begins so. */
  readonly address: string;
  /** Pieces that were made now; those of an earlier, unfinished conversion are not made again. */
  readonly piecesMade: number;
}

/** What the engine holds, for tests and for people who wonder. */
export interface MemoryReport {
  /**
   * The worker's WebAssembly memory; it never shrinks, so this is also its peak. On the processor also that of the worker that
   * decodes previews; with several threads, of all of them, and what is shared between them.
   */
  readonly wasmBytes: number;
  /** Bytes of the loaded pack's pieces; 0 before a load. */
  readonly packBytes: number;
  /** Bytes of weights that the device holds. */
  readonly deviceBytes: number;
  /** Bytes that the engine has taken of the GPU, in use or kept for the next picture; null on the processor. */
  readonly reservedBytes: number | null;
  /** Pieces fetched from the network since the engine was created. */
  readonly piecesFetched: number;
  /** Bytes fetched from the network since the engine was created. */
  readonly bytesFetched: number;
}

/** A denoising step as the worker reports it. */
export interface StepMessage {
  readonly index: number;
  readonly total: number;
  readonly etaMs: number | null;
}

/** A finished picture: a PNG that carries its settings, and the request that made it. */
export interface Picture {
  readonly blob: Blob;
  readonly request: EffectiveRequest;
  /** Width of the PNG in pixels: the request's, unless it was made larger. */
  readonly width: number;
  /** Height of the PNG in pixels. */
  readonly height: number;
}

/**
 * A picture given to the engine: a file, or pixels as canvases give them. To paint from, of any format that the browser
 * reads; to make larger or to score, a PNG with sides of at most 2048 pixels.
 */
export type PictureSource = Blob | ImageData;

/** A checkpoint: a file that the visitor gave (files pass to workers without being read), or an absolute URL. */
export type CheckpointSource = File | string;

/** Every call, with what it takes and what it gives. */
export interface Calls {
  create: { params: { device: DeviceChoice; precision: Precision; keepsToOrigin: boolean }; result: DeviceInfo };
  load: { params: { job: number; url: string }; result: { pack: LoadedPack; device: DeviceInfo } };
  requirements: { params: { job: number; url: string }; result: PackRequirements };
  inspect: { params: { job: number; source: CheckpointSource }; result: CheckpointInfo };
  convert: {
    params: { job: number; source: CheckpointSource; name: string; quant: Quant; prediction: Prediction | null };
    result: ConvertedModel;
  };
  models: { params: Record<string, never>; result: StoredModel[] };
  remove: { params: { job: number; address: string }; result: null };
  /** Starts a run; its steps are then drawn one by one with `next`. */
  generate: { params: { job: number; request: GenerateRequest; canvas: number | null }; result: EffectiveRequest };
  /** The next step, or null after the last one. */
  next: { params: { job: number }; result: StepMessage | null };
  /** The pictures at a step that is still held: the newest one, or the finished pictures. */
  images: { params: { job: number; index: number }; result: ImageBitmap[] };
  /** Ends a run, finished or not; answered once everything that it held is free. */
  stop: { params: { job: number }; result: null };
  /** The pictures of the last finished run. */
  last: { params: Record<string, never>; result: Picture[] };
  /** Gives a PNG. */
  upscale: { params: { job: number; picture: PictureSource }; result: Blob };
  /** Gives a PNG. */
  savedLike: { params: { job: number; pixels: ImageData; like: Blob }; result: Blob };
  isMarked: { params: { job: number; picture: PictureSource }; result: boolean };
  score: { params: { job: number; prompt: string; pictures: readonly PictureSource[] }; result: number[] };
  memory: { params: Record<string, never>; result: MemoryReport };
}

/** Name of a call. */
export type CallName = keyof Calls;

/** A call on its way to the worker. */
export type CallMessage = { [Name in CallName]: { id: number; call: Name; params: Calls[Name]["params"] } }[CallName];

/** Something the worker should know and need not answer. */
export type NoticeMessage =
  | { notice: "cancel"; job: number }
  | { notice: "attach"; canvas: number; surface: OffscreenCanvas }
  | { notice: "release"; canvas: number }
  /** Whether the crew that was called waits for work. */
  | { notice: "mustered"; crew: number; isThere: boolean }
  /** The worker that decodes previews cannot be had. */
  | { notice: "previewless" };

/** Everything that a worker is sent. */
export type ToWorker = CallMessage | NoticeMessage | Enlistment | PreviewEnlistment;

/** Everything the worker sends. */
export type FromWorker =
  | { id: number; result: Calls[CallName]["result"] }
  | { id: number; error: ErrorShape }
  | { job: number; progress: Progress }
  /** A crew is wanted. */
  | CrewCall
  /** A crew is no longer wanted. */
  | { dismissed: number }
  /** A worker is wanted that decodes previews, or no longer. */
  | PreviewCall
  | { previews: null }
  /** The worker cannot go on; every open call fails with this. */
  | { fatal: ErrorShape };
