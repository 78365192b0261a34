/** The look of what opens and closes. */
import { css } from "lit";

/** A heading with a mark that points down where it is open. */
export const drawer = css`
  summary {
    min-height: 2.75rem;
    display: flex;
    align-items: center;
    gap: 0.5rem;
    border-radius: var(--round);
    font-weight: 600;
    cursor: pointer;
    list-style: none;
  }
  summary::-webkit-details-marker {
    display: none;
  }
  summary::before {
    content: "";
    width: 0.5rem;
    height: 0.5rem;
    border: solid var(--ink-soft);
    border-width: 0 2px 2px 0;
    transform: rotate(-45deg);
    transition: transform 120ms;
  }
  details[open] > summary::before {
    transform: rotate(45deg);
  }
`;
