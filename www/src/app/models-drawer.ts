/** The models that this browser keeps: how large they are, what they may be used for, what room is left; and their removal. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import type { StoredModel } from "../engine/index";
import { drawer } from "./drawer";
import { cardIn } from "./form";
import { formatBytes, formatDuration } from "./format";
import { addressOf, defaultAddress, MODEL_URL, type ModelCard } from "./model";
import { isBusy, isConverting } from "./state";
import type { StorageReport } from "./storage";
import { StudioElement } from "./studio-element";

/** `<fraise-models>` */
export class ModelsDrawer extends StudioElement {
  static override styles = [
    StudioElement.styles,
    drawer,
    css`
      ul {
        display: grid;
        gap: 0.8rem;
        margin: 0.4rem 0 0;
        padding: 0;
        list-style: none;
      }
      li {
        padding: 0.8rem 1rem;
        border: 1px solid var(--line);
        border-radius: var(--round);
        font-size: 0.9rem;
      }
      p {
        margin: 0.2rem 0 0;
        color: var(--ink-soft);
        overflow-wrap: anywhere;
      }
      #room {
        font-size: 0.9rem;
      }
      #doom {
        color: var(--ink);
      }
      .name {
        margin: 0;
        color: var(--ink);
        font-weight: 600;
      }
      .row {
        display: flex;
        flex-wrap: wrap;
        gap: 0.6rem;
        margin-top: 0.7rem;
      }
    `,
  ];

  /** The model whose removal waits for a second word. */
  #doomed: string | null = null;
  /** What the report may depend on, as it was when the browser was last looked into. */
  #seen: readonly unknown[] = [];

  protected override render(): TemplateResult {
    const { words, state } = this;
    const { storage } = state;
    return html`<details @toggle=${() => this.requestUpdate()}>
      <summary>${words.models}</summary>
      ${storage === null ? html`<p role="status">${words.modelsLooking}</p>` : nothing}
      ${storage === "unavailable" ? html`<p role="status">${words.modelsUnavailable}</p>` : nothing}
      ${storage && storage !== "unavailable" ? this.#report(storage) : nothing}
    </details>`;
  }

  protected override updated(_changes: PropertyValues): void {
    const { isModelLoaded, localModels, gallery, conversion } = this.state;
    const now = [isModelLoaded, localModels, gallery.pictures, conversion.kind];
    const isOpen = this.renderRoot.querySelector("details")?.open === true;
    if (!isOpen || now.every((value, at) => value === this.#seen[at])) return;
    this.#seen = now;
    void this.studio.models.look();
  }

  #report({ models, usedBytes, freeBytes }: StorageReport): TemplateResult {
    const { words } = this;
    const isDefaultHere = models.some(({ address }) => address === defaultAddress());
    const { defaultModel } = this.state;
    return html`${usedBytes === null || freeBytes === null
        ? html`<p>${words.storageUnknown}</p>`
        : html`<p id="room">${words.storageRoom(formatBytes(usedBytes), formatBytes(freeBytes))}</p>`}
      <ul id="models" aria-label=${words.models}>
        ${isDefaultHere || defaultModel === null || defaultModel === "unreadable" ? nothing : this.#offered(defaultModel)}
        ${models.map((model) => this.#kept(model))}
      </ul>`;
  }

  /** The model that comes with the page, where it is not here yet. */
  #offered(card: ModelCard): TemplateResult {
    const { words } = this;
    return html`<li data-address=${defaultAddress()}>
      <p class="name">${card.name}</p>
      <p>${words.modelNotHere(formatBytes(card.totalBytes))}</p>
      ${this.#license(card.license, card.licenseRestrictions)}
      ${this.#speed(defaultAddress())}
      <div class="row">${this.#measure(defaultAddress(), card.name)}</div>
    </li>`;
  }

