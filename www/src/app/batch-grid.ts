/** The pictures that were asked for at once, side by side; each can be looked at in large. */
import { css, html, nothing, type TemplateResult } from "lit";
import { filmOf } from "./film";
import { StudioElement } from "./studio-element";
import { canGenerate, type Result } from "./state";
import { cardIn } from "./form";

/** `<fraise-batch>` */
export class BatchGrid extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      :host {
        max-width: var(--stage-max, 100%);
        margin: 0.7rem auto 0;
      }
      ul {
        display: grid;
        grid-template-columns: repeat(4, minmax(0, 6rem));
        gap: 0.5rem;
        margin: 0;
        padding: 0;
        list-style: none;
      }
      ul button,
      .awaited {
        display: block;
        width: 100%;
        aspect-ratio: 1;
        padding: 0;
        overflow: hidden;
        border: 2px solid transparent;
        border-radius: var(--round);
        background: var(--night);
      }
      .awaited {
        border: 2px dashed var(--line-strong);
        background: none;
      }
      #rank,
      #animate-batch {
        margin-top: 0.5rem;
      }
      ul button[aria-pressed="true"] {
        border-color: var(--berry);
      }
      img {
        display: block;
        width: 100%;
        height: 100%;
        object-fit: cover;
      }
    `,
  ];

  readonly #urls = new Map<Result, string>();

  override disconnectedCallback(): void {
    this.#keepUrls([]);
    super.disconnectedCallback();
  }

  protected override render(): TemplateResult | typeof nothing {
    const { words, state } = this;
    const { pictures, queue, result } = state;
    this.#keepUrls(pictures);
    const batch = pictures[0]?.batch;
    const awaited = queue.filter((entry) => entry.batch === batch && entry.status !== "failed");
    const total = pictures.length + awaited.length;
    if (total < 2) return nothing;
    return html`<ul id="batch" aria-label=${words.pictures}>
      ${pictures.map(
        (picture, index) => html`<li>
          <button
            aria-label=${words.pictureOf(index + 1, total, String(picture.request.seed))}
            aria-pressed=${picture === result ? "true" : "false"}
            @click=${() => this.studio.select(picture)}
          >
            <img src=${this.#urls.get(picture) ?? ""} alt="" />
          </button>
        </li>`,
      )}
      ${awaited.map(() => html`<li class="awaited" aria-hidden="true"></li>`)}
      </ul>
      ${awaited.length === 0 && pictures.length > 2
        ? html`<button id="animate-batch" @click=${() => void this.#animate(pictures)}>${words.saveBatchGif}</button>`
        : nothing}
      ${awaited.length === 0 && cardIn(state)?.hasScorer === true
        ? html`<button id="rank" ?disabled=${!canGenerate(state)} @click=${() => void this.studio.refiner.rank(pictures)}>
            ${words.rank}
          </button>`
        : nothing}`;
  }

  /** Saves the pictures as an animation, one after the other. */
  async #animate(pictures: readonly Result[]): Promise<void> {
    const { studio } = this;
    const [first] = pictures;
    if (!first) return;
    const film = await filmOf(pictures.map(({ png }) => png));
    await studio.animator.save(film, "gif", studio.saver.nameOf({ id: first.id, seed: String(first.request.seed) }));
  }

  /** Addresses for these pictures, and for no others any longer. */
  #keepUrls(pictures: readonly Result[]): void {
    for (const [picture, url] of this.#urls) {
      if (pictures.includes(picture)) continue;
      URL.revokeObjectURL(url);
      this.#urls.delete(picture);
    }
    for (const picture of pictures) {
      if (!this.#urls.has(picture)) this.#urls.set(picture, URL.createObjectURL(picture.png));
    }
  }
}
