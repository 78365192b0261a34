/**
 * The canvas, and what stands there before the first picture. Over a finished picture lies its file, so that what the browser
 * itself saves or copies has the marks of AI, and its words only where the visitor wants them in files.
 */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { keyed } from "lit/directives/keyed.js";
import { finishedFile } from "./state";
import { StudioElement } from "./studio-element";

/** How often a texture is shown beside itself. */
const TILES = 3;

interface Look {
  readonly look: Blob | ImageData | null;
  readonly tiles: number;
}

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
      fraise-image,
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
    const { activity, engineNumber, hasPaint, areFilesBare } = this.state;
    const { look, tiles } = this.#look();
    const finished = tiles === 1 ? finishedFile(this.state) : null;
    return html`
      <div class="frame">
        ${keyed(
          engineNumber,
          html`<canvas id="canvas" role="img" aria-label=${this.#description()} ?hidden=${!hasPaint && !look}></canvas>`,
        )}
        <canvas id="look" aria-hidden="true" ?hidden=${!look}></canvas>
        <fraise-image id="finished" aria-hidden="true" .blob=${finished} .isBare=${areFilesBare}></fraise-image>
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

  /** What the second canvas shows in the place of the engine's, and how often side by side. */
  #look(): Look {
    const { look, result, isTiled } = this.state;
    return isTiled && result?.request.tiling ? { look: look ?? result.png, tiles: TILES } : { look, tiles: 1 };
  }

  #drawn: Look = { look: null, tiles: 1 };

  async #draw(): Promise<void> {
    const { look, tiles } = this.#look();
    if (look === this.#drawn.look && tiles === this.#drawn.tiles) return;
    const drawn = (this.#drawn = { look, tiles });
    if (!look) return;
    const bitmap = await createImageBitmap(look);
    const canvas = this.renderRoot.querySelector<HTMLCanvasElement>("#look");
    if (canvas && this.#drawn === drawn) {
      canvas.width = tiles * bitmap.width;
      canvas.height = tiles * bitmap.height;
      const context = canvas.getContext("2d");
      for (let tile = 0; tile < tiles * tiles; tile += 1) {
        context?.drawImage(bitmap, (tile % tiles) * bitmap.width, Math.floor(tile / tiles) * bitmap.height);
      }
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
