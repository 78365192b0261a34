/**
 * Puts a painter into a frame of its own, out of reach of the page around it and the page out of its reach.
 *
 * `frame.js` needs nothing else; a page may take it from the painter's site or keep a copy.
 */
import { fromFrameMessage, PROTOCOL, VERSION, type FromFrame, type PainterSettings, type ToFrame } from "./protocol";

export type { FromFrame, PainterSettings } from "./protocol";

const MAX_HEIGHT_PX = 4000;
const READY_TIMEOUT_MS = 15_000;
const SCRIPT = import.meta.url;

/** Where the frame is and what it shows. */
export interface FrameOptions extends PainterSettings {
  /** Address of `embed.html`; beside this script by default. Isolation takes another origin than the page's. */
  readonly src?: string | undefined;
  /** Address of a pack on the frame's own site; its default model where absent. */
  readonly model?: string | undefined;
}

/**
 * A painter in a frame. Fires `fraise-progress`, `fraise-step`, `fraise-result` and `fraise-error`, each a `CustomEvent`
 * whose detail is the frame's message ({@link FromFrame}).
 */
export class PainterFrame extends EventTarget {
  /** The frame itself, to be placed and styled; its height follows its content. */
  readonly element: HTMLIFrameElement;
  /** Resolves once the frame has answered; rejects where it does not within 15 seconds. */
  readonly ready: Promise<void>;
  readonly #origin: string;
  #settings: PainterSettings;
  #isReady = false;
  #resolve: () => void = () => undefined;

  /** Puts the frame at the end of `container`. Nothing is downloaded into it but the painter's own page. */
  constructor(container: Element, { src, model, ...settings }: FrameOptions = {}) {
    super();
    const url = src === undefined ? new URL("embed.html", SCRIPT) : new URL(src, document.baseURI);
    this.#origin = url.origin;
    this.#settings = settings;
    url.searchParams.set("parent", location.origin);
    if (model !== undefined) url.searchParams.set("model", model);
    this.element = document.createElement("iframe");
    this.element.sandbox.add("allow-scripts", "allow-same-origin");
    this.element.title = "Fraise";
    this.element.src = url.href;
    this.element.addEventListener("load", () => this.#send({ type: "hello" }));
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      setTimeout(() => reject(new Error(`no painter of protocol version ${VERSION} answers from ${url.origin}`)), READY_TIMEOUT_MS);
    });
    this.ready.catch(() => undefined); // who waits for it hears of it
    addEventListener("message", this.#receive);
    container.append(this.element);
  }

  /** Changes settings; those not named stay. */
  set(settings: PainterSettings): void {
    this.#settings = { ...this.#settings, ...settings };
    if (this.#isReady) this.#send({ type: "set", settings });
  }

  /** Stops what is under way in the frame. */
  cancel(): void {
    this.#send({ type: "cancel" });
  }

  /** Takes the frame away. */
  remove(): void {
    removeEventListener("message", this.#receive);
    this.element.remove();
  }

  readonly #receive = (event: MessageEvent<unknown>): void => {
    if (event.origin !== this.#origin || event.source !== this.element.contentWindow) return;
    const message = fromFrameMessage(event.data);
    if (!message) return;
    if (message.type === "ready") this.#greet();
    else if (message.type === "height") this.element.style.height = `${Math.min(message.px, MAX_HEIGHT_PX)}px`;
    else this.dispatchEvent(new CustomEvent<FromFrame>(`fraise-${message.type}`, { detail: message }));
  };

  #greet(): void {
    this.#isReady = true;
    this.#resolve();
    this.#send({ type: "set", settings: this.#settings });
  }

  #send(message: ToFrame): void {
    this.element.contentWindow?.postMessage({ protocol: PROTOCOL, version: VERSION, ...message }, this.#origin);
  }
}
