// The tab of heads and MLPs: what each writes into the logit of a class, and the head whose tokens the patches show.

import { chosenClass, className } from "./classes.js";
import { diverging, divergingLegend, ink, rgb } from "./colours.js";
import { fillSelect, fixed, h, signed, table } from "./dom.js";
import { pixelMap } from "./pixels.js";
import { change, state } from "./state.js";
import { nameOf } from "./terms.js";
/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Terms } from "./terms.js" */
/** @import { Component, Head, Sums, Tab, ViewKeys } from "./types.js" */

/** @type {Record<string, [down: number, right: number]>} */
const MOVES = {
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity],
};
/** @type {[part: keyof Sums, name: string][]} */
const SUMS = [["embedding", "embedding"], ["heads", "heads"], ["mlps", "MLPs"], ["biases", "biases"], ["logit", "sum, the logit"]];
const HINT = "Point at a head or an MLP to read its term. Choose a head to see on the patches through which tokens it writes.";

/** @type {Tab} */
export const headsTab = {
  name: "attribution",
  title: "Heads and MLPs",
  isOfToken: false,
  has: (model) => model.attribution,
  content: ({ image }, _token, keys) => [headMapOf(keys).render(image)],
};

/** @type {Map<ViewKeys, HeadMap>} */
const headMaps = new Map(); // one per view, which stays, so that its cells keep the focus

/** @param {ViewKeys} keys */
function headMapOf(keys) {
  const found = headMaps.get(keys) ?? new HeadMap(keys);
  headMaps.set(keys, found);
  return found;
}

/**
 * Return the head that is chosen in the open tab, with what it writes from each token, or null.
 * @param {ImageNumbers} image
 * @param {ViewKeys} keys
 * @returns {Head | null}
 */
export function chosenHead(image, keys) {
  const { terms, model } = image;
  if (!terms || state.tab !== headsTab.name) return null;
  const component = terms.named(state[keys.component]);
  if (!component || component.head === null) return null;
  const place = placeOfClass(image, terms, keys);
  const values = terms.fromTokens(place, component);
  return {
    name: componentName(component),
    title: `what ${componentName(component)} writes from each token into the logit of ${model.classes[terms.classes[place]]}`,
    values,
    largest: Math.max(...values.slice(model.prefix).map(Math.abs)),
  };
}

/**
 * Return which of the two classes of the terms is shown: the one of the relevance maps, or else the true class.
 * @param {ImageNumbers} image
 * @param {Terms} terms
 * @param {ViewKeys} keys
 */
function placeOfClass(image, terms, keys) {
  return Math.max(0, terms.classes.indexOf(chosenClass(state[keys.map], image)));
}

/** @param {Component} component */
function componentName({ block, head }) {
  return head === null ? `the MLP of block ${block + 1}` : `head ${head + 1} of block ${block + 1}`;
}

class HeadMap {
  /** @type {ImageNumbers | null} */
  image = null;
  /** @type {HTMLElement[][]} */
  cells = [];
  /** Shape of the model whose cells there are. */
  shape = "";
  /** Name of the component that the Tab key reaches. */
  reached = "1.1";

  /** @param {ViewKeys} keys */
  constructor(keys) {
    this.keys = keys;
    this.choice = h("select", { change: () => change({ [keys.map]: this.choice.value }) });
    this.grid = h("div", {
      role: "grid",
      class: "heads",
      keydown: (event) => this.step(event),
      click: (event) => this.choose(event.target),
      pointerover: (event) => event.pointerType === "mouse" && this.say(event.target),
      pointerleave: () => this.say(null),
      focusin: (event) => this.reach(event.target),
      focusout: () => this.say(null),
    });
    this.scale = h("p", { class: "legend" });
    this.said = h("p", { class: "said" });
    this.picture = h("div", { class: "head-picture" });
    this.totals = h("div");
    const label = h("p", {}, h("label", {}, "Logit of ", this.choice));
    const frame = h("div", { class: "heads-frame" }, this.grid);
    this.root = h("div", {}, label, frame, this.scale, this.said, this.picture, this.totals);
  }

