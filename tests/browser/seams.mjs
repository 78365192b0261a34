// Whether a picture's opposite edges fit together, as a texture's do.

/**
 * Of rows and of columns, the mean step from each line of pixels to the next one, in levels: over the edge, from the last line
 * to the first, and the largest inside. `rgba` is row by row.
 */
export function seamsOf({ width, height, rgba }) {
  const pixel = (line, place, isRow) => 4 * (isRow ? line * width + place : place * width + line);
  const step = (from, to, isRow) => {
    let sum = 0;
    const length = isRow ? width : height;
    for (let place = 0; place < length; place += 1) {
      const [a, b] = [pixel(from, place, isRow), pixel(to, place, isRow)];
      for (const channel of [0, 1, 2]) sum += Math.abs(rgba[a + channel] - rgba[b + channel]);
    }
    return sum / length / 3;
  };
  return [true, false].map((isRow) => {
    const last = (isRow ? height : width) - 1;
    return { edge: step(last, 0, isRow), inner: Math.max(...Array.from({ length: last }, (_, line) => step(line, line + 1, isRow))) };
  });
}
