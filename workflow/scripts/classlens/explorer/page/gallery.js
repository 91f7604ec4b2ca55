// The list of images to choose from: filtered, sorted, and split into pages.

import { fillSelect, h } from "./dom.js";
import { change, state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { ImageList, Option } from "./types.js" */

const PER_PAGE = 24;
/** @type {Record<string, {text: string, compare: (images: ImageList, a: number, b: number) => number}>} */
const ORDERS = {
  given: { text: "as analysed", compare: () => 0 },
  least: { text: "lowest identifiability first", compare: ({ identified }, a, b) => identified[a] - identified[b] },
  most: { text: "highest identifiability first", compare: ({ identified }, a, b) => identified[b] - identified[a] },
};
/** @type {Record<string, {text: string, holds: (images: ImageList, place: number) => boolean}>} */
const OUTCOMES = {
  all: { text: "right and wrong", holds: () => true },
  right: { text: "right output", holds: (images, place) => images.class[place] === images.predicted[place] },
  wrong: { text: "wrong output", holds: (images, place) => images.class[place] !== images.predicted[place] },
};

export class Gallery {
  /** @type {Model | null} */
  model = null;
  /** @type {number | null} */
  image = null;
  page = 0;
  shownKey = "";

  /** @param {HTMLElement} root */
  constructor(root) {
    const changed = () => this.turnTo(0);
    this.search = h("input", { type: "search", input: changed });
    this.class = h("select", { change: changed });
    this.outcome = h("select", { change: changed });
    this.order = h("select", { change: changed });
    this.found = h("p", { class: "found" });
    this.list = h("ul", { class: "thumbnails" });
    this.previous = h("button", { type: "button", click: () => this.turnTo(this.page - 1) }, "Previous");
    this.next = h("button", { type: "button", click: () => this.turnTo(this.page + 1) }, "Next");
    fillSelect(this.outcome, optionsOf(OUTCOMES), "all");
    fillSelect(this.order, optionsOf(ORDERS), "given");
    root.append(
      h("label", {}, "Find ", this.search), h("label", {}, "Class ", this.class), h("label", {}, "Output ", this.outcome),
      h("label", {}, "Order ", this.order), this.found, this.list, h("p", { class: "pager" }, this.previous, this.next),
    );
  }

  /**
   * Show a model's images. If the model or the chosen image has changed, turn to the page with the chosen image.
   * @param {Model} model
   */
  render(model) {
    const isNew = this.model !== model || this.image !== state.image;
    if (this.model !== model) this.fillClasses(model);
    this.model = model;
    this.image = state.image;
    if (isNew) {
      const position = this.places(model).indexOf(model.place(state.image));
      if (position >= 0) this.page = Math.floor(position / PER_PAGE);
    }
    this.turnTo(this.page);
  }

  /**
   * Offer the classes of a model's images, and keep the chosen class if it is among them.
   * @param {Model} model
   */
  fillClasses(model) {
    const there = [...new Set(model.images.class)].sort((a, b) => a - b).map(String);
    const chosen = there.includes(this.class.value) ? this.class.value : "";
    /** @type {Option[]} */
    const classes = there.map((index) => [index, model.classes[Number(index)]]);
    fillSelect(this.class, [["", "all classes"], ...classes], chosen);
  }

  /**
   * Return the places, in a model's lists of images, of the images that pass all filters, in the chosen order.
   * @param {Model} model
   */
  places({ images, classes }) {
    const wanted = this.search.value.trim().toLowerCase();
    const { holds } = OUTCOMES[this.outcome.value];
    const { compare } = ORDERS[this.order.value];
    return images.id
      .map((_, place) => place)
      .filter((place) => this.class.value === "" || images.class[place] === Number(this.class.value))
      .filter((place) => holds(images, place))
      .filter((place) => `${images.path[place]} ${classes[images.class[place]]}`.toLowerCase().includes(wanted))
      .sort((a, b) => compare(images, a, b));
  }

  /**
   * Show a page of the list, or the nearest page that exists.
   * @param {number} page
   */
  turnTo(page) {
    if (!this.model) return;
    const places = this.places(this.model);
    const pages = Math.max(1, Math.ceil(places.length / PER_PAGE));
    this.page = Math.min(Math.max(page, 0), pages - 1);
    this.found.textContent = `${places.length} of ${this.model.images.id.length} images, page ${this.page + 1} of ${pages}`;
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
    this.fillList(this.model, places.slice(this.page * PER_PAGE, (this.page + 1) * PER_PAGE));
  }

  /**
   * Show thumbnails, and mark the chosen image. Thumbnails are rebuilt only if the images differ from before.
   * @param {Model} model
   * @param {number[]} places
   */
  fillList(model, places) {
    const key = JSON.stringify([model.name, places]);
    if (this.shownKey !== key) {
      this.shownKey = key;
      this.list.replaceChildren(...places.map((place) => h("li", {}, thumbnail(model, place))));
    }
    for (const button of this.list.querySelectorAll("button")) {
      button.setAttribute("aria-current", String(Number(button.dataset.image) === state.image));
    }
  }
}

/**
 * @param {Model} model
 * @param {number} place
 */
function thumbnail(model, place) {
  const { images, classes } = model;
  const id = images.id[place];
  const isRight = OUTCOMES.right.holds(images, place);
  const photograph = model.photograph(id);
  return h(
    "button", { type: "button", "data-image": id, title: images.path[place], click: () => change({ image: id }) },
    photograph ? h("img", { src: photograph, alt: "", loading: "lazy", decoding: "async" }) : h("span", { class: "blank" }, String(id)),
    h("span", {}, classes[images.class[place]]),
    h("span", { class: isRight ? "right" : "wrong" }, isRight ? "right" : `output: ${classes[images.predicted[place]]}`),
  );
}

/**
 * @param {Record<string, {text: string}>} choices
 * @returns {Option[]}
 */
function optionsOf(choices) {
  return Object.entries(choices).map(([key, { text }]) => [key, text]);
}
