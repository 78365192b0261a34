/** Which model paints, what it may be used for, and what it costs to download; shown before anything is downloaded. */
import { css, html, nothing, type TemplateResult } from "lit";
import { formatBytes } from "./format";
import { MODEL_URL } from "./model";
import { isBusy, isConverting } from "./state";
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
      .choice {
        margin-bottom: 0.7rem;
      }
    `,
  ];

  protected override render(): TemplateResult {
    const { words, state } = this;
    const { model, isModelLoaded, runsOn, threads } = state;
    if (model === "unreadable") {
      return html`<section id="model">${this.#choice()}<p>${words.modelUnreadable}</p></section>`;
    }
    if (model === null) return html`<section id="model" aria-busy="true">${this.#choice()}<p>…</p></section>`;
    const ready = runsOn === "gpu" ? words.runsOnGpu : words.runsOnCpu(threads);
    return html`<section id="model" aria-label=${words.modelTitle}>
      ${this.#choice()}
      <h2>${model.name}</h2>
      <p>
        ${isModelLoaded ? html`${words.modelReady} <span id="runs-on">${ready}</span>` : this.#size(formatBytes(model.totalBytes))}
      </p>
      ${isModelLoaded ? this.#storage() : nothing}
      ${model.license ? html`<p>${words.modelLicense(model.license)}</p>` : nothing}
      ${model.licenseRestrictions ? html`<p>${words.modelRestrictions(model.licenseRestrictions)}</p>` : nothing}
      <p>${words.privacy}</p>
    </section>`;
  }

  /** How long the loaded model stays. */
  #storage(): TemplateResult | typeof nothing {
    const { words } = this;
    const { isModelKept, isPersistent } = this.state;
    if (!isModelKept) return html`<p id="storage">${words.modelInMemory}</p>`;
    if (isPersistent === null) return nothing;
    return html`<p id="storage">${isPersistent ? words.modelPersistent : words.modelEvictable}</p>`;
  }

  get #isLocal(): boolean {
    return this.state.modelUrl !== MODEL_URL;
  }

  #size(size: string): string {
    return this.#isLocal ? this.words.modelStored(size) : this.words.modelOnce(size);
  }

  /** Which model to paint with, where there is more than one. */
  #choice(): TemplateResult | typeof nothing {
    const { words, state } = this;
    const { localModels, defaultModel, modelUrl } = state;
    if (localModels.length === 0) return nothing;
    const name = defaultModel && defaultModel !== "unreadable" ? defaultModel.name : "…";
    const choices = [[MODEL_URL, words.defaultModel(name)] as const, ...localModels.map(({ address, card }) => [address, card.name] as const)];
    return html`<div class="choice">
      <label for="model-choice">${words.chooseModel}</label>
      <select
        id="model-choice"
        ?disabled=${isBusy(state) || isConverting(state)}
        @change=${(event: Event) => this.studio.models.choose((event.target as HTMLSelectElement).value)}
      >
        ${choices.map(([url, label]) => html`<option value=${url} .selected=${url === modelUrl}>${label}</option>`)}
      </select>
    </div>`;
  }
}
