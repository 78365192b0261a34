/** The prompt, examples to start from, and the one button that matters. */
import { css, html, nothing, type TemplateResult } from "lit";
import { StudioElement } from "./studio-element";
import { canGenerate, examples, isBusy, suggestion } from "./state";

const EXAMPLES_SHOWN = 5;

/** `<fraise-prompt>` */
export class PromptBox extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      .prompt {
        font-size: 1.05rem;
      }
      textarea {
        display: block;
        min-height: 5.2rem;
        resize: vertical;
        line-height: 1.5;
      }
      .row {
        display: flex;
        gap: 0.6rem;
        margin-top: 0.75rem;
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
        opacity: 0.85;
      }
      .examples {
        margin: 0.9rem 0 0;
      }
      .chips {
        display: flex;
        flex-wrap: wrap;
        gap: 0.45rem;
        margin: 0.4rem 0 0;
        padding: 0;
        list-style: none;
      }
      .chips button {
        min-height: 2.25rem;
        padding: 0.3rem 0.85rem;
        border-color: var(--line);
        border-radius: 999px;
        background: var(--chip);
        font-size: 0.9rem;
        text-align: start;
      }
      @media (hover: none) {
        kbd {
          display: none;
        }
      }
      @media (max-width: 56rem) {
        textarea {
          min-height: 4.2rem;
        }
        .chips {
          flex-wrap: nowrap;
          margin-inline: -0.9rem;
          padding: 0.2rem 0.9rem 0.4rem;
          overflow-x: auto;
          scrollbar-width: none;
        }
        .chips button {
          white-space: nowrap;
        }
      }
    `,
  ];

  protected override render(): TemplateResult {
    const { words, state } = this;
    return html`
      <label class="prompt" for="prompt">${words.prompt}</label>
      <textarea
        id="prompt"
        rows="2"
        maxlength="2000"
        placeholder=${suggestion(state, words)}
        .value=${state.prompt}
        @input=${(event: InputEvent) => this.studio.change({ prompt: (event.target as HTMLTextAreaElement).value })}
      ></textarea>
      <div class="row">${isBusy(state) ? this.#cancelButton() : this.#generateButton()}</div>
      ${this.#examples()}
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

  #cancelButton(): TemplateResult {
    const { words } = this;
    return html`<button id="cancel" aria-keyshortcuts="Escape" @click=${() => this.studio.cancel()}>
      ${words.cancel} <kbd>${words.cancelKeys}</kbd>
    </button>`;
  }

  #examples(): TemplateResult | typeof nothing {
    const prompts = examples(this.state);
    if (prompts.length === 0) return nothing;
    return html`<div class="examples" role="group" aria-labelledby="examples">
      <span id="examples" class="hint">${this.words.examples}</span>
      <ul class="chips">
        ${prompts
          .slice(0, EXAMPLES_SHOWN)
          .map((prompt) => html`<li><button @click=${() => this.studio.change({ prompt })}>${prompt}</button></li>`)}
      </ul>
    </div>`;
  }
}
