/** Looks back at the steps of a finished picture, and saves them as an animation. */
import { css, html, nothing, type TemplateResult } from "lit";
import type { AnimationKind } from "./animation";
import { animationButtons } from "./animation-buttons";
import { StudioElement } from "./studio-element";
import type { Result } from "./state";

/** `<fraise-steps>` */
export class StepScrubber extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      :host {
        max-width: var(--stage-max, 100%);
        margin: 0.5rem auto 0;
      }
      .steps {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.6rem;
      }
      .scrubber {
        flex: 1 1 11rem;
        min-width: 0;
      }
      label {
        margin: 0;
        font-weight: 400;
        font-size: 0.88rem;
        font-variant-numeric: tabular-nums;
      }
      @media (max-width: 30rem) {
        .scrubber {
          flex-basis: 100%;
        }
        button {
          flex: 1;
        }
      }
    `,
  ];

  protected override render(): TemplateResult | typeof nothing {
    const { result } = this.state;
    if (!result || result.film.frames.length < 2) return nothing;
    return html`<div class="steps">${this.#scrubber(result)} ${this.#saving()}</div>`;
  }

  #scrubber({ film }: Result): TemplateResult {
    const { words, studio } = this;
    const last = film.frames.length - 1;
    const shown = this.state.shownFrame ?? last;
    const text = words.stepOf((film.frames[shown]?.index ?? 0) + 1, film.total);
    return html`<div class="scrubber">
      <label for="scrubber">${text}</label>
      <input
        id="scrubber"
        type="range"
        min="0"
        max=${last}
        step="1"
        .value=${String(shown)}
        aria-label=${words.lookBack}
        aria-valuetext=${text}
        @input=${(event: Event) => studio.showFrame(Number((event.target as HTMLInputElement).value))}
      />
    </div>`;
  }

  #saving(): TemplateResult {
    const { words } = this;
    const buttons = { gif: { id: "save-gif", text: words.saveGif }, video: { id: "save-video", text: words.saveVideo } };
    return animationButtons(buttons, this.state.animation.kind === "encoding", (kind) => this.#save(kind));
  }

  #save(kind: AnimationKind): void {
    const { studio } = this;
    const { result } = this.state;
    if (result) void studio.animator.save(result.film, kind, studio.saver.nameOf({ id: result.id, seed: String(result.request.seed) }));
  }
}
