/** Two pictures over each other; a slider moves the edge between them. */
import { css, html, type PropertyValues, type TemplateResult } from "lit";
import { canQueue } from "../state";
import { GalleryDialog } from "./dialog";
import type { Opened } from "./gallery";

/** Shares of the second picture in a series from one to the other. */
const SWEEP = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((eighths) => eighths / 8);

/** `<fraise-compare>` */
export class PictureCompare extends GalleryDialog {
  static override styles = [
    GalleryDialog.styles,
    css`
      .picture {
        --cut: 50%;
      }
      #above {
        clip-path: inset(0 calc(100% - var(--cut)) 0 0);
      }
      .edge {
        position: absolute;
        inset-block: 0;
        left: var(--cut);
        width: 2px;
        margin-left: -1px;
        background: #fff;
        box-shadow: 0 0 0 1px rgb(0 0 0 / 60%);
      }
      input {
        margin-top: 0.8rem;
      }
      .prompts {
        display: grid;
        grid-template-columns: 1fr 1fr;
        gap: 1rem;
        font-size: 0.9rem;
      }
      .prompts p:last-child {
        text-align: end;
      }
    `,
  ];

  #percent = 50;

  protected override get isShown(): boolean {
    return this.state.gallery.compared !== null;
  }

  protected override get heading(): string {
    return this.words.comparing;
  }

  protected override content(): TemplateResult {
    const { words } = this;
    const { areFilesBare } = this.state;
    const { compared } = this.state.gallery;
    if (!compared) return html``;
    const [left, right] = compared;
    const promptOf = ({ picture }: typeof left) => picture.settings.prompt || words.noPrompt;
    return html`<div class="picture">
        <fraise-image id="below" .blob=${right.png} .isBare=${areFilesBare} .text=${promptOf(right)}></fraise-image>
        <fraise-image id="above" .blob=${left.png} .isBare=${areFilesBare} .text=${promptOf(left)}></fraise-image>
        <div class="edge"></div>
      </div>
      <input
        id="cut"
        type="range"
        min="0"
        max="100"
        aria-label=${words.compareSlider}
        .value=${String(this.#percent)}
        @input=${(event: InputEvent) => this.#cut(Number((event.target as HTMLInputElement).value))}
      />
      <div class="row">
        <button id="cross" ?disabled=${!canQueue(this.state)} @click=${() => this.#cross(left, right, [this.#percent / 100])}>
          ${words.cross(this.#percent)}
        </button>
        <button id="sweep" ?disabled=${!canQueue(this.state)} @click=${() => this.#cross(left, right, SWEEP)}>
          ${words.sweep(SWEEP.length)}
        </button>
      </div>
      <div class="prompts">
        <p>${promptOf(left)}</p>
        <p>${promptOf(right)}</p>
      </div>`;
  }

  /** Paints pictures between the two. */
  #cross(left: Opened, right: Opened, shares: readonly number[]): void {
    this.studio.gallery.close();
    void this.studio.refiner.cross(left.picture, right.picture, shares);
  }

  protected override updated(changes: PropertyValues): void {
    super.updated(changes);
    // By the object model: the security policy allows no style attributes.
    this.renderRoot.querySelector<HTMLElement>(".picture")?.style.setProperty("--cut", `${this.#percent}%`);
  }

  #cut(percent: number): void {
    this.#percent = percent;
    this.requestUpdate();
  }
}
