import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { keyed } from "lit/directives/keyed.js";
import { live } from "lit/directives/live.js";
import { FraiseError, isAbortError, type DeviceChoice, type Engine, type GenerateRequest, type Picture, type Progress } from "./engine/index";
import { formatBytes } from "./app/format";
import { isLoss, offerAfter, type SmallerOffer } from "./app/losses";
import { mannersIn, mannersOf, toggleManner } from "./app/manners";
import { fetchModelCard, type ModelCard } from "./app/model";
import { randomSeed } from "./app/random";
import { fetchVocabulary, type Word } from "./app/vocabulary";
import { preferredLanguage, wordsOf, type Language, type Words } from "./locales/index";
import { checked, filtered, refusedIn, type PictureCheck, type PromptFilter } from "./painter/rules";
import { sharedEngine } from "./painter/shared-engine";
import { styles } from "./painter/styles";

/**
 * A picture painter for any page: `<fraise-painter model="…/manifest.json" prompt="…">`.
 *
 * It shows a poster, a button and the size of the download first; nothing but the pack's small description is fetched, and
 * no engine is started, before the visitor presses the button or the page calls `paint`. All painters of a page share one
 * engine and one copy of the model, and paint one after the other.
 *
 * A page may set `promptFilter` and `pictureCheck`, functions that refuse prompts and pictures.
 *
 * @tag fraise-painter
 *
 * @attr {string} model - Address of the pack's `manifest.json`, relative to the page.
 * @attr {string} prompt - What to paint.
 * @attr {string} prompt-prefix - What stands in front of every prompt; the visitor can neither see nor change it.
 * @attr {boolean} editable - Lets the visitor change the prompt.
 * @attr {string} manners - Manners that the visitor may choose from: identities in the pack's `words.json`, with commas between.
 * @attr {string} negative - What to keep out of the picture; without guidance, only where the pack says how to tell the model.
 * @attr {number} seed - Seed of the noise; a new one for each picture where absent.
 * @attr {number} steps - Denoising steps, 1 to 150; the pack's recommendation where absent.
 * @attr {number} guidance - Guidance scale, 0 to 30; the pack's recommendation where absent.
 * @attr {number} size - Both sides of the picture in pixels; the pack's recommendation where absent.
 * @attr {number} width - Width in pixels, where it is not `size`.
 * @attr {number} height - Height in pixels, where it is not `size`.
 * @attr {boolean} upscale - Makes the finished picture larger, where the pack can.
 * @attr {"auto"|"gpu"|"cpu"} device - Where to compute; `auto` where absent. Read when painting starts.
 * @attr {string} lang - The painter's language, `en` or `zh`; that of the nearest element with one, else the browser's.
 *
 * @fires {CustomEvent<Progress>} fraise-progress - How far the download is. All events bubble and cross shadow roots.
 * @fires {CustomEvent<Step>} fraise-step - A denoising step is on the canvas.
 * @fires {CustomEvent<Picture>} fraise-result - The picture is finished.
 * @fires {CustomEvent<FraiseError>} fraise-error - It could not be painted. Cancelling is no error.
 *
 * @slot poster - What stands in the frame before the first picture, such as an `img`.
 *
 * @csspart frame - Around the picture.
 * @csspart prompt - The field for the prompt, where `editable`.
 * @csspart manners - Around the manners.
 * @csspart manner - One manner's button.
 * @csspart button - The button that paints or cancels.
 * @csspart smaller - The button that offers a smaller picture, once the device was lost twice.
 * @csspart status - The line that says how far it is.
 * @csspart about - The model's name, licence and restrictions, and that pictures are marked; closed at first.
 *
 * @cssprop [--fraise-ink=inherit] - Colour of texts.
 * @cssprop [--fraise-berry=#cf2450] - Colour of the button.
 * @cssprop [--fraise-on-berry=#fff] - Colour of the button's text.
 * @cssprop [--fraise-night=#16153a] - Background of the frame.
 * @cssprop [--fraise-focus=#3f7fd6] - Colour of the outline around what has the focus.
 * @cssprop [--fraise-round=0.8rem] - Radius of corners.
 */
export class FraisePainter extends LitElement {
  static override properties = {
    model: {},
    prompt: {},
    promptPrefix: { attribute: "prompt-prefix" },
    editable: { type: Boolean },
    manners: {},
    negative: {},
    seed: { type: Number },
    steps: { type: Number },
    guidance: { type: Number },
    size: { type: Number },
    width: { type: Number },
    height: { type: Number },
    upscale: { type: Boolean },
    device: {},
    promptFilter: { attribute: false },
    pictureCheck: { attribute: false },
    status: { state: true },
    card: { state: true },
    offered: { state: true },
    chosen: { state: true },
    isBusy: { state: true },
    hasPaint: { state: true },
    smaller: { state: true },
    canvasNumber: { state: true },
  };

  static override styles = styles;

  /** `lang` has an accessor of the browser's own, so that it is only watched. */
  static override get observedAttributes(): string[] {
    return [...super.observedAttributes, "lang"];
  }

