// The facts about the run that the page has before it loads any file.

import { byId } from "./dom.js";
/** @import { NamedModel, Option, Run } from "./types.js" */

/** @type {Run} */
export const RUN = JSON.parse(byId("facts", HTMLScriptElement).text);
export const SITES = RUN.vocabulary.sites;
export const CONDITIONS = RUN.vocabulary.conditions;
export const METHODS = RUN.vocabulary.methods;
export const CLASS_AGNOSTIC_METHODS = RUN.vocabulary.class_agnostic_methods;
export const RESIDUAL_STREAM = "resid_post";

/**
 * Return the model with a name.
 * @param {string} name
 */
export function namedModel(name) {
  const model = RUN.models.find((other) => other.name === name);
  if (!model) throw new Error(`The run has no model ${name}.`);
  return model;
}

/**
 * Return models as options of a select; models that share a label also show their names.
 * @param {NamedModel[]} models
 * @returns {Option[]}
 */
export function modelOptions(models) {
  const isUnique = (/** @type {string} */ label) => RUN.models.filter((other) => other.label === label).length === 1;
  return models.map(({ name, label }) => [name, isUnique(label) ? label : `${label} (${name})`]);
}