  #kept(model: StoredModel): TemplateResult {
    const { words, state } = this;
    const { address, name, bytes, isComplete } = model;
    const isChosen = address === addressOf(state.modelUrl);
    const isFixed = isBusy(state) || isConverting(state);
    const size = formatBytes(bytes);
    const choosable = this.#choosable(address);
    return html`<li data-address=${address}>
      <p class="name">${name}</p>
      <p>${isComplete ? words.modelHere(size, isChosen) : words.modelUnfinished(size)}</p>
      ${isComplete ? this.#license(model.license ?? "", model.licenseRestrictions ?? "") : nothing}
      ${this.#speed(address)}
      ${this.#doomed === address
        ? this.#confirm(model)
        : html`<div class="row">
            ${isComplete && !isChosen && choosable !== null
              ? html`<button class="choose" ?disabled=${isFixed} @click=${() => this.studio.models.choose(choosable)}>${words.paintWith}</button>`
              : nothing}
            ${isComplete ? this.#measure(address, name) : nothing}
            <button class="remove" ?disabled=${isFixed} aria-label=${words.removeModelOf(name)} @click=${() => this.#doom(address)}>
              ${words.removeModel}
            </button>
          </div>`}
    </li>`;
  }

  /** How long a picture takes here, once that is measured. */
  #speed(address: string): TemplateResult | typeof nothing {
    const { words } = this;
    const speed = this.state.speeds[address] ?? null;
    if (speed === null) return nothing;
    if (speed === "measuring") return html`<p class="speed" role="status">${words.speedMeasuring}</p>`;
    const text = speed.fits ? words.speedOf(formatDuration(speed.pictureMs, words, true)) : words.speedTooLarge;
    return html`<p class="speed" role="status">${text}</p>`;
  }

  #measure(address: string, name: string): TemplateResult {
    const { words, state } = this;
    const isFixed = isBusy(state) || isConverting(state) || state.speeds[address] === "measuring";
    return html`<button class="measure" ?disabled=${isFixed} aria-label=${words.measureSpeedOf(name)} @click=${() => this.studio.models.measure(address)}>
      ${words.measureSpeed}
    </button>`;
  }

  #confirm({ address, name, bytes, isComplete }: StoredModel): TemplateResult {
    const { words } = this;
    const isLocal = !/^https?:/.test(address);
    return html`<div role="group" aria-labelledby="doom">
      <p id="doom">${words.removeModelReally(name, formatBytes(bytes), isLocal && isComplete)}</p>
      <div class="row">
        <button id="remove-model-confirm" class="primary" @click=${() => this.#remove(address)}>${words.removeModel}</button>
        <button id="remove-model-cancel" @click=${() => this.#doom(null)}>${words.cancel}</button>
      </div>
    </div>`;
  }

  #license(license: string, restrictions: string): TemplateResult {
    const { words } = this;
    return html`<p>${words.modelLicense(license || words.licenseUnknown)}</p>
      ${restrictions ? html`<p>${words.modelRestrictions(restrictions)}</p>` : nothing}`;
  }

  /** By which the studio chooses the model; null where it cannot, as of one that another page on this site brought. */
  #choosable(address: string): string | null {
    if (address === defaultAddress()) return cardIn(this.state) === null ? null : MODEL_URL;
    return this.state.localModels.some((local) => local.address === address) ? address : null;
  }

  #doom(address: string | null): void {
    const before = this.#doomed;
    this.#doomed = address;
    this.requestUpdate();
    const back = before === null ? null : `li[data-address="${CSS.escape(before)}"] .remove`;
    void this.updateComplete.then(() => {
      const wanted = address === null ? back : "#remove-model-cancel";
      if (wanted) this.renderRoot.querySelector<HTMLElement>(wanted)?.focus();
    });
  }

  #remove(address: string): void {
    this.#doomed = null;
    void this.studio.models.remove(address);
    this.renderRoot.querySelector("summary")?.focus();
  }
}
