/** The page: where its parts stand, its keys, and its language. */
import { css, html, type PropertyValues, type TemplateResult } from "lit";
import { LANGUAGES } from "../locales/index";
import { takeLaunchFiles } from "./launch";
import { StudioElement } from "./studio-element";
import { isBusy } from "./state";

/** `<fraise-studio>` */
export class StudioPage extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      :host {
        max-width: 76rem;
        margin: 0 auto;
        padding: 0 clamp(0.9rem, 3vw, 2rem) 2.5rem;
      }
      header {
        display: flex;
        align-items: center;
        justify-content: space-between;
        gap: 0.75rem;
        padding: 1rem 0;
      }
      .brand {
        display: flex;
        align-items: center;
        gap: 0.7rem;
        min-width: 0;
      }
      .brand img {
        flex: none;
        width: 2.5rem;
        height: 2.5rem;
      }
      h1 {
        margin: 0;
        font-family: var(--serif);
        font-size: 1.6rem;
        font-weight: 600;
        line-height: 1.1;
        letter-spacing: 0.01em;
      }
      .tagline {
        margin: 0;
        color: var(--ink-soft);
        font-size: 0.88rem;
      }
      main {
        display: grid;
        gap: 1.25rem;
        --stage-max: min(100%, 56vh);
      }
      main > * {
        min-width: 0;
      }
      .models {
        display: grid;
        gap: 1.25rem;
        align-content: start;
      }
      @media (max-width: 30rem) {
        .tagline {
          display: none;
        }
      }
      @media (max-width: 22rem) {
        .brand {
          gap: 0.45rem;
        }
        .brand img {
          width: 1.9rem;
          height: 1.9rem;
        }
        h1 {
          font-size: 1.4rem;
        }
      }
      @media (min-width: 56rem) {
        main {
          grid-template-columns: minmax(20rem, 25rem) minmax(0, 1fr);
          grid-template-rows: auto auto auto 1fr;
          column-gap: clamp(1.5rem, 4vw, 3.5rem);
          padding-top: 0.75rem;
          --stage-max: min(100%, calc(100vh - 16rem));
        }
        .picture {
          grid-area: 1 / 2 / -1;
          position: sticky;
          top: 1rem;
          align-self: start;
        }
      }
    `,
  ];

  readonly #onKey = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!event.repeat) void this.studio.generate();
    } else if (event.key === "Escape" && isBusy(this.state)) {
      event.preventDefault();
      this.studio.cancel();
    } else if (event.key === "Escape" && this.state.conversion.kind === "converting") {
      event.preventDefault();
      this.studio.converter.cancel();
    } else if (event.key === "Escape" && this.state.animation.kind === "encoding") {
      event.preventDefault();
      this.studio.animator.cancel();
    }
  };

  /** A link may be pasted where the page is open already. */
  readonly #onHash = () => this.studio.exchange.takeAddress();

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("keydown", this.#onKey);
    addEventListener("hashchange", this.#onHash);
    void this.studio.open().then(() => takeLaunchFiles((file) => this.studio.take(file)));
  }

  override disconnectedCallback(): void {
    document.removeEventListener("keydown", this.#onKey);
    removeEventListener("hashchange", this.#onHash);
    super.disconnectedCallback();
  }

  /** What was going on at the last update. */
  #was = { isPainting: false, isCamera: false };

  /** Brings the picture into view as its painting begins, where it lies below; live, the visitor is busy with the words. */
  #follow(): void {
    const { isLive, start } = this.state;
    const is = { isPainting: isBusy(this.state) && !isLive, isCamera: start.isCamera };
    const begins = (is.isPainting && !this.#was.isPainting) || (is.isCamera && !this.#was.isCamera);
    this.#was = is;
    if (begins) requestAnimationFrame(() => this.#showStage()); // once what stands above it has its new size
  }

  #showStage(): void {
    const stage = this.renderRoot.querySelector("fraise-stage");
    if (!stage) return;
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    stage.scrollIntoView({ block: "nearest", behavior: isCalm ? "instant" : "smooth" });
  }

  protected override render(): TemplateResult {
    return html`
      <header>
        <div class="brand">
          <img src="icon.svg" alt="" width="40" height="40" />
          <div>
            <h1>Fraise</h1>
            <p class="tagline">${this.words.tagline}</p>
          </div>
        </div>
        <fraise-language></fraise-language>
      </header>
      <main>
        <div>
          <fraise-notices></fraise-notices>
          <fraise-prompt></fraise-prompt>
        </div>
        <div class="picture">
          <fraise-stage></fraise-stage>
          <fraise-progress></fraise-progress>
          <fraise-result></fraise-result>
          <fraise-steps></fraise-steps>
          <fraise-animation></fraise-animation>
          <fraise-batch></fraise-batch>
          <fraise-queue></fraise-queue>
        </div>
        <fraise-ideas></fraise-ideas>
        <fraise-settings></fraise-settings>
        <div class="models">
          <fraise-model-note></fraise-model-note>
          <fraise-models></fraise-models>
          <fraise-convert></fraise-convert>
        </div>
      </main>
      <fraise-gallery></fraise-gallery>
      <fraise-note></fraise-note>
      <fraise-viewer></fraise-viewer>
      <fraise-compare></fraise-compare>
      <fraise-drop></fraise-drop>
    `;
  }

  protected override updated(_changes: PropertyValues): void {
    const { language } = this.state;
    this.#follow();
    document.documentElement.lang = LANGUAGES.find((known) => known.language === language)?.tag ?? "en";
    document.title = this.words.title;
  }
}
