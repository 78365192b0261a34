/** The pictures that were asked for at once, side by side; each can be looked at in large. */
import { css, html, nothing, type TemplateResult } from "lit";
import type { AnimationKind } from "./animation";
import { animationButtons } from "./animation-buttons";
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
        background: var(--night) padding-box;
      }
      .awaited {
        border: 2px dashed var(--line-strong);
        background: none;
      }
      .actions {
        display: flex;
        flex-wrap: wrap;
        gap: 0.6rem;
        margin-top: 0.5rem;
      }
      ul button[aria-pressed="true"] {
        border-color: var(--berry);
      }
      fraise-image {
        height: 100%;
        --fit: cover;
      }
    `,
  ];

  protected override render(): TemplateResult | typeof nothing {
    const { words, state } = this;
    const { pictures, queue, result, areFilesBare } = state;
    const batch = pictures[0]?.batch;
    const awaited = queue.filter((entry) => entry.batch === batch && entry.status !== "failed");
    const total = pictures.length + awaited.length;
    if (total < 2) return nothing;
    const buttons = { gif: { id: "batch-gif", text: words.saveBatchGif }, video: { id: "batch-video", text: words.saveBatchVideo } };
    return html`<ul id="batch" aria-label=${words.pictures}>
      ${pictures.map(
        (picture, index) => html`<li>
          <button
            aria-label=${words.pictureOf(index + 1, total, String(picture.request.seed))}
            aria-pressed=${picture === result ? "true" : "false"}
            @click=${() => this.studio.select(picture)}
          >
            <fraise-image .blob=${picture.png} .isBare=${areFilesBare}></fraise-image>
          </button>
        </li>`,
      )}
      ${awaited.map(() => html`<li class="awaited" aria-hidden="true"></li>`)}
      </ul>
      ${awaited.length > 0
        ? nothing
        : html`<div class="actions">
            ${hasOnePrompt(pictures) && cardIn(state)?.hasScorer === true
              ? html`<button id="rank" ?disabled=${!canGenerate(state)} @click=${() => void this.studio.refiner.rank(pictures)}>
                  ${words.rank}
                </button>`
              : nothing}
            ${animationButtons(buttons, state.animation.kind === "encoding", (kind) => void this.#animate(pictures, kind))}
          </div>`}`;
  }

  /** Saves the pictures as an animation, one after the other. */
  async #animate(pictures: readonly Result[], kind: AnimationKind): Promise<void> {
    const { studio } = this;
    const [first] = pictures;
    if (!first) return;
    const film = await filmOf(pictures.map(({ png }) => png));
    await studio.animator.save(film, kind, studio.saver.nameOf({ id: first.id, seed: String(first.request.seed) }));
  }
}

/** Whether all pictures are of the same words, so that they can be held against each other. */
function hasOnePrompt([first, ...others]: readonly Result[]): boolean {
  return others.every(({ request }) => request.prompt === first?.request.prompt);
}
