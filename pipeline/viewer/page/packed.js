// Arrays on the wire: a length (u32, little endian), a JSON header of that length, then the arrays it names,
// each starting at a multiple of eight bytes, so that they are views and nothing is copied.

const TYPES = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
};

/** Read a packed answer: `{header, arrays}`, arrays by name. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  let start = Math.ceil((4 + length) / 8) * 8;
  for (const { name, type, length: count } of header.arrays) {
    const Type = TYPES[type];
    if (!Type) throw new Error(`The answer holds an array of type ${type}, which this page does not know: reload it.`);
    arrays[name] = new Type(buffer, start, count);
    start += Math.ceil((count * Type.BYTES_PER_ELEMENT) / 8) * 8;
  }
  return { header, arrays };
}
