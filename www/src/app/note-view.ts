/** Tells what there is to tell, at the foot of the window, until it is read. */
import { css, html, nothing, type TemplateResult } from "lit";
import type { Words } from "../locales/index";
import type { SettingName } from "./exchange/found";
import type { Note, Problem, Restored } from "./note";
import { StudioElement } from "./studio-element";

/** `<fraise-note>` */
export class NoteView extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      :host {
        position: sticky;
        bottom: 0.9rem;
        z-index: 5;
        max-width: 44rem;
        margin: 0 auto;
      }
      .note {
        display: flex;
        flex-wrap: wrap;
        align-items: start;
        gap: 0.4rem 0.8rem;
        max-height: 60vh;
        margin-top: 1rem;
        padding: 0.8rem 1rem;
        overflow-y: auto;
        border: 1px solid var(--line-strong);
        border-inline-start: 4px solid var(--berry);
        border-radius: var(--round);
        background: var(--surface);
        box-shadow: var(--shadow);
      }
      .text {
        flex: 1 1 14rem;
        min-width: 0;
      }
      p {
        margin: 0.15rem 0;
        overflow-wrap: anywhere;
      }
      .fact {
        color: var(--ink-soft);
        font-size: 0.88rem;
      }
      .actions {
        display: flex;
        gap: 0.5rem;
        margin-inline-start: auto;
      }
    `,
  ];

  protected override render(): TemplateResult {
    const { note } = this.state;
    return html`<div role="status" aria-live="polite">${note ? this.#note(note) : nothing}</div>`;
  }

  #note(note: Note): TemplateResult {
    const { words } = this;
    return html`<div class="note" id="note" data-kind=${note.kind}>
      <div class="text">${body(note, words)}</div>
      <div class="actions">
        ${note.kind === "removed"
          ? html`<button id="undo" @click=${() => void this.studio.gallery.undo()}>${words.undo}</button>`
          : nothing}
        <button id="note-close" @click=${() => this.studio.tell(null)}>${words.dismiss}</button>
      </div>
    </div>`;
  }
}

function body(note: Note, words: Words): TemplateResult {
  switch (note.kind) {
    case "restored":
      return restored(note, words);
    case "link":
      return html`<p>${note.isCopied ? words.linkCopied : words.linkShown}</p>
        <input id="link" type="text" readonly aria-label=${words.link} .value=${note.url} @focus=${select} />`;
    case "removed":
    case "broughtBack":
    case "removedAll":
    case "marked":
    case "unmarked":
      return html`<p>${words.notes[note.kind]}</p>`;
    case "imported":
      return html`<p>${words.imported(note.added, note.known, note.refused)}</p>`;
    default:
      return html`<p>${words.notes[note.kind]}</p>
        ${problem(note.problem, words)}`;
  }
}

function restored({ source, kept, changed, refused, otherModel, others }: Restored, words: Words): TemplateResult {
  const list = (names: readonly SettingName[]) => words.list(names.map((name) => words.settingNames[name]));
  const lost = [...refused.map((name) => words.settingNames[name]), ...others];
  const taken = [...kept, ...changed];
  return html`<p>${taken.length > 0 ? words.restored(words.sources[source], list(taken)) : words.restoredNothing}</p>
    ${changed.length > 0 ? html`<p class="fact">${words.restoredChanged(list(changed))}</p>` : nothing}
    ${lost.length > 0 ? html`<p class="fact" id="not-restored">${words.notRestored(words.list(lost))}</p>` : nothing}
    ${otherModel === null ? nothing : html`<p class="fact" id="other-model">${words.otherModel(otherModel)}</p>`}`;
}

function problem(given: Problem, words: Words): TemplateResult {
  return html`<p class="fact">${given.reason === "other" ? given.message : words.problems[given.reason]}</p>`;
}

function select(event: Event): void {
  (event.target as HTMLInputElement).select();
}
