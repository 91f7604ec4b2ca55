// The types of what modules hand to each other. For the type checker only: the page holds nothing of this file.

/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */

/**
 * What the page knows before it loads any file.
 * @typedef {object} Run
 * @property {string} run its name
 * @property {NamedModel[]} models
 * @property {Warning[]} warnings
 * @property {Vocabulary} vocabulary
 */

/** @typedef {{name: string, label: string, dataset: string}} NamedModel a model as the run names it */

/** @typedef {{about: string, message: string, model?: string | null, dataset?: string | null}} Warning */

/**
 * What people read instead of the names in tables.
 * @typedef {object} Vocabulary
 * @property {Record<string, string>} sites
 * @property {Record<string, string>} conditions
 * @property {Record<string, string>} methods
 * @property {string[]} class_agnostic_methods methods whose maps are the same for every class
 */

/**
 * The content of a file `model.js`.
 * @typedef {object} ModelFacts
 * @property {string[]} classes names of classes
 * @property {[number, number]} grid rows and columns of patches
 * @property {number} prefix how many tokens come before the patches
 * @property {boolean} cls whether the first token is [CLS]
 * @property {number} depth how many blocks
 * @property {number} chance identifiability of a random guess
 * @property {string[]} sites
 * @property {string[]} layers kinds of layers whose memories are known
 * @property {string[]} methods
 * @property {string[]} conditions
 * @property {boolean} active whether active memories are known
 * @property {boolean} photographs whether there are photographs
 * @property {ImageList} images
 */

/**
 * The images of a model, one value per image in each list.
 * @typedef {object} ImageList
 * @property {number[]} id
 * @property {string[]} path
 * @property {number[]} class index of the true class
 * @property {number[]} predicted index of the class with the largest output
 * @property {number[]} identified mean identifiability of the tokens in the last block
 */

/** @typedef {(Uint8Array | Uint16Array | Int16Array | Int32Array | Float32Array) & {shape: number[]}} Numbers an array of a packed file */

/** @typedef {{arrays: Record<string, Numbers>, facts: Record<string, string>}} Content the content of a packed file */

/** @typedef {{index: number, logit: number}} ClassLogit */

/** @typedef {{method: string, index: number, values: number[]}} RelevanceMap `index` is that of the class */

/** @typedef {{path: string, width: number, height: number}} Outline an SVG path in pixels, and the size of the image */

/**
 * What is shown. Blocks are counted from 1 here, as everywhere where people see them.
 * @typedef {object} State
 * @property {string} model the first view's model
 * @property {number} image
 * @property {string} site
 * @property {number} block
 * @property {number} token
 * @property {string} condition
 * @property {string} colour what colours the patches of the first view
 * @property {string} map whose relevance maps the first view shows
 * @property {string} second the second view's model, `""` for none
 * @property {string} colour2
 * @property {string} map2
 * @property {number} threshold of relevance maps, percent of the largest value
 * @property {number} strength of colours over a photograph, percent
 * @property {number} labels whether patches carry names, 0 or 1
 * @property {number} outline whether the outline of the object is drawn, 0 or 1
 */

/** @typedef {{colour: "colour" | "colour2", map: "map" | "map2"}} ViewKeys the keys of the state that belong to a view */

/**
 * What one view shows. Blocks and tokens are counted from 0.
 * @typedef {object} Shown
 * @property {ImageNumbers} image
 * @property {string} choice what colours the patches
 * @property {string} site
 * @property {number} block
 * @property {number} chosen the chosen token
 */

/**
 * A number that tokens have.
 * @typedef {object} Measure
 * @property {(site: string, block: number, token: number) => number | null} value null where it is not known
 * @property {string} name
 * @property {number | null} chance its chance level, which only identifiability has
 */

/** @typedef {[number, number]} Range the smallest and the largest value of a scale */

/** @typedef {number[]} Colour red, green and blue from 0 to 255 */

/** @typedef {[value: string, text: string]} Option an entry of a list of choices */

/** @typedef {{group: string, items: Option[]}} OptionGroup */

/** @typedef {string | number | boolean | null | ((event: any) => void)} Attribute */

/** @typedef {Node | string | null} Child */

/** @typedef {[site: string, values: (number | null)[]]} Line the values of a site over all blocks */

/** @typedef {{first: Model, images: ImageNumbers[], conditions: string[], sites: string[]}} Offer what there is to choose from */

export {};
