// One relevance map over the grey photograph, and its caption.

import { diverging } from "./colours.js";
import { h } from "./dom.js";
import { drawOutline, outlineDrawing } from "./outline.js";
import { pixelMap } from "./pixels.js";
import { CLASS_AGNOSTIC_METHODS, METHODS } from "./run.js";
import { state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { RelevanceMap } from "./types.js" */

/**
 * Return the values of a map that are drawn.
 * @param {RelevanceMap} map
 */
export function shownValues({ method, values }) {
  return method === "probe" ? aboveLeast(values) : values;
}

/**
 * Return the caption of a map.
 * @param {RelevanceMap} map
 * @param {ImageNumbers} image
 * @returns {Node[]}
 */
export function captionOf(map, image) {
  const notes = [CLASS_AGNOSTIC_METHODS.includes(map.method) ? "the same for every class" : null, onObject(shownValues(map), image)];
  const lines = notes.filter((note) => note !== null).flatMap((note) => [h("br"), h("small", {}, note)]);
  return [document.createTextNode(METHODS[map.method]), ...lines];
}

/**
 * Return values minus the smallest value, because ranks of probes are better or worse, not for or against a class.
 * @param {number[]} values
 */
function aboveLeast(values) {
  const least = Math.min(...values);
  return values.map((value) => value - least);
}

/**
 * Return whether a value reaches the threshold; always true without a threshold.
 * @param {number} value
 * @param {number} largest
 */
function isKept(value, largest) {
  return state.threshold === 0 || value >= (state.threshold / 100) * largest;
}

/**
 * Draw a map over the grey photograph.
 * @param {RelevanceMap} map
 * @param {ImageNumbers} image
 * @param {boolean} [isOutlined] whether the outline of the object is drawn
 */
export function mapPicture(map, image, isOutlined = false) {
  const { model } = image;
  const values = shownValues(map);
  const outline = outlineDrawing("object");
  drawOutline(outline, isOutlined && state.outline ? image.outline : null);
  const best = model.tokenName(model.prefix + values.indexOf(Math.max(...values)));
  const { photograph } = image;
  return h(
    "div",
    {
      class: "map",
      role: "img",
      "aria-label": `${METHODS[map.method]}: the most relevant token is the ${best}`,
    },
    h("div", { class: "grey", style: photograph ? `background-image: url("${photograph}")` : "" }), overlay(values, model), outline,
  );
}

/**
 * Draw the kept patches; patches with larger values are more opaque.
 * @param {number[]} values
 * @param {Model} model
 */
function overlay(values, model) {
  const largest = Math.max(...values);
  const strongest = Math.max(...values.map(Math.abs)) || 1;
  const patches = values.map((value) => {
    const strength = isKept(value, largest) ? Math.abs(value) / strongest : 0;
    return { colour: diverging(Math.sign(value)), opacity: 0.85 * strength };
  });
  return pixelMap(patches, model);
}

/**
 * Return a text on the share of a map that lies on the object: of the patches above the threshold, or of positive relevance without one.
 * @param {number[]} values
 * @param {ImageNumbers} image
 */
function onObject(values, image) {
  const share = image.arrays.class_fraction;
  if (!share) return null;
  const largest = Math.max(...values);
  const weights = values.map((value) => (state.threshold ? Number(isKept(value, largest)) : Math.max(value, 0)));
  const all = sum(weights);
  if (!all) return null;
  const on = sum(weights.map((weight, patch) => weight * share[patch]));
  return `${Math.round((100 * on) / all)} % of ${state.threshold ? "these patches" : "positive relevance"} on the object`;
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