  /**
   * Show the terms of an image's heads and MLPs.
   * @param {ImageNumbers} image
   */
  render(image) {
    const { terms, model } = image;
    if (!terms) return this.root;
    this.image = image;
    const place = placeOfClass(image, terms, this.keys);
    const shape = `${terms.depth} ${terms.heads}`;
    if (shape !== this.shape) this.build(terms);
    this.shape = shape;
    const options = terms.classes.map((index) => /** @type {[string, string]} */ ([String(index), className(index, image)]));
    fillSelect(this.choice, options, String(terms.classes[place]));
    this.grid.setAttribute("aria-label", `Terms of heads and MLPs, ${model.classes[terms.classes[place]]}, ${model.label}`);
    this.cells.flat().forEach((cell, number) => this.renderCell(cell, terms.components[number], place));
    this.scale.replaceChildren("Columns: the heads of a block, and its MLP.", divergingLegend(terms.largest));
    this.picture.replaceChildren(...pictureOf(chosenHead(image, this.keys), model));
    this.totals.replaceChildren(totalsOf(image, terms));
    this.say(document.activeElement);
    return this.root;
  }

  /**
   * Make the cells: a row per block, with its heads and its MLP.
   * @param {Terms} terms
   */
  build({ components, depth, heads }) {
    const names = [...Array.from({ length: heads }, (_, head) => String(head + 1)), "MLP"];
    const titles = names.map((name) => h("div", { role: "columnheader", "aria-label": name === "MLP" ? name : `head ${name}` }, name));
    const cellOf = (/** @type {Component} */ component) => {
      const kind = component.head === null ? "mlp" : "head";
      return h("div", { role: "gridcell", class: kind, "data-component": nameOf(component), tabindex: -1 });
    };
    const blocks = Array.from({ length: depth }, (_, block) => components.filter((component) => component.block === block));
    this.cells = blocks.map((ofBlock) => ofBlock.map(cellOf));
    const rows = this.cells.map((cells, block) =>
      h("div", { role: "row" }, h("div", { role: "rowheader", "aria-label": `block ${block + 1}` }, String(block + 1)), ...cells));
    this.grid.replaceChildren(h("div", { role: "row" }, h("div", { role: "columnheader" }, "block"), ...titles), ...rows);
    this.grid.style.setProperty("--heads", String(heads));
    if (!this.cells.flat().some((cell) => cell.dataset.component === this.reached)) this.reached = "1.1";
  }

  /**
   * @param {HTMLElement} cell
   * @param {Component} component
   * @param {number} place of the class
   */
  renderCell(cell, component, place) {
    const terms = /** @type {Terms} */ (this.image?.terms);
    const colour = diverging(terms.term(place, component) / (terms.largest || 1));
    const name = nameOf(component);
    cell.style.backgroundColor = rgb(colour);
    cell.style.setProperty("--ink", ink(colour));
    cell.setAttribute("aria-label", this.termOf(component));
    cell.setAttribute("aria-selected", String(name === state[this.keys.component]));
    cell.tabIndex = name === this.reached ? 0 : -1;
  }

  /**
   * Return in words what a component writes, with its share of the logit if the logit is positive.
   * @param {Component} component
   */
  termOf(component) {
    const image = /** @type {ImageNumbers} */ (this.image);
    const terms = /** @type {Terms} */ (image.terms);
    const place = placeOfClass(image, terms, this.keys);
    const [term, { logit }] = [terms.term(place, component), terms.sums[place]];
    const share = logit > 0 ? `, ${fixed((100 * term) / logit, 1)} % of it` : "";
    return `${componentName(component)} writes ${signed(term)} into the logit of ${image.model.classes[terms.classes[place]]}${share}`;
  }

  /**
   * Say what the component of an element writes; without one, what the chosen component does.
   * @param {EventTarget | null} target
   */
  say(target) {
    const terms = /** @type {Terms} */ (this.image?.terms);
    const pointed = this.cellOf(target)?.dataset.component;
    const name = pointed ?? state[this.keys.component];
    const component = terms.named(name);
    if (!component) this.said.textContent = HINT;
    else {
      const more = name === state[this.keys.component] ? this.chosenText(component) : "";
      this.said.textContent = `${capitalized(this.termOf(component))}.${more}`;
    }
  }

