// The path of a token over blocks, and the tab that shows it in numbers.

import { fixedOr, h, table } from "./dom.js";
import { measureOf } from "./measure.js";
import { SITES } from "./run.js";
/** @import { Line, Shown, Tab } from "./types.js" */

/**
 * Return the values that the colours show, of one token over all blocks, one line per site.
 * @param {Shown} shown
 * @param {number} token
 * @returns {Line[]}
 */
export function pathOf({ image, choice }, token) {
  const measure = measureOf(choice, image);
  const blocks = Array.from({ length: image.model.depth }, (_, index) => index);
  const values = (/** @type {string} */ site) => blocks.map((index) => measure.value(site, index, token));
  return image.model.sites.map((site) => ({ kind: site, name: SITES[site], values: values(site) }));
}

/** @type {Tab} */
export const numbersTab = {
  name: "numbers",
  title: "Numbers",
  isOfToken: true,
  has: () => true,
  content: (shown, token) => {
    const lines = pathOf(shown, token);
    const cell = (/** @type {number | null} */ value) => h("td", { class: "number" }, fixedOr(value, "–"));
    const rows = lines[0].values.map((_, block) =>
      h("tr", {}, h("th", { scope: "row" }, String(block + 1)), ...lines.map(({ values }) => cell(values[block]))));
    const caption = `Path over blocks: ${measureOf(shown.choice, shown.image).name}`;
    return [table(caption, ["block", ...lines.map(({ name }) => name)], rows)];
  },
};
