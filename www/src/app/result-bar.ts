/** What made the finished picture, and what can be done with it. */
import { css, html, nothing, type TemplateResult } from "lit";
import { canDetail, FACTOR } from "./detail";
import { asFoundSettings } from "./exchange/found";
import { StudioElement } from "./studio-element";
import { canGenerate, canQueue, type Result } from "./state";
import { cardIn } from "./form";

/** `<fraise-result>` */
export class ResultBar extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      div {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.6rem;
        max-width: var(--stage-max, 100%);
        margin: 0.5rem auto 0;
      }
      p {
        flex: 1 1 100%;
        margin: 0;
        color: var(--ink-soft);
        font-size: 0.88rem;
        overflow-wrap: anywhere;
      }
      @media (max-width: 30rem) {
        button {
          flex: 1 1 40%;
          padding: 0 0.5rem;
        }
      }
    `,
  ];

  protected override render(): TemplateResult | typeof nothing {
    const { words } = this;
    const { result, isTiled } = this.state;
    if (!result) return nothing;
    const { id, png, request, width, height, model } = result;
    const size = `${width}\u00a0×\u00a0${height}`;
    return html`<div>
      <p id="made-with">${words.madeWith(String(request.seed), request.steps, request.guidance.toFixed(1), size)}</p>
      ${this.#refinements(result)}
      ${request.tiling
        ? html`<button id="tiled" aria-pressed=${isTiled ? "true" : "false"} @click=${() => this.studio.showTiled(!isTiled)}>
            ${words.tiled}
          </button>`
        : nothing}
      <button id="save" @click=${() => void this.studio.saver.savePng(png, { id, seed: String(request.seed) })}>${words.savePng}</button>
      <button id="keep-seed" @click=${() => this.studio.keepSeed()}>${words.keepSeed}</button>
      <button id="copy-link" @click=${() => void this.studio.exchange.copyLink({ ...asFoundSettings(request), model })}>${words.copyLink}</button>
    </div>`;
  }

  /** What can be made of the picture. */
  #refinements(result: Result): TemplateResult {
    const { words, studio, state } = this;
    const card = cardIn(state);
    const isLarger = result.request.upscale || result.width > result.request.width;
    const canEnlarge = card !== null && !isLarger && (card.upscaleFactor !== null || canDetail(result));
    // Without an upscaler the finer detail is what makes a picture larger.
    const hasDetail = card?.canEncode === true && canDetail(result) && (isLarger || card.upscaleFactor !== null);
    return html`<button id="vary-subtle" ?disabled=${!canQueue(state)} @click=${() => void studio.refiner.vary(result, "subtle")}>
        ${words.varySubtle}
      </button>
      <button id="vary-strong" ?disabled=${!canQueue(state)} @click=${() => void studio.refiner.vary(result, "strong")}>
        ${words.varyStrong}
      </button>
      ${canEnlarge
        ? html`<button
            id="enlarge"
            ?disabled=${!canGenerate(state)}
            @click=${() => void studio.refiner.enlarge(result, state.pictures, card)}
          >
            ${words.upscale(card.upscaleFactor ?? FACTOR)}
          </button>`
        : nothing}
      ${hasDetail
        ? html`<button
            id="detail"
            ?disabled=${!canGenerate(state)}
            @click=${() => void studio.refiner.detail(result, state.pictures, card)}
          >
            ${words.detail(result.width === result.request.width)}
          </button>`
        : nothing}`;
  }
}
