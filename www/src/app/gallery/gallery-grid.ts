/** The thumbnails. One of them takes part in the tab order; the arrow keys move between them. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { StudioElement } from "../studio-element";
import type { KeptPicture } from "./database";
import { wantedPictures } from "./gallery";

/** Thumbnails shown at first, and with each "more". */
const PAGE = 60;

/** `<fraise-grid>` */
export class GalleryGrid extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      ul {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(min(8rem, 40vw), 1fr));
        gap: 0.6rem;
        margin: 0;
        padding: 0;
        list-style: none;
      }
      li {
        position: relative;
      }
      li button {
        display: block;
        width: 100%;
        padding: 0;
        overflow: hidden;
        aspect-ratio: 1;
        border-color: var(--line);
        background: var(--night);
      }
      li button[aria-pressed="true"] {
        border: 3px solid var(--berry);
      }
      fraise-image {
        --fit: cover;
        width: 100%;
        height: 100%;
      }
      .star {
        position: absolute;
        inset-block-start: 0.4rem;
        inset-inline-end: 0.4rem;
        padding: 0 0.4rem;
        border-radius: 999px;
        background: rgb(12 11 35 / 80%);
        color: #ffd75e;
        pointer-events: none;
      }
      .more {
        display: block;
        margin: 1rem auto 0;
      }
    `,
  ];

  #limit = PAGE;
  /** The picture in the tab order. */
  #current: string | null = null;
  /** Where that picture stood, so that its neighbour takes over when it is removed. */
  #at = 0;
  #hadFocus = false;
  /** The picture that was looked at before this update. */
  #opened: string | null = null;

  protected override render(): TemplateResult {
    const { words } = this;
    const wanted = wantedPictures(this.state.gallery);
    const shown = wanted.slice(0, this.#limit);
    const at = shown.findIndex(({ id }) => id === this.#current);
    const current = shown[at >= 0 ? at : Math.min(this.#at, shown.length - 1)]?.id ?? null;
    return html`<p class="visually-hidden" id="grid-keys">${words.gridKeys}</p>
      <ul aria-label=${words.gallery} aria-describedby="grid-keys" @keydown=${this.#onKey} @focusin=${this.#onFocus}>
        ${repeat(
          shown,
          ({ id }) => id,
          (picture) => this.#cell(picture, picture.id === current),
        )}
      </ul>
      ${wanted.length > shown.length
        ? html`<button class="more" id="gallery-more" @click=${this.#onMore}>${words.more(wanted.length - shown.length)}</button>`
        : nothing}`;
  }

  protected override willUpdate(_changes: PropertyValues): void {
    this.#hadFocus = this.shadowRoot?.activeElement?.hasAttribute("data-id") ?? false;
  }

  protected override updated(_changes: PropertyValues): void {
    const inTabOrder = this.renderRoot.querySelector<HTMLElement>('button[tabindex="0"]');
    // The picture that had the focus is gone: its neighbour takes it.
    if (this.#hadFocus && !this.shadowRoot?.activeElement) inTabOrder?.focus();
    const { opened, compared } = this.state.gallery;
    const left = this.#opened;
    this.#opened = opened?.picture.id ?? null;
    // Looked at no longer: the keys go on from there, once the dialog has given the focus back.
    if (left !== null && opened === null && compared === null) requestAnimationFrame(() => this.#focus(left) || inTabOrder?.focus());
  }

  #cell(picture: KeptPicture, isCurrent: boolean): TemplateResult {
    const { words } = this;
    const { id, isFavourite, settings, thumbnail } = picture;
    const prompt = settings.prompt || words.noPrompt;
    const isCompared = this.state.gallery.comparison?.picture.id === id;
    return html`<li>
      <button
        data-id=${id}
        tabindex=${isCurrent ? "0" : "-1"}
        title=${prompt}
        aria-label=${isFavourite ? words.favouriteOf(prompt) : prompt}
        aria-pressed=${isCompared ? "true" : nothing}
        @click=${() => void this.studio.gallery.look(picture)}
      >
        <fraise-image .blob=${thumbnail}></fraise-image>
      </button>
      ${isFavourite ? html`<span class="star" aria-hidden="true">★</span>` : nothing}
    </li>`;
  }

  readonly #onMore = () => {
    const next = wantedPictures(this.state.gallery)[this.#limit];
    this.#limit += PAGE;
    this.requestUpdate();
    if (next) void this.updateComplete.then(() => this.#focus(next.id));
  };

  readonly #onFocus = (event: FocusEvent) => {
    const id = (event.target as HTMLElement).dataset["id"];
    if (id === undefined || id === this.#current) return;
    this.#current = id;
    this.#at = this.#buttons.findIndex((button) => button.dataset["id"] === id);
    this.requestUpdate();
  };

  readonly #onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const buttons = this.#buttons;
    const at = buttons.findIndex((button) => button === this.shadowRoot?.activeElement);
    const picture = wantedPictures(this.state.gallery)[at];
    if (at < 0 || !picture) return;
    const columns = this.#columns;
    const rows = { ArrowDown: at + columns, ArrowUp: at - columns, Home: 0, End: buttons.length - 1 };
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ...rows }[event.key];
    if (to !== undefined) buttons[to]?.focus();
    else if (event.key === "Delete") void this.studio.gallery.remove(picture);
    else if (event.key === "f") void this.studio.gallery.toggleFavourite(picture);
    else return;
    event.preventDefault();
  };

  get #buttons(): HTMLElement[] {
    return [...this.renderRoot.querySelectorAll<HTMLElement>("button[data-id]")];
  }

  /** How many thumbnails stand in the first row. */
  get #columns(): number {
    const tops = this.#buttons.map((button) => button.getBoundingClientRect().top);
    const second = tops.findIndex((top) => top > (tops[0] ?? 0) + 1);
    return second < 0 ? tops.length : second;
  }

  #focus(id: string): boolean {
    const button = this.renderRoot.querySelector<HTMLElement>(`button[data-id="${CSS.escape(id)}"]`);
    button?.focus();
    return button !== null;
  }
}
