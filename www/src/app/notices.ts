/** What went wrong or is missing, why, and what to do about it. */
import { css, html, nothing, type TemplateResult } from "lit";
import type { SmallerOffer } from "./losses";
import { StudioElement } from "./studio-element";
import { smallerOffer } from "./smaller";
import { canGenerate, lacksGpu } from "./state";

/** `<fraise-notices>` */
export class Notices extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      .notice {
        margin-bottom: 1rem;
        padding: 1rem 1.1rem;
        border: 1px solid var(--line-strong);
        border-inline-start: 4px solid var(--berry);
        border-radius: var(--round);
        background: var(--surface);
      }
      h2 {
        margin: 0 0 0.3rem;
        font-size: 1rem;
      }
      p {
        margin: 0 0 0.6rem;
        overflow-wrap: anywhere;
      }
      .fact {
        color: var(--ink-soft);
        font-size: 0.85rem;
      }
      code {
        font-size: 0.95em;
        color: var(--berry);
      }
      details.notice {
        padding-block: 0.6rem;
      }
      details .fact {
        margin: 0.4rem 0 0;
      }
      .actions,
      .offer {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.6rem;
      }
      .actions button {
        padding-block: 0.4rem;
      }
      .offer p {
        flex: 1 1 12rem;
        margin: 0;
      }
    `,
  ];

  protected override render(): TemplateResult {
    return html`${this.#noGpu()}${this.#failure()}${this.#truncated()}${this.#update()}${this.#install()}`;
  }

  #noGpu(): TemplateResult | typeof nothing {
    const { words, state } = this;
    if (state.gpu?.isAvailable !== false || state.device === "cpu") return nothing;
    const reason = words.noGpuReasons[state.gpu.reason];
    if (!lacksGpu(state)) {
      return html`<details class="notice" id="no-gpu">
        <summary>${words.noGpuAuto}</summary>
        <p class="fact">${reason}</p>
      </details>`;
    }
    return html`<div class="notice" id="no-gpu" role="alert">
      <h2>${words.noGpuTitle}</h2>
      <p>${reason}</p>
      <p>${words.noGpuCpu}</p>
      <button id="use-cpu" class="primary" @click=${() => this.studio.chooseDevice({ device: "cpu" })}>${words.useCpu}</button>
    </div>`;
  }

  #failure(): TemplateResult | typeof nothing {
    const { words, state } = this;
    const { activity } = state;
    if (activity.kind !== "failed") return nothing;
    const offer = smallerOffer(state);
    return html`<div class="notice" id="failure" role="alert">
      <h2>${words.failedTitle}</h2>
      <p>${words.failures[activity.code] ?? ""}</p>
      <p class="fact"><code id="failure-code">${activity.code}</code> ${activity.message}</p>
      ${offer ? html`<p id="smaller-offer">${words.smallerOffer(`${offer.width} × ${offer.height}`, offer.toProcessor)}${words.smallerSettings}</p>` : nothing}
      <div class="actions">
        ${offer ? this.#smaller(offer) : nothing}
        <button id="retry" ?disabled=${!canGenerate(state)} @click=${() => void this.studio.tryAgain()}>${words.tryAgain}</button>
      </div>
    </div>`;
  }

  #smaller({ isSmaller, toProcessor }: SmallerOffer): TemplateResult {
    const { words, state } = this;
    return html`<button
      id="smaller"
      class="primary"
      aria-describedby="smaller-offer"
      ?disabled=${!canGenerate(state)}
      @click=${() => void this.studio.paintSmaller()}
    >
      ${isSmaller ? words.paintSmaller(toProcessor) : words.useCpu}
    </button>`;
  }

  #truncated(): TemplateResult | typeof nothing {
    const cut = this.state.result?.request.truncated ?? [];
    if (cut.length === 0) return nothing;
    return html`<div class="notice" id="truncated" role="status">
      ${cut.map(({ field, text }) => html`<p>${this.words.tooLong[field](text)}</p>`)}
    </div>`;
  }

  #update(): TemplateResult | typeof nothing {
    const { words } = this;
    const { update } = this.state;
    if (!update) return nothing;
    const later = html`<button id="update-later" @click=${() => this.studio.updates.postpone()}>${words.updateLater}</button>`;
    return html`<div class="notice offer" id="update" role="status">
      <p>${update === "waiting" ? words.updateReady : words.updateElsewhere}</p>
      ${update === "waiting" ? later : nothing}
      <button id="update-now" class="primary" @click=${() => this.studio.updates.accept(update)}>${words.updateNow}</button>
    </div>`;
  }

  #install(): TemplateResult | typeof nothing {
    const { words } = this;
    if (!this.state.isInstallOffered) return nothing;
    return html`<div class="notice offer" id="install" role="status">
      <p>${words.installOffer}</p>
      <button id="install-no" @click=${() => this.studio.installer.decline()}>${words.installNo}</button>
      <button id="install-yes" class="primary" @click=${() => void this.studio.installer.accept()}>${words.installYes}</button>
    </div>`;
  }
}
