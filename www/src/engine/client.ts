/**
 * The engine as a page sees it. Everything heavy happens in a worker that `Engine` owns; the page only sends messages,
 * so its main thread never waits.
 *
 * Loads and runs queue: one at a time, first come first served. A caller who wants the newest request to win aborts the
 * older one first.
 */
import { orAborted } from "./abort";
import { Connection } from "./connection";
import type { DeviceChoice, DeviceInfo, Precision } from "./device";
import { requestError } from "./errors";
import { keepsToOrigin } from "./origin";
import type {
  Calls,
  CheckpointInfo,
  ConvertedModel,
  GenerateRequest,
  LoadedPack,
  MemoryReport,
  PackRequirements,
  Picture,
  PictureSource,
  Prediction,
  Progress,
  Quant,
  StoredModel,
} from "./protocol";
import { checkedRequest, checkPicture } from "./request";
import { Step } from "./step";

/** How to make an engine. */
export interface EngineOptions {
  /** Where to compute; `auto` by default. */
  readonly device?: DeviceChoice | undefined;
  /** Arithmetic on a GPU; `float32` by default. */
  readonly precision?: Precision | undefined;
}

/** How to load a pack, or what it fetches when it is first used. */
export interface LoadOptions {
  /** Aborting rejects the load with `AbortError`; pieces already stored are kept and not fetched again. */
  readonly signal?: AbortSignal | undefined;
  /** Called at most about ten times a second, and at each change of phase. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** How to convert a checkpoint. */
export interface ConvertOptions {
  /** The model's name, by which its address is made; the file's name without its ending by default. */
  readonly name?: string | undefined;
  /** How weights are stored; `mixed` by default. */
  readonly quant?: Quant | undefined;
  /** What the model predicts, where {@link CheckpointInfo.prediction} is wrong. */
  readonly prediction?: Prediction | undefined;
  /** Aborting rejects with `AbortError`; what was made so far is kept, and converting the same file goes on from there. */
  readonly signal?: AbortSignal | undefined;
  /** Called at most about ten times a second. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** How to generate. */
export interface GenerateOptions {
  /** Aborting rejects the iteration with `AbortError` at once and frees what the run held; the engine stays usable. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Painted at every step, at the picture's size. The first run hands the canvas over to the engine for good
   * (`transferControlToOffscreen`): the page can place and style it, and give it again to later runs of the same engine,
   * but can neither draw on it nor set its size. It must not have a context of its own. A canvas is lost with the worker
   * when that dies (`fault.code` is `Internal`); use a new element then.
   */
  readonly canvas?: HTMLCanvasElement | OffscreenCanvas | undefined;
  /** Called before the first step where the pack's upscaler or encoder has to be fetched first; as for a load. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** A prompt becomes a picture. Make one with {@link Engine.create}, load a pack, generate. */
export class Engine {
  readonly #choice: Calls["create"]["params"];
  #connection: Connection;
  #device: DeviceInfo;
  #lastJob = 0;
  #turn: Promise<void> = Promise.resolve();
  readonly #canvases = new CanvasRegistry();

  private constructor(choice: Calls["create"]["params"], connection: Connection, device: DeviceInfo) {
    this.#choice = choice;
    this.#connection = connection;
    this.#device = device;
  }

