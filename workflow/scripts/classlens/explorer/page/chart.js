// A chart of a token's path over blocks, one line per site.

import { fixed, fixedOr, svg } from "./dom.js";
import { SITES } from "./run.js";
/** @import { Line, Measure, Range } from "./types.js" */

/** @typedef {{x: (block: number) => number, y: (value: number) => number}} Scales positions of blocks and values in the chart */

const WIDTH = 320;
const HEIGHT = 170;
const MARGIN = { left: 34, right: 8, top: 8, bottom: 20 };

/**
 * Draw values over blocks.
 * @param {Line[]} lines
 * @param {number} block the shown block
 * @param {Measure} measure
 */
export function pathChart(lines, block, measure) {
  const range = rangeOf(lines, measure);
  const depth = lines[0][1].length;
  const last = Math.max(depth - 1, 1);
  const scales = scalesOf(range, last);
  const { x, y } = scales;
  const ends = lines.map(([site, line]) => `${SITES[site]} from ${fixedOr(line[0], "unknown")} to ${fixedOr(line[depth - 1], "unknown")}`);
  const label = `${measure.name} over blocks: ${ends.join(", ")}`;
  return svg(
    "svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    ...range.map((value) => across(y(value), "axis")),
    measure.chance === null ? null : across(y(measure.chance), "chance"),
    ...(measure.chance === null ? range : [0, 0.5, 1]).map((value) => valueLabel(fixed(value, 1), y(value))),
    ...[...new Set([0, block, last])].map((index) => blockLabel(String(index + 1), x(index))),
    svg("line", { class: "now", x1: x(block), x2: x(block), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
    ...lines.flatMap(([site, line]) => [
      svg("path", { class: `line line-${site}`, d: linePath(line, scales) }),
      dot(`dot-${site}`, x(block), line[block], scales),
    ]),
  );
}

/**
 * Return the smallest and the largest value on the chart's vertical axis.
 * @param {Line[]} lines
 * @param {Measure} measure
 * @returns {Range}
 */
function rangeOf(lines, measure) {
  if (measure.chance !== null) return [0, 1];
  const values = lines.flatMap(([, line]) => line.filter((value) => value !== null));
  return [Math.min(0, ...values), Math.max(0, ...values)];
}

/**
 * @param {Range} range
 * @param {number} last index of the last block
 * @returns {Scales}
 */
function scalesOf([low, high], last) {
  const { left, right, top, bottom } = MARGIN;
  return {
    x: (index) => left + ((WIDTH - left - right) * index) / last,
    y: (value) => HEIGHT - bottom - ((HEIGHT - bottom - top) * (value - low)) / (high - low || 1),
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
 */
function blockLabel(text, x) {
  return svg("text", { "text-anchor": "middle", x, y: HEIGHT - 5 }, text);
}

/**
 * Return a path through values, with gaps at unknown values.
 * @param {(number | null)[]} line
 * @param {Scales} scales
 */
function linePath(line, { x, y }) {
  const parts = line.map((value, index) => {
    if (value === null) return "";
    const step = index && line[index - 1] !== null ? "L" : "M";
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
