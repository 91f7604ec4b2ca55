// One model's view of the image: the output, the patches, the chosen token, and the relevance maps.

import { colourOption, colourOptions } from "./classes.js";
import { fillSelect, fixed, h, significant } from "./dom.js";
import { isFirst } from "./measure.js";
import { Filmstrip } from "./filmstrip.js";
import { chosenHead, headsTab } from "./heads.js";
import { Panel } from "./panel.js";
import { Patches } from "./patches.js";
import { RelevancePanel } from "./relevance.js";
import { CONDITIONS, RESIDUAL_STREAM, SITES } from "./run.js";
import { change, state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Range, Shown, ViewKeys } from "./types.js" */

export class View {
  /** @type {Shown | null} */
  shown = null;
  /** @type {Model | null} */
  first = null;

  /**
   * @param {string} name
   * @param {ViewKeys} keys
   */
  constructor(name, keys) {
    this.name = name;
    this.keys = keys;
    this.heading = h("h2");
    this.sentence = h("p", { class: "sentence" });
    this.output = h("p", { class: "output" });
    this.filmstrip = new Filmstrip(name.toLowerCase());
    this.colour = h("select", { change: () => change({ [keys.colour]: this.colour.value }) });
    const [left, right, below] = ["patches", "panel", "relevance"].map((part) => h("div", { class: part }));
    this.root = h(
      "section", { class: "view", keydown: (event) => event.key === "Escape" && this.leaveHead() },
      h("div", { class: "view-head" }, this.sentence, this.heading), this.filmstrip.root,
      h("div", { class: "columns" }, left, right, below),
    );
    this.patches = new Patches(left, { pointed: (token) => this.look(token), chosen: (token) => this.choose(token) });
    left.append(h("label", {}, "Colour by ", this.colour), this.output);
    this.panel = new Panel(right, name, keys);
    this.relevance = new RelevancePanel(below, keys.map);
  }

  /**
   * Show the token under the pointer, or the chosen token for null.
   * @param {number | null} token
   */
  look(token) {
    if (this.shown) this.panel.renderToken(this.shown, token ?? this.shown.chosen);
  }

  /**
   * Choose a token of this model; the state stores the token of the first view at the same position.
   * @param {number} token
   */
  choose(token) {
    if (this.shown && this.first) change({ token: this.first.tokenLike(this.shown.image.model, token) });
  }

  /** Leave the chosen head or MLP, so that the patches show their own colours again. */
  leaveHead() {
    if (state.tab === headsTab.name && state[this.keys.component]) change({ [this.keys.component]: "" });
  }

  /**
   * @param {ImageNumbers} image
   * @param {Model} first the first view's model
   * @param {Range} logits the scale of logits
   */
  render(image, first, logits) {
    const { model } = image;
    const shown = this.shownOf(image, first);
    this.shown = shown;
    this.first = first;
    const isPerturbed = state.condition !== "none";
    this.root.setAttribute("aria-label", `${this.name}: ${model.label}`);
    this.root.style.setProperty("--shape", `${model.columns} / ${model.rows}`);
    this.heading.textContent = `${model.label}, block ${shown.block + 1} of ${model.depth}`;
    const sentence = isPerturbed ? this.underCondition : model.series.sentence(model.place(image.id));
    this.sentence.replaceChildren(h("strong", {}, model.classes[image.own]), `: ${sentence}`);
    this.output.replaceChildren(...outputOf(image));
    const colour = isPerturbed ? "identifiability" : colourOption(shown.choice, image);
    fillSelect(this.colour, colourOptions(shown.choice, image), colour);
    this.colour.disabled = isPerturbed || shown.head !== null;
    this.filmstrip.render(shown, first, logits);
    this.patches.render(shown, logits);
    this.panel.renderImage(shown);
    this.look(null);
    this.relevance.render(image);
  }

  /**
   * Return what this view shows. Conditions are measured only in the residual stream after the last block.
   * @param {ImageNumbers} image
   * @param {Model} first
   * @returns {Shown}
   */
  shownOf(image, first) {
    const { model } = image;
    const isPerturbed = state.condition !== "none";
    return {
      image,
      choice: state[this.keys.colour],
      site: isPerturbed ? RESIDUAL_STREAM : state.site,
      block: isPerturbed ? model.depth - 1 : model.blockLike(first, state.block - 1),
      chosen: model.tokenLike(first, Math.min(state.token, first.tokens - 1)),
      head: isPerturbed ? null : chosenHead(image, this.keys),
    };
  }

  /** A sentence on the number of tokens at which the true class ranks first. */
  get summary() {
    const { shown } = this;
    if (!shown) return "";
    const { model, own } = shown.image;
    return `${model.label}, ${SITES[shown.site]} of block ${shown.block + 1}: ${model.classes[own]} ${rankingFirst(shown)}.`;
  }

  /** What the condition does to the true class, after its name. */
  get underCondition() {
    const { shown } = this;
    if (!shown) return "";
    const right = { 1: "the output is right", 0: "the output is wrong" }[shown.image.perturbedRight(state.condition)] ?? "not run";
    return `${CONDITIONS[state.condition]}: it ${rankingFirst(shown)}; ${right}`;
  }
}

/**
 * Return in words at how many patches the true class ranks first.
 * @param {Shown} shown
 */
function rankingFirst(shown) {
  const { image } = shown;
  const { model } = image;
  const isThere = (/** @type {number} */ token) => state.condition === "none" || image.perturbedRank(state.condition, token) >= 0;
  const patches = Array.from({ length: model.tokens - model.prefix }, (_, patch) => model.prefix + patch).filter(isThere);
  const count = patches.filter((token) => isFirst(shown, token)).length;
  const atCls = model.cls ? `, and ${isFirst(shown, 0) ? "" : "not "}at [CLS]` : "";
  return `ranks first at ${count} of ${patches.length} patches${atCls}`;
}

/**
 * Return the text about the model's output for an image.
 * @param {ImageNumbers} image
 */
function outputOf(image) {
  const { classes } = image.model;
  const isRight = image.own === image.predicted;
  const logits = image.output.map(({ index, logit }) => `${classes[index]} ${fixed(logit)}`).join(", ");
  const output = state.condition === "none" ? "Output" : "Undisturbed output";
  const file = image.path.split("/").pop() ?? "";
  const accuracy = `The model is right at ${significant(100 * image.model.accuracy)} % of ${image.model.chosen.of} images.`;
  const answer = isRight ? "right" : "wrong";
  return [`${output}: `, h("span", { class: answer }, answer), ` (${logits}). ${accuracy} Image: ${file}.`];
}
