// Which class a choice means for an image, and how it is called there.

/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Option, OptionGroup } from "./types.js" */

/** @type {[string, (index: number, image: ImageNumbers) => boolean][]} */
const ROLES = [
  ["true class", (index, image) => index === image.own],
  ["output", (index, image) => index === image.predicted],
  ["rival", (index, image) => index === image.rival && index !== image.predicted],
];

/**
 * Return the class that a choice of colour or map means for an image: `true`, `rival` (the likeliest besides it), or an index.
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
 * Return a class's name with what it is to the image.
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
 * Return what patches can be coloured by. A chosen class whose logit is not known at every token has a group of its own.
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
    options.push({ group: "logit, where it is among the largest, of", items: [[String(index), classes[index]]] });
  }
  return options;
}
