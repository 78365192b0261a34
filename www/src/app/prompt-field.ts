/** The prompt, with the model's words offered while typing: an editable combobox with a list, as ARIA describes it. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { StudioElement } from "./studio-element";
import { suggestion, vocabularyOf } from "./state";
import { complete, suggest, type Suggestion } from "./suggestions";

/** `<fraise-prompt-field>` */
export class PromptField extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      label {
        font-size: 1.05rem;
      }
      textarea {
        display: block;
        min-height: 5.2rem;
        resize: vertical;
        line-height: 1.5;
      }
      /* Always there, so that nothing moves or is covered while typing. */
      .strip {
        display: flex;
        gap: 0.8rem;
        min-height: 2.5rem;
        margin-top: 0.35rem;
        padding: 0.15rem;
        overflow-x: auto;
        scrollbar-width: none;
        white-space: nowrap;
      }
      [role="group"] {
        display: flex;
        align-items: center;
        gap: 0.35rem;
      }
      .kind {
        color: var(--ink-soft);
        font-size: 0.8rem;
      }
      [role="option"] {
        padding: 0.3rem 0.75rem;
        border: 1px solid var(--line-strong);
        border-radius: 999px;
        background: var(--surface);
        font-size: 0.9rem;
        cursor: pointer;
      }
      [role="option"]:hover {
        border-color: var(--berry);
      }
      [role="option"][aria-selected="true"] {
        border-color: transparent;
        background: var(--berry-fill);
        color: var(--on-berry);
      }
      @media (max-width: 56rem) {
        textarea {
          min-height: 4.2rem;
        }
      }
    `,
  ];

  #suggestions: readonly Suggestion[] = [];
  /** The option that Enter takes; none before an arrow was pressed, so that Enter stays what it is. */
  #active = -1;

  protected override render(): TemplateResult {
    const { words, state } = this;
    const isOpen = this.#suggestions.length > 0;
    return html`
      <label for="prompt">${words.prompt}</label>
      <textarea
        id="prompt"
        rows="2"
        maxlength="2000"
        autocomplete="off"
        role=${isOpen ? "combobox" : nothing}
        aria-autocomplete="list"
        aria-expanded=${isOpen ? "true" : nothing}
        aria-controls=${isOpen ? "suggestions" : nothing}
        aria-activedescendant=${this.#active >= 0 ? `suggestion-${this.#active}` : nothing}
        placeholder=${suggestion(state, words)}
        .value=${live(state.prompt)}
        @input=${this.#onInput}
        @compositionend=${this.#onInput}
        @keydown=${this.#onKey}
        @click=${this.#close}
        @blur=${this.#close}
      ></textarea>
      ${isOpen
        ? html`<div
            id="suggestions"
            class="strip"
            role="listbox"
            aria-orientation="horizontal"
            aria-label=${words.suggestions}
            @mousedown=${keepFocus}
          >
            ${this.#groups()}
          </div>`
        : html`<div class="strip" ?hidden=${vocabularyOf(state).length === 0}></div>`}
      <div class="visually-hidden" role="status">${isOpen ? words.suggestionsFound(this.#suggestions.length) : ""}</div>
    `;
  }

  protected override updated(_changes: PropertyValues): void {
    this.renderRoot.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #groups(): TemplateResult[] {
    const kinds = [...new Set(this.#suggestions.map(({ word }) => word.kind))];
    return kinds.map(
      (kind) => html`<div role="group" aria-labelledby="kind-${kind}">
        <div class="kind" id="kind-${kind}" role="presentation">${this.words.kinds[kind]}</div>
        ${this.#suggestions.map((suggestion, index) => (suggestion.word.kind === kind ? this.#option(suggestion, index) : nothing))}
      </div>`,
    );
  }

  #option(suggestion: Suggestion, index: number): TemplateResult {
    return html`<div
      id="suggestion-${index}"
      role="option"
      aria-selected=${index === this.#active ? "true" : "false"}
      @click=${() => this.#take(suggestion)}
    >
      ${suggestion.text}
    </div>`;
  }

  get #field(): HTMLTextAreaElement | null {
    return this.renderRoot.querySelector("textarea");
  }

  readonly #onInput = (event: Event) => {
    const field = event.target as HTMLTextAreaElement;
    this.studio.change({ prompt: field.value });
    // An input method has a list of its own; ours waits until it is done.
    const isComposing = event instanceof InputEvent && event.isComposing;
    this.#offer(isComposing ? [] : suggest(vocabularyOf(this.state), field.value, field.selectionEnd));
  };

  readonly #onKey = (event: KeyboardEvent) => {
    const count = this.#suggestions.length;
    if (count === 0 || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const active = this.#suggestions[this.#active];
    if (event.key === "ArrowDown") this.#active = (this.#active + 1) % count;
    else if (event.key === "ArrowUp") this.#active = this.#active > 0 ? this.#active - 1 : count - 1;
    else if (event.key === "Enter" && active) this.#take(active);
    else if (event.key === "Escape") this.#close();
    else {
      if (["ArrowLeft", "ArrowRight", "Home", "End", "Enter"].includes(event.key)) this.#close();
      return;
    }
    event.preventDefault();
    event.stopPropagation(); // Escape here closes the list and cancels nothing
    this.requestUpdate();
  };

  readonly #close = () => this.#offer([]);

  #offer(suggestions: readonly Suggestion[]): void {
    this.#suggestions = suggestions;
    this.#active = -1;
    this.requestUpdate();
  }

  #take(suggestion: Suggestion): void {
    const field = this.#field;
    if (!field) return;
    const { text, caret } = complete(field.value, field.selectionEnd, suggestion);
    field.value = text;
    field.setSelectionRange(caret, caret);
    field.focus();
    this.studio.change({ prompt: text });
    this.#close();
  }
}

/** A press on the list must not take the focus, and the caret with it, from the field. */
function keepFocus(event: Event): void {
  event.preventDefault();
}
