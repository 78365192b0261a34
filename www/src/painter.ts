/**
 * `<fraise-painter model="…/manifest.json" prompt="…">`: a picture painter for any page.
 *
 * It shows a button and the size of the download first; nothing but the small manifest is fetched, and no engine is
 * started, before the visitor presses it or the page calls {@link FraisePainter.paint}.
 *
 * Attributes: `model`, `prompt`, `negative`, `seed`, `steps`, `guidance`, `device`.
 * Events: `fraise-progress` (detail: `Progress`), `fraise-step` (`Step`), `fraise-result` (`Picture`), `fraise-error`
 * (`FraiseError`). All bubble and cross shadow roots. Parts: `frame`, `button`, `status`.
 */
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { keyed } from "lit/directives/keyed.js";
import { Engine, FraiseError, isAbortError, type DeviceChoice, type GenerateRequest, type Picture } from "./engine/index";
import { fetchModelCard, type ModelCard } from "./app/model";
import { formatBytes } from "./app/format";
import { preferredLanguage, wordsOf, type Words } from "./locales/index";

/** All painters of a page that compute in the same place share one engine and one loaded pack. */
interface SharedEngine {
  readonly engine: Engine;
  loaded: string | null;
}

const engines = new Map<DeviceChoice, Promise<SharedEngine>>();

function sharedEngine(device: DeviceChoice): Promise<SharedEngine> {
  let shared = engines.get(device);
  if (!shared) {
    shared = Engine.create({ device }).then((engine) => ({ engine, loaded: null }));
    engines.set(device, shared);
    shared.catch(() => engines.delete(device));
  }
  return shared;
}

/** The element's class; `fraise/define` registers it as `fraise-painter`. */
export class FraisePainter extends LitElement {
  static override properties = {
    model: {},
    prompt: {},
    negative: {},
    seed: { type: Number },
    steps: { type: Number },
    guidance: { type: Number },
    device: {},
    status: { state: true },
    card: { state: true },
    isBusy: { state: true },
    canvasNumber: { state: true },
  };

  static override styles = css`
    :host {
      display: inline-block;
      width: 20rem;
      max-width: 100%;
      font-family: system-ui, sans-serif;
      color: var(--fraise-ink, inherit);
    }
    :host([hidden]) {
      display: none;
    }
    div {
      aspect-ratio: 1;
      overflow: hidden;
      border-radius: var(--fraise-round, 0.8rem);
      background: var(--fraise-night, #16153a);
    }
    canvas {
      display: block;
      width: 100%;
      height: 100%;
      object-fit: contain;
    }
    button {
      width: 100%;
      min-height: 2.75rem;
      margin-top: 0.6rem;
      border: 0;
      border-radius: var(--fraise-round, 0.8rem);
      background: var(--fraise-berry, #cf2450);
      color: var(--fraise-on-berry, #fff);
      font: inherit;
      font-weight: 600;
      cursor: pointer;
    }
    button:focus-visible {
      outline: 3px solid var(--fraise-focus, #3f7fd6);
      outline-offset: 2px;
    }
    p {
      min-height: 1.4em;
      margin: 0.4rem 0 0;
      font-size: 0.88rem;
      overflow-wrap: anywhere;
    }
  `;

  /** Address of the pack's `manifest.json`, relative to the page. */
  declare model: string;
  /** What to paint. */
  declare prompt: string;
  /** What to keep out of the picture. */
  declare negative: string;
  /** Seed of the noise; a new one for each picture where absent. */
  declare seed: number | undefined;
  /** Denoising steps; the pack's recommendation where absent. */
  declare steps: number | undefined;
  /** Guidance scale; the pack's recommendation where absent. */
  declare guidance: number | undefined;
  /** Where to compute; `auto` where absent. Read when painting starts. */
  declare device: DeviceChoice;

  private declare status: string;
  private declare card: ModelCard | null;
  private declare isBusy: boolean;
  private declare canvasNumber: number;
  #run: AbortController | null = null;
  #canvasOwner: Engine | null = null;

