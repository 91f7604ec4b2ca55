// Loading of the models' files. A page that is opened from disk can run scripts but not fetch files, so each file is a call of `classlens`.

import { h } from "./dom.js";
import { Model } from "./model.js";
import { ImageNumbers } from "./numbers.js";
import { namedModel } from "./run.js";
import { Series } from "./series.js";
import { Terms } from "./terms.js";
import { unpacked } from "./unpacked.js";
/** @import { Content, ModelFacts } from "./types.js" */

const KEPT_IMAGES = 12; // maximum number of images whose numbers stay in RAM, over all models

/** @type {Map<string, (content: any) => void>} */
const arrivals = new Map(); // callbacks for the content of a file, by the file's key
/** @type {Map<string, Promise<Model>>} */
const models = new Map(); // by name
/** @type {Map<string, Promise<Content>>} */
const memories = new Map(); // by name of the model
/** @type {Map<string, Promise<ImageNumbers>>} */
const images = new Map(); // by key, the least recently used first
/** @type {WeakMap<ImageNumbers, Promise<void>>} */
const terms = new WeakMap();

/** The functions that the files call. */
const classlens = {
  /** @type {(name: string, facts: ModelFacts) => void} */
  model: (name, facts) => arrivals.get(`${name} model`)?.(facts),
  /** @type {(name: string, text: string) => void} */
  memories: (name, text) => arrivals.get(`${name} memories`)?.(text),
  /** @type {(name: string, id: number, text: string) => void} */
  image: (name, id, text) => arrivals.get(`${name} ${id}`)?.(text),
  /** @type {(name: string, id: number, text: string) => void} */
  attribution: (name, id, text) => arrivals.get(`${name} ${id} attribution`)?.(text),
};
Object.assign(globalThis, { classlens });

/**
 * Load a file, and return the content that it passes on under its key.
 * @param {string} key
 * @param {string} path
 * @returns {Promise<any>}
 */
function load(key, path) {
  return new Promise((resolve, reject) => {
    arrivals.set(key, resolve);
    const end = () => {
      script.remove();
      reject(new Error(`${path} is missing or damaged: delete its folder and run the workflow again.`)); // no effect after `resolve`
    };
    const script = h("script", { src: path, load: end, error: end });
    document.head.append(script);
  });
}

/**
 * Return a model; its file is loaded only once.
 * @param {string} name
 */
export function loadModel(name) {
  const model = models.get(name) ?? load(`${name} model`, `${name}/model.js`).then((facts) => modelOf(name, facts));
  models.set(name, model);
  return model;
}

/**
 * @param {string} name
 * @param {ModelFacts} facts
 */
async function modelOf(name, facts) {
  const content = await unpacked(facts.images);
  const [id, classes, predicted] = ["id", "class", "predicted"].map((column) => Array.from(content.arrays[column]));
  const images = { id, class: classes, predicted, path: JSON.parse(content.facts.path) };
  return new Model(namedModel(name), facts, images, new Series(content, facts.grid[0] * facts.grid[1]));
}

/**
 * Return the classes that each memory of a model writes; their file is loaded only once.
 * @param {Model} model
 */
export function loadMemories({ name }) {
  const written = memories.get(name) ?? load(`${name} memories`, `${name}/memories.js`).then(unpacked);
  memories.set(name, written);
  return written;
}

/**
 * Return the numbers of an image; the most recently used images stay in RAM.
 * @param {Model} model
 * @param {number} id
 */
export function loadImage(model, id) {
  const key = `${model.name} ${id}`;
  const numbers = images.get(key) ?? loadNumbers(model, id);
  images.delete(key);
  images.set(key, numbers);
  if (images.size > KEPT_IMAGES) images.delete([...images.keys()][0]);
  return numbers;
}

/**
 * @param {Model} model
 * @param {number} id
 */
async function loadNumbers(model, id) {
  const text = await load(`${model.name} ${id}`, model.numbers(id));
  return new ImageNumbers(model, id, await unpacked(text));
}

/**
 * Load the terms of heads and MLPs for an image, which stay in RAM with its numbers.
 * @param {ImageNumbers} image
 */
export function loadTerms(image) {
  const loaded = terms.get(image) ?? addTerms(image);
  terms.set(image, loaded);
  return loaded;
}

/** @param {ImageNumbers} image */
async function addTerms(image) {
  const { model, id } = image;
  image.terms = new Terms(await unpacked(await load(`${model.name} ${id} attribution`, model.terms(id))));
}
