/** What the gallery's dialogs share: their look, and how they open and close. */
import { css, html, type PropertyValues, type TemplateResult } from "lit";
import { StudioElement } from "../studio-element";

/** A modal dialog over the page, open while there is something to show. Notes appear in it too, the page's own being covered. */
export abstract class GalleryDialog extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      dialog {
        width: min(56rem, calc(100vw - 1.2rem));
        max-width: none;
        max-height: calc(100dvh - 1.2rem);
        padding: 1rem;
        overflow-y: auto;
        border: 1px solid var(--line);
        border-radius: 1.25rem;
        background: var(--surface);
        color: var(--ink);
      }
      dialog::backdrop {
        background: rgb(12 11 35 / 70%);
      }
      .head,
      .row {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.6rem;
      }
      .head {
        justify-content: space-between;
        margin-bottom: 0.8rem;
      }
      h2 {
        margin: 0;
        font-size: 1rem;
      }
      p {
        margin: 0.5rem 0;
        overflow-wrap: anywhere;
      }
      .picture {
        position: relative;
        height: min(62dvh, 88vw);
        overflow: hidden;
        border-radius: var(--round);
        background: var(--night);
      }
      fraise-note {
        position: static;
      }
      .picture fraise-image {
        position: absolute;
        inset: 0;
      }
    `,
  ];

  /** Whether there is something to show. */
  protected abstract get isShown(): boolean;
  /** What the dialog is about, in a few words. */
  protected abstract get heading(): string;
  /** All below the heading. */
  protected abstract content(): TemplateResult;

  protected override render(): TemplateResult {
    return html`<dialog aria-labelledby="heading" @cancel=${this.#onCancel} @close=${this.#onClose} @keydown=${this.onKey}>
      ${this.isShown
        ? html`<div class="head">
              <h2 id="heading">${this.heading}</h2>
              <button id="close" autofocus @click=${() => this.studio.gallery.close()}>${this.words.close}</button>
            </div>
            ${this.content()}
            <fraise-note></fraise-note>`
        : html`<span id="heading"></span>`}
    </dialog>`;
  }

  protected override updated(_changes: PropertyValues): void {
    const dialog = this.renderRoot.querySelector("dialog");
    if (dialog && dialog.open !== this.isShown) {
      if (this.isShown) dialog.showModal();
      else dialog.close();
    }
  }

  /** Keys belong to the dialog alone: the page's Escape would also cancel a picture that is being painted. */
  protected readonly onKey = (event: KeyboardEvent) => {
    event.stopPropagation();
    this.press(event);
  };

  /** Answers a key. */
  protected press(_event: KeyboardEvent): void {}

  readonly #onCancel = (event: Event) => {
    event.preventDefault(); // the state closes it
    this.studio.gallery.close();
  };

  readonly #onClose = () => {
    if (this.isShown) this.studio.gallery.close(); // closed by the browser itself
  };
}
