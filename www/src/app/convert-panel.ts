/** Takes a visitor's own checkpoint and leads through its conversion, from the choice of a file to the finished model. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import type { CheckpointInfo, Prediction, Progress, Quant } from "../engine/index";
import { QUANTS, type Conversion } from "./conversion";
import { formatBytes, formatDuration } from "./format";
import { progressBar } from "./progress-bar";
import { StudioElement } from "./studio-element";
import { isBusy } from "./state";

const SD2 = "Stable Diffusion 2.x";

type Ready = Conversion & { readonly kind: "ready" };

/** `<fraise-convert>` */
export class ConvertPanel extends StudioElement {
  static override styles = [
    StudioElement.styles,
    progressBar,
    css`
      section {
        padding: 1rem 1.1rem;
        border: 1px dashed var(--line-strong);
        border-radius: var(--round);
        font-size: 0.9rem;
      }
      h2 {
        margin: 0;
        font-size: 0.95rem;
      }
      p {
        margin: 0.3rem 0 0.7rem;
        color: var(--ink-soft);
        overflow-wrap: anywhere;
      }
      .strong {
        color: var(--ink);
        font-weight: 600;
      }
      .warning {
        color: var(--berry);
      }
      .row {
        display: flex;
        flex-wrap: wrap;
        gap: 0.6rem;
        margin-top: 0.8rem;
      }
      .row input {
        flex: 1 1 9rem;
        width: auto;
        min-width: 0;
      }
      fieldset {
        display: grid;
        gap: 0.1rem;
        margin: 0.4rem 0 0.6rem;
        padding: 0;
        border: 0;
      }
      legend {
        padding: 0;
        font-weight: 600;
      }
      .quant {
        display: grid;
        grid-template-columns: auto 1fr auto;
        gap: 0.6rem;
        align-items: center;
        min-height: 2.5rem;
        margin: 0;
        font-weight: 400;
        cursor: pointer;
      }
      .quant input {
        width: 1.1rem;
        height: 1.1rem;
        margin: 0;
        accent-color: var(--berry);
      }
      .size {
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
    `,
  ];

  #urlProblem = "";
  #shown: Conversion["kind"] = "none";

  protected override render(): TemplateResult {
    const { words } = this;
    return html`<section id="convert" aria-label=${words.convertTitle}>
      <h2>${words.convertTitle}</h2>
      <div class="visually-hidden" role="status" aria-live="polite">${this.#announcement()}</div>
      ${this.#body()}
      <input
        id="checkpoint"
        class="visually-hidden"
        type="file"
        accept=".safetensors"
        tabindex="-1"
        aria-hidden="true"
        @change=${this.#onFile}
      />
    </section>`;
  }

  protected override updated(_changes: PropertyValues): void {
    const { kind } = this.state.conversion;
    // A file may be dropped where the panel is out of sight.
    if (kind === "looking" && this.#shown !== kind) this.scrollIntoView({ block: "nearest" });
    this.#shown = kind;
  }

  #body(): TemplateResult {
    const { words, state } = this;
    const { conversion } = state;
    switch (conversion.kind) {
      case "none":
        return this.#invitation();
      case "looking":
        return html`<p id="convert-text">${words.convertLooking(conversion.name)}</p>
          <progress aria-label=${words.convertLooking(conversion.name)}></progress>
          <div class="row">${this.#closeButton()}</div>`;
      case "ready":
        return this.#choices(conversion);
      case "converting":
        return this.#progress(conversion.name, conversion.progress);
      case "converted":
        return html`<p id="convert-text" class="strong">${words.converted(conversion.name)}</p>
          <div class="row">${this.#chooseButton(words.convertOther)}</div>`;
      case "failed":
        return html`<div id="convert-failure" role="alert">
            <p class="strong">${words.convertFailed}: ${conversion.name}</p>
            <p><code id="convert-code">${conversion.code}</code> ${conversion.message}</p>
          </div>
          <div class="row">${this.#chooseButton(words.convertOther)} ${this.#closeButton()}</div>`;
    }
  }

