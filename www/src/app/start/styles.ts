/** The look of what a picture starts from: choices, the easel and its tools. */
import { css } from "lit";

/** Of `<fraise-start>`. */
export const boardStyles = css`
  :host {
    margin-top: 0.7rem;
  }
  .choices,
  .tools {
    display: flex;
    flex-wrap: wrap;
    gap: 0.45rem;
    align-items: center;
  }
  .choices {
    margin-top: 0.4rem;
  }
  .choices button,
  .tools > button {
    min-height: 2.25rem;
    padding: 0.3rem 0.85rem;
    border-radius: 999px;
    font-size: 0.9rem;
  }
  .board {
    display: grid;
    gap: 0.6rem;
    margin-top: 0.4rem;
    padding: 0.75rem;
    border: 1px solid var(--line);
    border-radius: var(--round);
    background: var(--surface);
  }
  canvas {
    display: block;
    width: 100%;
    border: 1px solid var(--line);
    border-radius: calc(var(--round) * 0.7);
    cursor: crosshair;
    touch-action: none;
  }
  canvas.move {
    cursor: grab;
  }
  canvas.move:is([data-edge="left"], [data-edge="right"]) {
    cursor: ew-resize;
  }
  canvas.move:is([data-edge="top"], [data-edge="bottom"]) {
    cursor: ns-resize;
  }
  .sheet {
    position: relative;
  }
  .cursor {
    display: none;
    position: absolute;
    width: 1rem;
    height: 1rem;
    margin: -0.5rem;
    border: 2px solid #fff;
    border-radius: 50%;
    outline: 2px solid #111;
    pointer-events: none;
  }
  canvas:focus-visible ~ .cursor {
    display: block;
  }
  .grip {
    position: absolute;
    width: 2.5rem;
    height: 0.35rem;
    border: 1px solid rgb(12 11 35 / 70%);
    border-radius: 999px;
    background: #fff;
    pointer-events: none;
  }
  .grip:is(.left, .right) {
    top: calc(50% - 1.25rem);
    width: 0.35rem;
    height: 2.5rem;
  }
  .grip:is(.top, .bottom) {
    left: calc(50% - 1.25rem);
  }
  .grip.left {
    left: 0.4rem;
  }
  .grip.right {
    right: 0.4rem;
  }
  .grip.top {
    top: 0.4rem;
  }
  .grip.bottom {
    bottom: 0.4rem;
  }
  .segments {
    justify-self: start;
  }
  .colours {
    display: grid;
    grid-template-columns: repeat(9, minmax(0, 2rem));
    gap: 0.3rem;
  }
  .colours button {
    min-height: 0;
    aspect-ratio: 1;
    padding: 0;
    border: 2px solid var(--line-strong);
    border-radius: 50%;
  }
  .colours button[aria-pressed="true"] {
    outline: 3px solid var(--focus);
    outline-offset: 1px;
  }
  .value {
    float: inline-end;
    color: var(--berry);
    font-weight: 600;
    font-variant-numeric: tabular-nums;
  }
  p {
    margin: 0;
  }
  @media (hover: none) {
    #easel-keys {
      display: none;
    }
  }
`;
