/** One kept picture, how it was made, and what can be done with it. */
import { css, html, nothing, type TemplateResult } from "lit";
import { formatBytes } from "../format";
import type { KeptPicture } from "./database";
import { GalleryDialog } from "./dialog";
import { wantedPictures } from "./gallery";
import { lineageOf, type Branch } from "./lineage";

/** `<fraise-viewer>` */
export class PictureViewer extends GalleryDialog {
  static override styles = [
    GalleryDialog.styles,
    css`
      .prompt {
        font-weight: 600;
      }
      .lineage {
        overflow-x: auto;
        margin-top: 0.8rem;
        padding: 0.2rem;
      }
      .lineage ul {
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .lineage li {
        display: flex;
        align-items: center;
        margin: 0.25rem 0;
      }
      .lineage li > ul {
        margin-inline-start: 0.9rem;
        padding-inline-start: 0.9rem;
        border-inline-start: 2px solid var(--line-strong);
      }
      .lineage button {
        position: relative;
        flex: none;
        width: 3.5rem;
        height: 3.5rem;
        padding: 0;
        overflow: hidden;
      }
      .lineage button[aria-current] {
        border: 3px solid var(--berry);
      }
      .fact {
        color: var(--ink-soft);
        font-size: 0.88rem;
      }
    `,
  ];

  protected override get isShown(): boolean {
    return this.state.gallery.opened !== null;
  }

  protected override get heading(): string {
    const { opened } = this.state.gallery;
    return opened ? new Date(opened.picture.timeMs).toLocaleString(document.documentElement.lang) : "";
  }

  protected override content(): TemplateResult {
    const { words } = this;
    const { gallery } = this.studio;
    const { opened } = this.state.gallery;
    if (!opened) return html``;
    const { picture, png } = opened;
    const { prompt, negative } = picture.settings;
    const shown = wantedPictures(this.state.gallery);
    const at = shown.findIndex(({ id }) => id === picture.id);
    return html`<div class="picture"><fraise-image id="viewed" .blob=${png} .isBare=${this.state.areFilesBare} .text=${prompt || words.noPrompt}></fraise-image></div>
      <p class="prompt" id="viewed-prompt" aria-live="polite">${prompt || words.noPrompt}</p>
      ${negative ? html`<p>${words.leftOut(negative)}</p>` : html``}
      <p class="fact">${this.#facts(picture)}</p>
      <div class="row">
        <button id="previous" ?disabled=${at <= 0} aria-label=${words.previous} title=${words.previous} @click=${() => void gallery.step(-1)}>←</button>
        <button id="next" ?disabled=${at >= shown.length - 1} aria-label=${words.next} title=${words.next} @click=${() => void gallery.step(1)}>→</button>
        <button id="use" class="primary" @click=${() => gallery.use(picture)}>${words.useSettings}</button>
        <button id="favourite" aria-pressed=${picture.isFavourite ? "true" : "false"} @click=${() => void gallery.toggleFavourite(picture)}>
          ${picture.isFavourite ? "★" : "☆"} ${words.favourite}
        </button>
        <button id="compare" ?disabled=${shown.length < 2} @click=${() => gallery.startComparison()}>${words.compare}</button>
        <button id="copy-kept-link" @click=${() => void this.studio.exchange.copyLink(picture.settings)}>${words.copyLink}</button>
        <button id="save-kept" @click=${() => void this.studio.saver.savePng(png, { id: picture.id, seed: picture.settings.seed })}>${words.savePng}</button>
        <button id="remove" @click=${() => void gallery.remove(picture)}>${words.removePicture}</button>
      </div>
      ${this.#lineage(picture)}`;
  }

  /** Where it comes from and what came of it; nothing where it stands alone. */
  #lineage(picture: KeptPicture): TemplateResult | typeof nothing {
    const { pictures } = this.state.gallery;
    if (pictures === null || pictures === "unavailable") return nothing;
    const roots = lineageOf(picture, pictures);
    if (roots.length === 1 && roots[0]?.branches.length === 0) return nothing;
    return html`<div class="lineage" role="group" aria-labelledby="lineage-label">
      <span class="fact" id="lineage-label">${this.words.lineage}</span>
      <ul id="lineage">
        ${roots.map((branch) => this.#branch(branch, picture))}
      </ul>
    </div>`;
  }

  #branch({ picture, branches }: Branch, viewed: KeptPicture): TemplateResult {
    const { words, studio } = this;
    return html`<li>
      <button
        data-relative=${picture.id}
        title=${picture.settings.prompt || words.noPrompt}
        aria-current=${picture.id === viewed.id ? "true" : nothing}
        @click=${() => void studio.gallery.look(picture)}
      >
        <fraise-image .blob=${picture.thumbnail} .text=${picture.settings.prompt || words.noPrompt}></fraise-image>
      </button>
      ${branches.length > 0
        ? html`<ul>
            ${branches.map((branch) => this.#branch(branch, viewed))}
          </ul>`
        : nothing}
    </li>`;
  }

  protected override press(event: KeyboardEvent): void {
    if (event.composedPath()[0] instanceof HTMLInputElement) return; // whose keys these are
    if (event.key === "ArrowLeft") void this.studio.gallery.step(-1);
    if (event.key === "ArrowRight") void this.studio.gallery.step(1);
  }

  #facts({ settings, width, height, bytes }: KeptPicture): string {
    const { words } = this;
    const named = (["seed", "steps", "guidance", "sampler"] as const).flatMap((name) =>
      settings[name] ? [`${words.settingNames[name]} ${settings[name]}`] : [],
    );
    const model = settings.model ? [settings.model] : [];
    return [...named, `${width}\u00a0×\u00a0${height}`, formatBytes(bytes), ...model].join(" · ");
  }
}
