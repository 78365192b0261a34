/** The page's engine: started when it is first needed, with the chosen model on it, painting on the page's canvas. */
import { Engine, type GenerateRequest, type LoadOptions, type Progress, type Step } from "../engine/index";
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

/** One engine at a time. Methods reject as the engine's do. */
export class Session {
  readonly #host: SessionHost;
  #engine: Promise<Engine> | null = null;
  #announced: Engine | null = null;
  #canvas: HTMLCanvasElement | null = null;
  #isWarm = false;

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
    const { isModelLoaded, modelUrl } = this.#host.state();
    if (isModelLoaded) return engine;
    void askToPersist().then((isPersistent) => this.#host.show({ isPersistent }));
    const { isKept } = await engine.load(modelUrl, { signal, onProgress: (progress) => this.#host.loading(progress) });
    const { kind: runsOn, threads } = engine.device; // which `auto` may have changed
    this.#host.show({ isModelLoaded: true, isModelKept: isKept, runsOn, threads });
    return engine;
  }

  /** A run's steps, painted on the canvas. */
  async *steps(engine: Engine, request: GenerateRequest, options: LoadOptions): AsyncGenerator<Step, void, undefined> {
    yield* engine.generate(request, { ...options, canvas: this.#canvas ?? undefined });
    this.#isWarm = true;
  }

  /** Ends the engine; the next picture starts with a new one. */
  close(): void {
    void this.#engine?.then((engine) => engine.close(), () => undefined);
    this.#engine = this.#announced = null;
    this.#host.show({ isModelLoaded: false });
  }

  #announce(engine: Engine): void {
    this.#announced = engine;
    this.#isWarm = false;
    this.#host.started(engine);
  }
}
