export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** To so many significant digits, for files that people read. */
export const rounded = (value, digits = 4) => (typeof value === "number" ? Number(value.toPrecision(digits)) : value);
