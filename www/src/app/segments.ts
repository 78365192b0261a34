/** The look of a row of buttons of which one is chosen. */
import { css } from "lit";

/** For a `.segments` element around `button`s with `aria-pressed`. */
export const segments = css`
  .segments {
    display: flex;
    padding: 0.2rem;
    border: 1px solid var(--line);
    border-radius: 999px;
    background: var(--chip);
  }
  .segments button {
    min-height: 2.1rem;
    padding: 0 0.8rem;
    border: 0;
    border-radius: 999px;
    background: transparent;
    font-size: 0.88rem;
    white-space: nowrap;
  }
  @media (max-width: 22rem) {
    .segments button {
      padding: 0 0.5rem;
    }
  }
  .segments button[aria-pressed="true"] {
    background: var(--selected);
    font-weight: 600;
    box-shadow: 0 1px 3px rgb(30 10 40 / 18%);
  }
`;
