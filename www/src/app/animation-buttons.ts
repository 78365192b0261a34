/** The buttons that save an animation: as a GIF, and as a video where the browser can encode one. */
import { html, nothing, type TemplateResult } from "lit";
import { canEncodeVideo, type AnimationKind } from "./animation";

/** What one of the two buttons is known by, and what it says. */
export interface AnimationButton {
  readonly id: string;
  readonly text: string;
}

/** Both, which wait while an animation is being encoded. */
export function animationButtons(
  buttons: Readonly<Record<AnimationKind, AnimationButton>>,
  isEncoding: boolean,
  save: (kind: AnimationKind) => void,
): TemplateResult {
  const button = (kind: AnimationKind) =>
    html`<button id=${buttons[kind].id} ?disabled=${isEncoding} @click=${() => save(kind)}>${buttons[kind].text}</button>`;
  return html`${button("gif")} ${canEncodeVideo() ? button("video") : nothing}`;
}
