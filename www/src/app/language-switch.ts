/** Chooses the page's language. */
import { html, type TemplateResult } from "lit";
import { LANGUAGES } from "../locales/index";
import { segments } from "./segments";
import { StudioElement } from "./studio-element";

/** `<fraise-language>` */
export class LanguageSwitch extends StudioElement {
  static override styles = [StudioElement.styles, segments];

  protected override render(): TemplateResult {
    return html`<div class="segments" role="group" aria-label=${this.words.language}>
      ${LANGUAGES.map(
        ({ language, name, tag }) =>
          html`<button
            lang=${tag}
            aria-pressed=${language === this.state.language ? "true" : "false"}
            @click=${() => this.studio.speak(language)}
          >
            ${name}
          </button>`,
      )}
    </div>`;
  }
}
