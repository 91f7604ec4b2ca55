// A chart of values over blocks.

import { fixed, fixedOr, h, svg } from "./dom.js";
/** @import { Line, Range } from "./types.js" */

/** @typedef {{x: (block: number) => number, y: (value: number) => number}} Scales positions of blocks and values in the chart */

const WIDTH = 320;
const MARGIN = { left: 34, right: 8, top: 8, bottom: 20 };

/**
 * Draw values over blocks, with a key.
 * @param {Line[]} lines
 * @param {object} options
 * @param {string} options.name of the values
 * @param {number} options.block the shown block
 * @param {number | null} options.chance the chance level of identifiability, or null for logits
 * @param {number} [options.height] of the chart, in units of which its width is 320
 * @returns {Node[]}
 */
export function chart(lines, { name, block, chance, height = 170 }) {
  const range = rangeOf(lines, chance);
  const depth = lines[0].values.length;
  const last = Math.max(depth - 1, 1);
  const scales = scalesOf(range, last, height);
  const { x, y } = scales;
  const end = (/** @type {number | null} */ value) => fixedOr(value, "unknown");
  const ends = lines.map((line) => `${line.name} from ${end(line.values[0])} to ${end(line.values[depth - 1])}`);
  const drawing = svg(
    "svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${name} over blocks: ${ends.join(", ")}` },
    ...range.map((value) => across(y(value), "axis")),
    chance === null ? null : across(y(chance), "chance"),
    ...(chance === null ? range : [0, 0.5, 1]).map((value) => valueLabel(fixed(value, 1), y(value))),
    ...[...new Set([0, block, last])].map((index) => blockLabel(String(index + 1), x(index), height)),
    svg("line", { class: "now", x1: x(block), x2: x(block), y1: MARGIN.top, y2: height - MARGIN.bottom }),
    ...lines.flatMap(({ kind, values }) => [
      svg("path", { class: `line line-${kind}`, d: linePath(values, scales) }),
      dot(`dot-${kind}`, x(block), values[block], scales),
    ]),
  );
  const keys = lines.map((line) => h("span", { class: `key-${line.kind}` }, line.name));
  return [drawing, h("p", { class: "key" }, ...keys, chance === null ? null : h("span", { class: "key-chance" }, "chance"))];
}

/**
 * Return the smallest and the largest value on the chart's vertical axis.
 * @param {Line[]} lines
 * @param {number | null} chance
 * @returns {Range}
 */
function rangeOf(lines, chance) {
  if (chance !== null) return [0, 1];
  const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
  return [Math.min(0, ...values), Math.max(0, ...values)];
}

/**
 * @param {Range} range
 * @param {number} last index of the last block
 * @param {number} height
 * @returns {Scales}
 */
function scalesOf([low, high], last, height) {
  const { left, right, top, bottom } = MARGIN;
  return {
    x: (index) => left + ((WIDTH - left - right) * index) / last,
    y: (value) => height - bottom - ((height - bottom - top) * (value - low)) / (high - low || 1),
  };
}

/**
 * @param {number} y
 * @param {string} kind
 */
function across(y, kind) {
  return svg("line", { class: kind, x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y, y2: y });
}

/**
 * @param {string} text
 * @param {number} y
 */
function valueLabel(text, y) {
  return svg("text", { "text-anchor": "end", x: MARGIN.left - 5, y: y + 4 }, text);
}

/**
 * @param {string} text
 * @param {number} x
 * @param {number} height
 */
function blockLabel(text, x, height) {
  return svg("text", { "text-anchor": "middle", x, y: height - 5 }, text);
}

/**
 * Return a path through values, with gaps at unknown values.
 * @param {(number | null)[]} values
 * @param {Scales} scales
 */
function linePath(values, { x, y }) {
  const parts = values.map((value, index) => {
    if (value === null) return "";
    const step = index && values[index - 1] !== null ? "L" : "M";
    return `${step}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return parts.join("");
}

/**
 * @param {string} kind
 * @param {number} x
 * @param {number | null} value
 * @param {Scales} scales
 */
function dot(kind, x, value, { y }) {
  return value === null ? null : svg("circle", { class: kind, cx: x, cy: y(value), r: 4 });
}
