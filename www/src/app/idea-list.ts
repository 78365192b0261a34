/** What a picture may start from: examples, another picture. */
import { css, html, nothing, type TemplateResult } from "lit";
import { StudioElement } from "./studio-element";
import { examples } from "./state";

const EXAMPLES_SHOWN = 5;

/** `<fraise-ideas>` */
export class IdeaList extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
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
      @media (max-width: 56rem) {
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
    return html`
      ${this.#examples()}
      <fraise-start></fraise-start>
    `;
  }

  #examples(): TemplateResult | typeof nothing {
    const prompts = examples(this.state);
    if (prompts.length === 0) return nothing;
    return html`<div role="group" aria-labelledby="examples">
      <span id="examples" class="hint">${this.words.examples}</span>
      <ul class="chips">
        ${prompts
          .slice(0, EXAMPLES_SHOWN)
          .map((prompt) => html`<li><button @click=${() => this.studio.change({ prompt })}>${prompt}</button></li>`)}
      </ul>
    </div>`;
  }
}
