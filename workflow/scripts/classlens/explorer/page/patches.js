// The image with its patches: their colours and class names, and the chosen token.

import { diverging, divergingLegend, ink, legend, rgb, sequential } from "./colours.js";
import { fixed, h, signed } from "./dom.js";
import { isFirst, shownMeasure } from "./measure.js";
import { drawOutline, outlineDrawing, outlineOf } from "./outline.js";
import { state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { Colour, Head, Measure, Range, Shown } from "./types.js" */

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
  /** The meaning of the colours in words. */
  legendText = "";

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
      pointerover: (event) => event.pointerType === "mouse" && pointed(tokenOf(event.target)), // a finger does not leave
      click: (event) => {
        const token = tokenOf(event.target);
        if (token !== null) chosen(token);
      },
    });
    this.photograph = h("div", { role: "rowgroup", class: "photograph" });
    this.object = outlineDrawing("object");
    this.region = outlineDrawing("region");
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
    this.photograph.replaceChildren(...rows.map((row) => h("div", { role: "row" }, ...row)), this.object, this.region);
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
    const { photograph } = image;
    this.photograph.style.backgroundImage = photograph ? `url("${photograph}")` : "none";
    this.photograph.classList.toggle("toned", shown.head !== null && photograph !== null);
    this.grid.setAttribute("aria-label", `Tokens of ${image.path}, ${model.label}`);
    if (shown.head) this.renderHead(shown, shown.head);
    else this.renderMeasure(shown, logits);
    drawOutline(this.object, state.outline ? image.outline : null);
    drawOutline(this.region, shown.head ? null : regionOf(shown));
  }

  /**
   * Show the values of the chosen quantity, and class names.
   * @param {Shown} shown
   * @param {Range} logits the scale of logits
   */
  renderMeasure(shown, logits) {
    const measure = shownMeasure(shown.choice, shown.image);
    /** @type {Range} */
    const range = measure.chance === null ? logits : [0, 1];
    const common = commonClass(shown);
    const ends = measure.chance === null ? "" : `, chance ${fixed(measure.chance)}`;
    this.legendText = `Colour: ${measure.name}, from ${fixed(range[0], 1)} (dark) to ${fixed(range[1], 1)} (bright)${ends}`;
    for (const cell of this.cells.flat()) renderCell(cell, shown, { measure, range, common });
    this.legend.replaceChildren(`Colour: ${measure.name}`, legend(range, measure.chance), ...keyOf(shown, common));
  }

  /**
   * Show what a head writes from each token.
   * @param {Shown} shown
   * @param {Head} head
   */
  renderHead(shown, head) {
    const { prefix } = shown.image.model;
    const largest = signed(head.largest);
    this.legendText = `Colour: ${head.title}, from ${largest.replace("+", "−")} (cyan) to ${largest} (magenta)`;
    for (const cell of this.cells.flat()) {
      const token = Number(cell.dataset.token);
      const value = signed(head.values[token]);
      const strength = head.values[token] / (head.largest || 1);
      const isPatch = token >= prefix;
      const colour = isPatch ? diverging(Math.sign(strength)) : diverging(strength);
      const opacity = isPatch ? 0.85 * Math.abs(strength) : 1;
      paint(cell, shown, { kind: "", colour, opacity, text: isPatch ? "" : value, said: `${head.name} writes ${value} from here` });
    }
    this.legend.replaceChildren(`Colour: ${head.title}`, divergingLegend(head.largest));
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
 * Return the border around the patches at which the true class ranks first.
 * @param {Shown} shown
 */
function regionOf(shown) {
  const { model } = shown.image;
  return outlineOf((x, y) => isFirst(shown, model.prefix + y * model.columns + x), model.columns, model.rows, 0.25);
}

/**
 * Return the class that most patches have on top, whose name only the legend shows; null if all or no names are shown.
 * @param {Shown} shown
 */
function commonClass({ image, site, block }) {
  if (state.condition !== "none" || state.labels !== "differing") return null;
  const { prefix, tokens } = image.model;
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (let token = prefix; token < tokens; token++) {
    const [{ index }] = image.top(site, block, token);
    counts.set(index, (counts.get(index) ?? 0) + 1);
  }
  return [...counts].reduce((most, item) => (item[1] > most[1] ? item : most))[0];
}

/**
 * Return the texts beside the scale: what patches without a name show, and what the frame surrounds.
 * @param {Shown} shown
 * @param {number | null} common
 */
function keyOf({ image }, common) {
  const { classes } = image.model;
  const unnamed = common === null ? null : h("span", { class: "key-common" }, `no name: ${classes[common]} is on top`);
  return [unnamed, h("span", { class: "key-region" }, `frame: ${classes[image.own]} is on top`)].filter((part) => part !== null);
}

/**
 * @param {HTMLElement} cell
 * @param {Shown} shown
 * @param {{measure: Measure, range: Range, common: number | null}} look colours and their scale, and the class whose name is not shown
 */
function renderCell(cell, shown, { measure, range: [low, high], common }) {
  const token = Number(cell.dataset.token);
  const { model } = shown.image;
  const [text, said] = caption(shown, measure, token);
  const isNamed = token < model.prefix || (state.labels !== "none" && isOther(shown, token, common));
  const value = measure.value(shown.site, shown.block, token);
  const kind = `${value === null ? "unknown" : ""} ${isFirst(shown, token) ? "true" : ""}`.trim();
  const colour = value === null ? null : sequential((value - low) / (high - low || 1));
  paint(cell, shown, { kind, colour, opacity: model.photographs ? state.strength / 100 : 1, text: isNamed ? text : "", said });
}

/**
 * Give a cell its colour, its text and its label.
 * @param {HTMLElement} cell
 * @param {Shown} shown
 * @param {{kind: string, colour: Colour | null, opacity: number, text: string, said: string}} look
 */
function paint(cell, shown, { kind, colour, opacity, text, said }) {
  const token = Number(cell.dataset.token);
  const label = `${shown.image.model.tokenName(token)}: ${said}`;
  cell.className = kind;
  cell.style.backgroundColor = colour ? rgb(colour, opacity) : "";
  cell.style.setProperty("--patch", colour ? rgb(colour) : "#fff");
  cell.style.setProperty("--ink", colour ? ink(colour) : "#000");
  cell.children[0].textContent = text;
  cell.title = label;
  cell.setAttribute("aria-label", label);
  cell.setAttribute("aria-selected", String(token === shown.chosen));
  cell.tabIndex = token === shown.chosen ? 0 : -1;
}

/**
 * Return whether a token's top class is another one than the common class.
 * @param {Shown} shown
 * @param {number} token
 * @param {number | null} common
 */
function isOther({ image, site, block }, token, common) {
  return common === null || image.top(site, block, token)[0].index !== common;
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
