/** Which model paints, what it may be used for, and what it costs to download; shown before anything is downloaded. */
import { css, html, nothing, type TemplateResult } from "lit";
import { formatBytes } from "./format";
import { StudioElement } from "./studio-element";

/** `<fraise-model-note>` */
export class ModelNote extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      section {
        padding: 1rem 1.1rem;
        border: 1px solid var(--line);
        border-radius: var(--round);
        background: var(--chip);
        font-size: 0.9rem;
      }
      h2 {
        margin: 0;
        font-size: 0.95rem;
      }
      p {
        margin: 0.3rem 0 0;
        color: var(--ink-soft);
      }
    `,
  ];

  protected override render(): TemplateResult {
    const { words, state } = this;
    const { model, isModelLoaded, runsOn } = state;
    if (model === "unreadable") return html`<section id="model"><p>${words.modelUnreadable}</p></section>`;
    if (model === null) return html`<section id="model" aria-busy="true"><p>…</p></section>`;
    const ready = runsOn === "gpu" ? words.runsOnGpu : words.runsOnCpu;
    return html`<section id="model" aria-label=${words.modelTitle}>
      <h2>${model.name}</h2>
      <p>
        ${isModelLoaded ? html`${words.modelReady} <span id="runs-on">${ready}</span>` : words.modelOnce(formatBytes(model.totalBytes))}
      </p>
      ${model.license ? html`<p>${words.modelLicense}: ${model.license}</p>` : nothing}
      ${model.licenseRestrictions ? html`<p>${model.licenseRestrictions}</p>` : nothing}
      <p>${words.privacy}</p>
    </section>`;
  }
}
