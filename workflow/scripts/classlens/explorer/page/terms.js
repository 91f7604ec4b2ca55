// What heads and MLPs write into the logits of an image's true class and of its rival, minus the mean over classes.

/** @import { Component, Content, Sums } from "./types.js" */

export class Terms {
  /** @param {Content} content */
  constructor({ arrays }) {
    const { token, term } = arrays;
    this.arrays = arrays;
    /** The true class and its rival. Functions take the place of a class in this list. */
    this.classes = [...arrays.class];
    this.depth = token.shape[1];
    this.heads = token.shape[2];
    this.tokens = token.shape[3];
    this.count = term.shape[1];
    /** All heads and MLPs, block by block; the MLP of a block follows its heads. */
    this.components = componentsOf(this.depth, this.heads);
    /** The sums of terms, class by class. */
    this.sums = this.classes.map((_, place) => this.sumsOf(place));
    /** The largest absolute term of a head or an MLP, over both classes. */
    this.largest = Math.max(...this.classes.flatMap((_, place) => this.components.map((one) => Math.abs(this.term(place, one)))));
  }

  /**
   * Return the sums of terms in the order in which they are stored.
   * @param {number} place of the class
   * @returns {Sums}
   */
  sumsOf(place) {
    const values = [...this.arrays.term.subarray(place * this.count, (place + 1) * this.count)];
    const afterHeads = 1 + this.depth * this.heads;
    return {
      embedding: values[0],
      heads: sumOf(values.slice(1, afterHeads)),
      mlps: sumOf(values.slice(afterHeads, -1)),
      biases: values[this.count - 1],
      logit: sumOf(values),
    };
  }

  /**
   * Return the term of a head or an MLP.
   * @param {number} place of the class
   * @param {Component} component
   */
  term(place, { block, head }) {
    const at = head === null ? this.depth * this.heads + block : block * this.heads + head;
    return this.arrays.term[place * this.count + 1 + at]; // after the embedding
  }

  /**
   * Return what a head writes from each token.
   * @param {number} place of the class
   * @param {Component} component a head
   */
  fromTokens(place, { block, head }) {
    const at = (place * this.depth + block) * this.heads + Number(head);
    const step = this.arrays.token_step[at];
    return Array.from(this.arrays.token.subarray(at * this.tokens, (at + 1) * this.tokens), (value) => value * step);
  }

  /**
   * Return the head or MLP with a name in the address (`nameOf`), or null if there is none.
   * @param {string} name
   */
  named(name) {
    return this.components.find((component) => nameOf(component) === name) ?? null;
  }
}

/**
 * Return the name of a component in the address: `9.3` for head 3 of block 9, `9.mlp` for the MLP of this block.
 * @param {Component} component
 */
export function nameOf({ block, head }) {
  return `${block + 1}.${head === null ? "mlp" : head + 1}`;
}

/**
 * @param {number} depth
 * @param {number} heads
 * @returns {Component[]}
 */
function componentsOf(depth, heads) {
  const parts = [...Array(heads).keys(), null];
  return [...Array(depth).keys()].flatMap((block) => parts.map((head) => ({ block, head })));
}

/** @param {number[]} values */
function sumOf(values) {
  return values.reduce((sum, value) => sum + value, 0);
}
