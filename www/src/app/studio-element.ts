/** What the studio's elements share: they follow the store, speak its language, and look alike. */
import { LitElement, type CSSResultGroup } from "lit";
import { wordsOf, type Words } from "../locales/index";
import type { StudioState } from "./state";
import { studio, type Studio } from "./store";
import { controls } from "./controls";

/** An element that renders anew whenever the store changes. */
export abstract class StudioElement extends LitElement {
  static override styles: CSSResultGroup = controls;

  readonly #onChange = () => this.requestUpdate();

  /** The store's actions. */
  protected get studio(): Studio {
    return studio;
  }

  /** The store's state. */
  protected get state(): StudioState {
    return studio.state;
  }

  /** The texts in the visitor's language. */
  protected get words(): Words {
    return wordsOf(studio.state.language);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    studio.addEventListener("change", this.#onChange);
  }

  override disconnectedCallback(): void {
    studio.removeEventListener("change", this.#onChange);
    super.disconnectedCallback();
  }
}
