// Types of the values that modules exchange. Only the type checker reads this file; the page does not contain it.

/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */

/**
 * The facts about a run that the page has before it loads any file.
 * @typedef {object} Run
 * @property {string} run name of the run
 * @property {NamedModel[]} models
 * @property {Warning[]} warnings
 * @property {Vocabulary} vocabulary
 */

/** @typedef {{name: string, label: string, dataset: string}} NamedModel the names of a model in the run */

/** @typedef {{about: string, message: string, model?: string | null, dataset?: string | null}} Warning */

/**
 * Texts that the page shows instead of the names in tables.
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
 * @property {number} prefix number of prefix tokens
 * @property {boolean} cls whether the first token is [CLS]
 * @property {number} depth number of blocks
 * @property {number} chance identifiability of a random guess
 * @property {string[]} sites
 * @property {string[]} layers names of the layers with memories
 * @property {string[]} methods
 * @property {string[]} conditions
 * @property {boolean} active whether the files contain active memories
 * @property {boolean} attribution whether there are files with the terms of heads and MLPs
 * @property {boolean} photographs whether the explorer has the images as photographs
 * @property {string} images packed list of the images, with their numbers over blocks and the means over all images of the run
 * @property {{image: number, block: number}} start the image and the block that tell most
 * @property {Story[]} stories
 * @property {{shown: number, of: number}} chosen number of images in the explorer, and of all images of the run
 * @property {number} accuracy share of all images of the run that the model answers rightly
 */

/** @typedef {{name: string, title: string, text: string, state: Changes}} Story an image that tells something, and its view */

/**
 * The images of a model, one value per image in each list.
 * @typedef {object} ImageList
 * @property {number[]} id
 * @property {string[]} path
 * @property {number[]} class index of the true class
 * @property {number[]} predicted index of the class with the largest output
 */

/**
 * An array of a packed file.
 * @typedef {(Uint8Array | Int8Array | Uint16Array | Int16Array | Int32Array | Float32Array) & {shape: number[]}} Numbers
 */

/** @typedef {{arrays: Record<string, Numbers>, facts: Record<string, string>}} Content the content of a packed file */

/** @typedef {{index: number, logit: number}} ClassLogit */

/** @typedef {{method: string, index: number, values: number[]}} RelevanceMap the map of a method for the class with an index */

/** @typedef {{block: number, head: number | null}} Component a head, or the MLP of a block if `head` is null; both count from 0 */

/** @typedef {{embedding: number, heads: number, mlps: number, biases: number, logit: number}} Sums of terms of a logit */

/**
 * What a head writes from each token.
 * @typedef {object} Head
 * @property {string} name
 * @property {string} title
 * @property {number[]} values
 * @property {number} largest the largest absolute value of a patch
 */

/** @typedef {{path: string, width: number, height: number}} Outline an SVG path in pixels, and the size of the image */

/**
 * The state of the page. Blocks count from 1 here, as in all texts of the page.
 * @typedef {object} State
 * @property {string} model the first view's model
 * @property {number} image
 * @property {string} site
 * @property {number} block
 * @property {number} token
 * @property {string} condition
 * @property {string} colour what the colours of the patches show in the first view
 * @property {string} map for which class the first view shows relevance maps
 * @property {string} component the chosen head or MLP of the first view, `9.3` or `9.mlp`, or empty
 * @property {string} second the second view's model, `""` for none
 * @property {string} colour2
 * @property {string} map2
 * @property {string} component2
 * @property {number} threshold of relevance maps, percent of the largest value
 * @property {number} strength opacity of the colours over a photograph, percent
 * @property {string} labels which patches carry class names: `none`, `differing` or `all`
 * @property {number} outline whether the outline of the object is drawn, 0 or 1
 * @property {string} tab the open tab of the panel
 * @property {string} method the relevance method of the large map
 * @property {string} theme `light`, `dark`, or empty for that of the system
 * @property {string} page `image` for one image, `images` for the gallery of all
 * @property {string} find text that the listed images contain
 * @property {string} class index of the class of the listed images; empty for all
 * @property {string} output which outputs the listed images have
 * @property {string} order order of the listed images
 */

/** @typedef {Partial<Record<keyof State, string | number>>} Changes */

/**
 * The keys of the state that belong to a view.
 * @typedef {{colour: "colour" | "colour2", map: "map" | "map2", component: "component" | "component2"}} ViewKeys
 */

/**
 * What one view shows. Blocks and tokens count from 0.
 * @typedef {object} Shown
 * @property {ImageNumbers} image
 * @property {string} choice what the colours of the patches show
 * @property {string} site
 * @property {number} block
 * @property {number} chosen the chosen token
 * @property {Head | null} head the head whose tokens the patches show
 */

/**
 * A quantity with one value per token.
 * @typedef {object} Measure
 * @property {(site: string, block: number, token: number) => number | null} value null if unknown
 * @property {string} name
 * @property {number | null} chance its chance level; null except for identifiability
 */

/** @typedef {[number, number]} Range the smallest and the largest value of a scale */

/** @typedef {number[]} Colour red, green and blue from 0 to 255 */

/** @typedef {[value: string, text: string]} Option an entry of a select */

/** @typedef {{group: string, items: Option[]}} OptionGroup */

/** @typedef {string | number | boolean | null | ((event: any) => void)} Attribute */

/** @typedef {Node | string | null} Child */

/**
 * A line of a chart.
 * @typedef {object} Line
 * @property {string} kind its look
 * @property {string} name
 * @property {(number | null)[]} values over all blocks
 */

/**
 * A tab of the panel.
 * @typedef {object} Tab
 * @property {string} name its name in the address
 * @property {string} title
 * @property {boolean} isOfToken whether it is about a token
 * @property {(model: Model) => boolean} has whether the results of a model have its content
 * @property {(shown: Shown, token: number, keys: ViewKeys) => Node[]} content
 */

/** @typedef {{first: Model, images: ImageNumbers[], conditions: string[], sites: string[]}} Offer what the controls offer */

export {};
