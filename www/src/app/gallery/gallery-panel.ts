/** The gallery: its tools, and the grid below them. */
import { css, html, nothing, type TemplateResult } from "lit";
import { kindOf } from "../exchange";
import { save } from "../save";
import { StudioElement } from "../studio-element";
import { wantedPictures } from "./gallery";

/** `<fraise-gallery>` */
export class GalleryPanel extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      section {
        margin-top: 2rem;
        padding-top: 1.25rem;
        border-top: 1px solid var(--line);
      }
      .head,
      .tools,
      .confirm {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.6rem;
      }
      .head {
        justify-content: space-between;
        margin-bottom: 0.75rem;
      }
      h2 {
        margin: 0;
        font-family: var(--serif);
        font-size: 1.35rem;
        font-weight: 600;
      }
      .count {
        margin-inline-start: 0.5rem;
        color: var(--ink-soft);
        font-family: var(--sans);
        font-size: 0.9rem;
        font-weight: 400;
      }
      .tools {
        margin-bottom: 1rem;
      }
      .tools input[type="search"] {
        flex: 1 1 14rem;
        min-width: 0;
        min-height: 2.75rem;
        padding: 0.6rem 0.85rem;
        border: 1px solid var(--line-strong);
        border-radius: var(--round);
        background: var(--field);
      }
      button[aria-pressed="true"] {
        border-color: var(--berry);
        background: var(--chip);
        font-weight: 600;
      }
      .keep {
        display: flex;
        align-items: center;
        gap: 0.5rem;
        min-height: 2.75rem;
        margin: 0;
        font-weight: 400;
        cursor: pointer;
      }
      .keep input {
        width: 1.1rem;
        height: 1.1rem;
        margin: 0;
        accent-color: var(--berry);
      }
      .confirm,
      .comparison {
        margin-bottom: 1rem;
        padding: 0.7rem 1rem;
        border: 1px solid var(--line-strong);
        border-radius: var(--round);
        background: var(--chip);
      }
      .comparison {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: space-between;
        gap: 0.6rem;
      }
      p {
        margin: 0;
      }
    `,
  ];

  #isConfirming = false;

  protected override render(): TemplateResult {
    const { words } = this;
    const { gallery } = this.state;
    const { pictures, isKeeping } = gallery;
    const count = pictures === null || pictures === "unavailable" ? 0 : pictures.length;
    return html`<section id="gallery" aria-labelledby="gallery-title">
      <div class="head">
        <h2 id="gallery-title">${words.gallery}<span class="count" id="gallery-count">${words.pictureCount(count)}</span></h2>
        <label class="keep">
          <input
            id="keep-pictures"
            type="checkbox"
            ?disabled=${pictures === "unavailable"}
            .checked=${isKeeping}
            @change=${(event: Event) => this.studio.gallery.setKeeping((event.target as HTMLInputElement).checked)}
          />
          ${words.keepPictures}
        </label>
      </div>
      ${count > 0 ? this.#search() : nothing} ${this.#files(count)} ${this.#confirm(count)} ${this.#comparison()}
      ${pictures === "unavailable" ? html`<p>${words.galleryUnavailable}</p>` : nothing}
      ${count > 0 ? html`<fraise-grid></fraise-grid>` : html`<p class="hint">${words.galleryEmpty}</p>`}
      ${count > 0 && wantedPictures(gallery).length === 0 ? html`<p class="hint" role="status">${words.galleryNoMatch}</p>` : nothing}
    </section>`;
  }

  #search(): TemplateResult {
    const { words } = this;
    const { query, areFavouritesOnly } = this.state.gallery;
    return html`<div class="tools" role="search">
      <input
        id="gallery-search"
        type="search"
        maxlength="200"
        aria-label=${words.searchPrompts}
        placeholder=${words.searchPrompts}
        .value=${query}
        @input=${(event: InputEvent) => this.studio.gallery.search({ query: (event.target as HTMLInputElement).value })}
      />
      <button
        id="favourites-only"
        aria-pressed=${areFavouritesOnly ? "true" : "false"}
        @click=${() => this.studio.gallery.search({ areFavouritesOnly: !areFavouritesOnly })}
      >
        ★ ${words.favouritesOnly}
      </button>
    </div>`;
  }

  #files(count: number): TemplateResult {
    const { words } = this;
    const { work, pictures } = this.state.gallery;
    const isWorking = work !== null;
    return html`<div class="tools">
      <button id="open-file" ?disabled=${isWorking} @click=${this.#pick}>${words.openFile}</button>
      <input
        id="gallery-file"
        class="visually-hidden"
        type="file"
        accept=".png,.zip,image/png,application/zip"
        tabindex="-1"
        aria-hidden="true"
        @change=${this.#onFile}
      />
      <button id="export" ?disabled=${isWorking || count === 0} @click=${() => void this.#export()}>${words.exportAll}</button>
      <button id="remove-all" ?disabled=${isWorking || count === 0} @click=${() => this.#confirming(true)}>${words.removeAll}</button>
      <span id="gallery-work" class="hint" role="status" ?hidden=${pictures === "unavailable"}>
        ${work ? words[work.kind](work.done, work.total) : nothing}
      </span>
    </div>`;
  }

  #confirm(count: number): TemplateResult | typeof nothing {
    const { words } = this;
    if (!this.#isConfirming || count === 0) return nothing;
    return html`<div class="confirm" role="group" aria-labelledby="confirm-text">
      <p id="confirm-text">${words.removeAllReally(count)}</p>
      <button id="remove-all-confirm" class="primary" @click=${this.#onConfirmed}>${words.removeAll}</button>
      <button id="remove-all-cancel" @click=${() => this.#confirming(false)}>${words.cancel}</button>
    </div>`;
  }

  #comparison(): TemplateResult | typeof nothing {
    const { words } = this;
    if (!this.state.gallery.comparison) return nothing;
    return html`<div class="comparison" id="comparison" role="status">
      <p>${words.chooseSecond}</p>
      <button @click=${() => this.studio.gallery.endComparison()}>${words.cancel}</button>
    </div>`;
  }

  #confirming(isConfirming: boolean): void {
    this.#isConfirming = isConfirming;
    this.requestUpdate();
    void this.updateComplete.then(() => {
      this.renderRoot.querySelector<HTMLElement>(isConfirming ? "#remove-all-cancel" : "#remove-all")?.focus();
    });
  }

  readonly #onConfirmed = () => {
    this.#confirming(false);
    void this.studio.gallery.removeAll();
  };

  readonly #pick = () => this.renderRoot.querySelector<HTMLInputElement>("#gallery-file")?.click();

  readonly #onFile = (event: Event) => {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    input.value = ""; // so that the same file can be picked again
    if (file) this.studio.take(file, kindOf(file) === "zip" ? "zip" : "picture");
  };

  async #export(): Promise<void> {
    const zip = await this.studio.gallery.exportAll();
    if (zip) save(zip, `fraise-${new Date().toISOString().slice(0, 10)}.zip`);
  }
}
