/** What waits to be painted: its order can be changed, and each can be taken out. */
import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { QueueEntry } from "./queue";
import { StudioElement } from "./studio-element";
import { canGenerate, isBusy } from "./state";

/** `<fraise-queue>` */
export class QueueList extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      :host {
        max-width: var(--stage-max, 100%);
        margin: 0.9rem auto 0;
      }
      .head {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.5rem;
      }
      h2 {
        flex: 1;
        margin: 0;
        font-size: 0.95rem;
      }
      ol {
        display: grid;
        gap: 0.4rem;
        max-height: 20rem;
        margin: 0.5rem 0 0;
        padding: 0;
        overflow-y: auto;
        list-style: none;
      }
      li {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.4rem;
        padding: 0.4rem 0.4rem 0.4rem 0.8rem;
        border: 1px solid var(--line);
        border-radius: var(--round);
        background: var(--chip);
      }
      .what {
        flex: 1 1 9rem;
        min-width: 0;
        font-size: 0.9rem;
        overflow-wrap: anywhere;
      }
      .what small {
        display: block;
        color: var(--ink-soft);
      }
      li button {
        min-width: 2.5rem;
        min-height: 2.5rem;
        padding: 0 0.6rem;
      }
    `,
  ];

  /** The button to give the focus back to after its row has moved. */
  #focus: string | null = null;
  #said = "";

  protected override render(): TemplateResult {
    const { words, state } = this;
    const { activity, queue } = state;
    // A single picture that is being painted, or failed just now, is shown elsewhere.
    const isShown = queue.length > 1 || (queue.length > 0 && !isBusy(state) && activity.kind !== "failed");
    return html`<div class="visually-hidden" role="status">${this.#said}</div>
      ${isShown
        ? html`<div class="head">
              <h2 id="queue-title">${words.queue(queue.length)}</h2>
              ${this.#buttons()}
            </div>
            <ol id="queue" aria-labelledby="queue-title">
              ${repeat(queue, ({ id }) => id, (entry, index) => html`<li>${this.#row(entry, index)}</li>`)}
            </ol>`
        : nothing}`;
  }

  protected override updated(_changes: PropertyValues): void {
    if (this.#focus) this.renderRoot.querySelector<HTMLElement>(this.#focus)?.focus();
    this.#focus = null;
  }

  #buttons(): TemplateResult {
    const { words, studio, state } = this;
    const isPaused = state.queue.some(({ status }) => status === "paused");
    return html`${isPaused
        ? html`<button id="start-queue" ?disabled=${!canGenerate(state)} @click=${() => void studio.resume("paused")}>
            ${words.startQueue}
          </button>`
        : nothing}
      <button id="clear-queue" @click=${() => studio.queue.remove(...state.queue.map(({ id }) => id))}>${words.clearQueue}</button>`;
  }

  #row(entry: QueueEntry, index: number): TemplateResult {
    const { words, state } = this;
    const { id, request, status, failure } = entry;
    const what = html`<div class="what">
      ${request.prompt} <small>${words.queueStatus[status]}${failure ? ` (${failure})` : ""} · ${words.seedIs(String(request.seed))}</small>
    </div>`;
    if (status === "painting") return what;
    const name = `${request.prompt}, ${words.seedIs(String(request.seed))}`;
    return html`${what}
      ${status === "failed"
        ? html`<button class="again" ?disabled=${isBusy(state)} @click=${() => void this.studio.resume("failed")}>${words.tryAgain}</button>`
        : nothing}
      <button data-id=${id} class="earlier" aria-label=${words.earlier(name)} ?disabled=${index === 0} @click=${() => this.#move(entry, index, -1)}>↑</button>
      <button
        data-id=${id}
        class="later"
        aria-label=${words.later(name)}
        ?disabled=${index === state.queue.length - 1}
        @click=${() => this.#move(entry, index, 1)}
      >
        ↓
      </button>
      <button data-id=${id} class="remove" aria-label=${words.removeFromQueue(name)} @click=${() => this.#remove(entry, index)}>×</button>`;
  }

  #move({ id }: QueueEntry, index: number, places: number): void {
    const { length } = this.state.queue;
    const place = index + places;
    // At an end its button for going further is off; the one back is the next best.
    const isAtEnd = place === 0 || place === length - 1;
    this.#focus = `[data-id="${id}"].${(places < 0) !== isAtEnd ? "earlier" : "later"}`;
    this.#said = this.words.movedTo(place + 1, length);
    this.studio.queue.move(id, places);
  }

  #remove({ id }: QueueEntry, index: number): void {
    const { queue } = this.state;
    const next = queue[index + 1] ?? queue[index - 1];
    this.#focus = next && next.status !== "painting" ? `[data-id="${next.id}"].remove` : "#clear-queue";
    this.#said = this.words.queue(queue.length - 1);
    this.studio.queue.remove(id);
  }
}
