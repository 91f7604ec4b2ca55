// The quantities that the colours of tokens show.

import { chosenClass } from "./classes.js";
import { CONDITIONS } from "./run.js";
import { state } from "./state.js";
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Measure, Range, Shown } from "./types.js" */

/**
 * Return the quantity that a choice of colour stands for.
 * @param {string} choice
 * @param {ImageNumbers} image
 * @returns {Measure}
 */
export function measureOf(choice, image) {
  const { model } = image;
  if (choice === "identifiability") {
    return {
      value: (site, block, token) => image.identifiability(site, block, token),
      name: `identifiability of ${model.classes[image.own]}`,
      chance: model.chance,
    };
  }
  const index = chosenClass(choice, image);
  return { value: (site, block, token) => image.logit(index, site, block, token), name: `logit of ${model.classes[index]}`, chance: null };
}

/**
 * Return the quantity that the colours show: the chosen one, or identifiability under a condition.
 * @param {string} choice
 * @param {ImageNumbers} image
 */
export function shownMeasure(choice, image) {
  return state.condition === "none" ? measureOf(choice, image) : measureUnder(state.condition, image);
}

/**
 * @param {string} condition
 * @param {ImageNumbers} image
 * @returns {Measure}
 */
function measureUnder(condition, image) {
  const { classes, chance } = image.model;
  return {
    value: (_site, _block, token) => {
      const rank = image.perturbedRank(condition, token);
      return rank < 0 ? null : 1 - rank / classes.length;
    },
    name: `identifiability of ${classes[image.own]}, ${CONDITIONS[condition]}`,
    chance,
  };
}

/**
 * Return whether the true class has the largest logit at a token.
 * @param {Shown} shown
 * @param {number} token
 */
export function isFirst({ image, site, block }, token) {
  return (state.condition === "none" ? image.rank(site, block, token) : image.perturbedRank(state.condition, token)) === 0;
}

/**
 * Return the scale of logits. All views that show logits share it, so that their colours can be compared.
 * @param {[choice: string, image: ImageNumbers][]} shown
 * @returns {Range}
 */
export function sharedRange(shown) {
  const logits = shown.filter(([choice]) => choice !== "identifiability");
  const ranges = logits.map(([choice, image]) => image.logitRange(chosenClass(choice, image), state.site));
  const [low, high] = [Math.min(...ranges.map((range) => range[0])), Math.max(...ranges.map((range) => range[1]))];
  return low <= high ? [low, high] : [0, 0];
}
