/** The studio's one store: holds the state, drives the engine, tells whoever listens. Components only read and call. */
import {
  FraiseError,
  isAbortError,
  MAX_BATCH,
  type EngineOptions,
  type Engine,
  type GenerateRequest,
  type LoadOptions,
  type Step,
} from "../engine/index";
import { preferredLanguage, wordsOf, type Language } from "../locales/index";
import { Animator } from "./animation";
import { Converter } from "./conversion";
import { detectGpu } from "./environment";
import { Exchange, kindOf, type FileKind } from "./exchange";
import { FilmRecorder, record, type Film } from "./film";
import {
  cardIn,
  MODEL_SETTINGS,
  recommendedSteps,
  requestIn,
  settingsIn,
  sizeIn,
  togetherOf,
  upscales,
  type SeededRequest,
  type Settings,
} from "./form";
import { Gallery } from "./gallery/gallery";
import { Installer } from "./install";
import { LivePainter } from "./live";
import { isLoss } from "./losses";
import { MODEL_URL } from "./model";
import { Models } from "./models";
import type { Note } from "./note";
import { batchOf, PaintingQueue, type Together } from "./queue";
import { randomId, randomSeed } from "./random";
import { Refiner } from "./refine";
import { Saver } from "./saver";
import { Session } from "./session";
import { smallerAfterLoss, smallerOffer } from "./smaller";
import { Start } from "./start/start";
import {
  canGenerate,
  canQueue,
  initialState,
  isBusy,
  isConverting,
  parseSeed,
  suggestion,
  type Activity,
  type Result,
  type StudioState,
} from "./state";
import { Updates } from "./update";
import { fetchVocabulary } from "./vocabulary";

const LANGUAGE_KEY = "fraise.language";
/** Live pictures are there quickly or not at all. */
const MAX_LIVE_STEPS = 2;

