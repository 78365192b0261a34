/** The prompt, the one button that matters, how many, and in which manner. */
import { css, html, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { COUNTS } from "./queue";
import { segments } from "./segments";
import { StudioElement } from "./studio-element";
import { canGenerate, canQueue, isBusy } from "./state";

/** `<fraise-prompt>` */
export class PromptBox extends StudioElement {
  static override styles = [
    StudioElement.styles,
    segments,
    css`
      .row {
        display: flex;
        gap: 0.6rem;
        margin-top: 0.4rem;
      }
      .row button {
        flex: 1;
        display: flex;
        align-items: center;
        justify-content: center;
        gap: 0.6rem;
        min-height: 3rem;
      }
      kbd {
        font: inherit;
        font-size: 0.78rem;
        font-weight: 400;
      }
      .options {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: space-between;
        gap: 0.4rem 1rem;
        margin-top: 0.6rem;
      }
      .count {
        display: flex;
        align-items: center;
        gap: 0.6rem;
      }
      .options .switch {
        font-weight: 400;
      }
      fraise-manners {
        margin-top: 0.7rem;
      }
      @media (hover: none) {
        kbd {
          display: none;
        }
      }
      /* One row on a phone: "×1 ×2 ×4" beside the button says it as well. */
      @media (max-width: 26rem) {
        #count-label {
          position: absolute;
          clip-path: inset(50%);
        }
        .count button {
          padding: 0 0.5rem;
        }
        .count button::before {
          content: "×";
        }
      }
    `,
  ];

  protected override render(): TemplateResult {
    return html`
      <fraise-prompt-field></fraise-prompt-field>
      <div class="row">${isBusy(this.state) ? this.#busyButtons() : this.#generateButton()}</div>
      <div class="options">${this.#count()} ${this.#live()}</div>
      <fraise-manners></fraise-manners>
    `;
  }

  #generateButton(): TemplateResult {
    const { words } = this;
    return html`<button
      id="generate"
      class="primary"
      aria-keyshortcuts="Control+Enter Meta+Enter"
      ?disabled=${!canGenerate(this.state)}
      @click=${() => void this.studio.generate()}
    >
      ${words.generate} <kbd>${words.generateKeys}</kbd>
    </button>`;
  }

  #busyButtons(): TemplateResult {
    const { words } = this;
    return html`<button id="cancel" aria-keyshortcuts="Escape" @click=${() => this.studio.cancel()}>
        ${words.cancel} <kbd>${words.cancelKeys}</kbd>
      </button>
      <button
        id="enqueue"
        aria-keyshortcuts="Control+Enter Meta+Enter"
        ?disabled=${!canQueue(this.state)}
        @click=${() => void this.studio.generate()}
      >
        ${words.enqueue}
      </button>`;
  }

  #count(): TemplateResult {
    const { words, state } = this;
    return html`<div class="count">
      <span id="count-label">${words.count}</span>
      <div class="segments" role="group" aria-labelledby="count-label">
        ${COUNTS.map(
          (count) =>
            html`<button
              data-count=${count}
              aria-pressed=${count === state.count ? "true" : "false"}
              @click=${() => this.studio.change({ count })}
            >
              ${count}
            </button>`,
        )}
      </div>
    </div>`;
  }

  #live(): TemplateResult {
    const { words, state } = this;
    return html`<label class="switch">
      <input
        id="live"
        type="checkbox"
        role="switch"
        .checked=${live(state.isLive)}
        @change=${(event: Event) => this.studio.setLive((event.target as HTMLInputElement).checked)}
      />
      ${words.live}
    </label>`;
  }
}
