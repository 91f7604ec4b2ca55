// Outlines of the object and of the region of the true class.

import { svg } from "./dom.js";
/** @import { Outline } from "./types.js" */

/** @typedef {[x: number, y: number]} Point */

/**
 * Return the border of a region of cells as an SVG path with rounded corners.
 * @param {(x: number, y: number) => boolean} inside whether a cell belongs to the region
 * @param {number} width number of columns
 * @param {number} height number of rows
 * @param {number} radius of corners, in cells
 * @returns {Outline}
 */
export function outlineOf(inside, width, height, radius) {
  const loops = loopsOf(edgesOf((x, y) => x >= 0 && y >= 0 && x < width && y < height && inside(x, y), width, height));
  return { path: loops.map((corners) => rounded(corners, radius)).join(""), width, height };
}

/**
 * Return the edges between cells inside and outside, from their start to their ends; the region lies on their right.
 * @param {(x: number, y: number) => boolean} inside
 * @param {number} width
 * @param {number} height
 */
function edgesOf(inside, width, height) {
  /** @type {Map<string, Point[]>} */
  const edges = new Map();
  /** @type {(start: Point, end: Point) => void} */
  const add = (start, end) => void edges.set(String(start), [...(edges.get(String(start)) ?? []), end]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) add([x, y], [x + 1, y]);
      if (!inside(x + 1, y)) add([x + 1, y], [x + 1, y + 1]);
      if (!inside(x, y + 1)) add([x + 1, y + 1], [x, y + 1]);
      if (!inside(x - 1, y)) add([x, y + 1], [x, y]);
    }
  }
  return edges;
}

/**
 * Join edges to closed loops, and return the corners of each loop.
 * @param {Map<string, Point[]>} edges
 */
function loopsOf(edges) {
  const loops = [];
  for (const [key, ends] of edges) {
    while (ends.length) {
      const start = /** @type {Point} */ (key.split(",").map(Number));
      const points = [start];
      let from = start;
      let point = /** @type {Point} */ (ends.pop());
      while (String(point) !== key) {
        points.push(point);
        const choices = /** @type {Point[]} */ (edges.get(String(point)));
        const next = turned(from, point, choices);
        choices.splice(choices.indexOf(next), 1);
        [from, point] = [point, next];
      }
      loops.push(points.filter((item, index) => isCorner(points.at(index - 1), item, points[(index + 1) % points.length])));
    }
  }
  return loops;
}

/**
 * Return the next point of a loop. Where two cells of the region touch at a corner, the loop stays at its own cell.
 * @param {Point} from
 * @param {Point} at
 * @param {Point[]} choices
 */
function turned(from, at, choices) {
  const right = (/** @type {Point} */ [x, y]) => (at[0] - from[0]) * (y - at[1]) - (at[1] - from[1]) * (x - at[0]);
  return choices.reduce((best, choice) => (right(choice) > right(best) ? choice : best));
}

/**
 * @param {Point | undefined} before
 * @param {Point} point
 * @param {Point} after
 */
function isCorner(before, point, after) {
  return before !== undefined && (point[0] - before[0]) * (after[1] - point[1]) !== (point[1] - before[1]) * (after[0] - point[0]);
}

/**
 * Return a closed path through corners.
 * @param {Point[]} corners
 * @param {number} radius
 */
function rounded(corners, radius) {
  const parts = corners.map((corner, index) => {
    const [before, after] = [/** @type {Point} */ (corners.at(index - 1)), corners[(index + 1) % corners.length]];
    const [start, end] = [before, after].map((other) => toward(corner, other, radius));
    return `${index ? "L" : "M"}${start}Q${corner} ${end}`;
  });
  return `${parts.join("")}Z`;
}

/**
 * Return the point at a distance from a corner on the way to another one, at most half way.
 * @param {Point} corner
 * @param {Point} other
 * @param {number} distance
 */
function toward([x, y], other, distance) {
  const length = Math.abs(other[0] - x) + Math.abs(other[1] - y);
  const share = Math.min(distance, length / 2) / length;
  return [x + (other[0] - x) * share, y + (other[1] - y) * share].map((value) => Number(value.toFixed(3))).join(" ");
}

/**
 * Make an empty drawing of an outline.
 * @param {string} kind what the outline surrounds, as the class of the drawing
 */
export function outlineDrawing(kind) {
  return svg("svg", { class: `outline ${kind}`, "aria-hidden": "true", preserveAspectRatio: "none" });
}

/**
 * Draw an outline, or nothing.
 * @param {SVGElement} drawing
 * @param {Outline | null} outline
 */
export function drawOutline(drawing, outline) {
  drawing.replaceChildren();
  if (!outline) return;
  drawing.setAttribute("viewBox", `0 0 ${outline.width} ${outline.height}`);
  drawing.append(svg("path", { d: outline.path, class: "halo" }), svg("path", { d: outline.path, class: "line" }));
}
