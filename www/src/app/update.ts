/**
 * Keeps the page for offline use, by the service worker. The visitor decides when a newer version takes over; a tab that
 * still runs the older one then paints no more until it is reloaded, so that the two never mix.
 */
import { Workbox } from "workbox-window";

/** Where a newer version of the page is: ready and waiting, or in force already by another tab's doing. */
export type Update = "waiting" | "elsewhere";

/** What updates need of the studio. */
export interface UpdateHost {
  /** Shows where a newer version is; null: there is none to tell of. */
  show(update: Update | null): void;
  /** Keeps what the form says over the reload. */
  keepForm(): void;
}

/** The page's versions. */
export class Updates {
  readonly #host: UpdateHost;
  #workbox: Workbox | null = null;
  #isAccepted = false;

  constructor(host: UpdateHost) {
    this.#host = host;
  }

  /** Starts keeping the page. Where that is not possible it works all the same, online. */
  async watch(): Promise<void> {
    if (!("serviceWorker" in navigator) || !import.meta.env.PROD) return;
    const { serviceWorker } = navigator;
    let isKept = serviceWorker.controller !== null;
    serviceWorker.addEventListener("controllerchange", () => {
      // The first one keeps this very version; any later one another.
      if (isKept) this.#replaced();
      isKept = true;
    });
    this.#workbox = new Workbox("./sw.js");
    this.#workbox.addEventListener("waiting", () => this.#host.show("waiting"));
    await this.#workbox.register().catch(() => undefined);
  }

  /** Switches to the newer version. */
  accept(update: Update): void {
    this.#isAccepted = true;
    if (update === "elsewhere") this.#reload();
    else this.#workbox?.messageSkipWaiting();
  }

  /** Stays with this version for now; the next visit asks again. */
  postpone(): void {
    this.#host.show(null);
  }

  #replaced(): void {
    if (this.#isAccepted) this.#reload();
    else this.#host.show("elsewhere");
  }

  #reload(): void {
    this.#host.keepForm();
    location.reload();
  }
}
