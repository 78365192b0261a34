/** Chooses the page's language. */
import { css, html, type TemplateResult } from "lit";
import { LANGUAGES } from "../locales/index";
import { StudioElement } from "./studio-element";

/** `<fraise-language>` */
export class LanguageSwitch extends StudioElement {
  static override styles = [
    StudioElement.styles,
    css`
      div {
        display: flex;
        padding: 0.2rem;
        border: 1px solid var(--line);
        border-radius: 999px;
        background: var(--chip);
      }
      button {
        min-height: 2.1rem;
        padding: 0 0.8rem;
        border: 0;
        border-radius: 999px;
        background: transparent;
        font-size: 0.88rem;
        white-space: nowrap;
      }
      @media (max-width: 22rem) {
        button {
          padding: 0 0.5rem;
        }
      }
      button[aria-pressed="true"] {
        background: var(--selected);
        font-weight: 600;
        box-shadow: 0 1px 3px rgb(30 10 40 / 18%);
      }
    `,
  ];

  protected override render(): TemplateResult {
    return html`<div role="group" aria-label=${this.words.language}>
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
