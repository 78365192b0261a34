/** The sampler and the picture's size, which mostly are the model's own. */
import { css, html, type TemplateResult } from "lit";
import { checkSettings } from "./exchange/found";
import { SAMPLERS, type SamplerName } from "./exchange/samplers";
import { MAX_SIDE_PX, MIN_SIDE_PX, SIDE_STEP_PX } from "./sides";
import { StudioElement } from "./studio-element";

/** `<fraise-sampling>` */
export class SamplingFields extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      :host {
        display: grid;
        gap: 1.1rem;
      }
      .sides {
        display: grid;
        grid-template-columns: 1fr auto 1fr;
        gap: 0.5rem;
        align-items: center;
      }
      input {
        width: 100%;
        min-width: 0;
        min-height: 2.75rem;
        padding: 0.6rem 0.85rem;
        border: 1px solid var(--line-strong);
        border-radius: var(--round);
        background: var(--field);
      }
    `,
  ];

  protected override render(): TemplateResult {
    const { words, state } = this;
    const choose = (event: Event) => this.studio.change({ sampler: ((event.target as HTMLSelectElement).value as SamplerName) || null });
    return html`<div>
        <label for="sampler">${words.sampler}</label>
        <select id="sampler" @change=${choose}>
          <option value="" .selected=${state.sampler === null}>${words.modelsOwn}</option>
          ${Object.entries(SAMPLERS).map(
            ([name, label]) => html`<option value=${name} .selected=${name === state.sampler}>${label}</option>`,
          )}
        </select>
      </div>
      <div role="group" aria-labelledby="size" aria-describedby="size-hint">
        <span class="label" id="size">${words.size}</span>
        <div class="sides">${this.#side("width")} <span aria-hidden="true">×</span> ${this.#side("height")}</div>
        <p class="hint" id="size-hint">${words.sizeHint}</p>
      </div>`;
  }

  #side(name: "width" | "height"): TemplateResult {
    const { words, state } = this;
    return html`<input
      id=${name}
      type="number"
      min=${MIN_SIDE_PX}
      max=${MAX_SIDE_PX}
      step=${SIDE_STEP_PX}
      aria-label=${words[name]}
      placeholder=${words.modelsOwn}
      .value=${String(state[name] ?? "")}
      @change=${(event: Event) => this.#resize(name, event.target as HTMLInputElement)}
    />`;
  }

  /** Takes a typed number into its range; what is no number means the model's own. */
  #resize(name: "width" | "height", field: HTMLInputElement): void {
    const value = checkSettings({ [name]: field.value }).settings[name] ?? null;
    this.studio.change({ [name]: value });
    field.value = String(value ?? "");
  }
}
