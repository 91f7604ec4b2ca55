// The tab of the conditions: the rank of the true class at a token when attention is cut or tokens are removed.

import { h, table } from "./dom.js";
import { CONDITIONS } from "./run.js";
import { change, state } from "./state.js";
/** @import { Shown, Tab } from "./types.js" */

/** @type {Tab} */
export const conditionsTab = {
  name: "conditions",
  title: "Conditions",
  isOfToken: true,
  has: (model) => model.conditions.length > 1,
  content: (shown, token) => [
    ranks(shown, token),
    h("p", {}, "Conditions are measured in the residual stream after the last block. “Not run”: the mask has no object or no context."),
  ],
};

/**
 * @param {Shown} shown
 * @param {number} token
 */
function ranks({ image }, token) {
  const rows = image.model.conditions.map((name) => {
    const rank = image.perturbedRank(name, token);
    const text = { [-1]: "removed", [-2]: "not run" }[rank] ?? String(rank);
    const right = { 1: "right", 0: "wrong" }[image.perturbedRight(name)] ?? "–";
    return h(
      "tr", {}, h("th", { scope: "row" }, CONDITIONS[name] ?? name), h("td", { class: "number" }, text), h("td", {}, right),
      h("td", {}, showButton(name)),
    );
  });
  return table("Rank of the true class in the last block (0 is first)", ["condition", "rank", "output", ""], rows);
}

/** @param {string} condition */
function showButton(condition) {
  const said = `Show the patches under the condition: ${CONDITIONS[condition] ?? condition}`;
  const isShown = String(state.condition === condition);
  return h("button", { type: "button", "aria-pressed": isShown, "aria-label": said, click: () => change({ condition }) }, "show");
}
