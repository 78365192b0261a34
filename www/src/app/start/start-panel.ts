/** Where a picture to start from is chosen, drawn on, marked for repainting, and moved in its frame. */
import { html, type PropertyValues, type TemplateResult } from "lit";
import { segments } from "../segments";
import { StudioElement } from "../studio-element";
import { ARROWS, BrushCursor } from "./brush-cursor";
import type { Easel, Point } from "./easel";
import { edgeAt, EDGES, pulledBy, pulledTo, type Edge } from "./edges";
import { boardStyles } from "./styles";

/** What the pointer does on the easel. */
const TOOLS = ["mark", "colour", "move"] as const;
type Tool = (typeof TOOLS)[number];

const COLOURS = ["#e0123c", "#f59e0b", "#fde047", "#22a652", "#2563eb", "#8b5cf6", "#7c4a21", "#ffffff", "#111111"];
/** Of the picture's side. */
const BRUSHES = { fine: 0.03, middle: 0.08, broad: 0.18 } as const;
/** How far an arrow key moves the picture, of its side. */
const KEY_STEP = 1 / 8;
const ZOOM_OUT = 0.75;

/** `<fraise-start>` */
export class StartPanel extends StudioElement {
  static override styles = [
    StudioElement.styles,
    segments,
    boardStyles,
  ];

  #tool: Tool = "mark";
  #colour = COLOURS[0] ?? "#000000";
  #brush: keyof typeof BRUSHES = "middle";
  /** Where the pointer was last, where it went down, and the edge that it took hold of there. */
  #last: Point | null = null;
  #down: Point | null = null;
  #edge: Edge | null = null;
  readonly #cursor = new BrushCursor();

  protected override render(): TemplateResult {
    const { words, state } = this;
    const { easel } = state.start;
    return html`<div role="group" aria-labelledby="start-label">
      <span id="start-label" class="hint">${words.start}</span>
      ${easel ? this.#board(easel) : this.#choices()}
      <input
        id="start-file"
        type="file"
        accept="image/*"
        hidden
        @change=${(event: Event) => this.#pick(event.target as HTMLInputElement)}
      />
    </div>`;
  }

