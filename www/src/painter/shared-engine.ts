/** One engine, and one copy of a model, for all painters of a page that compute in the same place. */
import { isLoss } from "../app/losses";
import { orAborted } from "../engine/abort";
import { Engine, FraiseError, type DeviceChoice, type LoadOptions } from "../engine/index";

/** An engine whose painters paint one after the other. */
class SharedEngine {
  readonly #device: DeviceChoice;
  #engine: Engine | null = null;
  #loaded: string | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(device: DeviceChoice) {
    this.#device = device;
  }

  /** Does `work` when everyone who came before is done; aborting gives up the place. */
  async use<T>(signal: AbortSignal, work: (engine: Engine) => Promise<T>): Promise<T> {
    const mine = this.#turn.then(async () => {
      signal.throwIfAborted();
      try {
        this.#engine ??= await Engine.create({ device: this.#device });
        return await work(this.#engine);
      } catch (error) {
        this.#recover(error);
        throw error;
      }
    });
    this.#turn = mine.catch(() => undefined);
    return orAborted(mine, signal);
  }

  /** Loads a pack unless the engine holds it already. */
  async load(engine: Engine, model: string, options: LoadOptions): Promise<void> {
    if (this.#loaded === model) return;
    this.#loaded = null;
    await engine.load(model, options);
    this.#loaded = model;
  }

  /** An engine that cannot go on makes way for a new one. */
  #recover(error: unknown): void {
    if (!(error instanceof FraiseError) || !isLoss(error.code)) return;
    this.#engine?.close();
    this.#engine = null;
    this.#loaded = null;
  }
}

const engines = new Map<DeviceChoice, SharedEngine>();

/** The page's engine for that device; nothing is started before it is used. */
export function sharedEngine(device: DeviceChoice): SharedEngine {
  const shared = engines.get(device) ?? new SharedEngine(device);
  engines.set(device, shared);
  return shared;
}
