// The panel of one token: its top classes, its path over blocks, its ranks under conditions, and its active memories with their classes.

import { pathChart } from "./chart.js";
import { fixed, fixedOr, h, messageOf, table } from "./dom.js";
import { loadMemories } from "./files.js";
import { measureOf } from "./measure.js";
import { CONDITIONS, SITES } from "./run.js";
import { change, state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { ClassLogit, Line, Numbers, Shown, ViewKeys } from "./types.js" */

export class TokenPanel {
  /** Key of the shown model, image, block and token, which determine the memories. */
  shownKey = "";

  /**
   * @param {HTMLElement} root
   * @param {ViewKeys["colour"]} colour the key of the state that chooses this view's colour
   */
  constructor(root, colour) {
    this.root = root;
    this.colour = colour;
  }

  /**
   * @param {Shown} shown
   * @param {number} token
   */
  render(shown, token) {
    const { image, block } = shown;
    const { model } = image;
    const name = model.tokenName(token);
    this.shownKey = [model.name, image.id, block, token].join();
    this.root.replaceChildren(
      h("h3", {}, name[0].toUpperCase() + name.slice(1) + (state.condition === "none" ? "" : ", undisturbed")),
      this.classes(shown, token),
      ...path(shown, token),
      model.conditions.length > 1 ? conditions(image, token) : "",
      absent(model),
    );
    if (model.active) this.addMemories(shown, token);
  }

  /**
   * Make a table of the classes with the largest logits, and a sentence about the true class.
   * @param {Shown} shown
   * @param {number} token
   */
  classes({ image, site, block }, token) {
    const { classes } = image.model;
    const top = image.top(site, block, token);
    const style = barStyle(top.map((item) => item.logit));
    const row = (/** @type {ClassLogit} */ { index, logit }) => {
      const colourBy = () => change({ [this.colour]: String(index) });
      return h(
        "tr", { class: index === image.own ? "own" : false },
        h("th", { scope: "row" }, classes[index]), h("td", { class: "number" }, fixed(logit)),
        h("td", { class: "bar-cell" }, h("span", { style: style(logit) })),
        h("td", {}, h("button", { type: "button", "aria-label": `Colour by ${classes[index]}`, click: colourBy }, "colour")),
      );
    };
    const caption = `Largest logits, ${SITES[site]} of block ${block + 1}`;
    return h("div", {}, table(caption, ["class", "logit", "", ""], top.map(row)), h("p", {}, trueClass({ image, site, block }, token)));
  }

  /**
   * Load the classes that memories write, and add the token's active memories with their classes.
   * @param {Shown} shown
   * @param {number} token
   */
  async addMemories({ image, block }, token) {
    const asked = this.shownKey;
    const place = h("div", { class: "memories" }, h("p", {}, "Loading memories…"));
    this.root.append(place);
    try {
      const { arrays } = await loadMemories(image.model);
      if (asked !== this.shownKey) return;
      const tables = image.model.layers.map((kind, layer) => memoryTable(image, { kind, layer, block, token }, arrays[kind]));
      place.replaceChildren(...tables);
    } catch (error) {
      place.replaceChildren(h("p", { class: "error" }, messageOf(error)));
    }
  }
}

/**
 * Return a function that makes the style of a logit's bar. Bars begin at zero and extend to either side.
 * @param {number[]} logits
 * @returns {(logit: number) => string}
 */
function barStyle(logits) {
  const [low, high] = [Math.min(0, ...logits), Math.max(0, ...logits)];
  const share = (/** @type {number} */ value) => `${(100 * value) / (high - low || 1)}%`;
  return (logit) => `margin-left: ${share(Math.min(0, logit) - low)}; width: ${share(Math.abs(logit))}`;
}

/**
 * Return a sentence with the rank, logit and identifiability of the true class.
 * @param {Pick<Shown, "image" | "site" | "block">} shown
 * @param {number} token
 */
function trueClass({ image, site, block }, token) {
  const logit = image.logit(image.own, site, block, token);
  return [
    `${image.model.classes[image.own]}, the true class: rank ${image.rank(site, block, token)} (0 is first)`,
    `logit ${fixedOr(logit, "unknown")}`,
    `identifiability ${fixed(image.identifiability(site, block, token))}`,
  ].join(", ");
}

/**
 * Make the path of a token over blocks at every site, as a chart and as a table.
 * @param {Shown} shown
 * @param {number} token
 */
function path({ image, choice, block }, token) {
  const measure = measureOf(choice, image);
  const blocks = Array.from({ length: image.model.depth }, (_, index) => index);
  /** @type {Line[]} */
  const lines = image.model.sites.map((site) => [site, blocks.map((index) => measure.value(site, index, token))]);
  const keys = lines.map(([site]) => h("span", { class: `key-${site}` }, SITES[site]));
  return [
    h("h4", {}, `Path over blocks: ${measure.name}`),
    pathChart(lines, block, measure),
    h("p", { class: "key" }, ...keys, measure.chance === null ? null : h("span", { class: "key-chance" }, "chance")),
    h("details", { class: "numbers" }, h("summary", {}, "Path as a table"), numbers(lines)),
  ];
}

/** @param {Line[]} lines */
function numbers(lines) {
  const cell = (/** @type {number | null} */ value) => h("td", { class: "number" }, fixedOr(value, "–"));
  const rows = lines[0][1].map((_, block) =>
    h("tr", {}, h("th", { scope: "row" }, String(block + 1)), ...lines.map(([, values]) => cell(values[block]))));
  return table("", ["block", ...lines.map(([site]) => SITES[site])], rows);
}

/**
 * @param {ImageNumbers} image
 * @param {number} token
 */
function conditions(image, token) {
  const rows = image.model.conditions.map((name) => {
    const rank = image.perturbedRank(name, token);
    const text = { [-1]: "removed", [-2]: "not run" }[rank] ?? String(rank);
    const right = { 1: "right", 0: "wrong" }[image.perturbedRight(name)] ?? "–";
    return h("tr", {}, h("th", { scope: "row" }, CONDITIONS[name] ?? name), h("td", { class: "number" }, text), h("td", {}, right));
  });
  return table("Rank of the true class in the last block (0 is first)", ["condition", "rank", "output"], rows);
}

/**
 * Make a sentence that lists the results that this model lacks. Random twins lack all of them.
 * @param {Model} model
 */
function absent(model) {
  const missing = [
    model.sites.length === Object.keys(SITES).length ? null : "what attention and the MLP add",
    model.conditions.length > 1 ? null : "ranks when attention is cut or tokens are removed",
    model.active ? null : "active memories",
    model.methods.length ? null : "relevance maps",
  ].filter((part) => part);
  return missing.length ? h("p", { class: "absent" }, `Not in these results for this model: ${missing.join(", ")}.`) : "";
}

/**
 * Make a table of a token's active memories in one layer of a block.
 * @param {ImageNumbers} image
 * @param {{kind: string, layer: number, block: number, token: number}} place
 * @param {Numbers} written classes that each memory of the layer writes
 */
function memoryTable(image, { kind, layer, block, token }, written) {
  const [, memories, kept] = written.shape;
  const rows = image.memories(layer, block, token).map(({ memory, coefficient }) => {
    const start = (block * memories + memory) * kept;
    return h(
      "tr", {}, h("th", { scope: "row" }, String(memory)), h("td", { class: "number" }, fixed(coefficient)),
      h("td", {}, ...classNames([...written.subarray(start, start + kept)], image)),
    );
  });
  const name = { attn: "attention", mlp: "MLP" }[kind];
  return table(`Active memories, ${name} of block ${block + 1}`, ["memory", "coefficient", "writes"], rows);
}

/**
 * List the names of classes, and mark the true class.
 * @param {number[]} classes
 * @param {ImageNumbers} image
 */
function classNames(classes, image) {
  return classes.flatMap((index, place) => {
    const name = h("span", { class: index === image.own ? "own" : false }, image.model.classes[index]);
    return place ? [", ", name] : [name];
  });
}