  declare model: string;
  declare prompt: string;
  declare promptPrefix: string;
  declare editable: boolean;
  declare manners: string;
  declare negative: string;
  declare seed: number | undefined;
  declare steps: number | undefined;
  declare guidance: number | undefined;
  declare size: number | undefined;
  declare width: number | undefined;
  declare height: number | undefined;
  declare upscale: boolean;
  declare device: DeviceChoice;
  /** Gives what is painted in place of a prompt, or null, which ends in `Request` before anything is fetched. */
  declare promptFilter: PromptFilter | null;
  /** Says whether a finished picture may be seen. While it is set, nothing of a picture is shown before it has. */
  declare pictureCheck: PictureCheck | null;

  private declare status: string;
  private declare card: ModelCard | null;
  private declare offered: readonly Word[];
  private declare chosen: Word | null;
  private declare isBusy: boolean;
  private declare hasPaint: boolean;
  private declare smaller: SmallerOffer | null;
  private declare canvasNumber: number;
  #run: AbortController | null = null;
  #canvasOwner: Engine | null = null;
  /** How often the device was lost since a picture was finished. */
  #losses = 0;
  /** Where the picture that was asked for last is painted, once the model is there. */
  #runsOn: "gpu" | "cpu" | null = null;
  #lastSeed = 0;

  constructor() {
    super();
    this.model = "";
    this.prompt = "";
    this.promptPrefix = "";
    this.editable = false;
    this.manners = "";
    this.negative = "";
    this.upscale = false;
    this.device = "auto";
    this.promptFilter = null;
    this.pictureCheck = null;
    this.status = "";
    this.card = null;
    this.offered = [];
    this.chosen = null;
    this.isBusy = false;
    this.hasPaint = false;
    this.smaller = null;
    this.canvasNumber = 0;
  }

  /**
   * Paints the picture, as the button does.
   *
   * Rejects with `FraiseError`, or with `AbortError` after `cancel`; the events tell the same.
   */
  paint(): Promise<Picture> {
    return this.#begin(this.seed ?? randomSeed());
  }

  async #begin(seed: number): Promise<Picture> {
    this.cancel();
    const run = new AbortController();
    this.#run = run;
    this.isBusy = true;
    this.smaller = null;
    this.#lastSeed = seed;
    try {
      const picture = await this.#paint(seed, run.signal);
      this.status = "";
      this.#losses = 0;
      this.#emit("fraise-result", picture);
      return picture;
    } catch (error) {
      if (this.#run === run) this.#fail(error);
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

  override attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    super.attributeChangedCallback(name, before, now);
    if (name === "lang") this.requestUpdate();
  }

  protected override willUpdate(changes: PropertyValues): void {
    if (changes.has("model")) {
      void this.#introduce(this.model);
      this.#losses = 0;
      this.smaller = null;
    }
    if (changes.has("model") || changes.has("manners")) void this.#offer(this.model, this.manners);
  }

  protected override updated(): void {
    const [width, height] = this.#sides;
    const frame = this.renderRoot.querySelector<HTMLElement>("[part=frame]");
    if (frame) frame.style.aspectRatio = width && height ? `${width} / ${height}` : "";
  }

  protected override render(): TemplateResult {
    const words = this.#words;
    const size = this.card && !this.isBusy ? html` (${this.card.name}, ${formatBytes(this.card.totalBytes)})` : nothing;
    return html`
      <div part="frame">
        ${keyed(this.canvasNumber, html`<canvas role="img" ?hidden=${!this.hasPaint} aria-label=${this.prompt || words.canvas}></canvas>`)}
        <div class="poster" ?hidden=${this.hasPaint}><slot name="poster"></slot></div>
      </div>
      ${this.editable ? this.#field(words) : nothing} ${this.offered.length > 0 ? this.#choices(words) : nothing}
      <button part="button" @click=${this.#press}>${this.isBusy ? words.cancel : words.generate}${size}</button>
      ${this.smaller ? this.#smallerButton(words, this.smaller) : nothing}
      <p part="status" role="status">${this.status}</p>
      ${this.card ? this.#about(words, this.card) : nothing}
    `;
  }

  /** What is made here, by what, and what that may be used for: there before anything is downloaded. */
  #about(words: Words, { name, license, licenseRestrictions }: ModelCard): TemplateResult {
    return html`<details part="about">
      <summary>${words.about}</summary>
      <p>${words.privacy}</p>
      <p>${name}${license ? html`. ${words.modelLicense(license)}` : nothing}</p>
      ${licenseRestrictions ? html`<p>${words.modelRestrictions(licenseRestrictions)}</p>` : nothing}
    </details>`;
  }