  /**
   * Return sentences on the tokens of the chosen component, and on the way back.
   * @param {Component} component
   */
  chosenText(component) {
    const image = /** @type {ImageNumbers} */ (this.image);
    const back = "Choose it again or press Escape to go back.";
    if (component.head === null) return ` An MLP reads no other token. ${back}`;
    const terms = /** @type {Terms} */ (image.terms);
    return ` It writes ${sourcesOf(image.model, terms, placeOfClass(image, terms, this.keys), component)}. ${back}`;
  }

  /**
   * Return the cell that contains an element.
   * @param {EventTarget | null} target
   */
  cellOf(target) {
    const cell = target instanceof Element && this.grid.contains(target) ? target.closest("[data-component]") : null;
    return cell instanceof HTMLElement ? cell : null;
  }

  /** @param {EventTarget | null} target */
  choose(target) {
    const name = this.cellOf(target)?.dataset.component;
    if (name) change({ [this.keys.component]: name === state[this.keys.component] ? "" : name, condition: "none" });
  }

  /**
   * Let the Tab key reach the focused cell from now on.
   * @param {EventTarget | null} target
   */
  reach(target) {
    const name = this.cellOf(target)?.dataset.component;
    if (!name) return;
    this.reached = name;
    for (const cell of this.cells.flat()) cell.tabIndex = cell.dataset.component === name ? 0 : -1;
    this.say(target);
  }

  /** @param {KeyboardEvent} event */
  step(event) {
    const cell = this.cellOf(event.target);
    if (!cell) return;
    if (event.key === "Enter" || event.key === " ") this.choose(cell);
    else if (event.key in MOVES) {
      const [down, right] = MOVES[event.key];
      const row = this.cells.findIndex((cells) => cells.includes(cell));
      const cells = this.cells[inside(row + down, this.cells.length)];
      cells[inside(this.cells[row].indexOf(cell) + right, cells.length)].focus();
    } else return;
    event.preventDefault();
  }
}

/**
 * Return the index, or the first or last one of a list.
 * @param {number} index
 * @param {number} length
 */
function inside(index, length) {
  return Math.min(Math.max(index, 0), length - 1);
}

/** @param {string} text */
function capitalized(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/**
 * Return in words what a head writes from the patches and from each prefix token.
 * @param {Model} model
 * @param {Terms} terms
 * @param {number} place of the class
 * @param {Component} component
 */
function sourcesOf(model, terms, place, component) {
  const prefix = terms.fromTokens(place, component).slice(0, model.prefix);
  const patches = prefix.reduce((left, value) => left - value, terms.term(place, component));
  const fromPrefix = prefix.map((value, token) => `${signed(value)} from ${model.tokenName(token)}`);
  return [`${signed(patches)} from the patches`, ...fromPrefix].join(", ");
}

/**
 * Draw what a head writes from each patch, for narrow screens, where the large patches are far above.
 * @param {Head | null} head
 * @param {Model} model
 */
function pictureOf(head, model) {
  const colours = head?.values.slice(model.prefix).map((value) => ({ colour: diverging(value / (head.largest || 1)) }));
  return colours ? [pixelMap(colours, model)] : [];
}

/**
 * Make a table of the logits of both classes and the terms that they consist of.
 * @param {ImageNumbers} image
 * @param {Terms} terms
 */
function totalsOf({ model }, terms) {
  const rows = SUMS.map(([part, name]) => {
    const numbers = terms.sums.map((sums) => h("td", { class: "number" }, signed(sums[part])));
    return h("tr", { class: part === "logit" ? "own" : false }, h("th", { scope: "row" }, name), ...numbers);
  });
  const heads = ["", ...terms.classes.map((index) => model.classes[index])];
  return table("Sums of terms; logits are relative to the mean over classes", heads, rows);
}
