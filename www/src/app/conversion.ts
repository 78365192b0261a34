/** Turning a visitor's checkpoint into a model of this browser, as the studio shows it. The engine does the work. */
import {
  FraiseError,
  isAbortError,
  type CheckpointInfo,
  type ConvertedModel,
  type Engine,
  type Prediction,
  type Progress,
  type Quant,
} from "../engine/index";
import { askToPersist } from "./persistence";

/** Where a conversion is. */
export type Conversion =
  | { readonly kind: "none" }
  /** The file's header is being read. */
  | { readonly kind: "looking"; readonly name: string }
  /** What it is is known; the visitor chooses how to keep it. */
  | { readonly kind: "ready"; readonly name: string; readonly info: CheckpointInfo; readonly choice: ConversionChoice }
  | { readonly kind: "converting"; readonly name: string; readonly progress: Progress | null }
  | { readonly kind: "converted"; readonly name: string }
  | { readonly kind: "failed"; readonly name: string; readonly code: string; readonly message: string };

/** What a visitor decides about a conversion. */
export interface ConversionChoice {
  readonly quant: Quant;
  readonly prediction: Prediction;
}

/** The ways of keeping weights, in the order in which they are offered. */
export const QUANTS: readonly Quant[] = ["mixed", "q8", "q4", "f16"];

const MAX_STEM_CHARACTERS = 30;

/** What a conversion needs of the studio. */
export interface ConversionHost {
  /** The engine, started if need be. */
  engine(signal: AbortSignal): Promise<Engine>;
  /** Shows where the conversion is. */
  show(conversion: Conversion): void;
  /** A model is there to be painted with. */
  adopt(model: ConvertedModel): void;
  /** The engine stopped unexpectedly; a new one has to be started. */
  abandon(): void;
}

/** One checkpoint on its way; a newly given one takes its place. */
export class Converter {
  readonly #host: ConversionHost;
  #source: File | string | null = null;
  #work: AbortController | null = null;
  #ready: (Conversion & { readonly kind: "ready" }) | null = null;

  constructor(host: ConversionHost) {
    this.#host = host;
  }

  /** Looks into a checkpoint. Never rejects: how it ended is shown. */
  async open(source: File | string): Promise<void> {
    this.cancel();
    this.#source = source;
    await this.#look(source);
  }

  /** Chooses how the opened checkpoint will be converted. */
  choose(choice: Partial<ConversionChoice>): void {
    if (this.#ready) this.#show({ ...this.#ready, choice: { ...this.#ready.choice, ...choice } });
  }

  /** Converts the opened checkpoint. Never rejects: how it ended is shown. */
  async start({ quant, prediction }: ConversionChoice): Promise<void> {
    const source = this.#source;
    if (source === null) return;
    const name = `${stemOf(source)}-${quant}`;
    await this.#during(name, { kind: "converting", name, progress: null }, async (engine, signal) => {
      // Asked for on a visitor's own action, so that the browser does not clear the model away by itself.
      void askToPersist();
      const onProgress = (progress: Progress) => this.#show({ kind: "converting", name, progress });
      const model = await engine.convert(source, { name, quant, prediction, signal, onProgress });
      this.#source = null;
      this.#show({ kind: "converted", name });
      this.#host.adopt(model);
    });
    // Cancelled: shows what is kept and how to go on.
    if (this.#source === source && this.#work?.signal.aborted) await this.#look(source);
  }

  /** Stops what is under way; what was converted so far is kept. */
  cancel(): void {
    this.#work?.abort();
  }

  /** Throws away what earlier conversions of the opened checkpoint left. */
  async discard(info: CheckpointInfo): Promise<void> {
    const source = this.#source;
    if (source === null) return;
    const name = nameOf(source);
    await this.#during(name, { kind: "looking", name }, async (engine) => {
      for (const { address } of info.unfinished) await engine.remove(address);
    });
    await this.#look(source);
  }

  /** Leaves the opened checkpoint alone. */
  close(): void {
    this.cancel();
    this.#source = null;
    this.#show({ kind: "none" });
  }

  #show(conversion: Conversion): void {
    this.#ready = conversion.kind === "ready" ? conversion : null;
    this.#host.show(conversion);
  }

  async #look(source: File | string): Promise<void> {
    const name = nameOf(source);
    await this.#during(name, { kind: "looking", name }, async (engine, signal) => {
      const info = await engine.inspect(source, { signal });
      const quant = info.unfinished[0]?.quant ?? "mixed";
      this.#show({ kind: "ready", name, info, choice: { quant, prediction: info.prediction } });
    });
  }

  async #during(
    name: string,
    shown: Conversion,
    work: (engine: Engine, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const mine = new AbortController();
    this.#work = mine;
    this.#show(shown);
    try {
      await work(await this.#host.engine(mine.signal), mine.signal);
    } catch (error) {
      // An abort is the visitor's wish: whoever aborted shows what comes next.
      if (isAbortError(error) || this.#work !== mine) return;
      const code = error instanceof FraiseError ? error.code : "Internal";
      if (code === "Internal") this.#host.abandon();
      this.#show({ kind: "failed", name, code, message: error instanceof Error ? error.message : String(error) });
    }
  }
}

/** How the visitor knows the checkpoint. */
function nameOf(source: File | string): string {
  if (typeof source !== "string") return source.name;
  return source.split(/[?#]/)[0]?.split("/").at(-1) || source;
}

/** The name's beginning without its ending; a model's name has to fit into 128 bytes. */
function stemOf(source: File | string): string {
  const stem = nameOf(source).replace(/\.[^.]*$/, "") || "checkpoint";
  return [...stem].slice(0, MAX_STEM_CHARACTERS).join("");
}
