/** The page's engine: started when it is about to be needed, with the chosen model on it, painting on the page's canvas. */
import { orAborted } from "../engine/abort";
import { Engine, type GenerateRequest, type LoadOptions, type Progress, type Step } from "../engine/index";
import { addressOf } from "./model";
import { askToPersist } from "./persistence";
import type { StudioState } from "./state";

/** What a session needs of the studio. */
export interface SessionHost {
  state(): StudioState;
  show(changes: Partial<StudioState>): void;
  /** There is a new engine, which needs a new canvas; what the old one showed is gone. */
  started(engine: Engine): void;
  loading(progress: Progress): void;
}

/** A model on its way onto an engine. */
interface Loading {
  readonly engine: Engine;
  readonly modelUrl: string;
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

/** One engine at a time. Methods reject as the engine's do. */
export class Session {
  readonly #host: SessionHost;
  #engine: Promise<Engine> | null = null;
  #announced: Engine | null = null;
  #canvas: HTMLCanvasElement | null = null;
  #isWarm = false;
  /** Asked for once in a visit. */
  #persistence: Promise<void> | null = null;
  #loading: Loading | null = null;
  /** Who waits for the loading; without them nobody is told of it. */
  #waiting = 0;
  /** The model that was got ready, or tried, before it was asked for. */
  #expected: string | null = null;

  constructor(host: SessionHost) {
    this.#host = host;
  }

  /** Whether this engine has painted a picture; the first one takes longer, since shaders are compiled. */
  get isWarm(): boolean {
    return this.#isWarm;
  }

  /** The element to paint on from now on. */
  useCanvas(canvas: HTMLCanvasElement): void {
    this.#canvas = canvas;
  }

  /** The engine, without a model. */
  async engine(signal: AbortSignal): Promise<Engine> {
    const { device, precision } = this.#host.state();
    const starting = (this.#engine ??= Engine.create({ device, precision }));
    try {
      const engine = await starting;
      if (this.#engine === starting && this.#announced !== engine) this.#announce(engine);
      signal.throwIfAborted();
      return engine;
    } catch (error) {
      if (this.#engine === starting && this.#announced === null) this.#engine = null; // another try starts anew
      throw error;
    }
  }

  /** The engine with the chosen model on it. */
  async ready(signal: AbortSignal): Promise<Engine> {
    const engine = await this.engine(signal);
    this.#persistence ??= askToPersist().then((isPersistent) => this.#host.show({ isPersistent }));
    if (this.#host.state().isModelLoaded) return engine;
    const { controller, ended } = this.#load(engine);
    this.#waiting += 1;
    try {
      await orAborted(ended, signal, () => controller.abort());
    } finally {
      this.#waiting -= 1;
    }
    return engine;
  }

  /**
   * A picture will be asked for soon: starts the engine, and loads the chosen model where this browser keeps it. Shows nothing
   * of that unless somebody waits, and is silent where it fails; whoever asks for the picture tries again, and is told.
   */
  expect(): void {
    const { isModelLoaded, modelUrl } = this.#host.state();
    if (isModelLoaded || this.#expected === modelUrl) return;
    this.#expected = modelUrl;
    void this.#warmUp(modelUrl).catch(() => undefined);
  }

  async #warmUp(modelUrl: string): Promise<void> {
    const engine = await this.engine(new AbortController().signal);
    const address = addressOf(modelUrl);
    const isKept = (await engine.models()).some((model) => model.address === address && model.isComplete);
    const state = this.#host.state();
    if (isKept && this.#announced === engine && !state.isModelLoaded && state.modelUrl === modelUrl) await this.#load(engine).ended;
  }

  /** The chosen model's loading: what is under way, or begun now. */
  #load(engine: Engine): Loading {
    const { modelUrl } = this.#host.state();
    const current = this.#loading;
    if (current?.engine === engine && current.modelUrl === modelUrl && !current.controller.signal.aborted) return current;
    current?.controller.abort();
    const controller = new AbortController();
    const onProgress = (progress: Progress) => {
      if (this.#waiting > 0) this.#host.loading(progress);
    };
    const work = async () => {
      const { isKept } = await engine.load(modelUrl, { signal: controller.signal, onProgress });
      // Another may have been chosen while nobody waited.
      if (this.#announced !== engine || this.#host.state().modelUrl !== modelUrl) return;
      const { kind: runsOn, threads } = engine.device; // which `auto` may have changed
      this.#host.show({ isModelLoaded: true, isModelKept: isKept, runsOn, threads });
    };
    const ended = work().finally(() => {
      if (this.#loading?.controller === controller) this.#loading = null;
    });
    ended.catch(() => undefined); // nobody may wait
    return (this.#loading = { engine, modelUrl, controller, ended });
  }

  /** A run's steps, painted on the canvas. */
  async *steps(engine: Engine, request: GenerateRequest, options: LoadOptions): AsyncGenerator<Step, void, undefined> {
    yield* engine.generate(request, { ...options, canvas: this.#canvas ?? undefined });
    this.#isWarm = true;
  }

  /** Ends the engine; the next picture starts with a new one. */
  close(): void {
    void this.#engine?.then((engine) => engine.close(), () => undefined);
    this.#engine = this.#announced = this.#expected = null;
    this.#host.show({ isModelLoaded: false });
  }

  #announce(engine: Engine): void {
    this.#announced = engine;
    this.#isWarm = false;
    this.#host.started(engine);
  }
}