/** Fires `change` after every change of {@link Studio.state}. */
export class Studio extends EventTarget {
  #state = initialState(initialLanguage());
  #liveSeed = 0;
  #refining: AbortController | null = null;
  readonly #session = new Session({
    state: () => this.#state,
    show: (changes) => this.#set(changes),
    started: (engine) => {
      this.#clearCanvas();
      this.#set({ runsOn: engine.device.kind, engineNumber: this.#state.engineNumber + 1 });
    },
    loading: (progress) => this.#do({ kind: "loading", progress }),
  });
  readonly #converter = new Converter({
    engine: (signal) => this.#session.engine(signal),
    show: (conversion) => this.#set({ conversion }),
    adopt: (model) => this.models.adopt(model),
    abandon: () => this.#session.close(),
  });
  readonly #live = new LivePainter((stopped, stale) => this.#paintLive(stopped, stale));
  /** What waits to be painted. */
  readonly queue = new PaintingQueue({
    show: (queue) => this.#set({ queue }),
    paint: (together, signal) => this.#paintQueued(together, signal),
    nameOf: codeOf,
  });
  /** Makes animations of what was painted. */
  readonly animator = new Animator((animation) => this.#set({ animation }));
  /** Gives files to the visitor. */
  readonly saver = new Saver({
    isBare: () => this.#state.areFilesBare,
    show: (areFilesBare) => this.#set({ areFilesBare }),
  });
  /** Knows of newer versions of the page. */
  readonly updates = new Updates({ show: (update) => this.#set({ update }), keepForm: () => this.#exchange.keepInAddress() });
  /** Offers the page as an app. */
  readonly installer = new Installer((isInstallOffered) => this.#set({ isInstallOffered }));

  /** Which model paints. */
  readonly models = new Models({
    state: () => this.#state,
    show: (changes) => this.#set(changes),
    leave: () => void this.#live.stop(),
    engine: () => this.#session.engine(new AbortController().signal),
    fail: (error) => this.#fail(error),
  });
  /** The picture that painting starts from. */
  readonly start = new Start({
    show: (start) => this.#set({ start }),
    size: () => sizeIn(this.#state),
    changed: () => this.#state.isLive && this.#live.wake(),
    setLive: (isLive) => this.setLive(isLive),
    isMarked: async (picture) => (await this.#session.engine(new AbortController().signal)).isMarked(picture),
    tell: (note) => this.tell(note),
  });
  /** Makes more of finished pictures. */
  readonly refiner = new Refiner({
    add: async (entries) => {
      if (canQueue(this.#state)) await this.queue.add(entries);
    },
    withEngine: (work) => this.#withEngine(work),
    progress: ({ picture, ...progress }) => {
      this.#set({ ...(picture ? { look: picture, shownFrame: null } : {}), activity: { kind: "painting", ...progress } });
    },
    show: (pictures, shown) => {
      this.#set({ pictures });
      this.select(shown);
    },
    keep: (png, known) => void this.#gallery.keep(png, known),
  });

  readonly #gallery = new Gallery({
    state: () => this.#state.gallery,
    areFilesBare: () => this.#state.areFilesBare,
    show: (changes) => this.#set({ gallery: { ...this.#state.gallery, ...changes } }),
    tell: (note) => this.tell(note),
    restore: (settings) => this.#exchange.restore(settings, "gallery"),
  });
  readonly #exchange = new Exchange({
    fillIn: (settings) => this.#set({ negative: "", seed: "", variationSeed: "", tiling: false, ...MODEL_SETTINGS, ...settings }),
    startFrom: (file) => this.start.from(file),
    canUpscale: () => (cardIn(this.#state)?.upscaleFactor ?? null) !== null,
    chooseNamed: (model) => this.models.chooseNamed(model),
    current: () => settingsIn(this.#state),
    tell: (note) => this.tell(note),
  });

  /** What there is to show. */
  get state(): StudioState {
    return this.#state;
  }

  /** Looks around: the GPU and the model's description. Downloads nothing else. */
  async open(): Promise<void> {
    this.queue.restore();
    await Promise.all([
      detectGpu().then((gpu) => this.#set({ gpu })),
      this.#gallery.open(),
      this.models.open().then(() => this.#exchange.takeAddress()),
      fetchVocabulary(MODEL_URL).then(
        (vocabulary) => this.#set({ vocabulary }),
        () => undefined, // the page works without
      ),
    ]);
  }

  /** Whether a checkpoint can be taken now. */
  get canConvert(): boolean {
    return !isBusy(this.#state) && this.#state.conversion.kind !== "converting";
  }

  /** Looks into a checkpoint that was dropped, picked or named; what is under way is not disturbed. */
  openCheckpoint(source: File | string): void {
    if (this.canConvert) void this.#converter.open(source);
  }

  /** Takes a file that was dropped or picked, as what it seems to be. */
  take(file: File, kind: FileKind = kindOf(file)): void {
    if (kind === "picture") void this.#exchange.takePicture(file);
    else if (kind === "zip") void this.#gallery.importAll(file);
    else this.openCheckpoint(file);
  }

  /** The kept pictures. */
  get gallery(): Gallery {
    return this.#gallery;
  }

  /** Settings from outside, and links to them. */
  get exchange(): Exchange {
    return this.#exchange;
  }

  /** Tells the visitor something in place of what was told before; null: nothing. */
  tell(note: Note | null): void {
    this.#set({ note });
  }

  /** The conversion of the checkpoint that was opened last. */
  get converter(): Converter {
    return this.#converter;
  }

  /** Takes over what the visitor typed or moved. */
  change(settings: Partial<Settings>): void {
    this.#set(settings);
    if (settings.prompt !== undefined) this.#session.expect();
    if (this.#state.isLive) this.#live.wake();
  }

  /** Lets the picture follow the typing, or no longer. */
  setLive(isLive: boolean): void {
    this.#liveSeed = randomSeed();
    this.#set({ isLive });
    if (isLive) this.#live.wake();
    else {
      this.start.closeCamera();
      void this.#live.stop();
    }
  }

  /** Draws a seed and writes it into the field. */
  rollSeed(): void {
    this.change({ seed: String(randomSeed()) });
  }

  /** Writes the shown picture's seed into the field, and that of its variation, to change the words and keep the rest. */
  keepSeed(): void {
    const { result } = this.#state;
    if (!result) return;
    const { seed, variation } = result.request;
    const varied = variation ? { variationSeed: String(variation.seed), variationStrength: variation.strength } : { variationSeed: "" };
    this.change({ seed: String(seed), ...varied });
  }

  /** Looks at another of the pictures. */
  select(result: Result): void {
    this.#set({ result, shownFrame: null, look: this.#lookOf(result) });
  }

  /** Shows seamless pictures beside themselves, or alone again. */
  showTiled(isTiled: boolean): void {
    this.#set({ isTiled });
  }

  /** Looks at the picture as it was at one of its film's frames; the last one is the finished picture. */
  showFrame(index: number): void {
    const { result } = this.#state;
    const frame = result?.film.frames[index];
    if (!result || !frame) return;
    if (frame === result.film.frames.at(-1)) this.select(result);
    else this.#set({ shownFrame: index, look: frame.pixels });
  }

  /** Speaks another language and remembers it. */
  speak(language: Language): void {
    this.#set({ language });
    try {
      localStorage.setItem(LANGUAGE_KEY, language);
    } catch {
      // Storage may be off; the choice then lasts for this visit.
    }
  }

  /** Paints elsewhere, or otherwise, from now on; the engine starts anew. */
  chooseDevice({ device = this.#state.device, precision = this.#state.precision }: EngineOptions): void {
    const isSame = device === this.#state.device && precision === this.#state.precision;
    if (isSame || isBusy(this.#state) || isConverting(this.#state)) return;
    void this.#live.stop();
    this.#session.close();
    this.#clearCanvas();
    this.#set({ device, precision, runsOn: null, activity: { kind: "idle" }, losses: 0, result: null, pictures: [], look: null });
  }

  /** The element to paint on; a new one for each {@link StudioState.engineNumber}. */
  useCanvas(canvas: HTMLCanvasElement): void {
    this.#session.useCanvas(canvas);
  }

  /** Stops the download or the picture; what waits behind it is paused, and live painting is off. */
  cancel(): void {
    this.queue.cancel();
    this.#refining?.abort();
    if (this.#state.isLive) this.setLive(false);
  }

  /** Asks for pictures of the words as they are, to be painted when it is their turn. */
  async generate(): Promise<void> {
    if (!canQueue(this.#state)) return;
    const prompt = this.#state.prompt.trim() || suggestion(this.#state, wordsOf(this.#state.language));
    this.#set({ prompt });
    await this.queue.add(batchOf(this.#request(), this.#state.count, this.#state.start.parents));
  }

  /** Tries what failed once more; with the settings as they are now where these were at fault, or nothing was asked for. */
  async tryAgain(): Promise<void> {
    const { activity, queue } = this.#state;
    const isRefused = activity.kind === "failed" && activity.code === "Request";
    if (isRefused || !queue.some(({ status }) => status === "failed")) await this.generate();
    else await this.resume("failed");
  }

  /** Takes the offer of a smaller picture: sets the form so, and paints what was lost with its own words and seed. */
  async paintSmaller(): Promise<void> {
    const state = this.#state;
    const offer = smallerOffer(state);
    if (!offer || !canGenerate(state)) return;
    this.chooseDevice({ device: offer.device });
    this.change({ width: offer.width, height: offer.height });
    await this.queue.resume("failed", (entry) => smallerAfterLoss(entry, state));
  }

  /** Paints what was paused, or what failed. */
  async resume(status: "paused" | "failed"): Promise<void> {
    if (canQueue(this.#state)) await this.queue.resume(status);
  }

  /** Paints together what was asked for at once where there is a GPU, whose units one picture leaves idle. */
  async #paintQueued(together: (most: number) => Together, signal: AbortSignal): Promise<void> {
    this.#do({ kind: "starting" });
    try {
      await this.#live.stop();
      const engine = await this.#session.ready(signal);
      await this.#paint(engine, together(engine.device.kind === "gpu" ? MAX_BATCH : 1), signal);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  /** Runs `work` while nothing is painted; Esc and Cancel end it. */
  async #withEngine(work: (engine: Engine, options: LoadOptions) => Promise<void>): Promise<void> {
    if (!canGenerate(this.#state)) return;
    const startMs = performance.now();
    const { signal } = (this.#refining = new AbortController());
    this.#do({ kind: "starting" });
    try {
      await this.#live.stop();
      const engine = await this.#session.ready(signal);
      const painting: Activity = { kind: "painting", done: 1, total: 1, endsAtMs: null }; // one pass; how long it takes is not known
      this.#do(painting);
      await work(engine, { signal, onProgress: this.#loadingBefore(painting) });
      this.#set({ losses: 0, activity: { kind: "finished", elapsedMs: performance.now() - startMs } });
    } catch (error) {
      this.#fail(error);
    }
  }

  async #paint(engine: Engine, entries: Together, signal: AbortSignal): Promise<void> {
    const startMs = performance.now();
    const [{ batch, request: asked }, ...others] = entries;
    const canUpscale = upscales({ ...this.#state, upscale: true }); // they may have been asked of another model
    const requests = togetherOf([asked, ...others.map((entry) => entry.request)]);
    const request = { ...requests, upscale: asked.upscale === true && canUpscale };
    const total = request.steps ?? recommendedSteps(this.#state);
    const pictures = this.#state.pictures.filter((picture) => picture.batch === batch);
    const painting: Activity = { kind: "painting", done: 0, total, endsAtMs: null };
    this.#set({ pictures, result: null, activity: painting });
    const recorders = entries.map(() => new FilmRecorder());
    for await (const step of this.#steps(engine, request, { signal, onProgress: this.#loadingBefore(painting) })) {
      // A new engine compiles its shaders in the first step, so that step says nothing about the others.
      const isTypical = this.#session.isWarm || step.index > 0;
      const endsAtMs = isTypical ? performance.now() + step.etaMs : null;
      this.#do({ kind: "painting", done: step.index + 1, total: step.total, endsAtMs });
      await record(step, recorders).catch(() => signal.throwIfAborted()); // the film has a gap then; the picture is what counts
    }
    const model = cardIn(this.#state)?.name;
    const results = (await engine.lastBatch()).map(({ blob: png, ...made }, at): Result => {
      return { id: randomId(), png, ...made, asked: entries[at]?.request ?? asked, model, film: recorders[at]?.film ?? NO_FILM, batch };
    });
    const [first] = results;
    if (first) this.#finish(first, [...pictures, ...results], startMs, results.length === 1);
    this.installer.painted();
    for (const [at, { png, id }] of results.entries()) void this.#gallery.keep(png, { id, parents: entries[at]?.parents ?? [] });
  }

  /** Paints the words as they are, in few steps, always with the same noise. */
  async #paintLive(stopped: AbortSignal, stale: AbortSignal): Promise<void> {
    if (this.queue.isRunning || !canQueue(this.#state) || this.#state.prompt.trim() === "") return;
    try {
      const engine = await this.#session.ready(stopped);
      await this.start.refresh();
      const { seed, ...words } = this.#request();
      const startMs = performance.now();
      const steps = Math.min(MAX_LIVE_STEPS, words.steps ?? recommendedSteps(this.#state));
      const request = { ...words, steps, upscale: false, seed: parseSeed(this.#state.seed) ?? this.#liveSeed };
      const onProgress = this.#loadingBefore({ kind: "idle" });
      for await (const _step of this.#steps(engine, request, { signal: stale, onProgress })); // the canvas shows them
      const { blob: png, ...made } = await engine.last();
      stale.throwIfAborted();
      this.#finish({ id: randomId(), png, ...made, asked: request, model: cardIn(this.#state)?.name, film: NO_FILM, batch: "" }, [], startMs);
      if (this.start.painted()) this.#live.wake(0);
    } catch (error) {
      if (!isAbortError(error)) this.#fail(error);
    } finally {
      if (isBusy(this.#state) && !this.queue.isRunning) this.#do({ kind: stopped.aborted ? "cancelled" : "idle" });
    }
  }

  /** A run's steps; the canvas shows from the first one on what it holds. */
  async *#steps(engine: Engine, request: GenerateRequest, options: LoadOptions): AsyncGenerator<Step, void, undefined> {
    for await (const step of this.#session.steps(engine, request, options)) {
      if (step.index === 0) this.#set({ hasPaint: true, onCanvas: null, look: null, shownFrame: null });
      yield step;
    }
  }

  /** Shows how far what is fetched on first use is, and then what comes after it. */
  #loadingBefore(next: Activity): NonNullable<LoadOptions["onProgress"]> {
    return (progress) => {
      const isThere = progress.phase === "upload" && progress.loadedBytes >= progress.totalBytes;
      this.#do(isThere ? next : { kind: "loading", progress });
    };
  }

  #finish(result: Result, pictures: readonly Result[], startMs: number, isOnCanvas = true): void {
    this.#set({ onCanvas: isOnCanvas ? result : null });
    this.select(result);
    this.#set({ pictures, losses: 0, activity: { kind: "finished", elapsedMs: performance.now() - startMs } });
  }

  /** What shows a finished picture: the canvas where it is on it, else its file. */
  #lookOf(result: Result): Blob | null {
    return result === this.#state.onCanvas ? null : result.png;
  }

  /** The canvas is gone; a picture that it held is shown from its file. */
  #clearCanvas(): void {
    this.#set({ hasPaint: false, onCanvas: null, look: this.#state.look ?? this.#state.result?.png ?? null });
  }

  /** What the form asks for, and what painting starts from. */
  #request(): SeededRequest {
    return { ...this.start.request(), ...requestIn(this.#state) };
  }

  #fail(error: unknown): void {
    if (isAbortError(error)) {
      this.#do({ kind: "cancelled" });
      return;
    }
    const code = codeOf(error);
    const message = error instanceof Error ? error.message : String(error);
    if (code === "Internal") this.#session.close(); // the worker is gone, and the canvas with it
    const isModelLoaded = this.#state.isModelLoaded && code === "Request";
    const losses = this.#state.losses + (isLoss(code) ? 1 : 0);
    this.#set({ isModelLoaded, losses, activity: { kind: "failed", code, message } });
  }

  #do(activity: Activity): void {
    this.#set({ activity });
  }

  #set(changes: Partial<StudioState>): void {
    this.#state = { ...this.#state, ...changes };
    this.dispatchEvent(new Event("change"));
  }
}

const NO_FILM: Film = { total: 0, frames: [] };

function codeOf(error: unknown): string {
  return error instanceof FraiseError ? error.code : "Internal";
}

function initialLanguage(): Language {
  let stored: string | null = null;
  try {
    stored = localStorage.getItem(LANGUAGE_KEY);
  } catch {
    // Storage may be off.
  }
  return preferredLanguage([...(stored ? [stored] : []), ...navigator.languages]);
}

/** The page's store. */
export const studio = new Studio();
