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
    const { activity, engineNumber, hasPaint, look } = this.state;
    return html`
      <div class="frame">
        ${keyed(
          engineNumber,
          html`<canvas id="canvas" role="img" aria-label=${this.#description()} ?hidden=${!hasPaint && !look}></canvas>`,
        )}
        <canvas id="look" aria-hidden="true" ?hidden=${!look}></canvas>
        ${hasPaint || look
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
    const canvas = this.renderRoot.querySelector<HTMLCanvasElement>("#canvas");
    if (canvas) this.studio.useCanvas(canvas);
    void this.#draw();
  }

  /** What the second canvas shows. */
  #drawn: Blob | ImageData | null = null;

  /** Draws what is looked at in the place of the engine's canvas. */
  async #draw(): Promise<void> {
    const { look } = this.state;
    if (look === this.#drawn) return;
    this.#drawn = look;
    if (!look) return;
    const bitmap = await createImageBitmap(look);
    const canvas = this.renderRoot.querySelector<HTMLCanvasElement>("#look");
    if (canvas && this.#drawn === look) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    }
    bitmap.close();
  }

  #description(): string {
    const { words } = this;
    const { result, shownFrame } = this.state;
    if (!result) return words.canvas;
    const frame = shownFrame === null ? null : result.film.frames[shownFrame];
    const step = frame ? ` (${words.stepOf(frame.index + 1, result.film.total)})` : "";
    return `${words.canvas}: ${result.request.prompt}${step}`;
  }
}
