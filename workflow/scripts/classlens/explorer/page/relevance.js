// The panel of relevance maps for one class: one large map, and all methods side by side to choose from.

import { chosenClass, className } from "./classes.js";
import { divergingLegend } from "./colours.js";
import { fillSelect, h } from "./dom.js";
import { captionOf, mapPicture, shownValues } from "./maps.js";
import { CLASS_AGNOSTIC_METHODS, METHODS } from "./run.js";
import { change, state } from "./state.js";
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { RelevanceMap, ViewKeys } from "./types.js" */

const EXPLAINED = "Class projection: magenta where more attention to the patch would raise the class, cyan where it would lower it. "
  + "Values have no unit: compare the patches of one map.";

export class RelevancePanel {
  /**
   * @param {HTMLElement} root
   * @param {ViewKeys["map"]} key the key of the state that chooses this view's maps
   */
  constructor(root, key) {
    this.root = root;
    this.key = key;
    this.choice = h("select", { change: () => change({ [key]: this.choice.value }) });
    const moved = () => change({ threshold: Number(this.threshold.value) }, { isPassing: true });
    this.threshold = h("input", { type: "range", min: 0, max: 100, step: 1, input: moved });
    this.level = h("output");
    this.large = h("figure", { class: "large" });
    this.cards = h("div", { class: "cards" });
    this.missing = h("p");
    root.append(
      h("h3", {}, "Relevance maps"),
      h("p", { class: "explained" }, EXPLAINED),
      h(
        "p", {}, h("label", {}, "For class ", this.choice), " ",
        h("label", { class: "wide" }, "Only patches above ", this.threshold, " ", this.level),
      ),
      h("div", { class: "maps" }, this.large, this.cards), this.missing,
    );
  }

  /** @param {ImageNumbers} image */
  render(image) {
    const { maps, model } = image;
    const classes = [...new Set(maps.map((map) => map.index))];
    const wanted = chosenClass(state[this.key], image);
    const index = classes.includes(wanted) ? wanted : image.own;
    this.root.hidden = maps.length === 0;
    if (this.root.hidden) return;
    fillSelect(this.choice, classes.map((known) => [String(known), className(known, image)]), String(index));
    this.threshold.value = String(state.threshold);
    this.level.textContent = state.threshold ? `${state.threshold} % of the largest value` : "no threshold";
    const mapOf = (/** @type {string} */ method) => maps.find((map) => map.method === method && isFor(map, index));
    const there = model.methods.flatMap((method) => mapOf(method) ?? []);
    const missing = model.methods.filter((method) => !mapOf(method)).map((method) => METHODS[method]);
    this.renderMaps(there, image);
    this.missing.hidden = missing.length === 0;
    this.missing.textContent = `Only for the true class: ${missing.join(", ")}.`;
  }

  /**
   * Draw the maps of all methods, and that of the chosen method large.
   * @param {RelevanceMap[]} maps
   * @param {ImageNumbers} image
   */
  renderMaps(maps, image) {
    const chosen = maps.find(({ method }) => method === state.method) ?? maps[0];
    const values = shownValues(chosen);
    const caption = h("figcaption", {}, ...captionOf(chosen, image));
    this.large.replaceChildren(mapPicture(chosen, image, true), divergingLegend(Math.max(...values.map(Math.abs))), caption);
    this.cards.replaceChildren(...maps.map((map) => this.card(map, image, map === chosen)));
  }

  /**
   * Make a small map that is also the button to show it large.
   * @param {RelevanceMap} map
   * @param {ImageNumbers} image
   * @param {boolean} isChosen
   */
  card(map, image, isChosen) {
    const choose = () => change({ method: map.method });
    return h(
      "button", { type: "button", "aria-pressed": String(isChosen), "data-method": map.method, click: choose },
      mapPicture(map, image), h("span", {}, METHODS[map.method]),
    );
  }
}

/**
 * Return whether a map applies to a class.
 * @param {RelevanceMap} map
 * @param {number} index
 */
function isFor(map, index) {
  return map.index === index || CLASS_AGNOSTIC_METHODS.includes(map.method);
}
