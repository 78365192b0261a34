/** The canvas, and what stands there before the first picture. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { keyed } from "lit/directives/keyed.js";
import { StudioElement } from "./studio-element";

/** `<fraise-stage>` */
export class CanvasStage extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      .frame {
        position: relative;
        aspect-ratio: 1;
        width: 100%;
        max-width: var(--stage-max, 100%);
        margin: 0 auto;
        overflow: hidden;
        border-radius: 1.25rem;
        background: var(--night);
        box-shadow: var(--shadow);
      }
      canvas,
      img {
        position: absolute;
        inset: 0;
        width: 100%;
        height: 100%;
        object-fit: contain;
      }
      img {
        object-fit: cover;
      }
      .empty {
        position: absolute;
        inset: auto 0 0;
        padding: 3.5rem 1.25rem 1.25rem;
        background: linear-gradient(transparent, rgb(12 11 35 / 78%));
        color: #fff;
        text-align: center;
      }
      .empty p {
        margin: 0;
      }
      .empty p:first-child {
        font-weight: 600;
      }
      .empty p + p {
        font-size: 0.9rem;
        opacity: 0.9;
      }
    `,
  ];

  protected override render(): TemplateResult {
    const { words } = this;
    const { activity, engineNumber, result } = this.state;
    const hasPaint = result !== null || activity.kind === "painting";
    return html`
      <div class="frame">
        ${keyed(
          engineNumber,
          html`<canvas id="canvas" role="img" aria-label=${this.#description()} ?hidden=${!hasPaint}></canvas>`,
        )}
        ${hasPaint && !isWaitingForPaint(activity)
          ? nothing
          : html`<img src="island.svg" alt="" />
              <div class="empty" ?hidden=${activity.kind !== "idle"}>
                <p>${words.emptyTitle}</p>
                <p>${words.emptyText}</p>
              </div>`}
      </div>
    `;
  }

  protected override updated(_changes: PropertyValues): void {
    const canvas = this.renderRoot.querySelector("canvas");
    if (canvas) this.studio.useCanvas(canvas);
  }

  #description(): string {
    const { result } = this.state;
    return result ? `${this.words.canvas}: ${result.request.prompt}` : this.words.canvas;
  }
}

/** Before the first step the canvas still shows the last picture or nothing: the poster covers it. */
function isWaitingForPaint(activity: { readonly kind: string; readonly done?: number }): boolean {
  return activity.kind === "painting" && activity.done === 0;
}
