// The tab of a token: its top classes and its path over blocks.

import { chart } from "./chart.js";
import { fixed, fixedOr, h, table } from "./dom.js";
import { measureOf } from "./measure.js";
import { pathOf } from "./path.js";
import { SITES } from "./run.js";
import { change } from "./state.js";
/** @import { ClassLogit, Line, Shown, Tab, ViewKeys } from "./types.js" */

/** @type {Tab} */
export const tokenTab = {
  name: "token",
  title: "Top classes",
  isOfToken: true,
  has: () => true,
  content: (shown, token, keys) => [topClasses(shown, token, keys.colour), h("p", {}, trueClass(shown, token)), ...path(shown, token)],
};

/**
 * Make a table of the classes with the largest logits.
 * @param {Shown} shown
 * @param {number} token
 * @param {ViewKeys["colour"]} colour
 */
function topClasses({ image, site, block }, token, colour) {
  const { classes } = image.model;
  const top = image.top(site, block, token);
  const style = barStyle(top.map((item) => item.logit));
  const row = (/** @type {ClassLogit} */ { index, logit }) => {
    const colourBy = () => change({ [colour]: String(index) });
    return h(
      "tr", { class: index === image.own ? "own" : false },
      h("th", { scope: "row" }, classes[index]), h("td", { class: "number" }, fixed(logit)),
      h("td", { class: "bar-cell" }, h("span", { style: style(logit) })),
      h("td", {}, h("button", { type: "button", "aria-label": `Colour by ${classes[index]}`, click: colourBy }, "colour")),
    );
  };
  return table(`Largest logits, ${SITES[site]} of block ${block + 1}`, ["class", "logit", "", ""], top.map(row));
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
 * Draw the path of a token over blocks at every site, and the mean of all images at [CLS] or the patches.
 * @param {Shown} shown
 * @param {number} token
 */
function path(shown, token) {
  const measure = measureOf(shown.choice, shown.image);
  const name = `Path over blocks: ${measure.name}`;
  const { model } = shown.image;
  const values = token < model.prefix ? (model.cls && token === 0 ? model.series.meanOfCls : null) : model.series.mean;
  /** @type {Line[]} */
  const mean = values && measure.chance !== null ? [{ kind: "all", name: `mean of ${model.chosen.of} images`, values }] : [];
  const options = { name: measure.name, block: shown.block, chance: measure.chance };
  return [h("h4", {}, name), ...chart([...pathOf(shown, token), ...mean], options)];
}
