// A model: the facts from its file, and the positions and names of its tokens.

/** @import { Series } from "./series.js" */
/** @import { ImageList, ModelFacts, NamedModel } from "./types.js" */

export class Model {
  /**
   * @param {NamedModel} named
   * @param {ModelFacts} facts
   * @param {ImageList} images
   * @param {Series} series
   */
  constructor(named, facts, images, series) {
    this.name = named.name;
    this.label = named.label;
    this.classes = facts.classes;
    const [rows, columns] = facts.grid;
    this.rows = rows;
    this.columns = columns;
    this.prefix = facts.prefix;
    this.tokens = facts.prefix + rows * columns;
    this.cls = facts.cls;
    this.depth = facts.depth;
    this.chance = facts.chance;
    this.sites = facts.sites;
    this.layers = facts.layers;
    this.methods = facts.methods;
    this.conditions = facts.conditions;
    this.active = facts.active;
    this.attribution = facts.attribution;
    this.photographs = facts.photographs;
    this.images = images;
    this.series = series;
    this.chosen = facts.chosen;
    this.accuracy = facts.accuracy;
    this.stories = facts.stories;
    this.start = facts.start.image;
    this.places = new Map(images.id.map((id, place) => [id, place]));
  }

  /**
   * Return the place of an image in the lists of images.
   * @param {number} id
   */
  place(id) {
    const place = this.places.get(id);
    if (place === undefined) throw new Error(`${this.label} has no image ${id}.`);
    return place;
  }

  /**
   * Return the row and column of a token, from 0, or null for a prefix token.
   * @param {number} token
   */
  position(token) {
    const patch = token - this.prefix;
    return patch < 0 ? null : [Math.floor(patch / this.columns), patch % this.columns];
  }

  /** @param {number} token */
  tokenName(token) {
    const position = this.position(token);
    if (position) return `patch in row ${position[0] + 1}, column ${position[1] + 1}`;
    return this.cls && token === 0 ? "[CLS]" : `prefix token ${token + 1}`;
  }

  /**
   * Return this model's token at the position of another model's token.
   * @param {Model} other
   * @param {number} token
   */
  tokenLike(other, token) {
    const position = other.position(token);
    if (!position) return Math.min(token, Math.max(this.prefix - 1, 0));
    const row = Math.floor(((position[0] + 0.5) / other.rows) * this.rows);
    return this.prefix + row * this.columns + Math.floor(((position[1] + 0.5) / other.columns) * this.columns);
  }

  /**
   * Return this model's block at the relative depth of another model's block.
   * @param {Model} other
   * @param {number} block
   */
  blockLike(other, block) {
    return other.depth === this.depth ? block : Math.round((block / Math.max(other.depth - 1, 1)) * (this.depth - 1));
  }

  /**
   * Return the path of the small photograph of an image, or null if the explorer has no photographs.
   * @param {number} id
   */
  thumbnail(id) {
    return this.photographs ? `${this.name}/thumbnails/${padded(id)}.jpg` : null;
  }

  /**
   * Return the path of the file with an image's numbers.
   * @param {number} id
   */
  numbers(id) {
    return `${this.name}/images/${padded(id)}.js`;
  }

  /**
   * Return the path of the file with the terms of heads and MLPs for an image.
   * @param {number} id
   */
  terms(id) {
    return `${this.name}/attribution/${padded(id)}.js`;
  }
}

/** @param {number} id */
function padded(id) {
  return String(id).padStart(5, "0");
}
