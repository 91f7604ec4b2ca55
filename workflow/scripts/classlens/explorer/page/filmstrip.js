// The filmstrip: one small map per block, which is also the slider that chooses the block.

import { sequential } from "./colours.js";
import { h } from "./dom.js";
import { measureOf } from "./measure.js";
import { pixelMap } from "./pixels.js";
import { change, state } from "./state.js";
/** @import { Model } from "./model.js" */
/** @import { Range, Shown } from "./types.js" */

const FRAME_MS = 700;
/** @type {Record<string, number>} */
const BLOCK_STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -3, PageUp: 3, Home: -Infinity, End: Infinity };

export class Filmstrip {
  /** @type {Shown | null} */
  shown = null;
  /** @type {Model | null} */
  first = null;
  timer = 0;
  /** Key of the drawn maps. */
  drawnKey = "";
  /**
   * Number of patches at which the true class ranks first, block by block.
   * @type {number[]}
   */
  counts = [];

  /** @param {string} name name of the view */
  constructor(name) {
    this.play = h("button", { type: "button", class: "play", click: () => this.toggle() });
    this.frames = h("div", {
      class: "frames", role: "slider", tabindex: 0, "aria-label": "Block", "aria-valuemin": 1,
      keydown: (event) => this.step(event),
      click: (event) => this.choose(event.target),
    });
    const key = h("small", {}, h("b", {}, "block"), h("br"), "patches");
    const left = h("div", { class: "strip-key" }, this.play, key);
    this.root = h("div", { class: "filmstrip", role: "group", "aria-label": `Blocks of the ${name}` }, left, this.frames);
    this.stop();
  }

  /**
   * Show the maps of all blocks, with a mark at the shown one.
   * @param {Shown} shown
   * @param {Model} first the first view's model, whose blocks the state counts
   * @param {Range} logits the scale of logits
   */
  render(shown, first, logits) {
    const { image, choice, site, block } = shown;
    const { model } = image;
    this.shown = shown;
    this.first = first;
    const key = [model.name, image.id, choice, site, ...logits].join();
    if (key !== this.drawnKey) this.draw(shown, logits);
    this.drawnKey = key;
    for (const [index, frame] of [...this.frames.children].entries()) frame.classList.toggle("now", index === block);
    const isPerturbed = state.condition !== "none";
    this.frames.setAttribute("aria-valuemax", String(model.depth));
    this.frames.setAttribute("aria-valuenow", String(block + 1));
    const patches = model.rows * model.columns;
    const text = `block ${block + 1} of ${model.depth}: the true class ranks first at ${this.counts[block]} of ${patches} patches`;
    this.frames.setAttribute("aria-valuetext", text);
    this.frames.setAttribute("aria-disabled", String(isPerturbed));
    this.play.disabled = isPerturbed;
    this.root.style.setProperty("--blocks", String(model.depth));
  }

  /**
   * Draw the maps of all blocks, which a change of the block leaves as they are.
   * @param {Shown} shown
   * @param {Range} logits
   */
  draw({ image, choice, site }, logits) {
    const { model } = image;
    const measure = measureOf(choice, image);
    const [low, high] = measure.chance === null ? logits : [0, 1];
    const drawn = (/** @type {number | null} */ value) =>
      value === null ? null : { colour: sequential((value - low) / (high - low || 1)) };
    const patches = Array.from({ length: model.rows * model.columns }, (_, patch) => model.prefix + patch);
    const blocks = Array.from({ length: model.depth }, (_, index) => index);
    this.counts = blocks.map((index) => patches.filter((token) => image.rank(site, index, token) === 0).length);
    this.frames.replaceChildren(
      ...blocks.map((index) => {
        const map = pixelMap(patches.map((token) => drawn(measure.value(site, index, token))), model);
        const label = h("span", {}, h("b", {}, String(index + 1)), h("br"), String(this.counts[index]));
        return h("div", { class: "frame", "data-block": index }, map, label);
      }),
    );
  }

  /** @param {KeyboardEvent} event */
  step(event) {
    if (!(event.key in BLOCK_STEPS) || event.shiftKey || !this.shown) return;
    event.preventDefault();
    this.show(this.shown.block + BLOCK_STEPS[event.key], { isPassing: event.repeat });
  }

  /** @param {EventTarget | null} target */
  choose(target) {
    const frame = target instanceof Element ? target.closest("[data-block]") : null;
    if (frame instanceof HTMLElement) this.show(Number(frame.dataset.block));
  }

  /**
   * Show a block of this model, from 0, or the nearest that exists.
   * @param {number} block
   * @param {{isPassing?: boolean}} options
   */
  show(block, options = {}) {
    if (!this.shown || !this.first || state.condition !== "none") return;
    const { model } = this.shown.image;
    const wanted = Math.min(Math.max(block, 0), model.depth - 1);
    if (wanted !== this.shown.block) change({ block: this.first.blockLike(model, wanted) + 1 }, options);
  }

  /** Start to show one block after the other, from the first one if the last one is shown; or stop. */
  toggle() {
    if (this.timer || !this.shown) return this.stop();
    if (this.shown.block === this.shown.image.model.depth - 1) this.show(0, { isPassing: true });
    this.play.textContent = "Stop";
    this.timer = window.setInterval(() => this.advance(), FRAME_MS);
  }

  advance() {
    if (!this.shown || this.shown.block === this.shown.image.model.depth - 1 || !this.root.isConnected) return this.stop();
    this.show(this.shown.block + 1, { isPassing: true });
  }

  stop() {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "Play";
  }
}
