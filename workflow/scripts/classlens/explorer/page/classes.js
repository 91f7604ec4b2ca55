// The class that a choice means for an image, and the name of a class for that image.

/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Option, OptionGroup } from "./types.js" */

/** @type {[string, (index: number, image: ImageNumbers) => boolean][]} */
const ROLES = [
  ["true class", (index, image) => index === image.own],
  ["output", (index, image) => index === image.predicted],
  ["rival", (index, image) => index === image.rival && index !== image.predicted],
];

/**
 * Return the class that a choice means for an image: `true`, `rival` (the likeliest class besides the true one), or an index.
 * @param {string} choice
 * @param {ImageNumbers} image
 */
export function chosenClass(choice, image) {
  if (choice === "true" || choice === "identifiability") return image.own;
  if (choice === "rival") return image.rival;
  const index = Number(choice);
  return Number.isInteger(index) && index >= 0 && index < image.model.classes.length ? index : image.own;
}

/**
 * Return the name of a class with its roles for the image.
 * @param {number} index
 * @param {ImageNumbers} image
 */
export function className(index, image) {
  const roles = ROLES.filter(([, holds]) => holds(index, image)).map(([text]) => text);
  return image.model.classes[index] + (roles.length ? ` (${roles.join(", ")})` : "");
}

/**
 * Return the entry of `colourOptions` that stands for a choice.
 * @param {string} choice
 * @param {ImageNumbers} image
 */
export function colourOption(choice, image) {
  if (choice === "identifiability") return choice;
  const index = chosenClass(choice, image);
  if (index === image.own) return "true";
  return index === image.rival ? "rival" : String(index);
}

/**
 * Return the options for the colours of patches. A chosen class whose logit is not known at every token has its own group.
 * @param {string} choice
 * @param {ImageNumbers} image
 */
export function colourOptions(choice, image) {
  const { classes } = image.model;
  const index = chosenClass(choice, image);
  /** @type {Option[]} */
  const logits = image.interest.map((known) => [colourOption(String(known), image), className(known, image)]);
  /** @type {(Option | OptionGroup)[]} */
  const options = [["identifiability", `identifiability of ${classes[image.own]}`], { group: "logit of", items: logits }];
  if (!image.interest.includes(index)) {
    options.push({ group: "logit (only where it is among the largest) of", items: [[String(index), classes[index]]] });
  }
  return options;
}
