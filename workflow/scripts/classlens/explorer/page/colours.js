// Colours that readers with any colour vision can order, and legible colours for text on them.

import { fixed, h, significant } from "./dom.js";
/** @import { Colour, Range } from "./types.js" */

const SEQUENTIAL = [
  "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
].map(channels);
// Over a grey photograph, neither colour is one of the object.
const AGAINST = channels("#0099c6");
const NEUTRAL = channels("#f7f7f7");
const FOR = channels("#b0005e");

/**
 * @param {string} hex
 * @returns {Colour}
 */
function channels(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

/**
 * @param {Colour} first
 * @param {Colour} second
 * @param {number} share
 * @returns {Colour}
 */
function between(first, second, share) {
  return first.map((value, channel) => Math.round(value + (second[channel] - value) * share));
}

/**
 * Return the colour of a value from 0 to 1.
 * @param {number} value
 */
export function sequential(value) {
  const place = Math.min(Math.max(value, 0), 1) * (SEQUENTIAL.length - 1);
  const start = Math.min(Math.floor(place), SEQUENTIAL.length - 2);
  return between(SEQUENTIAL[start], SEQUENTIAL[start + 1], place - start);
}

/**
 * Return the colour of a value from -1 (against) to 1 (for).
 * @param {number} value
 */
export function diverging(value) {
  return between(NEUTRAL, value < 0 ? AGAINST : FOR, Math.min(Math.abs(value), 1));
}

/**
 * Return a colour as CSS.
 * @param {Colour} colour
 */
export function rgb(colour, opacity = 1) {
  return `rgb(${colour.join(" ")} / ${opacity})`;
}

/**
 * Return black or white, whichever contrasts more with a colour (WCAG's relative luminance).
 * @param {Colour} colour
 */
export function ink(colour) {
  const [red, green, blue] = colour
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

/**
 * Make a bar of the diverging colours from evidence against a class to evidence for it.
 * @param {number} largest absolute value of the map
 */
export function divergingLegend(largest) {
  const stops = [-1, 0, 1].map((value) => rgb(diverging(value))).join(", ");
  const bar = h("span", { class: "bar", style: `background: linear-gradient(to right, ${stops})` });
  return h("span", { class: "scale both-signs" }, `against −${significant(largest)}`, bar, `for +${significant(largest)}`);
}

/**
 * Make a bar of the sequential colours with labelled ends, and with a mark at the chance level (from 0 to 1), if there is one.
 * @param {Range} range
 * @param {number | null} chance
 */
export function legend([low, high], chance) {
  const stops = SEQUENTIAL.map((colour) => rgb(colour)).join(", ");
  const bar = h("span", { class: "bar", style: `background: linear-gradient(to right, ${stops})` });
  if (chance !== null) bar.append(h("span", { class: "mark", style: `left: ${100 * chance}%` }));
  const key = chance === null ? null : h("span", { class: "key-mark" }, `chance ${fixed(chance)}`);
  return h("span", { class: "scale" }, fixed(low, 1), bar, fixed(high, 1), key);
}
