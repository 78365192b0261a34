/** What made the finished picture, and what can be done with it. */
import { css, html, nothing, type TemplateResult } from "lit";
import { asFoundSettings } from "./exchange/found";
import { save } from "./save";
import { StudioElement } from "./studio-element";

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
          flex: 1;
        }
      }
    `,
  ];

  protected override render(): TemplateResult | typeof nothing {
    const { words } = this;
    const { result } = this.state;
    if (!result) return nothing;
    const { png, request, width, height, model } = result;
    const size = `${width}\u00a0×\u00a0${height}`;
    return html`<div>
      <p id="made-with">${words.madeWith(String(request.seed), request.steps, request.guidance.toFixed(1), size)}</p>
      <button id="save" @click=${() => save(png, `fraise-${request.seed}.png`)}>${words.savePng}</button>
      <button id="keep-seed" @click=${() => this.studio.keepSeed()}>${words.keepSeed}</button>
      <button id="copy-link" @click=${() => void this.studio.exchange.copyLink({ ...asFoundSettings(request), model })}>${words.copyLink}</button>
    </div>`;
  }
}
