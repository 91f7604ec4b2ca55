// The images to choose from: stories, and the list of all images, filtered, sorted, and split into pages.

import { fillSelect, fixed, h, svg } from "./dom.js";
import { NONE, addressOf, change, state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { Changes, Option, Story } from "./types.js" */

const PER_PAGE = { image: 24, images: 60 };
/** @type {Changes} */
const NO_FILTER = { find: "", class: "", output: "all", order: "given" };
/** @type {Changes} */
const FRESH = { ...NO_FILTER, page: "image", second: "", condition: "none", token: 0, block: NONE };
/** @type {Record<string, {text: string, value: (model: Model, place: number) => number}>} */
const ORDERS = {
  given: { text: "as analysed", value: (_, place) => place },
  gain: { text: "largest gain over blocks first", value: ({ series }, place) => -series.gain(place) },
  late: { text: "latest rise first", value: ({ series }, place) => -series.jump(place) },
  disagreement: { text: "patches and output disagree most", value: (model, place) => -disagreement(model, place) },
  least: { text: "lowest identifiability first", value: ({ series }, place) => series.identifiability(place)[series.depth - 1] },
  most: { text: "highest identifiability first", value: ({ series }, place) => -series.identifiability(place)[series.depth - 1] },
};
/** @type {Record<string, {text: string, holds: (model: Model, place: number) => boolean}>} */
const OUTCOMES = {
  all: { text: "right and wrong", holds: () => true },
  right: { text: "right", holds: ({ images }, place) => images.class[place] === images.predicted[place] },
  wrong: { text: "wrong", holds: ({ images }, place) => images.class[place] !== images.predicted[place] },
};

export class Gallery {
  /** @type {Model | null} */
  model = null;
  page = 0;
  shownKey = "";
  orderKey = "";
  /**
   * Places of the images that pass all filters, in the chosen order.
   * @type {number[]}
   */
  listed = [];

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.stories = h("ul", { class: "stories" });
    this.told = h("p", { class: "told" });
    this.search = h("input", { type: "search", input: () => change({ find: this.search.value }, { isPassing: true }) });
    this.class = h("select", { change: () => change({ class: this.class.value }) });
    this.outcome = h("select", { change: () => change({ output: this.outcome.value }) });
    this.order = h("select", { change: () => change({ order: this.order.value }) });
    this.reset = h("button", { type: "button", click: () => change(NO_FILTER) }, "Reset");
    this.chosen = h("p", { class: "chosen" });
    this.found = h("p", { class: "found" });
    this.list = h("ul", { class: "thumbnails" });
    this.previous = h("button", { type: "button", click: () => this.turnTo(this.page - 1) }, "Previous");
    this.next = h("button", { type: "button", click: () => this.turnTo(this.page + 1) }, "Next");
    const toggle = () => change({ page: state.page === "images" ? "image" : "images" });
    this.all = h("button", { type: "button", class: "all", click: toggle });
    this.filter = h(
      "details", { class: "filter" }, h("summary", {}, "Find and sort"),
      h("label", {}, "Find ", this.search), h("label", {}, "Class ", this.class), h("label", {}, "Output ", this.outcome),
      h("label", {}, "Order ", this.order), this.reset,
    );
    root.append(
      this.stories, this.told, h("div", { class: "list-head" }, h("h2", {}, "Images"), this.all),
      this.chosen, this.filter, this.found, this.list,
      h("p", { class: "pager" }, this.previous, this.next),
    );
  }

  /**
   * Show a model's stories and images. If the model, the chosen image or a filter has changed, turn to the page with the chosen image.
   * @param {Model} model
   */
  render(model) {
    const isAll = state.page === "images";
    this.root.classList.toggle("whole", isAll);
    this.all.textContent = isAll ? "Back to the image" : "Show all";
    if (this.model !== model) this.renderStories(model);
    this.markStory(model);
    this.model = model;
    const { shown, of } = model.chosen;
    this.chosen.hidden = shown === of;
    this.chosen.textContent = `${shown} of ${of} images, the most telling of each class`;
    this.renderFilter(model);
    const key = [model.name, state.image, state.find, state.class, state.output, state.order, state.page].join();
    if (this.orderKey !== key) {
      this.listed = this.places(model);
      this.page = Math.max(0, Math.floor(this.listed.indexOf(model.place(state.image)) / this.perPage));
    }
    this.orderKey = key;
    this.turnTo(this.page);
  }

  get perPage() {
    return state.page === "images" ? PER_PAGE.images : PER_PAGE.image;
  }

  /** @param {Model} model */
  renderStories(model) {
    this.stories.hidden = model.stories.length === 0;
    const link = (/** @type {Story} */ story) => h("a", { href: addressOf({ ...FRESH, ...story.state }), title: story.text }, story.title);
    this.stories.replaceChildren(...model.stories.map((story) => h("li", {}, link(story))));
  }

  /**
   * Show the text of the story whose image and condition are shown, if any.
   * @param {Model} model
   */
  markStory({ stories }) {
    const told = stories.find((story) => Object.entries(story.state).every(([key, value]) => isShown(key, value)));
    for (const [place, link] of [...this.stories.querySelectorAll("a")].entries()) {
      link.setAttribute("aria-current", String(stories[place] === told));
    }
    this.told.hidden = !told;
    this.told.textContent = told?.text ?? "";
  }

  /**
   * Show the filters. A chosen class without images stays in the list, so that the page says why nothing is found.
   * @param {Model} model
   */
  renderFilter(model) {
    const there = [...new Set(model.images.class)].sort((a, b) => a - b);
    /** @type {Option[]} */
    const classes = there.map((index) => [String(index), model.classes[index]]);
    fillSelect(this.class, [["", "all classes"], ...classes], there.includes(Number(state.class)) ? state.class : "");
    fillSelect(this.outcome, optionsOf(OUTCOMES), outcomeOf());
    fillSelect(this.order, optionsOf(ORDERS), orderOf());
    if (this.search.value !== state.find) this.search.value = state.find;
    const isFiltered = Object.entries(NO_FILTER).some(([key, usual]) => state[/** @type {keyof typeof state} */ (key)] !== usual);
    this.reset.disabled = !isFiltered;
    if (isFiltered || state.page === "images") this.filter.open = true;
  }

  /**
   * Return the places, in a model's lists of images, of the images that pass all filters, in the chosen order.
   * @param {Model} model
   */
  places(model) {
    const { images, classes } = model;
    const wanted = state.find.trim().toLowerCase();
    const { holds } = OUTCOMES[outcomeOf()];
    const { value } = ORDERS[orderOf()];
    const values = images.id.map((_, place) => value(model, place));
    return images.id
      .map((_, place) => place)
      .filter((place) => this.class.value === "" || images.class[place] === Number(this.class.value))
      .filter((place) => holds(model, place))
      .filter((place) => `${images.path[place]} ${classes[images.class[place]]}`.toLowerCase().includes(wanted))
      .sort((a, b) => values[a] - values[b]);
  }

  /**
   * Show a page of the list, or the nearest page that exists.
   * @param {number} page
   */
  turnTo(page) {
    if (!this.model) return;
    const places = this.listed;
    const pages = Math.max(1, Math.ceil(places.length / this.perPage));
    this.page = Math.min(Math.max(page, 0), pages - 1);
    const { shown, of } = this.model.chosen;
    const choice = shown < of ? `; ${shown} of ${of} images, the most telling of each class` : "";
    this.found.textContent = `${places.length} of ${shown} images, page ${this.page + 1} of ${pages}${choice}`;
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
    this.fillList(this.model, places.slice(this.page * this.perPage, (this.page + 1) * this.perPage));
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
 * Return by how much patches and output disagree: the share of patches that do not see the true class of a rightly answered image, or
 * that see the true class of a wrongly answered one.
 * @param {Model} model
 * @param {number} place
 */
function disagreement(model, place) {
  const { series } = model;
  const share = series.counts(place)[series.depth - 1] / series.patches;
  return OUTCOMES.right.holds(model, place) ? 1 - share : share;
}

/**
 * @param {Model} model
 * @param {number} place
 */
function thumbnail(model, place) {
  const { images, classes, series } = model;
  const id = images.id[place];
  const isRight = OUTCOMES.right.holds(model, place);
  const photograph = model.thumbnail(id);
  const name = classes[images.class[place]];
  return h(
    "button",
    { type: "button", "data-image": id, title: `${name}: ${series.sentence(place)}`, click: () => change({ image: id, page: "image" }) },
    photograph ? h("img", { src: photograph, alt: "", loading: "lazy", decoding: "async" }) : h("span", { class: "blank" }, String(id)),
    sparkline(series.identifiability(place)),
    h("span", {}, name),
    h("span", { class: isRight ? "right" : "wrong" }, isRight ? "right" : `output: ${classes[images.predicted[place]]}`),
  );
}

/**
 * Draw identifiability over blocks, from 0 to 1, as a small line.
 * @param {number[]} values
 */
function sparkline(values) {
  const last = Math.max(values.length - 1, 1);
  const points = values.map((value, block) => `${fixed((100 * block) / last, 1)},${fixed(24 - 23 * value, 1)}`).join(" ");
  const look = { class: "sparkline", viewBox: "0 0 100 25", preserveAspectRatio: "none", "aria-hidden": "true" };
  return svg("svg", look, svg("polyline", { points }));
}

/**
 * Return whether the state has a value, apart from the block, which readers move while they look at a story.
 * @param {string} key
 * @param {unknown} value
 */
function isShown(key, value) {
  return key === "block" || state[/** @type {keyof typeof state} */ (key)] === value;
}

function outcomeOf() {
  return state.output in OUTCOMES ? state.output : "all";
}

function orderOf() {
  return state.order in ORDERS ? state.order : "given";
}

/**
 * @param {Record<string, {text: string}>} choices
 * @returns {Option[]}
 */
function optionsOf(choices) {
  return Object.entries(choices).map(([key, { text }]) => [key, text]);
}
