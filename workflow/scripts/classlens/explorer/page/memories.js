// The tab of a token's active memories, with the classes that they write.

import { fixed, h, messageOf, table } from "./dom.js";
import { loadMemories } from "./files.js";
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Numbers, Shown, Tab } from "./types.js" */

/** @type {Tab} */
export const memoriesTab = {
  name: "memories",
  title: "Memories",
  isOfToken: true,
  has: (model) => model.active,
  content: (shown, token) => {
    const place = h("div", { class: "memories" }, h("p", {}, "Loading memories…"));
    fill(place, shown, token);
    return [place];
  },
};

/**
 * Load the classes that memories write, and show the token's active memories with their classes.
 * @param {HTMLElement} place
 * @param {Shown} shown
 * @param {number} token
 */
async function fill(place, { image, block }, token) {
  try {
    const { arrays } = await loadMemories(image.model);
    place.replaceChildren(...image.model.layers.map((kind, layer) => memoryTable(image, { kind, layer, block, token }, arrays[kind])));
  } catch (error) {
    place.replaceChildren(h("p", { class: "error" }, messageOf(error)));
  }
}

/**
 * Make a table of a token's active memories in one layer of a block.
 * @param {ImageNumbers} image
 * @param {{kind: string, layer: number, block: number, token: number}} at
 * @param {Numbers} written classes that each memory of the layer writes
 */
function memoryTable(image, { kind, layer, block, token }, written) {
  const [, memories, kept] = written.shape;
  const rows = image.memories(layer, block, token).map(({ memory, coefficient }) => {
    const start = (block * memories + memory) * kept;
    return h(
      "tr", {}, h("th", { scope: "row" }, String(memory)), h("td", { class: "number" }, fixed(coefficient)),
      h("td", {}, ...classNames([...written.subarray(start, start + kept)], image)),
    );
  });
  const name = { attn: "attention", mlp: "MLP" }[kind];
  return table(`Active memories, ${name} of block ${block + 1}`, ["memory", "coefficient", "writes"], rows);
}

/**
 * List the names of classes, and mark the true class.
 * @param {number[]} classes
 * @param {ImageNumbers} image
 */
function classNames(classes, image) {
  return classes.flatMap((index, place) => {
    const name = h("span", { class: index === image.own ? "own" : false }, image.model.classes[index]);
    return place ? [", ", name] : [name];
  });
}
