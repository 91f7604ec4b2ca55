// Numbers of all images over blocks, and the sentence that they give for an image.

/** @import { Content, Numbers } from "./types.js" */

export class Series {
  /**
   * @param {Content} content
   * @param {number} patches number of patches of an image
   */
  constructor({ arrays }, patches) {
    this.depth = arrays.first.shape[1];
    this.patches = patches;
    this.arrays = arrays;
  }

  /**
   * Return the number of patches at which the true class ranks first, block by block.
   * @param {number} place place of the image in the list of images
   */
  counts(place) {
    return this.row(this.arrays.first, place);
  }

  /**
   * Return the mean identifiability of an image's patches, block by block.
   * @param {number} place
   */
  identifiability(place) {
    return this.row(this.arrays.identifiability, place).map((value) => value / 255);
  }

  /** The mean identifiability over all images of the run, block by block. */
  get mean() {
    return Array.from(this.arrays.mean_identifiability);
  }

  /** The mean identifiability at [CLS] over all images of the run, block by block; null without [CLS]. */
  get meanOfCls() {
    return this.arrays.mean_cls ? Array.from(this.arrays.mean_cls) : null;
  }

  /**
   * Return by how much the identifiability of an image grows from the first to the last block.
   * @param {number} place
   */
  gain(place) {
    const values = this.identifiability(place);
    return values[this.depth - 1] - values[0];
  }

  /**
   * Return the block, from 0, with the largest rise of the number of patches at which the true class ranks first. Without a rise, return
   * the last block.
   * @param {number} place
   */
  jump(place) {
    const counts = this.counts(place);
    const rises = counts.map((count, block) => (block ? count - counts[block - 1] : 0));
    const largest = Math.max(...rises);
    return largest > 0 ? rises.indexOf(largest) : this.depth - 1;
  }

  /**
   * Return in words at how many patches the true class ranks first, before and after its largest rise.
   * @param {number} place
   */
  sentence(place) {
    const counts = this.counts(place);
    const block = this.jump(place);
    const [before, after] = [counts.slice(0, block), counts.slice(block)];
    if (Math.max(...counts) === 0) return "no patch in any block";
    if (!before.length || counts[block] <= Math.max(...before)) return `${this.range(counts)} in all blocks`;
    const late = after.slice(0, -1);
    const falls = late.length > 0 && counts[this.depth - 1] < Math.min(...late);
    const last = falls ? `, ${counts[this.depth - 1]} in the last` : "";
    const parts = falls ? late : after;
    return `${this.early(before)}${this.range(parts)} from block ${block + 1}${last}`;
  }

  /** @param {number[]} counts */
  early(counts) {
    const most = Math.max(...counts);
    const patches = most === 1 ? "patch" : "patches";
    const few = most ? `at most ${most} ${patches}` : "no patch";
    return `${few} until block ${counts.length}, `;
  }

  /** @param {number[]} counts */
  range(counts) {
    const [low, high] = [Math.min(...counts), Math.max(...counts)];
    const number = low === high ? `${low}` : `${low} to ${high}`;
    return `${number} of ${this.patches}`;
  }

  /**
   * @param {Numbers} values
   * @param {number} place
   */
  row(values, place) {
    return Array.from(values.subarray(place * this.depth, (place + 1) * this.depth));
  }
}