  #invitation(): TemplateResult {
    const { words } = this;
    return html`<p>${words.convertText}</p>
      <div class="row">${this.#chooseButton(words.convertChoose)}</div>
      <form class="row" @submit=${this.#onUrl}>
        <input
          id="checkpoint-url"
          type="text"
          inputmode="url"
          autocomplete="off"
          spellcheck="false"
          placeholder=${words.convertUrl}
          aria-label=${words.convertUrl}
          aria-describedby="url-problem"
        />
        <button ?disabled=${!this.studio.canConvert}>${words.convertUrlOpen}</button>
      </form>
      <p id="url-problem" class="warning" role="alert" ?hidden=${this.#urlProblem === ""}>${this.#urlProblem}</p>`;
  }

  #choices({ name, info, choice }: Ready): TemplateResult {
    const { words } = this;
    const { quant } = choice;
    const unfinished = info.unfinished.find((conversion) => conversion.quant === quant);
    const neededBytes = info.packBytes[quant] - (unfinished?.doneBytes ?? 0);
    const hasRoom = info.availableBytes === null || info.availableBytes >= neededBytes;
    return html`<p id="convert-text">
        <span class="strong">${name}</span><br />${words.convertFamily(info.family, formatBytes(info.checkpointBytes))}
      </p>
      <fieldset>
        <legend>${words.convertQuant}</legend>
        ${QUANTS.map((offered) => this.#quant(offered, quant, info))}
      </fieldset>
      ${info.family === SD2 ? this.#prediction(choice.prediction) : nothing}
      <p>${words.convertLicense}</p>
      <p id="convert-room">${this.#room(neededBytes, info.availableBytes)}</p>
      ${hasRoom ? nothing : html`<p class="warning" role="alert">${words.convertNoRoom}</p>`}
      ${unfinished ? html`<p id="convert-unfinished">${words.convertUnfinished(formatBytes(unfinished.doneBytes))}</p>` : nothing}
      <div class="row">
        <button
          id="convert-start"
          class="primary"
          ?disabled=${!hasRoom || isBusy(this.state)}
          @click=${() => void this.studio.converter.start(choice)}
        >
          ${unfinished ? words.convertResume : words.convertStart}
        </button>
        ${info.unfinished.length > 0
          ? html`<button id="convert-discard" @click=${() => void this.studio.converter.discard(info)}>${words.convertDiscard}</button>`
          : nothing}
        ${this.#closeButton()}
      </div>`;
  }

  #quant(choice: Quant, chosen: Quant, info: CheckpointInfo): TemplateResult {
    return html`<label class="quant">
      <input
        type="radio"
        name="quant"
        value=${choice}
        .checked=${choice === chosen}
        @change=${() => this.studio.converter.choose({ quant: choice })}
      />
      <span>${this.words.convertQuants[choice]}</span>
      <span class="size">${this.#size(choice, info)}</span>
    </label>`;
  }

  #size(quant: Quant, info: CheckpointInfo): string {
    const size = formatBytes(info.packBytes[quant]);
    return quant === "mixed" ? this.words.convertAtMost(size) : size;
  }

  /** SD-Turbo and Stable Diffusion 2.0 base look like 2.1 but predict noise; only the visitor can know. */
  #prediction(chosen: Prediction): TemplateResult {
    const { words } = this;
    const choose = (event: Event) =>
      this.studio.converter.choose({ prediction: (event.target as HTMLInputElement).checked ? "epsilon" : "v_prediction" });
    return html`<label class="quant">
      <input id="epsilon" type="checkbox" .checked=${chosen === "epsilon"} @change=${choose} />
      <span>${words.convertEpsilon}</span>
    </label>`;
  }

  #room(neededBytes: number, availableBytes: number | null): string {
    const needed = formatBytes(neededBytes);
    return availableBytes === null
      ? this.words.convertRoomUnknown(needed)
      : this.words.convertRoom(needed, formatBytes(availableBytes));
  }

  #progress(name: string, progress: Progress | null): TemplateResult {
    const { words } = this;
    const isMeasured = progress !== null && progress.totalBytes > 0;
    const parts = isMeasured ? [words.bytesOf(formatBytes(progress.loadedBytes), formatBytes(progress.totalBytes))] : [];
    const etaMs = progress?.etaMs ?? null;
    if (etaMs !== null) parts.push(words.timeLeft(formatDuration(etaMs, words)));
    return html`<p id="convert-text" class="strong">${words.converting(name)}</p>
      ${isMeasured
        ? html`<progress aria-label=${words.converting(name)} max="1" .value=${progress.loadedBytes / progress.totalBytes}></progress>`
        : html`<progress aria-label=${words.converting(name)}></progress>`}
      <p id="convert-detail">${parts.join(" · ")}</p>
      <div class="row"><button id="convert-cancel" @click=${() => this.studio.converter.cancel()}>${words.cancel}</button></div>`;
  }

  #chooseButton(label: string): TemplateResult {
    return html`<button id="convert-choose" ?disabled=${!this.studio.canConvert} @click=${this.#pick}>${label}</button>`;
  }

  #closeButton(): TemplateResult {
    return html`<button id="convert-close" @click=${() => this.studio.converter.close()}>${this.words.convertClose}</button>`;
  }

  readonly #pick = () => this.renderRoot.querySelector<HTMLInputElement>("#checkpoint")?.click();

  readonly #onFile = (event: Event) => {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    input.value = ""; // so that the same file can be picked again
    if (file) this.studio.openCheckpoint(file);
  };

  readonly #onUrl = (event: SubmitEvent) => {
    event.preventDefault();
    const text = this.renderRoot.querySelector<HTMLInputElement>("#checkpoint-url")?.value.trim();
    if (!text) return;
    const url = URL.canParse(text, document.baseURI) ? new URL(text, document.baseURI) : null;
    // The page's security policy would refuse another host's; this says why, and what to do instead.
    const isOwn = url?.origin === location.origin;
    this.#urlProblem = isOwn ? "" : this.words.convertUrlForeign(url?.host ?? text);
    if (isOwn) this.studio.openCheckpoint(url.href);
    this.requestUpdate();
  };

  /** What a screen reader says: each stage once. */
  #announcement(): string {
    const { words } = this;
    const { conversion } = this.state;
    switch (conversion.kind) {
      case "looking":
        return words.convertLooking(conversion.name);
      case "ready":
        return words.convertFamily(conversion.info.family, formatBytes(conversion.info.checkpointBytes));
      case "converting":
        return words.converting(conversion.name);
      case "converted":
        return words.converted(conversion.name);
      default:
        return "";
    }
  }
}