  constructor() {
    super();
    this.model = "";
    this.prompt = "";
    this.negative = "";
    this.device = "auto";
    this.status = "";
    this.card = null;
    this.isBusy = false;
    this.canvasNumber = 0;
  }

  /**
   * Paints the picture, as the button does.
   *
   * Rejects with `FraiseError`, or with `AbortError` after {@link cancel}; the events tell the same.
   */
  async paint(): Promise<Picture> {
    if (this.#run) this.cancel();
    const run = new AbortController();
    this.#run = run;
    this.isBusy = true;
    try {
      const picture = await this.#paint(run.signal);
      this.status = "";
      this.#emit("fraise-result", picture);
      return picture;
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      if (this.#run === run) {
        this.#run = null;
        this.isBusy = false;
      }
    }
  }

  /** Stops what is under way, if anything is. */
  cancel(): void {
    this.#run?.abort();
  }

  override disconnectedCallback(): void {
    this.cancel();
    super.disconnectedCallback();
  }

  protected override willUpdate(changes: PropertyValues): void {
    if (changes.has("model")) void this.#introduce(this.model);
  }

  protected override render(): TemplateResult {
    const words = this.#words;
    const size = this.card && !this.isBusy ? html` (${this.card.name}, ${formatBytes(this.card.totalBytes)})` : nothing;
    return html`
      <div part="frame">
        ${keyed(this.canvasNumber, html`<canvas role="img" aria-label=${this.prompt || words.canvas}></canvas>`)}
      </div>
      <button part="button" @click=${this.#press}>${this.isBusy ? words.cancel : words.generate}${size}</button>
      <p part="status" role="status">${this.status}</p>
    `;
  }

  get #words(): Words {
    const lang = this.closest<HTMLElement>("[lang]")?.lang;
    return wordsOf(preferredLanguage([...(lang ? [lang] : []), ...navigator.languages]));
  }

  readonly #press = (): void => {
    if (this.isBusy) this.cancel();
    // The events have told already how it went.
    else void this.paint().catch(() => undefined);
  };

  async #introduce(model: string): Promise<void> {
    this.card = null;
    const card = model ? await fetchModelCard(model).catch(() => null) : null;
    if (model === this.model) this.card = card;
  }

  async #paint(signal: AbortSignal): Promise<Picture> {
    const words = this.#words;
    this.status = words.starting;
    const shared = await sharedEngine(this.device);
    const { engine } = shared;
    if (this.#canvasOwner !== engine) {
      this.#canvasOwner = engine;
      this.canvasNumber += 1; // a canvas belongs to one engine for good
    }
    if (shared.loaded !== this.model) {
      shared.loaded = null;
      await engine.load(this.model, {
        signal,
        onProgress: (progress) => {
          this.status = `${words.downloading}: ${words.bytesOf(formatBytes(progress.loadedBytes), formatBytes(progress.totalBytes))}`;
          this.#emit("fraise-progress", progress);
        },
      });
      shared.loaded = this.model;
    }
    await this.updateComplete;
    const canvas = this.renderRoot.querySelector("canvas") ?? undefined;
    for await (const step of engine.generate(this.#request(), { signal, canvas })) {
      this.status = words.stepOf(step.index + 1, step.total);
      this.#emit("fraise-step", step);
    }
    return engine.last();
  }

  #request(): GenerateRequest {
    const { prompt, negative, steps, guidance } = this;
    const seed = this.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
    return { prompt, negative: negative || undefined, seed, steps, guidance };
  }

  #fail(error: unknown): void {
    const words = this.#words;
    if (isAbortError(error)) {
      this.status = words.cancelled;
      return;
    }
    const code = error instanceof FraiseError ? error.code : "Internal";
    if (code === "Internal" || code === "DeviceLost") engines.delete(this.device);
    this.status = `${words.failedTitle}: ${words.failures[code] ?? ""} (${code})`;
    this.#emit("fraise-error", error);
  }

  #emit(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "fraise-painter": FraisePainter;
  }
}