  #choices(): TemplateResult {
    const { words, studio, state } = this;
    return html`<div class="choices">
      <button id="start-pick" @click=${() => this.renderRoot.querySelector<HTMLInputElement>("#start-file")?.click()}>
        ${words.startPick}
      </button>
      <button id="start-camera" @click=${() => void studio.start.useCamera()}>${words.startCamera}</button>
      <button id="start-draw" @click=${() => this.#draw()}>${words.startDraw}</button>
      <button
        id="start-result"
        ?hidden=${!state.result}
        @click=${() => state.result && void studio.start.from(state.result.png, [state.result.id])}
      >
        ${words.startResult}
      </button>
    </div>`;
  }

  #board(easel: Easel): TemplateResult {
    const { words, studio, state } = this;
    const percent = Math.round(state.start.strength * 100);
    const { isCamera, rate } = state.start;
    return html`<div class="board">
      ${isCamera ? html`<p id="camera-rate" class="hint">${rate === null ? words.cameraOn : words.cameraRate(rate.toFixed(1))}</p>` : ""}
      <div class="sheet">
        <canvas
          id="easel"
          class=${this.#tool}
          tabindex="0"
          role="img"
          aria-label=${words.easel}
          aria-describedby="easel-hint easel-keys"
          @pointerdown=${(event: PointerEvent) => this.#onDown(event, easel)}
          @pointermove=${(event: PointerEvent) => this.#onMove(event, easel)}
          @pointerup=${() => this.#onUp()}
          @pointercancel=${() => this.#onUp()}
          @keydown=${(event: KeyboardEvent) => this.#onKey(event, easel)}
        ></canvas>
        ${this.#tool === "move" ? EDGES.map((edge) => html`<span class="grip ${edge}"></span>`) : html`<span class="cursor"></span>`}
      </div>
      <p id="easel-hint" class="hint">${words.easelHints[this.#tool]}</p>
      <p id="easel-keys" class="hint">${words.easelKeys[this.#tool === "move" ? "move" : "brush"]}</p>
      <div class="segments" role="group" aria-label=${words.easelTools}>
        ${TOOLS.map(
          (tool) =>
            html`<button data-tool=${tool} aria-pressed=${pressed(tool === this.#tool)} @click=${() => this.#choose({ tool })}>
              ${words.tools[tool]}
            </button>`,
        )}
      </div>
      ${this.#tool === "colour" ? this.#colours() : ""} ${this.#tool === "move" ? this.#moves(easel) : this.#brushes()}
      <div class="tools">
        <button id="easel-undo" ?disabled=${!easel.canUndo} @click=${() => this.#change(() => easel.undo())}>
          ${words.easelUndo}
        </button>
        <button id="easel-unmark" ?disabled=${!easel.isMarked} @click=${() => this.#change(() => easel.clearMask())}>
          ${words.easelUnmark}
        </button>
        ${state.start.hasSource
          ? html`<button id="check-mark" @click=${() => void studio.start.checkMark()}>${words.checkMark}</button>`
          : ""}
        <button id="start-drop" @click=${() => studio.start.drop()}>${words.startDrop}</button>
      </div>
      <div>
        <output class="value" for="strength">${percent} %</output>
        <label for="strength">${words.strength}</label>
        <input
          id="strength"
          type="range"
          min="5"
          max="100"
          step="5"
          aria-describedby="strength-hint"
          .value=${String(percent)}
          @input=${(event: Event) => studio.start.setStrength(Number((event.target as HTMLInputElement).value) / 100)}
        />
        <p class="hint" id="strength-hint">${words.strengthHint}</p>
      </div>
    </div>`;
  }

  #colours(): TemplateResult {
    const { words } = this;
    return html`<div class="colours" role="group" aria-label=${words.easelColour}>
      ${COLOURS.map(
        (colour, index) => html`<button
          data-colour=${colour}
          aria-label=${words.easelColours[index] ?? colour}
          aria-pressed=${pressed(colour === this.#colour)}
          @click=${() => this.#choose({ colour })}
        ></button>`,
      )}
    </div>`;
  }

  #brushes(): TemplateResult {
    const { words } = this;
    const sizes = Object.keys(BRUSHES) as (keyof typeof BRUSHES)[];
    return html`<div class="segments" role="group" aria-label=${words.easelBrush}>
      ${sizes.map(
        (brush) =>
          html`<button data-brush=${brush} aria-pressed=${pressed(brush === this.#brush)} @click=${() => this.#choose({ brush })}>
            ${words.easelBrushes[brush]}
          </button>`,
      )}
    </div>`;
  }

  #moves(easel: Easel): TemplateResult {
    const zoomOut = () => {
      easel.begin();
      easel.place({ x: 0, y: 0 }, ZOOM_OUT);
    };
    return html`<div class="tools">
      <button id="zoom-out" @click=${() => this.#change(zoomOut)}>${this.words.zoomOut}</button>
    </div>`;
  }

  protected override updated(_changes: PropertyValues): void {
    const canvas = this.renderRoot.querySelector<HTMLCanvasElement>("#easel");
    const colour = getComputedStyle(this).getPropertyValue("--berry") || "#c00";
    if (canvas) this.state.start.easel?.show(canvas, colour.trim());
    // By the object model: the security policy allows no style attributes.
    const cursor = this.renderRoot.querySelector<HTMLElement>(".cursor");
    if (cursor) Object.assign(cursor.style, { left: `${100 * this.#cursor.at.x}%`, top: `${100 * this.#cursor.at.y}%` });
    for (const button of this.renderRoot.querySelectorAll<HTMLElement>("[data-colour]")) {
      button.style.background = button.dataset["colour"] ?? "";
    }
  }

  #pick(input: HTMLInputElement): void {
    const file = input.files?.[0];
    input.value = "";
    if (!file) return;
    this.#tool = "mark";
    void this.studio.start.from(file);
  }

  #draw(): void {
    this.#tool = "colour";
    this.studio.start.draw();
  }

  #choose({ tool = this.#tool, colour = this.#colour, brush = this.#brush }): void {
    this.#tool = tool as Tool;
    this.#colour = colour;
    this.#brush = brush;
    this.requestUpdate();
  }

  #change(change: () => void): void {
    change();
    this.studio.start.touched();
  }

  #onDown(event: PointerEvent, easel: Easel): void {
    if (event.button !== 0) return;
    (event.target as HTMLCanvasElement).setPointerCapture(event.pointerId);
    easel.begin();
    this.#down = this.#last = pointOf(event, easel);
    this.#edge = this.#tool === "move" ? edgeAt(this.#down, easel) : null;
    this.#onMove(event, easel);
  }

  #onMove(event: PointerEvent, easel: Easel): void {
    const to = pointOf(event, easel);
    if (!this.#last || !this.#down) {
      (event.target as HTMLCanvasElement).dataset["edge"] = edgeAt(to, easel) ?? "";
      return;
    }
    if (this.#edge) {
      const { by, scale } = pulledTo(this.#edge, to, easel);
      easel.place(by, scale);
    } else if (this.#tool === "move") {
      easel.place({ x: to.x - this.#down.x, y: to.y - this.#down.y });
    } else {
      this.#stroke(easel, this.#last, to);
    }
    this.#last = to;
    this.requestUpdate();
  }

  #onUp(): void {
    if (!this.#down) return;
    this.#down = this.#last = this.#edge = null;
    this.studio.start.touched();
  }

  #onKey(event: KeyboardEvent, easel: Easel): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the page's own
    if (this.#tool === "move") this.#moveByKey(event, easel);
    else this.#brushByKey(event, easel);
  }

  /** Arrows move the picture, with Shift they pull at its edge. */
  #moveByKey(event: KeyboardEvent, easel: Easel): void {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const by = { x: arrow.x * easel.width * KEY_STEP, y: arrow.y * easel.height * KEY_STEP };
    const { by: moved, scale } = event.shiftKey ? pulledBy(by, easel) : { by, scale: 1 };
    this.#change(() => {
      easel.begin();
      easel.place(moved, scale);
    });
  }

  #brushByKey(event: KeyboardEvent, easel: Easel): void {
    const piece = this.#cursor.press(event, easel);
    if (piece === null) return;
    event.preventDefault();
    this.requestUpdate();
    if (piece === "moved") return;
    this.#change(() => {
      easel.begin();
      this.#stroke(easel, piece.from, piece.to);
    });
  }

  #stroke(easel: Easel, from: Point, to: Point): void {
    const stroke = this.#tool === "mark" ? ({ kind: "mark" } as const) : ({ kind: "colour", colour: this.#colour } as const);
    easel.stroke(stroke, from, to, BRUSHES[this.#brush] * Math.min(easel.width, easel.height));
  }
}

function pressed(is: boolean): "true" | "false" {
  return is ? "true" : "false";
}

/** Where the pointer is, in pixels of the easel's picture. */
function pointOf(event: PointerEvent, easel: Easel): Point {
  const box = (event.target as HTMLCanvasElement).getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * easel.width,
    y: ((event.clientY - box.top) / box.height) * easel.height,
  };
}
