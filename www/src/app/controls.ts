/** The look of controls, shared by all elements. Colours come from theme.css. */
import { css } from "lit";

/** Buttons, fields, hints. */
export const controls = css`
  :host {
    display: block;
  }
  :host([hidden]),
  [hidden] {
    display: none !important;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  button,
  input,
  textarea,
  select {
    font: inherit;
    color: inherit;
  }
  button {
    min-height: 2.75rem;
    padding: 0 1.1rem;
    border: 1px solid var(--line-strong);
    border-radius: var(--round);
    background: var(--surface);
    cursor: pointer;
    transition: background-color 120ms, border-color 120ms, transform 120ms;
  }
  button:hover:not(:disabled) {
    border-color: var(--berry);
  }
  button:active:not(:disabled) {
    transform: translateY(1px);
  }
  button.primary {
    border-color: transparent;
    background: var(--berry-fill);
    color: var(--on-berry);
    font-weight: 600;
  }
  button.primary:hover:not(:disabled) {
    background: var(--berry-fill-hover);
  }
  button:disabled {
    opacity: 0.5;
    cursor: not-allowed;
  }
  input[type="text"],
  textarea,
  select {
    width: 100%;
    min-height: 2.75rem;
    padding: 0.6rem 0.85rem;
    border: 1px solid var(--line-strong);
    border-radius: var(--round);
    background: var(--field);
  }
  ::placeholder {
    color: var(--ink-soft);
    opacity: 1;
  }
  :focus-visible {
    outline: 3px solid var(--focus);
    outline-offset: 2px;
  }
  label,
  .label {
    display: block;
    margin-bottom: 0.35rem;
    font-weight: 600;
  }
  .hint {
    margin: 0.35rem 0 0;
    color: var(--ink-soft);
    font-size: 0.85rem;
  }
  input[type="range"] {
    width: 100%;
    height: 1.75rem;
    margin: 0;
    accent-color: var(--berry);
  }
  .switch {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    min-height: 2.75rem;
    margin: 0;
    cursor: pointer;
  }
  .switch input {
    flex: none;
    width: 1.25rem;
    height: 1.25rem;
    margin: 0;
    accent-color: var(--berry-fill);
  }
  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
    }
  }
`;
