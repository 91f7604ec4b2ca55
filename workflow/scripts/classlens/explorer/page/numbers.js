// All numbers of an image in a model. Layers, blocks and tokens count from 0.

import { outlineOf } from "./outline.js";
/** @import { Model } from "./model.js" */
/** @import { Terms } from "./terms.js" */
/** @import { ClassLogit, Content, Numbers, Outline, Range, RelevanceMap } from "./types.js" */

export class ImageNumbers {
  /**
   * @param {Model} model
   * @param {number} id
   * @param {Content} content
   */
  constructor(model, id, { arrays, facts }) {
    this.model = model;
    this.id = id;
    this.arrays = arrays;
    const place = model.place(id);
    this.own = model.images.class[place];
    this.predicted = model.images.predicted[place];
    this.path = model.images.path[place];
    this.topStep = Number(facts.top_logit_step);
    this.interestStep = Number(facts.interest_logit_step);
    this.coefficientStep = Number(facts.coefficient_step);
    /** @type {Outline | null} */
    this.outline = arrays.object ? outlineOfBits(arrays.object, Number(facts.object_width)) : null;
    /** The photograph as a data URL, or null without photographs. */
    this.photograph = arrays.photograph ? dataUrl(arrays.photograph) : null;
    /**
     * The terms of heads and MLPs, once they are loaded.
     * @type {Terms | null}
     */
    this.terms = null;
    /** @type {Map<string, Range>} */
    this.ranges = new Map();
  }

  /** The classes with the largest outputs of the model, and these outputs. */
  get output() {
    return [...this.arrays.output].map((index, place) => ({ index, logit: this.arrays.output_logit[place] }));
  }

  /** The class with the largest output besides the true one. */
  get rival() {
    return [...this.arrays.output].find((index) => index !== this.own) ?? this.own;
  }

  /** The classes whose logits are known at every token. */
  get interest() {
    return [...this.arrays.interest];
  }

  /**
   * @param {string} site
   * @param {number} block
   * @param {number} token
   */
  at(site, block, token) {
    return (this.model.sites.indexOf(site) * this.model.depth + block) * this.model.tokens + token;
  }

  /**
   * Return the rank of the true class.
   * @param {string} site
   * @param {number} block
   * @param {number} token
   */
  rank(site, block, token) {
    return this.arrays.rank[this.at(site, block, token)];
  }

  /**
   * Return the identifiability of the true class.
   * @param {string} site
   * @param {number} block
   * @param {number} token
   */
  identifiability(site, block, token) {
    return 1 - this.rank(site, block, token) / this.model.classes.length;
  }

  /**
   * Return the classes with the largest logits at a token.
   * @param {string} site
   * @param {number} block
   * @param {number} token
   * @returns {ClassLogit[]}
   */
  top(site, block, token) {
    const { top, top_class, top_logit } = this.arrays;
    const kept = top.shape[3];
    const at = this.at(site, block, token);
    return Array.from({ length: kept }, (_, place) => {
      const index = top_class[top[at * kept + place]];
      return { index, logit: this.interestLogit(index, at) ?? top_logit[at * kept + place] * this.topStep };
    });
  }

  /**
   * Return the logit of a class at a token, or null if the class is neither of interest nor among the largest.
   * @param {number} index
   * @param {string} site
   * @param {number} block
   * @param {number} token
   */
  logit(index, site, block, token) {
    const logit = this.interestLogit(index, this.at(site, block, token));
    return logit ?? this.top(site, block, token).find((item) => item.index === index)?.logit ?? null;
  }

  /**
   * Return the logit of a class of interest, or null for other classes.
   * @param {number} index
   * @param {number} at
   */
  interestLogit(index, at) {
    const slot = this.arrays.interest.indexOf(index);
    const size = this.model.sites.length * this.model.depth * this.model.tokens;
    return slot < 0 ? null : this.arrays.interest_logit[slot * size + at] * this.interestStep;
  }

  /**
   * Return the smallest and the largest logit of a class over all blocks and tokens of a site; infinite if no logit is known.
   * @param {number} index
   * @param {string} site
   */
  logitRange(index, site) {
    const key = `${index} ${site}`;
    const known = this.ranges.get(key);
    if (known) return known;
    /** @type {Range} */
    const range = [Infinity, -Infinity];
    for (let block = 0; block < this.model.depth; block++) {
      for (let token = 0; token < this.model.tokens; token++) {
        const logit = this.logit(index, site, block, token);
        if (logit !== null) [range[0], range[1]] = [Math.min(range[0], logit), Math.max(range[1], logit)];
      }
    }
    this.ranges.set(key, range);
    return range;
  }

  /**
   * Return the active memories of a token.
   * @param {number} layer
   * @param {number} block
   * @param {number} token
   */
  memories(layer, block, token) {
    const { memory, coefficient } = this.arrays;
    const used = memory.shape[3];
    const start = ((layer * this.model.depth + block) * this.model.tokens + token) * used;
    return Array.from({ length: used }, (_, place) => ({
      memory: memory[start + place],
      coefficient: coefficient[start + place] * this.coefficientStep,
    }));
  }

  /**
   * Return the rank of the true class under a condition: -1 for a removed token, -2 for an image that was not run.
   * @param {string} condition
   * @param {number} token
   */
  perturbedRank(condition, token) {
    return this.arrays.perturbed[this.model.conditions.indexOf(condition) * this.model.tokens + token];
  }

  /**
   * Return whether the output is right under a condition: 1 or 0, or -2 for an image that was not run.
   * @param {string} condition
   */
  perturbedRight(condition) {
    return this.arrays.perturbed_right[this.model.conditions.indexOf(condition)];
  }

  /**
   * The relevance maps of the image.
   * @returns {RelevanceMap[]}
   */
  get maps() {
    const { map, relevance, relevance_step } = this.arrays;
    const length = this.model.rows * this.model.columns;
    return Array.from({ length: map ? map.shape[0] : 0 }, (_, row) => ({
      method: this.model.methods[map[2 * row]],
      index: map[2 * row + 1],
      values: Array.from(relevance.subarray(row * length, (row + 1) * length), (value) => value * relevance_step[row]),
    }));
  }
}

/**
 * Return the bytes of a JPEG file as a data URL.
 * @param {Numbers} photograph
 */
function dataUrl(photograph) {
  return `data:image/jpeg;base64,${btoa(Array.from(photograph, (byte) => String.fromCharCode(byte)).join(""))}`;
}

/**
 * Return the border of the object from a bit mask.
 * @param {Numbers} bits
 * @param {number} width
 */
function outlineOfBits(bits, width) {
  const [height, stride] = bits.shape;
  return outlineOf((x, y) => ((bits[y * stride + (x >> 3)] >> (x & 7)) & 1) === 1, width, height, 0.5);
}