  #field(words: Words): TemplateResult {
    const take = (event: Event) => (this.prompt = (event.target as HTMLTextAreaElement).value);
    return html`<textarea
      part="prompt"
      rows="2"
      aria-label=${words.prompt}
      placeholder=${words.promptPlaceholder}
      .value=${live(this.prompt)}
      @input=${take}
    ></textarea>`;
  }

  #choices(words: Words): TemplateResult {
    const choice = (manner: Word) => html`<button
      part="manner"
      aria-pressed=${manner === this.chosen ? "true" : "false"}
      @click=${() => (this.chosen = manner === this.chosen ? null : manner)}
    >
      ${[...manner.forms[this.#language], ...manner.forms.en, ...manner.forms.zh][0]}
    </button>`;
    return html`<div part="manners" role="group" aria-label=${words.manners}>${this.offered.map(choice)}</div>`;
  }

  /** Takes over the offer as the element's own properties, and paints with the noise of the picture that was lost. */
  #smallerButton(words: Words, { device, width, height, isSmaller, toProcessor }: SmallerOffer): TemplateResult {
    const take = () => {
      Object.assign(this, { device, width, height });
      void this.#begin(this.#lastSeed).catch(() => undefined);
    };
    return html`<button part="smaller" @click=${take}>${isSmaller ? words.paintSmaller(toProcessor) : words.useCpu}</button>`;
  }

  get #language(): Language {
    const lang = this.closest<HTMLElement>("[lang]")?.lang;
    return preferredLanguage([...(lang ? [lang] : []), ...navigator.languages]);
  }

  get #words(): Words {
    return wordsOf(this.#language);
  }

  get #sides(): readonly [number | undefined, number | undefined] {
    return [this.width ?? this.size, this.height ?? this.size];
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

  /** Offers those of the pack's manners that the page allows, in its order. */
  async #offer(model: string, allowed: string): Promise<void> {
    const ids = allowed.split(",").map((id) => id.trim()).filter((id) => id !== "");
    const known = model && ids.length > 0 ? mannersOf(await fetchVocabulary(model).catch(() => [])) : [];
    if (model !== this.model || allowed !== this.manners) return;
    this.offered = ids.flatMap((id) => known.find((manner) => manner.id === id) ?? []);
    this.chosen = null;
  }

  async #paint(seed: number, signal: AbortSignal): Promise<Picture> {
    const words = this.#words;
    this.#runsOn = null;
    this.status = words.starting;
    const { pictureCheck } = this;
    const prompt = await filtered(this.#fullPrompt, this.promptFilter);
    const shared = sharedEngine(this.device);
    return shared.use(signal, async (engine) => {
      if (this.#canvasOwner !== engine) {
        this.#canvasOwner = engine;
        this.canvasNumber += 1; // a canvas belongs to one engine for good
      }
      const onProgress = (progress: Progress) => {
        this.status = `${words.downloading}: ${words.bytesOf(formatBytes(progress.loadedBytes), formatBytes(progress.totalBytes))}`;
        this.#emit("fraise-progress", progress);
      };
      await shared.load(engine, this.model, { signal, onProgress });
      this.#runsOn = engine.device.kind;
      await this.updateComplete;
      const canvas = this.renderRoot.querySelector("canvas") ?? undefined;
      if (pictureCheck) this.hasPaint = false;
      for await (const step of engine.generate(this.#request(prompt, seed), { signal, canvas, onProgress })) {
        if (!pictureCheck) this.hasPaint = true;
        this.status = words.stepOf(step.index + 1, step.total);
        this.#emit("fraise-step", step);
      }
      const picture = await checked(await engine.last(), pictureCheck);
      this.hasPaint = true;
      return picture;
    });
  }

  #request(prompt: string, seed: number): GenerateRequest {
    const { negative, steps, guidance, upscale } = this;
    const [width, height] = this.#sides;
    const canUpscale = (this.card?.upscaleFactor ?? null) !== null;
    return { prompt, negative: negative || undefined, seed, steps, guidance, width, height, upscale: upscale && canUpscale };
  }

  get #fullPrompt(): string {
    const text = [this.promptPrefix, this.prompt].map((part) => part.trim()).filter((part) => part !== "").join(" ");
    if (!this.chosen || mannersIn(text, this.offered).has(this.chosen.id)) return text;
    return toggleManner(text, this.chosen, this.offered, this.#language);
  }

  #fail(error: unknown): void {
    const words = this.#words;
    if (isAbortError(error)) {
      this.status = words.cancelled;
      return;
    }
    const code = error instanceof FraiseError ? error.code : "Internal";
    const refused = refusedIn(error);
    this.#losses += isLoss(code) ? 1 : 0;
    this.smaller = isLoss(code) ? this.#smallerOffer() : null;
    const offer = this.smaller ? ` ${words.smallerOffer(`${this.smaller.width} × ${this.smaller.height}`, this.smaller.toProcessor)}` : "";
    this.status = refused ? words.refusedByPage[refused] : `${words.failedTitle}: ${words.failures[code] ?? ""} (${code})${offer}`;
    this.#emit("fraise-error", error);
  }

  #smallerOffer(): SmallerOffer | null {
    if (!this.card) return null;
    const [width = this.card.width, height = this.card.height] = this.#sides;
    const lost = { sides: { width, height }, recommended: this.card, device: this.device, runsOn: this.#runsOn };
    return offerAfter(this.#losses, lost);
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
