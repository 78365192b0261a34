/** The painter's look. A page changes it by custom properties and parts. */
import { css } from "lit";

/** All of it. */
export const styles = css`
  :host {
    display: inline-block;
    vertical-align: top;
    box-sizing: border-box;
    width: 20rem;
    max-width: 100%;
    font-family: system-ui, sans-serif;
    color: var(--fraise-ink, inherit);
  }
  :host([hidden]) {
    display: none;
  }
  * {
    box-sizing: border-box;
  }
  [part="frame"] {
    position: relative;
    aspect-ratio: 1;
    overflow: hidden;
    border-radius: var(--fraise-round, 0.8rem);
    background: var(--fraise-night, #16153a);
  }
  canvas {
    display: block;
    width: 100%;
    height: 100%;
    object-fit: contain;
  }
  canvas[hidden] {
    visibility: hidden;
  }
  .poster {
    position: absolute;
    inset: 0;
  }
  ::slotted([slot="poster"]) {
    width: 100%;
    height: 100%;
    object-fit: cover;
  }
  button,
  textarea {
    border-radius: var(--fraise-round, 0.8rem);
    font: inherit;
  }
  textarea {
    display: block;
    width: 100%;
    min-height: 2.75rem;
    margin-top: 0.6rem;
    padding: 0.6rem 0.8rem;
    border: 1px solid currentcolor;
    background: transparent;
    color: inherit;
    resize: vertical;
  }
  [part="manners"] {
    display: flex;
    flex-wrap: wrap;
    gap: 0.4rem;
    margin-top: 0.6rem;
  }
  [part~="manner"],
  [part="smaller"] {
    min-height: 2.25rem;
    padding: 0.2rem 0.8rem;
    border: 1px solid currentcolor;
    background: transparent;
    color: inherit;
    font-size: 0.9rem;
    cursor: pointer;
  }
  [part~="manner"][aria-pressed="true"],
  [part="button"] {
    border-color: transparent;
    background: var(--fraise-berry, #cf2450);
    color: var(--fraise-on-berry, #fff);
  }
  [part="button"] {
    width: 100%;
    min-height: 2.75rem;
    margin-top: 0.6rem;
    border: 0;
    font-weight: 600;
    cursor: pointer;
  }
  [part="smaller"] {
    width: 100%;
    min-height: 2.75rem;
    margin-top: 0.6rem;
  }
  :focus-visible {
    outline: 3px solid var(--fraise-focus, #3f7fd6);
    outline-offset: 2px;
  }
  p {
    min-height: 1.4em;
    margin: 0.4rem 0 0;
    font-size: 0.88rem;
    overflow-wrap: anywhere;
  }
  [part="about"] p {
    min-height: 0;
  }
  summary {
    width: fit-content;
    padding: 0.3rem 0;
    font-size: 0.88rem;
    cursor: pointer;
  }
`;
