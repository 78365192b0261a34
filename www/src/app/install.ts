/** Offers to install the page as an app, once a picture has been painted; a visitor who says no is not asked again. */
import { remember, remembered } from "./local-storage";

const ANSWER_KEY = "fraise.install";

/** The browser's own question, held back; not part of any standard yet. */
interface InstallEvent extends Event {
  prompt(): Promise<unknown>;
}

/** When and how the page offers itself. */
export class Installer {
  readonly #show: (isOffered: boolean) => void;
  #question: InstallEvent | null = null;
  #hasPainted = false;

  /** `show` is told whether to offer. */
  constructor(show: (isOffered: boolean) => void) {
    this.#show = show;
  }

  /** Waits for the browser to say that the page can be installed. */
  watch(): void {
    addEventListener("beforeinstallprompt", (event) => {
      event.preventDefault();
      this.#question = event as InstallEvent;
      this.#offer();
    });
    addEventListener("appinstalled", () => this.#close());
  }

  /** A picture is finished: the visitor knows what the page is for. */
  painted(): void {
    if (this.#hasPainted) return;
    this.#hasPainted = true;
    this.#offer();
  }

  /** Has the browser ask. */
  async accept(): Promise<void> {
    const question = this.#question;
    this.#close();
    await question?.prompt().catch(() => undefined); // browsers take a question once
  }

  /** The visitor would rather not. */
  decline(): void {
    remember(ANSWER_KEY, "no");
    this.#close();
  }

  #offer(): void {
    if (this.#question && this.#hasPainted && remembered(ANSWER_KEY) !== "no") this.#show(true);
  }

  #close(): void {
    this.#question = null;
    this.#show(false);
  }
}
