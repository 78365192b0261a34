/** Everything that can be set and need not be. */
import { css, html, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import type { DeviceChoice } from "../engine/index";
import { drawer } from "./drawer";
import { StudioElement } from "./studio-element";
import { isBusy, parseSeed } from "./state";
import { cardIn, recommendedSteps, upscales } from "./form";

const MAX_SLIDER_STEPS = 50;
const MAX_SLIDER_GUIDANCE = 15;

/** A field for a seed, and what it shows. */
interface SeedField {
  readonly id: string;
  readonly value: string;
  readonly placeholder: string;
  readonly hint: string;
}

/** `<fraise-settings>` */
export class SettingsPanel extends StudioElement {
  static override styles = [
    StudioElement.styles,
    drawer,
    css`
      .fields {
        display: grid;
        gap: 1.1rem;
        padding: 0.5rem 0 0.25rem;
      }
      .value {
        float: inline-end;
        color: var(--berry);
        font-weight: 600;
        font-variant-numeric: tabular-nums;
      }
      .seed {
        display: flex;
        gap: 0.5rem;
      }
      .seed button {
        flex: none;
        width: 2.75rem;
        padding: 0;
        display: grid;
        place-items: center;
      }
      .under {
        margin-top: 0.7rem;
      }
      .invalid {
        color: var(--berry);
      }
    `,
  ];

  protected override render(): TemplateResult {
    return html`<details>
      <summary>${this.words.settings}</summary>
      <div class="fields">
        ${this.#negative()} ${this.#seed()} ${this.#variation()} ${this.#steps()} ${this.#guidance()} ${this.#upscale()} ${this.#tiling()}
        <fraise-sampling></fraise-sampling>
        ${this.#device()} ${this.#precision()} ${this.#files()}
        <button id="copy-form-link" @click=${() => void this.studio.exchange.copyLink()}>${this.words.copyFormLink}</button>
      </div>
    </details>`;
  }

  #seed(): TemplateResult {
    const { words, state } = this;
    const field = { id: "seed", value: state.seed, placeholder: words.seedPlaceholder, hint: words.seedHint };
    const dice = html`<button id="roll" title=${words.rollSeed} aria-label=${words.rollSeed} @click=${() => this.studio.rollSeed()}>
      ${DICE}
    </button>`;
    return html`<div>
      <label for="seed">${words.seed}</label>
      <div class="seed">${this.#seedInput(field, (seed) => this.studio.change({ seed }))} ${dice}</div>
      ${this.#seedHint(field)}
    </div>`;
  }

  #seedInput({ id, value, placeholder }: SeedField, change: (text: string) => void): TemplateResult {
    return html`<input
      id=${id}
      type="text"
      inputmode="numeric"
      autocomplete="off"
      aria-describedby="${id}-hint"
      aria-invalid=${isNoSeed(value) ? "true" : "false"}
      placeholder=${placeholder}
      .value=${value}
      @input=${(event: InputEvent) => change(valueOf(event))}
    />`;
  }

  #seedHint({ id, value, hint }: SeedField): TemplateResult {
    const isInvalid = isNoSeed(value);
    return html`<p class="hint ${isInvalid ? "invalid" : ""}" id="${id}-hint">${isInvalid ? this.words.seedInvalid : hint}</p>`;
  }

  #variation(): TemplateResult {
    const { words, state } = this;
    const field = { id: "variation-seed", value: state.variationSeed, placeholder: words.variationPlaceholder, hint: words.variationHint };
    const percent = Math.round(100 * state.variationStrength);
    return html`<div>
      <label for="variation-seed">${words.variationSeed}</label>
      ${this.#seedInput(field, (variationSeed) => this.studio.change({ variationSeed }))} ${this.#seedHint(field)}
      ${parseSeed(state.variationSeed) === null
        ? nothing
        : html`<div class="under">
            <output class="value" for="variation-strength">${percent} %</output>
            <label for="variation-strength">${words.variationStrength}</label>
            <input
              id="variation-strength"
              type="range"
              min="0"
              max="100"
              step="5"
              .value=${String(percent)}
              @input=${(event: InputEvent) => this.studio.change({ variationStrength: Number(valueOf(event)) / 100 })}
            />
          </div>`}
    </div>`;
  }

  #steps(): TemplateResult {
    const { words } = this;
    const steps = this.state.steps ?? recommendedSteps(this.state);
    return html`<div>
      <output class="value" for="steps">${steps}</output>
      <label for="steps">${words.steps}</label>
      <input
        id="steps"
        type="range"
        min="1"
        max=${MAX_SLIDER_STEPS}
        step="1"
        aria-describedby="steps-hint"
        .value=${String(steps)}
        @input=${(event: InputEvent) => this.studio.change({ steps: Number(valueOf(event)) })}
      />
      <p class="hint" id="steps-hint">${words.stepsHint}</p>
    </div>`;
  }

  #guidance(): TemplateResult | typeof nothing {
    const { words, state } = this;
    const { model } = state;
    const guidance = state.guidance ?? (model && model !== "unreadable" ? model.guidance : null);
    if (guidance === null) return nothing;
    return html`<div>
      <output class="value" for="guidance">${guidance.toFixed(1)}</output>
      <label for="guidance">${words.guidance}</label>
      <input
        id="guidance"
        type="range"
        min="1"
        max=${MAX_SLIDER_GUIDANCE}
        step="0.5"
        aria-describedby="guidance-hint"
        .value=${String(guidance)}
        @input=${(event: InputEvent) => this.studio.change({ guidance: Number(valueOf(event)) })}
      />
      <p class="hint" id="guidance-hint">${words.guidanceHint}</p>
    </div>`;
  }

  #upscale(): TemplateResult | typeof nothing {
    const { words, state } = this;
    const factor = state.model && state.model !== "unreadable" ? state.model.upscaleFactor : null;
    if (factor === null) return nothing;
    return html`<label class="switch">
      <input
        id="upscale"
        type="checkbox"
        role="switch"
        .checked=${upscales(state)}
        @change=${(event: Event) => this.studio.change({ upscale: (event.target as HTMLInputElement).checked })}
      />
      ${words.upscale(factor)}
    </label>`;
  }

  #tiling(): TemplateResult {
    const { words, state } = this;
    return html`<label class="switch">
      <input
        id="tiling"
        type="checkbox"
        role="switch"
        .checked=${live(state.tiling)}
        @change=${(event: Event) => this.studio.change({ tiling: (event.target as HTMLInputElement).checked })}
      />
      ${words.tiling}
    </label>`;
  }

  #files(): TemplateResult {
    const { words, state } = this;
    return html`<div>
      <label class="switch">
        <input
          id="bare-files"
          type="checkbox"
          role="switch"
          aria-describedby="bare-files-hint"
          .checked=${live(state.areFilesBare)}
          @change=${(event: Event) => this.studio.saver.setBare((event.target as HTMLInputElement).checked)}
        />
        ${words.bareFiles}
      </label>
      <p class="hint" id="bare-files-hint">${words.bareFilesHint}</p>
    </div>`;
  }

  #negative(): TemplateResult {
    const { words, state } = this;
    const hint = cardIn(state)?.negativePhrase ? words.negativeSpokenHint : words.negativeHint;
    return html`<div>
      <label for="negative">${words.negative}</label>
      <input
        id="negative"
        type="text"
        maxlength="2000"
        placeholder=${words.negativePlaceholder}
        aria-describedby="negative-hint"
        .value=${state.negative}
        @input=${(event: InputEvent) => this.studio.change({ negative: valueOf(event) })}
      />
      <p class="hint" id="negative-hint">${hint}</p>
    </div>`;
  }

  #device(): TemplateResult {
    const { words, state } = this;
    const choices: ReadonlyArray<readonly [DeviceChoice, string]> = [
      ["auto", words.deviceAuto],
      ["gpu", words.deviceGpu],
      ["cpu", words.deviceCpu],
    ];
    return html`<div>
      <label for="device">${words.device}</label>
      <select
        id="device"
        ?disabled=${isBusy(state)}
        @change=${(event: Event) => this.studio.chooseDevice({ device: valueOf(event) as DeviceChoice })}
      >
        ${choices.map(
          ([choice, label]) => html`<option value=${choice} .selected=${choice === state.device}>${label}</option>`,
        )}
      </select>
    </div>`;
  }

  /** Only where a GPU with 16-bit floats may be used. */
  #precision(): TemplateResult | typeof nothing {
    const { words, state } = this;
    if (!state.gpu?.isAvailable || !state.gpu.hasFloat16 || state.device === "cpu") return nothing;
    const choose = (event: Event) =>
      this.studio.chooseDevice({ precision: (event.target as HTMLInputElement).checked ? "float16" : "float32" });
    return html`<div>
      <label class="switch">
        <input
          id="float16"
          type="checkbox"
          role="switch"
          aria-describedby="float16-hint"
          ?disabled=${isBusy(state)}
          .checked=${live(state.precision === "float16")}
          @change=${choose}
        />
        ${words.float16}
      </label>
      <p class="hint" id="float16-hint">${words.float16Hint}</p>
    </div>`;
  }
}

function valueOf(event: Event): string {
  return (event.target as HTMLInputElement | HTMLSelectElement).value;
}

const DICE = html`<svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true" fill="currentColor">
  <rect x="2" y="2" width="16" height="16" rx="4" fill="none" stroke="currentColor" stroke-width="1.6" />
  <circle cx="6.6" cy="6.6" r="1.5" />
  <circle cx="13.4" cy="6.6" r="1.5" />
  <circle cx="10" cy="10" r="1.5" />
  <circle cx="6.6" cy="13.4" r="1.5" />
  <circle cx="13.4" cy="13.4" r="1.5" />
</svg>`;

/** Whether a text is meant as a seed, and is none. */
function isNoSeed(text: string): boolean {
  return text.trim() !== "" && parseSeed(text) === null;
}
