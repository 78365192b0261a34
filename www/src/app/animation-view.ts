/** How far an animation is, with a way to stop it; or that it could not be made. */
import { css, html, nothing, type TemplateResult } from "lit";
import { progressBar } from "./progress-bar";
import { StudioElement } from "./studio-element";

/** `<fraise-animation>` */
export class AnimationView extends StudioElement {
  static override styles = [
    StudioElement.styles,
    progressBar,
    css`
      :host {
        max-width: var(--stage-max, 100%);
        margin: 0 auto;
      }
      .saving {
        display: flex;
        align-items: center;
        gap: 0.6rem;
        margin-top: 0.5rem;
      }
      .saving > div {
        flex: 1;
      }
    `,
  ];

  protected override render(): TemplateResult | typeof nothing {
    const { words, studio } = this;
    const { animation } = this.state;
    if (animation.kind === "none") return nothing;
    if (animation.kind === "failed") return html`<p class="hint" role="alert">${words.animationFailed} ${animation.message}</p>`;
    const { done, total } = animation;
    return html`<div class="saving">
      <div>
        <span role="status">${words.makingAnimation}</span>
        <progress aria-label=${words.animating(done, total)} max=${total} .value=${done}></progress>
      </div>
      <button id="cancel-animation" @click=${() => studio.animator.cancel()}>${words.cancel}</button>
    </div>`;
  }
}
