// Reading of packed files: the inverse of `payload.packed` in Python.

/** @import { Content, Numbers } from "./types.js" */

const FIRST_CHARACTER = 0x3400; // the character of the value 0 in packed texts
const ARRAYS = { U8: Uint8Array, I8: Int8Array, U16: Uint16Array, I16: Int16Array, I32: Int32Array, F32: Float32Array };

/**
 * Return the content of a packed file, which is in safetensors format.
 * @param {string} text
 * @returns {Promise<Content>}
 */
export async function unpacked(text) {
  const bytes = await inflated(text);
  const header = Number(new DataView(bytes).getBigUint64(0, true));
  const { __metadata__: metadata, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, header)));
  const { facts, differences } = JSON.parse(metadata.json);
  /** @type {Record<string, Numbers>} */
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(tensors)) {
    const kind = ARRAYS[/** @type {keyof typeof ARRAYS} */ (dtype)];
    const values = joined(new Uint8Array(bytes, 8 + header + start, end - start), kind);
    if (dtype[0] === "I") restoreSigns(values);
    for (const axis of differences[name] ?? []) addUp(values, shape, axis);
    arrays[name] = Object.assign(values, { shape });
  }
  return { arrays, facts };
}

/**
 * Return the values whose first bytes are stored first, then their second bytes, and so on.
 * @param {Uint8Array} bytes
 * @param {(typeof ARRAYS)[keyof typeof ARRAYS]} kind
 */
function joined(bytes, kind) {
  const size = kind.BYTES_PER_ELEMENT;
  const count = bytes.length / size;
  const together = new Uint8Array(bytes.length);
  for (let plane = 0, from = 0; plane < size; plane++) {
    for (let place = 0; place < count; place++) together[place * size + plane] = bytes[from++];
  }
  return new kind(together.buffer);
}

/**
 * Move the sign of integers from their lowest bit to where it belongs.
 * @param {InstanceType<(typeof ARRAYS)[keyof typeof ARRAYS]>} values
 */
function restoreSigns(values) {
  const low = -1 >>> (32 - 8 * values.BYTES_PER_ELEMENT);
  for (let place = 0; place < values.length; place++) values[place] = ((values[place] & low) >>> 1) ^ -(values[place] & 1);
}

/**
 * Replace differences along an axis by their sums.
 * @param {InstanceType<(typeof ARRAYS)[keyof typeof ARRAYS]>} values
 * @param {number[]} shape
 * @param {number} axis
 */
function addUp(values, shape, axis) {
  const stride = shape.slice(axis + 1).reduce((product, length) => product * length, 1);
  const block = stride * shape[axis];
  for (let start = 0; start < values.length; start += block) {
    for (let place = start + stride; place < start + block; place++) values[place] += values[place - stride];
  }
}

/**
 * @param {string} text
 * @returns {Promise<ArrayBuffer>}
 */
function inflated(text) {
  return new Response(new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

/**
 * Return the bytes in a text, 15 bits per character, up to the last byte 255.
 * @param {string} text
 */
function bytesOf(text) {
  const bytes = new Uint8Array((text.length * 15) >> 3);
  let held = 0;
  let bits = 0;
  let count = 0;
  for (let place = 0; place < text.length; place++) {
    held = (held << 15) | (text.charCodeAt(place) - FIRST_CHARACTER);
    for (bits += 15; bits >= 8; bytes[count++] = held >> bits) bits -= 8;
    held &= 0xff;
  }
  return bytes.subarray(0, bytes.lastIndexOf(0xff));
}
