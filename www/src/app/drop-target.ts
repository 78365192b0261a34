/** Takes files dropped anywhere on the page, and says so while one is held above it. */
import { css, html, nothing, type TemplateResult } from "lit";
import { kindOf } from "./exchange";
import { StudioElement } from "./studio-element";

/** `<fraise-drop>` */
export class DropTarget extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      div {
        position: fixed;
        inset: 0;
        z-index: 10;
        display: grid;
        place-items: center;
        padding: 1.5rem;
        background: color-mix(in srgb, var(--paper) 86%, transparent);
        pointer-events: none;
      }
      p {
        padding: 2.5rem 2rem;
        border: 3px dashed var(--berry);
        border-radius: 1.25rem;
        background: var(--surface);
        font-size: 1.15rem;
        font-weight: 600;
        text-align: center;
      }
    `,
  ];

  /** Entered minus left elements: dragging over a child enters it before leaving its parent. */
  #depth = 0;

  readonly #onEnter = (event: DragEvent) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    this.#move(1);
  };
  readonly #onOver = (event: DragEvent) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (!event.dataTransfer) return;
    const isCheckpoint = [...event.dataTransfer.items].every((item) => kindOf(item) === "checkpoint");
    event.dataTransfer.dropEffect = isCheckpoint && !this.studio.canConvert ? "none" : "copy";
  };
  readonly #onLeave = (event: DragEvent) => {
    if (hasFiles(event)) this.#move(-1);
  };
  readonly #onDrop = (event: DragEvent) => {
    if (!hasFiles(event)) return;
    // Without this the browser would leave the page to show the file.
    event.preventDefault();
    this.#move(-this.#depth);
    const files = [...(event.dataTransfer?.files ?? [])];
    const file = files.find(({ name }) => name.endsWith(".safetensors")) ?? files[0];
    if (file) this.studio.take(file);
  };

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("dragenter", this.#onEnter);
    document.addEventListener("dragover", this.#onOver);
    document.addEventListener("dragleave", this.#onLeave);
    document.addEventListener("drop", this.#onDrop);
  }

  override disconnectedCallback(): void {
    document.removeEventListener("dragenter", this.#onEnter);
    document.removeEventListener("dragover", this.#onOver);
    document.removeEventListener("dragleave", this.#onLeave);
    document.removeEventListener("drop", this.#onDrop);
    super.disconnectedCallback();
  }

  protected override render(): TemplateResult | typeof nothing {
    if (this.#depth === 0) return nothing;
    return html`<div id="drop" aria-hidden="true"><p>${this.words.drop}</p></div>`;
  }

  #move(steps: number): void {
    this.#depth = Math.max(0, this.#depth + steps);
    this.requestUpdate();
  }
}

function hasFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
