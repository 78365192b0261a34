/** The studio's one store: holds the state, drives the engine, tells whoever listens. Components only read and call. */
import {
  Engine,
  FraiseError,
  isAbortError,
  type ConvertedModel,
  type DeviceChoice,
  type GenerateRequest,
} from "../engine/index";
import { preferredLanguage, wordsOf, type Language } from "../locales/index";
import { Converter } from "./conversion";
import { detectGpu } from "./environment";
import { cardOf, rememberChoice, rememberedChoice, rememberedModels, rememberModels } from "./library";
import { fetchModelCard, MODEL_URL, type ModelCard } from "./model";
import {
  canGenerate,
  isBusy,
  isConverting,
  parseSeed,
  randomSeed,
  suggestion,
  type Activity,
  type StudioState,
} from "./state";

const LANGUAGE_KEY = "fraise.language";

/** Settings that a visitor changes by hand. */
export type Settings = Pick<StudioState, "prompt" | "negative" | "seed" | "steps" | "guidance" | "upscale">;

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
    device: "auto",
    gpu: null,
    modelUrl: MODEL_URL,
    localModels: [],
    defaultModel: null,
    model: null,
    isModelLoaded: false,
    runsOn: null,
    activity: { kind: "idle" },
    conversion: { kind: "none" },
    result: null,
    engineNumber: 0,
    isUpdateWaiting: false,
  };
  #engine: Engine | null = null;
  #run: AbortController | null = null;
  #canvas: HTMLCanvasElement | null = null;
  #isWarm = false;
  #update: () => void = () => undefined;
  readonly #converter = new Converter({
    engine: (signal) => this.#ensureEngine(signal),
    show: (conversion) => this.#set({ conversion }),
    adopt: (model) => this.#adopt(model),
    abandon: () => this.#abandonEngine(),
  });

  /** What there is to show. */
  get state(): StudioState {
    return this.#state;
  }

  /** Looks around: the GPU and the model's description. Downloads nothing else. */
  async open(): Promise<void> {
    const localModels = rememberedModels();
    this.#set({ localModels });
    this.#choose(rememberedChoice(localModels));
    await Promise.all([
      detectGpu().then((gpu) => this.#set({ gpu })),
      fetchModelCard(MODEL_URL).then(
        (model) => this.#introduce(model),
        () => this.#introduce("unreadable"),
      ),
    ]);
  }

  /** Paints with another model from now on: the default one, or one converted in this browser. */
  chooseModel(url: string): void {
    if (url === this.#state.modelUrl || isBusy(this.#state) || isConverting(this.#state)) return;
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

  /** The conversion of the checkpoint that was opened last. */
  get converter(): Converter {
    return this.#converter;
  }

  /** Takes over what the visitor typed or moved. */
  change(settings: Partial<Settings>): void {
    this.#set(settings);
  }

  /** Draws a seed and writes it into the field. */
  rollSeed(): void {
    this.#set({ seed: String(randomSeed()) });
  }

  /** Writes the shown picture's seed into the field, to vary the words and keep the rest. */
  keepSeed(): void {
    const { result } = this.#state;
    if (result) this.#set({ seed: String(result.request.seed) });
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
    this.#engine?.close();
    this.#engine = null;
    this.#set({ device, isModelLoaded: false, runsOn: null, activity: { kind: "idle" }, result: null });
  }

  /** The element to paint on; a new one for each {@link StudioState.engineNumber}. */
  useCanvas(canvas: HTMLCanvasElement): void {
    this.#canvas = canvas;
  }

  /** Hears from the service worker that a newer version waits; `update` switches to it. */
  offerUpdate(update: () => void): void {
    this.#update = update;
    this.#set({ isUpdateWaiting: true });
  }

  /** Switches to the newer version. */
  acceptUpdate(): void {
    this.#update();
  }

  /** Stops the download or the picture. */
  cancel(): void {
    this.#run?.abort();
  }

  /** Loads the model if need be and paints a picture. Never rejects: how it ended is in the state. */
  async generate(): Promise<void> {
    if (!canGenerate(this.#state)) return;
    const run = new AbortController();
    this.#run = run;
    const prompt = this.#state.prompt.trim() || suggestion(this.#state, wordsOf(this.#state.language));
    this.#set({ prompt, activity: { kind: "starting" } });
    try {
      const engine = await this.#ensureEngine(run.signal);
      await this.#ensureModel(engine, run.signal);
      await this.#paint(engine, run.signal);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#run = null;
    }
  }

  async #ensureEngine(signal: AbortSignal): Promise<Engine> {
    const engine = this.#engine ?? (await Engine.create({ device: this.#state.device }));
    if (this.#engine !== engine) {
      this.#engine = engine;
      this.#isWarm = false;
      this.#set({ runsOn: engine.device.kind, engineNumber: this.#state.engineNumber + 1 });
    }
    signal.throwIfAborted();
    return engine;
  }

  async #ensureModel(engine: Engine, signal: AbortSignal): Promise<void> {
    if (this.#state.isModelLoaded) return;
    await engine.load(this.#state.modelUrl, { signal, onProgress: (progress) => this.#do({ kind: "loading", progress }) });
    this.#set({ isModelLoaded: true });
  }

  async #paint(engine: Engine, signal: AbortSignal): Promise<void> {
    const startMs = performance.now();
    const request = this.#request();
    const total = request.steps ?? recommendedSteps(this.#state);
    this.#set({ result: null, activity: { kind: "painting", done: 0, total, endsAtMs: null } });
    const canvas = this.#canvas ?? undefined;
    for await (const step of engine.generate(request, { signal, canvas })) {
      // A new engine compiles its shaders in the first step, so that step says nothing about the others.
      const isTypical = this.#isWarm || step.index > 0;
      const endsAtMs = isTypical ? performance.now() + step.etaMs : null;
      this.#do({ kind: "painting", done: step.index + 1, total: step.total, endsAtMs });
    }
    this.#isWarm = true;
    const { blob: png, ...made } = await engine.last();
    this.#set({
      result: { png, ...made },
      activity: { kind: "finished", elapsedMs: performance.now() - startMs },
    });
  }

  #request(): GenerateRequest {
    const { prompt, negative, seed, steps, guidance } = this.#state;
    return {
      prompt: prompt.trim(),
      negative: negative.trim() || undefined,
      seed: parseSeed(seed) ?? randomSeed(),
      steps: steps ?? undefined,
      guidance: guidance ?? undefined,
      promptSyntax: "a1111",
      upscale: upscales(this.#state),
    };
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
    const settings = { steps: null, guidance: null, upscale: null }; // one model's are not another's
    this.#set({ ...settings, modelUrl: url, model: local?.card ?? this.#state.defaultModel, isModelLoaded: false });
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
    const code = error instanceof FraiseError ? error.code : "Internal";
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
