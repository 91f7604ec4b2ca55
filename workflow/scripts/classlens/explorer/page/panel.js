// The panel of details: the image against the mean of all images, and tabs about one token.

import { chart } from "./chart.js";
import { conditionsTab } from "./conditions.js";
import { h } from "./dom.js";
import { headsTab } from "./heads.js";
import { memoriesTab } from "./memories.js";
import { numbersTab } from "./path.js";
import { change, state } from "./state.js";
import { tokenTab } from "./token.js";
/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Shown, Tab, ViewKeys } from "./types.js" */

/**
 * All tabs. A further analysis adds its own here.
 * @type {Tab[]}
 */
const TABS = [tokenTab, memoriesTab, conditionsTab, headsTab, numbersTab];

export class Panel {
  /**
   * Names of the offered tabs.
   * @type {string[]}
   */
  names = [];

  /**
   * @param {HTMLElement} root
   * @param {string} view name of the view
   * @param {ViewKeys} keys the keys of the state that belong to the view
   */
  constructor(root, view, keys) {
    this.keys = keys;
    this.id = keys.colour; // unique among the views
    this.mean = h("section", { class: "mean", "aria-label": `${view}: this image and all images` });
    this.tabs = h("div", { role: "tablist", "aria-label": `${view}: details`, keydown: (event) => this.step(event) });
    this.title = h("h3");
    this.content = h("div");
    this.absent = h("p", { class: "absent" });
    this.body = h("div", { role: "tabpanel", id: `panel-${this.id}` }, this.title, this.content, this.absent);
    root.append(this.mean, this.tabs, this.body);
  }

  /**
   * Show the image against the mean, and offer the tabs that the model has.
   * @param {Shown} shown
   */
  renderImage({ image, block }) {
    this.mean.replaceChildren(...againstMean(image, block));
    const there = TABS.filter((tab) => tab.has(image.model));
    this.open = there.find((tab) => tab.name === state.tab) ?? there[0];
    this.body.setAttribute("aria-labelledby", `tab-${this.id}-${this.open.name}`);
    const names = there.map(({ name }) => name);
    if (names.join() !== this.names.join()) this.tabs.replaceChildren(...there.map((tab) => this.button(tab)));
    this.names = names;
    for (const button of this.tabs.querySelectorAll("button")) {
      const isOpen = button.dataset.tab === this.open.name;
      button.setAttribute("aria-selected", String(isOpen));
      button.tabIndex = isOpen ? 0 : -1;
    }
  }

  /** @param {Tab} tab */
  button({ name, title }) {
    const attributes = { role: "tab", id: `tab-${this.id}-${name}`, "aria-controls": this.body.id, "data-tab": name };
    return h("button", { type: "button", ...attributes, click: () => change({ tab: name }) }, title);
  }

  /** @param {KeyboardEvent} event */
  step(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const place = this.names.indexOf(this.open?.name ?? "") + steps[/** @type {keyof typeof steps} */ (event.key)];
    const name = this.names[(place + this.names.length) % this.names.length];
    change({ tab: name });
    /** @type {HTMLElement | null} */ (this.tabs.querySelector(`[data-tab="${name}"]`))?.focus();
  }

  /**
   * Show a token in the open tab, which may keep its elements, and with them the focus.
   * @param {Shown} shown
   * @param {number} token
   */
  renderToken(shown, token) {
    const name = shown.image.model.tokenName(token);
    const title = name[0].toUpperCase() + name.slice(1) + (state.condition === "none" ? "" : ", undisturbed");
    this.title.textContent = title;
    this.title.hidden = !this.open?.isOfToken;
    const content = this.open?.content(shown, token, this.keys) ?? [];
    if (content.some((node, place) => node !== this.content.childNodes[place])) this.content.replaceChildren(...content);
    const missing = missingOf(shown.image.model);
    this.absent.hidden = missing.length === 0;
    this.absent.textContent = `Not in these results for this model: ${missing.join(", ")}.`;
  }
}

/**
 * Draw the identifiability of an image's patches over blocks, with the mean of all images.
 * @param {ImageNumbers} image
 * @param {number} block
 */
function againstMean(image, block) {
  const { model } = image;
  const { series } = model;
  const lines = [
    { kind: "image", name: "this image", values: series.identifiability(model.place(image.id)) },
    { kind: "all", name: `mean of ${model.chosen.of} images`, values: series.mean },
  ];
  const name = `Class identifiability, mean of ${series.patches} patches`;
  return [h("h3", {}, name), ...chart(lines, { name, block, chance: model.chance, height: 110 })];
}

/**
 * List the results that this model lacks. Random twins lack all of them.
 * @param {Model} model
 */
function missingOf(model) {
  return [
    model.sites.length > 1 ? null : "what attention and the MLP add",
    model.conditions.length > 1 ? null : "ranks when attention is cut or tokens are removed",
    model.active ? null : "active memories",
    model.methods.length ? null : "relevance maps",
    model.attribution ? null : "terms of heads and MLPs",
  ].filter((part) => part);
}
