/** The model's manners as chips, each with a picture of what it does; a tap puts its words into the prompt or takes them out. */
import { css, html, nothing, type TemplateResult } from "lit";
import { StudioElement } from "./studio-element";
import { mannersIn, mannersOf, toggleManner } from "./manners";
import { suggestion, vocabularyOf } from "./state";
import type { Word } from "./vocabulary";

/** `<fraise-manners>` */
export class MannerChips extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      ul {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(4.4rem, 1fr));
        gap: 0.5rem;
        margin: 0.4rem 0 0;
        padding: 0;
        list-style: none;
      }
      button {
        display: flex;
        flex-direction: column;
        align-items: center;
        gap: 0.3rem;
        width: 100%;
        height: 100%;
        padding: 0.3rem;
        border-color: var(--line);
        background: var(--chip);
        font-size: 0.78rem;
        line-height: 1.2;
        text-align: center;
      }
      button[aria-pressed="true"] {
        border-color: var(--berry);
        box-shadow: inset 0 0 0 1px var(--berry);
        background: var(--selected);
      }
      img {
        display: block;
        width: 100%;
        aspect-ratio: 1;
        border-radius: 0.55rem;
        object-fit: cover;
      }
      @media (max-width: 56rem) {
        ul {
          grid: auto / auto-flow 5rem;
          margin-inline: -0.9rem;
          padding: 0.2rem 0.9rem 0.4rem;
          overflow-x: auto;
          scrollbar-width: none;
        }
      }
    `,
  ];

  /** Manners that have no picture. */
  readonly #plain = new Set<string>();

  protected override render(): TemplateResult | typeof nothing {
    const manners = mannersOf(vocabularyOf(this.state));
    if (manners.length === 0) return nothing;
    const chosen = mannersIn(this.state.prompt, manners);
    return html`<span id="manners-label" class="hint">${this.words.manners}</span>
      <ul id="manners" aria-labelledby="manners-label">
        ${manners.map((manner) => html`<li>${this.#chip(manner, manners, chosen.has(manner.id))}</li>`)}
      </ul>`;
  }

  #chip(manner: Word, manners: readonly Word[], isChosen: boolean): TemplateResult {
    const { en, zh } = manner.forms;
    const [name] = this.state.language === "zh" ? [...zh, ...en] : [...en, ...zh];
    return html`<button
      data-manner=${manner.id}
      aria-pressed=${isChosen ? "true" : "false"}
      @click=${() => this.#toggle(manner, manners)}
    >
      ${this.#plain.has(manner.id)
        ? nothing
        : html`<img src="manners/${manner.id}.webp" alt="" width="64" height="64" @error=${() => this.#leaveOutPicture(manner.id)} />`}
      ${name}
    </button>`;
  }

  #toggle(manner: Word, manners: readonly Word[]): void {
    const { state, words } = this;
    const prompt = state.prompt.trim() || suggestion(state, words);
    this.studio.change({ prompt: toggleManner(prompt, manner, manners, state.language) });
  }

  #leaveOutPicture(id: string): void {
    this.#plain.add(id);
    this.requestUpdate();
  }
}