  /**
   * Starts the worker and its device. Downloads the engine's code, never a model.
   *
   * Rejects with `NoWebGpu` where `gpu` was asked for and cannot be had; `details.reason` says why.
   */
  static async create({ device = "auto", precision = "float32" }: EngineOptions = {}): Promise<Engine> {
    const connection = new Connection();
    const choice = { device, precision, keepsToOrigin: keepsToOrigin() };
    try {
      return new Engine(choice, connection, await connection.call("create", choice));
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Where this engine computes; with `auto`, loading a pack may change it. */
  get device(): DeviceInfo {
    return this.#device;
  }

  /**
   * Loads a pack: what is not stored yet is downloaded, verified and stored, then all of it goes to the device. A pack
   * loaded before needs no network, and one that another tab is downloading is waited for instead. Where the browser has
   * no storage or too little room, the pack runs from memory ({@link LoadedPack.isKept}). Loading again after `DeviceLost` or `Internal` brings the engine back to work.
   *
   * Rejects with `Quota` before anything is downloaded where there is room neither in storage nor in memory (2 GiB).
   *
   * @param url the pack's `manifest.json`; relative addresses are taken from the page's.
   */
  async load(url: string, { signal, onProgress }: LoadOptions = {}): Promise<LoadedPack> {
    const absolute = new URL(url, baseAddress()).href;
    const load = (connection: Connection, job: number) => connection.call("load", { job, url: absolute });
    const { pack, device } = await this.#work({ signal, onProgress }, load);
    this.#device = device;
    return pack;
  }

  /**
   * What a pack needs of this device, before anything but its manifest is fetched.
   *
   * @param url as for {@link load}.
   */
  async requirements(url: string, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<PackRequirements> {
    const absolute = new URL(url, baseAddress()).href;
    return this.#work({ signal }, (connection, job) => connection.call("requirements", { job, url: absolute }));
  }

  /**
   * Looks into a checkpoint without converting it: what it is, how large its pack would be, and whether there is room.
   *
   * Rejects with `Request` where it is no checkpoint that can be converted, saying why and what to do instead.
   *
   * @param source a `.safetensors` file that the visitor gave, or its address on a host that serves parts of files.
   */
  async inspect(source: File | string, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<CheckpointInfo> {
    const checkpoint = absoluteSource(source);
    return this.#work({ signal }, (connection, job) => connection.call("inspect", { job, source: checkpoint }));
  }

  /**
   * Converts a checkpoint into a pack in this browser's storage, reading it in slices, never as a whole; load it with the
   * result's `address`, from then on without any network. A pack or an unfinished conversion of the same name gives way.
   *
   * Rejects with `Quota` before anything is written where there is no room.
   */
  async convert(
    source: File | string,
    { name, quant = "mixed", prediction, signal, onProgress }: ConvertOptions = {},
  ): Promise<ConvertedModel> {
    const params = { source: absoluteSource(source), name: name ?? nameOf(source), quant, prediction: prediction ?? null };
    return this.#work({ signal, onProgress }, (connection, job) => connection.call("convert", { job, ...params }));
  }

  /** The packs in this browser's storage, unfinished downloads and conversions among them. */
  models(): Promise<StoredModel[]> {
    return this.#connection.call("models", {});
  }

  /**
   * Removes a pack, or what there is of an unfinished one, from this browser's storage; pieces that others share stay. No error where
   * there is none. Where another tab is downloading that pack, its end is waited for. A pack that is loaded stays usable
   * until the next load.
   */
  async remove(address: string): Promise<void> {
    await this.#work({}, (connection, job) => connection.call("remove", { job, address }));
  }

  /**
   * Paints a picture, or several together ({@link GenerateRequest.batch}; a canvas shows them side by side), giving each
   * denoising step as it is done. Nothing starts before the first step is asked for; at most one step is computed ahead,
   * while another worker decodes a preview for the canvas. Leaving the loop ends the run.
   */
  async *generate(
    request: GenerateRequest,
    { signal, canvas, onProgress }: GenerateOptions = {},
  ): AsyncGenerator<Step, void, undefined> {
    const cleaned = checkedRequest(request);
    const leave = await this.#enter(signal);
    const connection = this.#connection;
    const job = this.#nextJob();
    const cancel = () => connection.notify({ notice: "cancel", job });
    signal?.addEventListener("abort", cancel, { once: true });
    const stopListening = onProgress ? connection.onProgress(job, onProgress) : () => undefined;
    try {
      const surface = canvas ? this.#canvases.idOf(canvas, connection) : null;
      await orAborted(connection.call("generate", { job, request: cleaned, canvas: surface }), signal, cancel);
      for (;;) {
        const step = await orAborted(connection.call("next", { job }), signal, cancel);
        if (step === null) return;
        const images = () => connection.call("images", { job, index: step.index });
        yield new Step(step.index, step.total, step.etaMs ?? 0, images);
      }
    } finally {
      signal?.removeEventListener("abort", cancel);
      stopListening();
      // The caller need not wait until the worker has freed the run; the next in the queue does.
      void settled(connection.call("stop", { job })).then(leave);
    }
  }

  /**
   * The last finished picture as a PNG that carries its settings, and the request that made it.
   *
   * Of a batch, the first picture. Rejects with `Request` where no picture was finished yet.
   */
  async last(): Promise<Picture> {
    const [first] = await this.lastBatch();
    if (!first) throw requestError("picture", "none is finished yet; generate one first");
    return first;
  }

  /** As {@link last}, all pictures of the last finished run, in the order of its `batch`. */
  lastBatch(): Promise<Picture[]> {
    return this.#connection.call("last", {});
  }

  /**
   * Makes a picture larger by the loaded pack's upscaler, which is fetched on first use; gives a PNG. The settings that
   * Fraise saved in a PNG go along.
   *
   * Rejects with `Request` where the pack has no upscaler, or the picture cannot be read.
   */
  async upscale(
    picture: PictureSource,
    { signal, onProgress }: LoadOptions = {},
  ): Promise<Blob> {
    checkPicture(picture, "picture");
    return this.#work({ signal, onProgress }, (connection, job) => connection.call("upscale", { job, picture }));
  }

  /**
   * Pixels that were made from a picture painted here, as a PNG with that one's settings and the marks of AI.
   *
   * Rejects with `Request` where `like` was not saved by Fraise, or the pixels are too many.
   */
  async savedLike(
    pixels: ImageData,
    like: Blob,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Blob> {
    checkPicture(pixels, "pixels");
    checkPicture(like, "like");
    return this.#work({ signal }, (connection, job) => connection.call("savedLike", { job, pixels, like }));
  }

  /**
   * Whether a picture carries the faint mark that pictures made here have in their pixels; any picture that the browser
   * reads, of which the middle is looked at where it is larger than 2048 pixels. Needs no model. The mark outlives JPEG and
   * cropping, not scaling or turning; and it is a mark, not a signature: whoever wants to can remove or copy it.
   */
  async isMarked(
    picture: PictureSource,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<boolean> {
    checkPicture(picture, "picture");
    return this.#work({ signal }, (connection, job) => connection.call("isMarked", { job, picture }));
  }

  /**
   * How well each picture fits a prompt, by the loaded pack's scorer, which is fetched on first use: the cosine of CLIP's
   * embeddings, in [-1, 1], in the pictures' order. At most 64 pictures at once.
   *
   * Rejects with `Request` where the pack has no scorer, or a picture cannot be read.
   */
  async score(
    prompt: string,
    pictures: readonly PictureSource[],
    { signal, onProgress }: LoadOptions = {},
  ): Promise<number[]> {
    if (typeof prompt !== "string") throw requestError("prompt", "it must be text");
    if (!Array.isArray(pictures)) throw requestError("pictures", "they must be an array");
    pictures.forEach((picture) => checkPicture(picture, "picture"));
    return this.#work({ signal, onProgress }, (connection, job) => connection.call("score", { job, prompt, pictures }));
  }

  /** What the engine holds right now. */
  memory(): Promise<MemoryReport> {
    return this.#connection.call("memory", {});
  }

  /** Ends the worker and frees everything. Open loads and runs reject; the engine cannot be used again. */
  close(): void {
    this.#connection.close();
  }

  /** Runs a job of one call when its turn has come; aborting tells the worker, and the next job waits for its answer. */
  async #work<T>(
    { signal, onProgress }: LoadOptions,
    start: (connection: Connection, job: number) => Promise<T>,
  ): Promise<T> {
    const leave = await this.#enter(signal);
    let work: Promise<T> | null = null;
    let stopListening: () => void = () => undefined;
    try {
      await this.#revive();
      const connection = this.#connection;
      const job = this.#nextJob();
      if (onProgress) stopListening = connection.onProgress(job, onProgress);
      work = start(connection, job);
      return await orAborted(work, signal, () => connection.notify({ notice: "cancel", job }));
    } finally {
      stopListening();
      void settled(work).then(leave);
    }
  }

  /** Waits for this caller's turn; the returned function passes it on. */
  async #enter(signal: AbortSignal | undefined): Promise<() => void> {
    const before = this.#turn;
    let leave: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => {
      leave = resolve;
    });
    this.#turn = before.then(() => mine);
    try {
      await orAborted(before, signal);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  /** Starts a new worker where the old one died. */
  async #revive(): Promise<void> {
    if (!this.#connection.fault) return;
    this.#connection = new Connection();
    this.#device = await this.#connection.call("create", this.#choice);
  }

  #nextJob(): number {
    this.#lastJob += 1;
    return this.#lastJob;
  }
}

/** Numbers the canvases handed to a worker, so that each is transferred once. */
class CanvasRegistry {
  readonly #ids = new WeakMap<HTMLCanvasElement | OffscreenCanvas, { id: number; connection: Connection }>();
  /** A canvas that the page dropped is dropped in the worker too. */
  readonly #gone = new FinalizationRegistry<{ id: number; connection: Connection }>(({ id, connection }) =>
    connection.notify({ notice: "release", canvas: id }),
  );
  #lastId = 0;

  /** The canvas's number in the worker behind `connection`, transferring it there the first time. */
  idOf(canvas: HTMLCanvasElement | OffscreenCanvas, connection: Connection): number {
    const known = this.#ids.get(canvas);
    if (known?.connection === connection) return known.id;
    if (known) throw requestError("canvas", "it went down with an engine that stopped; use a new canvas element");
    this.#lastId += 1;
    const entry = { id: this.#lastId, connection };
    let surface: OffscreenCanvas;
    try {
      surface = "transferControlToOffscreen" in canvas ? canvas.transferControlToOffscreen() : canvas;
      connection.notify({ notice: "attach", canvas: entry.id, surface }, [surface]);
    } catch {
      throw requestError("canvas", "it is in use already: it has a context or was handed over elsewhere; use a new one");
    }
    this.#ids.set(canvas, entry);
    this.#gone.register(canvas, entry);
    return entry.id;
  }
}

/** Resolves when `work` is over, whichever way. */
function settled(work: Promise<unknown> | null): Promise<void> {
  return Promise.resolve(work).then(
    () => undefined,
    () => undefined,
  );
}

/** What relative addresses are relative to. */
function baseAddress(): string {
  return typeof document === "undefined" ? globalThis.location.href : document.baseURI;
}

function absoluteSource(source: File | string): File | string {
  return typeof source === "string" ? new URL(source, baseAddress()).href : source;
}

/** A file's or an address's last name without its ending. */
function nameOf(source: File | string): string {
  const name = typeof source === "string" ? decodeURIComponent(new URL(source, baseAddress()).pathname) : source.name;
  const stem = name.split("/").at(-1)?.replace(/\.[^.]*$/, "") ?? "";
  return stem || "checkpoint";
}
