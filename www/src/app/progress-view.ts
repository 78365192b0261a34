/** What is happening, how far it is, and how long it will take; for eyes and for screen readers. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import type { Progress } from "../engine/index";
import type { Words } from "../locales/index";
import { formatBytes, formatDuration } from "./format";
import { progressBar } from "./progress-bar";
import { StudioElement } from "./studio-element";
import { isBusy, type Activity } from "./state";

const TICK_MS = 500;

/** One line of text and how much of the work is done, from 0 to 1; null where that is not known. */
interface Line {
  readonly text: string;
  readonly detail: string;
  readonly fraction: number | null;
}

/** `<fraise-progress>` */
export class ProgressView extends StudioElement {
  static override styles = [
    StudioElement.styles,
    progressBar,
    css`
      :host {
        max-width: var(--stage-max, 100%);
        margin: 0.9rem auto 0;
      }
      .line {
        display: flex;
        flex-wrap: wrap;
        justify-content: space-between;
        gap: 0 1rem;
        min-height: 1.5rem;
        font-variant-numeric: tabular-nums;
      }
      .line span:first-child {
        font-weight: 600;
      }
      .detail {
        color: var(--ink-soft);
      }
      .cancel {
        display: none;
      }
      @media (max-width: 56rem) {
        .cancel {
          display: block;
          margin-top: 0.6rem;
        }
      }
    `,
  ];

  #ticking: ReturnType<typeof setInterval> | null = null;

  override disconnectedCallback(): void {
    this.#tick(false);
    super.disconnectedCallback();
  }

  protected override render(): TemplateResult {
    const { activity } = this.state;
    const line = describe(activity, this.words, performance.now());
    return html`
      <div class="visually-hidden" role="status" aria-live="polite">${announce(activity, this.words)}</div>
      ${line
        ? html`<div class="line" id="progress-line">
              <span id="progress-text">${line.text}</span><span class="detail" id="progress-detail">${line.detail}</span>
            </div>
            ${isOver(activity)
              ? nothing
              : line.fraction === null
                ? html`<progress aria-label=${line.text}></progress>`
                : html`<progress aria-label=${line.text} max="1" .value=${line.fraction}></progress>`}
            ${isBusy(this.state)
              ? html`<button class="cancel" @click=${() => this.studio.cancel()}>${this.words.cancel}</button>`
              : nothing}`
        : nothing}
    `;
  }

  protected override updated(_changes: PropertyValues): void {
    this.#tick(this.state.activity.kind === "painting");
  }

  /** Lets the time left run down between steps. */
  #tick(isOn: boolean): void {
    if (isOn && this.#ticking === null) this.#ticking = setInterval(() => this.requestUpdate(), TICK_MS);
    if (!isOn && this.#ticking !== null) {
      clearInterval(this.#ticking);
      this.#ticking = null;
    }
  }
}

function isOver({ kind }: Activity): boolean {
  return kind === "finished" || kind === "cancelled";
}

function describe(activity: Activity, words: Words, nowMs: number): Line | null {
  switch (activity.kind) {
    case "idle":
    case "failed":
      return null;
    case "starting":
      return { text: words.starting, detail: "", fraction: null };
    case "loading":
      return describeLoad(activity.progress, words);
    case "painting":
      return describePainting(activity, words, nowMs);
    case "finished":
      return { text: words.finished(formatDuration(activity.elapsedMs, words, true)), detail: "", fraction: 1 };
    case "cancelled":
      return { text: words.cancelled, detail: "", fraction: null };
  }
}

function describePainting(activity: Activity & { kind: "painting" }, words: Words, nowMs: number): Line {
  const { done, total, endsAtMs } = activity;
  if (done === 0) return { text: words.firstStep(total), detail: "", fraction: null };
  const timeLeft = endsAtMs === null ? "" : words.timeLeft(formatDuration(endsAtMs - nowMs, words));
  const detail = done < total ? timeLeft : words.finishing;
  return { text: words.stepOf(done, total), detail, fraction: done / total };
}

function describeLoad({ phase, loadedBytes, totalBytes, rate, etaMs }: Progress, words: Words): Line {
  const fraction = totalBytes > 0 ? loadedBytes / totalBytes : null;
  if (phase !== "download") return { text: loadText(phase, words), detail: "", fraction };
  const parts = [words.bytesOf(formatBytes(loadedBytes), formatBytes(totalBytes))];
  if (rate !== null) parts.push(words.perSecond(formatBytes(rate)));
  if (etaMs !== null) parts.push(words.timeLeft(formatDuration(etaMs, words)));
  return { text: words.downloading, detail: parts.join(" · "), fraction };
}

function loadText(phase: Progress["phase"], words: Words): string {
  const texts = { manifest: words.reading, download: words.downloading, upload: words.uploading, compile: words.compiling };
  return phase === "convert" ? "" : texts[phase];
}

/** What a screen reader says: each phase once, and every quarter of the steps. */
function announce(activity: Activity, words: Words): string {
  switch (activity.kind) {
    case "idle":
    case "failed":
      return "";
    case "loading":
      return loadText(activity.progress.phase, words);
    case "painting": {
      const { done, total } = activity;
      const quarter = Math.floor((4 * done) / total);
      return done === 0 ? words.firstStep(total) : words.stepOf(Math.max(1, Math.ceil((quarter * total) / 4)), total);
    }
    default:
      return describe(activity, words, 0)?.text ?? "";
  }
}
