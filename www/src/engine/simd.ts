/**
 * `(func (result v128) …)` with three vectors and one `f32x4.relaxed_madd`; the instruction is `253, 133, 2`.
 *
 * Source: the binary format in the WebAssembly core specification, and the relaxed SIMD proposal for the opcode.
 */
const RELAXED_MADD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, // magic number, version
  1, 5, 1, 96, 0, 1, 123, // one type: no parameters, a vector as the result
  3, 2, 1, 0, // one function of that type
  10, 19, 1, 17, 0, // its body, without locals
  65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11,
); // prettier-ignore

/** Whether the browser multiplies and adds vectors in one instruction. */
export const hasRelaxedSimd = (): boolean => WebAssembly.validate(RELAXED_MADD);
