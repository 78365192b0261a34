/** The look of progress bars. */
import { css } from "lit";

/** A thin round bar; a sweep where nothing is known of how far it is. */
export const progressBar = css`
  progress {
    display: block;
    width: 100%;
    height: 0.5rem;
    margin-top: 0.45rem;
    border: 0;
    border-radius: 999px;
    overflow: hidden;
    appearance: none;
    background: var(--line);
    accent-color: var(--berry);
  }
  progress::-webkit-progress-bar {
    background: var(--line);
  }
  progress::-webkit-progress-value {
    border-radius: 999px;
    background: var(--berry);
    transition: inline-size 200ms;
  }
  progress::-moz-progress-bar {
    border-radius: 999px;
    background: var(--berry);
  }
  progress:indeterminate {
    background: linear-gradient(90deg, var(--line) 30%, var(--berry) 50%, var(--line) 70%) 0 0 / 200% 100%;
    animation: sweep 1.6s linear infinite;
  }
  progress:indeterminate::-webkit-progress-bar {
    background: transparent;
  }
  progress:indeterminate::-moz-progress-bar {
    background: transparent;
  }
  @keyframes sweep {
    from {
      background-position: 100% 0;
    }
    to {
      background-position: -100% 0;
    }
  }
`;
