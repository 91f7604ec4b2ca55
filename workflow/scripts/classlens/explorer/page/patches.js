// The image with its patches: their colours and class names, and the chosen token.

import { ink, legend, rgb, sequential } from "./colours.js";
import { fixed, h } from "./dom.js";
import { isFirst, shownMeasure } from "./measure.js";
import { drawOutline, outlineDrawing } from "./outline.js";
import { state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { Measure, Range, Shown } from "./types.js" */

/** @type {Record<string, [down: number, right: number]>} */
const STEPS = {
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity],
};
/** @type {Record<number, string>} */
const NO_RANK = { [-1]: "removed", [-2]: "not run" };

export class Patches {
  /** @type {Model | null} */
  model = null;
  /** @type {HTMLElement[][]} */
  cells = [];

  /**
   * @param {HTMLElement} root
   * @param {object} listeners
   * @param {(token: number | null) => void} listeners.pointed called with the token under the pointer, or null without one
   * @param {(token: number) => void} listeners.chosen called with the chosen token
   */
  constructor(root, { pointed, chosen }) {
    this.chosen = chosen;
    this.grid = h("div", {
      role: "grid",
      class: "stage",
      keydown: (event) => this.step(event),
      pointerleave: () => pointed(null),
      pointerover: (event) => pointed(tokenOf(event.target)),
      click: (event) => {
        const token = tokenOf(event.target);
        if (token !== null) chosen(token);
      },
    });
    this.photograph = h("div", { role: "rowgroup", class: "photograph" });
    this.outline = outlineDrawing();
    this.legend = h("p", { class: "legend" });
    root.append(this.grid, this.legend);
  }

  /**
   * Move to the token that a key selects, and choose it.
   * @param {KeyboardEvent} event
   */
  step(event) {
    const token = tokenOf(event.target);
    if (token === null || !(event.key in STEPS)) return;
    event.preventDefault();
    const row = this.cells.findIndex((cells) => cells.some((cell) => Number(cell.dataset.token) === token));
    const column = this.cells[row].findIndex((cell) => Number(cell.dataset.token) === token);
    const [down, right] = STEPS[event.key];
    const target = nearest(nearest(this.cells, row + down), column + right);
    target.focus();
    this.chosen(Number(target.dataset.token));
  }

  /**
   * Make the cells of a model: a row of prefix tokens, if it has any, and the rows of patches.
   * @param {Model} model
   */
  build(model) {
    const prefix = cellsOf(0, model.prefix);
    prefix.forEach((cell, token) => (cell.dataset.name = model.tokenName(token)));
    const rows = Array.from({ length: model.rows }, (_, row) => cellsOf(model.prefix + row * model.columns, model.columns));
    this.model = model;
    this.cells = prefix.length ? [prefix, ...rows] : rows;
    this.photograph.replaceChildren(...rows.map((row) => h("div", { role: "row" }, ...row)), this.outline);
    const beside = prefix.length ? [h("div", { role: "row", class: "prefix" }, ...prefix)] : [];
    this.grid.replaceChildren(...beside, this.photograph);
    this.grid.style.setProperty("--columns", String(model.columns));
  }

  /**
   * @param {Shown} shown
   * @param {Range} logits the scale of logits
   */
  render(shown, logits) {
    const { image } = shown;
    const { model } = image;
    if (this.model !== model) this.build(model);
    const photograph = model.photograph(image.id);
    this.photograph.style.backgroundImage = photograph ? `url("${photograph}")` : "none";
    this.grid.setAttribute("aria-label", `Tokens of ${image.path}, ${model.label}`);
    const measure = shownMeasure(shown.choice, image);
    /** @type {Range} */
    const range = measure.chance === null ? logits : [0, 1];
    for (const cell of this.cells.flat()) renderCell(cell, shown, measure, range);
    drawOutline(this.outline, image.outline);
    this.legend.replaceChildren(`Colour: ${measure.name}`, legend(range, measure.chance));
  }
}

/**
 * Make the cells of consecutive tokens.
 * @param {number} start
 * @param {number} count
 */
function cellsOf(start, count) {
  return Array.from({ length: count }, (_, place) =>
    h("div", { role: "gridcell", "data-token": start + place, tabindex: -1 }, h("span", {})));
}

/**
 * Return the token whose cell contains an element, or null for an element outside the cells.
 * @param {EventTarget | null} target
 */
function tokenOf(target) {
  const cell = target instanceof Element ? target.closest("[data-token]") : null;
  return cell instanceof HTMLElement ? Number(cell.dataset.token) : null;
}

/**
 * Return the item at an index, or the first or last item if the index is out of range.
 * @template Item
 * @param {Item[]} items
 * @param {number} index
 */
function nearest(items, index) {
  return items[Math.min(Math.max(index, 0), items.length - 1)];
}

/**
 * @param {HTMLElement} cell
 * @param {Shown} shown
 * @param {Measure} measure
 * @param {Range} range
 */
function renderCell(cell, shown, measure, [low, high]) {
  const token = Number(cell.dataset.token);
  const { model } = shown.image;
  const [text, said] = caption(shown, measure, token);
  const value = measure.value(shown.site, shown.block, token);
  cell.className = `${value === null ? "unknown" : ""} ${isFirst(shown, token) ? "true" : ""}`.trim();
  const colour = value === null ? null : sequential((value - low) / (high - low || 1));
  cell.style.backgroundColor = colour ? rgb(colour, model.photographs ? state.strength / 100 : 1) : "";
  cell.style.setProperty("--patch", colour ? rgb(colour) : "#fff");
  cell.style.setProperty("--ink", colour ? ink(colour) : "#000");
  cell.children[0].textContent = state.labels || token < model.prefix ? text : "";
  cell.setAttribute("aria-label", `${model.tokenName(token)}: ${said}`);
  cell.setAttribute("aria-selected", String(token === shown.chosen));
  cell.tabIndex = token === shown.chosen ? 0 : -1;
}

/**
 * Return the text on a token, and its label for screen readers.
 * @param {Shown} shown
 * @param {Measure} measure
 * @param {number} token
 */
function caption({ image, site, block }, measure, token) {
  const value = measure.value(site, block, token);
  const number = value === null ? null : fixed(value);
  if (state.condition !== "none") {
    if (number === null) return Array(2).fill(NO_RANK[image.perturbedRank(state.condition, token)]);
    return [number, `${measure.name} ${number}`];
  }
  const [best] = image.top(site, block, token);
  const name = image.model.classes[best.index];
  const known = number === null ? `${measure.name} is not among the largest` : `${measure.name} ${number}`;
  return [name, `${name} has the largest logit, ${fixed(best.logit)}; ${known}`];
}
