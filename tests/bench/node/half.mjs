// Numbers of 16 bits for a Node that has no `Float16Array`: as much of one as the bench and its peer use.

const FRACTION_BITS = 10;
const bits = new DataView(new ArrayBuffer(4));

/** The nearest 16-bit number's bits, ties to even. */
export function toHalf(value) {
  bits.setFloat32(0, value);
  const word = bits.getUint32(0);
  const sign = (word >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  const exponent = Math.max(((word >>> 23) & 0xff) - 127, -14);
  const scaled = magnitude * 2 ** (FRACTION_BITS - exponent); // exact; [1024, 2048) unless it is subnormal
  const down = Math.floor(scaled);
  const rest = scaled - down;
  const rounded = down + (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? 1 : 0);
  return sign | (((exponent + 14) << FRACTION_BITS) + rounded);
}

/** The number of such bits. */
export function fromHalf(word) {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >>> FRACTION_BITS) & 0x1f;
  const fraction = word & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Holds the bits; takes and gives numbers. */
export class Half extends Uint16Array {
  static from(values) {
    return new Half(Uint16Array.from(values, toHalf));
  }

  *[Symbol.iterator]() {
    for (let i = 0; i < this.length; i += 1) yield fromHalf(this[i]);
  }
}
