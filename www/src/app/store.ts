/** The studio's one store: holds the state, drives the engine, tells whoever listens. Components only read and call. */
import {
  Engine,
  FraiseError,
  isAbortError,
  type ConvertedModel,
  type DeviceChoice,
  type GenerateRequest,
  type Progress,
  type Step,
} from "../engine/index";
import { preferredLanguage, wordsOf, type Language } from "../locales/index";
import { Animator } from "./animation";
import { Converter } from "./conversion";
import { detectGpu } from "./environment";
import { asText, type FoundSettings } from "./exchange/found";
import { Exchange, kindOf, type FileKind } from "./exchange";
import { FilmRecorder, type Film } from "./film";
import { Gallery, initialGallery } from "./gallery/gallery";
import { Installer } from "./install";
import { cardOf, rememberChoice, rememberedChoice, rememberedModels, rememberModels } from "./library";
import { LivePainter } from "./live";
import { fetchModelCard, MODEL_URL, type ModelCard } from "./model";
import type { Note } from "./note";
import { askToPersist } from "./persistence";
import { batchOf, PaintingQueue, type QueueEntry } from "./queue";
import {
  canQueue,
  isBusy,
  isConverting,
  parseSeed,
  randomSeed,
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

/** Settings that a visitor changes by hand. */
export type Settings = Pick<
  StudioState,
  "prompt" | "negative" | "seed" | "steps" | "guidance" | "width" | "height" | "sampler" | "upscale" | "count"
>;

/** One model's are not another's. */
const MODEL_SETTINGS = { steps: null, guidance: null, width: null, height: null, sampler: null, upscale: null };

/** Fires `change` after every change of {@link Studio.state}. */
export class Studio extends EventTarget {
  #state: StudioState = {
    language: initialLanguage(),
    prompt: "",
    negative: "",
    seed: "",
    steps: null,
    guidance: null,
    upscale: null,
    count: 1,
    isLive: false,
    width: null,
    height: null,
    sampler: null,
    device: "auto",
    gpu: null,
    modelUrl: MODEL_URL,
    localModels: [],
    defaultModel: null,
    model: null,
    vocabulary: [],
    isModelLoaded: false,
    isModelKept: true,
    isPersistent: null,
    runsOn: null,
    activity: { kind: "idle" },
    conversion: { kind: "none" },
    queue: [],
    pictures: [],
    result: null,
    shownFrame: null,
    look: null,
    hasPaint: false,
    animation: { kind: "none" },
    gallery: initialGallery(),
    note: null,
    engineNumber: 0,
    update: null,
    isInstallOffered: false,
  };
  #engine: Engine | null = null;
  #canvas: HTMLCanvasElement | null = null;
  /** The picture whose pixels the canvas holds, finished. */
  #onCanvas: Result | null = null;
  #isWarm = false;
  #liveSeed = 0;
  readonly #converter = new Converter({
    engine: (signal) => this.#ensureEngine(signal),
    show: (conversion) => this.#set({ conversion }),
    adopt: (model) => this.#adopt(model),
    abandon: () => this.#abandonEngine(),
  });
  readonly #live = new LivePainter((stopped, stale) => this.#paintLive(stopped, stale));
  /** What waits to be painted. */
  readonly queue = new PaintingQueue({
    show: (queue) => this.#set({ queue }),
    paint: (entry, signal) => this.#paintEntry(entry, signal),
    nameOf: codeOf,
  });
  /** Makes animations of what was painted. */
  readonly animator = new Animator((animation) => this.#set({ animation }));
  /** Knows of newer versions of the page. */
  readonly updates = new Updates({ show: (update) => this.#set({ update }), keepForm: () => this.#exchange.keepInAddress() });
  /** Offers the page as an app. */
  readonly installer = new Installer((isInstallOffered) => this.#set({ isInstallOffered }));

  readonly #gallery = new Gallery({
    state: () => this.#state.gallery,
    show: (changes) => this.#set({ gallery: { ...this.#state.gallery, ...changes } }),
    tell: (note) => this.tell(note),
    restore: (settings) => this.#exchange.restore(settings, "gallery"),
  });
  readonly #exchange = new Exchange({
    fillIn: (settings) => this.#set({ negative: "", seed: "", ...MODEL_SETTINGS, ...settings }),
    canUpscale: () => (cardIn(this.#state)?.upscaleFactor ?? null) !== null,
    chooseNamed: (model) => this.#chooseNamed(model),
    current: () => this.#current(),
    tell: (note) => this.tell(note),
  });

  /** What there is to show. */
  get state(): StudioState {
    return this.#state;
  }

  /** Looks around: the GPU and the model's description. Downloads nothing else. */
  async open(): Promise<void> {
    const localModels = rememberedModels();
    this.#set({ localModels });
    this.queue.restore();
    this.#choose(rememberedChoice(localModels));
    await Promise.all([
      detectGpu().then((gpu) => this.#set({ gpu })),
      this.#gallery.open(),
      fetchModelCard(MODEL_URL)
        .then(
          (model) => this.#introduce(model),
          () => this.#introduce("unreadable"),
        )
        .then(() => this.#exchange.takeAddress()),
      fetchVocabulary(MODEL_URL).then(
        (vocabulary) => this.#set({ vocabulary }),
        () => undefined, // the page works without
      ),
    ]);
  }

  /** Paints with another model from now on: the default one, or one converted in this browser. */
  chooseModel(url: string): void {
    if (url === this.#state.modelUrl || isBusy(this.#state) || isConverting(this.#state)) return;
    void this.#live.stop();
    this.#choose(url);
    rememberChoice(url);
  }

  /** Removes the chosen model, converted in this browser, from it. */
  async removeModel(): Promise<void> {
    const { modelUrl, localModels } = this.#state;
    if (modelUrl === MODEL_URL || isBusy(this.#state) || isConverting(this.#state)) return;
    this.chooseModel(MODEL_URL);
    const others = localModels.filter(({ address }) => address !== modelUrl);
    this.#set({ localModels: others });
    rememberModels(others);
    try {
      const engine = await this.#ensureEngine(new AbortController().signal);
      await engine.remove(modelUrl);
    } catch (error) {
      this.#fail(error);
    }
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
    if (this.#state.isLive) this.#live.wake();
  }

  /** Lets the picture follow the typing, or no longer. */
  setLive(isLive: boolean): void {
    this.#liveSeed = randomSeed();
    this.#set({ isLive });
    if (isLive) this.#live.wake();
    else void this.#live.stop();
  }

  /** Draws a seed and writes it into the field. */
  rollSeed(): void {
    this.change({ seed: String(randomSeed()) });
  }

  /** Writes the shown picture's seed into the field, to vary the words and keep the rest. */
  keepSeed(): void {
    const { result } = this.#state;
    if (result) this.change({ seed: String(result.request.seed) });
  }

  /** Looks at another of the pictures. */
  select(result: Result): void {
    this.#set({ result, shownFrame: null, look: this.#lookOf(result) });
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

  /** Paints elsewhere from now on; the engine starts anew. */
  chooseDevice(device: DeviceChoice): void {
    if (device === this.#state.device || isBusy(this.#state) || isConverting(this.#state)) return;
    void this.#live.stop();
    this.#engine?.close();
    this.#engine = null;
    this.#clearCanvas();
    this.#set({ device, isModelLoaded: false, runsOn: null, activity: { kind: "idle" }, result: null, pictures: [], look: null });
  }

  /** The element to paint on; a new one for each {@link StudioState.engineNumber}. */
  useCanvas(canvas: HTMLCanvasElement): void {
    this.#canvas = canvas;
  }

  /** Stops the download or the picture; what waits behind it is paused, and live painting is off. */
  cancel(): void {
    this.queue.cancel();
    if (this.#state.isLive) this.setLive(false);
  }

  /** Asks for pictures of the words as they are, to be painted when it is their turn. */
  async generate(): Promise<void> {
    if (!canQueue(this.#state)) return;
    const prompt = this.#state.prompt.trim() || suggestion(this.#state, wordsOf(this.#state.language));
    this.#set({ prompt });
    await this.queue.add(batchOf(this.#request(), this.#state.count));
  }

  /** Tries what failed once more; with the settings as they are now where these were at fault, or nothing was asked for. */
  async tryAgain(): Promise<void> {
    const { activity, queue } = this.#state;
    const isRefused = activity.kind === "failed" && activity.code === "Request";
    if (isRefused || !queue.some(({ status }) => status === "failed")) await this.generate();
    else await this.resume("failed");
  }

  /** Paints what was paused, or what failed. */
  async resume(status: "paused" | "failed"): Promise<void> {
    if (canQueue(this.#state)) await this.queue.resume(status);
  }

  async #paintEntry(entry: QueueEntry, signal: AbortSignal): Promise<void> {
    this.#do({ kind: "starting" });
    try {
      await this.#live.stop();
      const engine = await this.#ensureEngine(signal);
      await this.#ensureModel(engine, signal);
      await this.#paint(engine, entry, signal);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  async #ensureEngine(signal: AbortSignal): Promise<Engine> {
    const engine = this.#engine ?? (await Engine.create({ device: this.#state.device }));
    if (this.#engine !== engine) {
      this.#engine = engine;
      this.#isWarm = false;
      this.#clearCanvas();
      this.#set({ runsOn: engine.device.kind, engineNumber: this.#state.engineNumber + 1 });
    }
    signal.throwIfAborted();
    return engine;
  }

  async #ensureModel(engine: Engine, signal: AbortSignal): Promise<void> {
    if (this.#state.isModelLoaded) return;
    void askToPersist().then((isPersistent) => this.#set({ isPersistent }));
    const onProgress = (progress: Progress) => this.#do({ kind: "loading", progress });
    const { isKept } = await engine.load(this.#state.modelUrl, { signal, onProgress });
    this.#set({ isModelLoaded: true, isModelKept: isKept });
  }

  async #paint(engine: Engine, entry: QueueEntry, signal: AbortSignal): Promise<void> {
    const startMs = performance.now();
    const { batch } = entry;
    const canUpscale = upscales({ ...this.#state, upscale: true }); // the entry may have been asked of another model
    const request = { ...entry.request, upscale: entry.request.upscale === true && canUpscale };
    const total = request.steps ?? recommendedSteps(this.#state);
    const pictures = this.#state.pictures.filter((picture) => picture.batch === batch);
    this.#set({ pictures, result: null, activity: { kind: "painting", done: 0, total, endsAtMs: null } });
    const recorder = new FilmRecorder();
    for await (const step of this.#steps(engine, request, signal)) {
      // A new engine compiles its shaders in the first step, so that step says nothing about the others.
      const isTypical = this.#isWarm || step.index > 0;
      const endsAtMs = isTypical ? performance.now() + step.etaMs : null;
      this.#do({ kind: "painting", done: step.index + 1, total: step.total, endsAtMs });
      await recorder.add(step).catch(() => signal.throwIfAborted()); // the film has a gap then; the picture is what counts
    }
    const { blob: png, ...made } = await engine.last();
    const result = { png, ...made, model: cardIn(this.#state)?.name, film: recorder.film, batch };
    this.#finish(result, [...pictures, result], startMs);
    this.installer.painted();
    void this.#gallery.keep(png);
  }

  /** Paints the words as they are, in few steps, always with the same noise. */
  async #paintLive(stopped: AbortSignal, stale: AbortSignal): Promise<void> {
    if (this.queue.isRunning || !canQueue(this.#state) || this.#state.prompt.trim() === "") return;
    try {
      const engine = await this.#ensureEngine(stopped);
      await this.#ensureModel(engine, stopped);
      const { seed, ...words } = this.#request();
      const startMs = performance.now();
      const steps = Math.min(MAX_LIVE_STEPS, words.steps ?? recommendedSteps(this.#state));
      const request = { ...words, steps, upscale: false, seed: parseSeed(this.#state.seed) ?? this.#liveSeed };
      for await (const _step of this.#steps(engine, request, stale)); // the canvas shows them
      const { blob: png, ...made } = await engine.last();
      stale.throwIfAborted();
      this.#finish({ png, ...made, model: cardIn(this.#state)?.name, film: NO_FILM, batch: "" }, [], startMs);
    } catch (error) {
      if (!isAbortError(error)) this.#fail(error);
    } finally {
      if (isBusy(this.#state) && !this.queue.isRunning) this.#do({ kind: stopped.aborted ? "cancelled" : "idle" });
    }
  }

  /** A run's steps, painted on the canvas, which shows from the first one on what it holds. */
  async *#steps(engine: Engine, request: GenerateRequest, signal: AbortSignal): AsyncGenerator<Step, void, undefined> {
    const canvas = this.#canvas ?? undefined;
    for await (const step of engine.generate(request, { signal, canvas })) {
      this.#onCanvas = null;
      if (step.index === 0) this.#set({ hasPaint: true, look: null, shownFrame: null });
      yield step;
    }
    this.#isWarm = true;
  }

  #finish(result: Result, pictures: readonly Result[], startMs: number): void {
    this.#onCanvas = result;
    this.select(result);
    this.#set({ pictures, activity: { kind: "finished", elapsedMs: performance.now() - startMs } });
  }

  /** What shows a finished picture: the canvas where it is on it, else its file. */
  #lookOf(result: Result): Blob | null {
    return result === this.#onCanvas ? null : result.png;
  }

  /** The canvas is gone; a picture that it held is shown from its file. */
  #clearCanvas(): void {
    this.#onCanvas = null;
    this.#set({ hasPaint: false, look: this.#state.look ?? this.#state.result?.png ?? null });
  }

  #request(): GenerateRequest & { readonly seed: number } {
    const { prompt, negative, seed, steps, guidance, width, height, sampler } = this.#state;
    return {
      prompt: prompt.trim(),
      negative: negative.trim() || undefined,
      seed: parseSeed(seed) ?? randomSeed(),
      steps: steps ?? undefined,
      guidance: guidance ?? undefined,
      width: width ?? undefined,
      height: height ?? undefined,
      sampler: sampler ?? undefined,
      promptSyntax: "a1111",
      upscale: upscales(this.#state),
    };
  }

  /** What the form says, with the numbers that the model recommends where it says none. */
  #current(): FoundSettings {
    const { prompt, negative, seed, steps, guidance, width, height, sampler, upscale } = this.#state;
    const card = cardIn(this.#state);
    return {
      prompt: prompt.trim(),
      negative: negative.trim(),
      seed: seed.trim(),
      steps: String(steps ?? recommendedSteps(this.#state)),
      guidance: asText(guidance ?? card?.guidance),
      width: asText(width),
      height: asText(height),
      sampler: sampler ?? undefined,
      upscale: asText(upscale),
      model: card?.name,
    };
  }

  /** Chooses a model that the page lists, by its name; whether it is the chosen one then. */
  #chooseNamed(name: string): boolean {
    const { model, defaultModel, localModels } = this.#state;
    const isNamed = (card: ModelCard | "unreadable" | null) => card !== null && card !== "unreadable" && card.name === name;
    if (isNamed(model)) return true;
    const local = localModels.find(({ card }) => isNamed(card))?.address;
    const url = isNamed(defaultModel) ? MODEL_URL : local;
    if (url !== undefined) this.chooseModel(url);
    return url === this.#state.modelUrl;
  }

  #adopt(model: ConvertedModel): void {
    const added = { address: model.address, card: cardOf(model) };
    const localModels = [...this.#state.localModels.filter(({ address }) => address !== model.address), added];
    this.#set({ localModels });
    rememberModels(localModels);
    this.#choose(model.address);
    rememberChoice(model.address);
  }

  #choose(url: string): void {
    const local = this.#state.localModels.find(({ address }) => address === url);
    this.#set({ ...MODEL_SETTINGS, modelUrl: url, model: local?.card ?? this.#state.defaultModel, isModelLoaded: false });
  }

  #introduce(defaultModel: ModelCard | "unreadable"): void {
    const isChosen = this.#state.modelUrl === MODEL_URL;
    this.#set({ defaultModel, model: isChosen ? defaultModel : this.#state.model });
  }

  #fail(error: unknown): void {
    if (isAbortError(error)) {
      this.#do({ kind: "cancelled" });
      return;
    }
    const code = codeOf(error);
    const message = error instanceof Error ? error.message : String(error);
    if (code === "Internal") this.#abandonEngine();
    const isModelLoaded = this.#state.isModelLoaded && code === "Request";
    this.#set({ isModelLoaded, activity: { kind: "failed", code, message } });
  }

  /** The worker is gone and the canvas with it; the next picture starts with new ones. */
  #abandonEngine(): void {
    this.#engine?.close();
    this.#engine = null;
    this.#set({ isModelLoaded: false });
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

/** The chosen model's description, where it is known. */
function cardIn({ model }: StudioState): ModelCard | null {
  return model === "unreadable" ? null : model;
}

/** The steps that the loaded model recommends. */
export function recommendedSteps({ model }: StudioState): number {
  return model && model !== "unreadable" ? model.steps : 20;
}

/** Whether finished pictures are made larger: as the visitor or else the model says, where it can. */
export function upscales({ model, upscale }: StudioState): boolean {
  return model !== null && model !== "unreadable" && model.upscaleFactor !== null && (upscale ?? model.upscale);
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
