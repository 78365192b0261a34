/** An image from memory or storage; its address is given back when it is no longer shown. */
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";

/** `<fraise-image>` */
export class BlobImage extends LitElement {
  static override properties = { blob: { attribute: false }, text: { type: String } };
  static override styles = css`
    :host {
      display: block;
    }
    img {
      display: block;
      width: 100%;
      height: 100%;
      object-fit: var(--fit, contain);
    }
  `;

  /** The image. */
  declare blob: Blob | null;
  /** What it shows, for those who cannot see it. */
  declare text: string;
  #url: string | null = null;

  constructor() {
    super();
    this.blob = null;
    this.text = "";
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.requestUpdate("blob");
  }

  override disconnectedCallback(): void {
    this.#release();
    super.disconnectedCallback();
  }

  protected override willUpdate(changes: PropertyValues): void {
    if (!changes.has("blob")) return;
    this.#release();
    if (this.blob) this.#url = URL.createObjectURL(this.blob);
  }

  protected override render(): TemplateResult | typeof nothing {
    return this.#url ? html`<img src=${this.#url} alt=${this.text} decoding="async" />` : nothing;
  }

  #release(): void {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}
