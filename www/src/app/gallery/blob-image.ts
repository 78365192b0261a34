/**
 * An image from memory or storage; its address is given back when it is no longer shown. What the browser itself saves of it,
 * or drags away, is what stands behind that address.
 */
import { withoutSettings } from "../exchange/png";
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";

/** `<fraise-image>` */
export class BlobImage extends LitElement {
  static override properties = { blob: { attribute: false }, isBare: { attribute: false }, text: { type: String } };
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
  /** Whether the image, then a PNG, is shown without the words and settings in its file; the marks of AI stay in it. */
  declare isBare: boolean;
  /** What it shows, for those who cannot see it. */
  declare text: string;
  #url: string | null = null;

  constructor() {
    super();
    this.blob = null;
    this.isBare = false;
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
    if (!changes.has("blob") && !changes.has("isBare")) return;
    this.#release();
    if (this.blob && this.isBare) void this.#showBare(this.blob);
    else if (this.blob) this.#url = URL.createObjectURL(this.blob);
  }

  /** Shows nothing where the file cannot be read. */
  async #showBare(png: Blob): Promise<void> {
    const bare = await withoutSettings(png).catch(() => null);
    if (!bare || !this.isBare || png !== this.blob || !this.isConnected || this.#url) return;
    this.#url = URL.createObjectURL(bare);
    this.requestUpdate();
  }

  protected override render(): TemplateResult | typeof nothing {
    return this.#url ? html`<img src=${this.#url} alt=${this.text} decoding="async" />` : nothing;
  }

  #release(): void {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}
