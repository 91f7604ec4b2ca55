// Keys that work wherever no control uses them: arrows for blocks, with Shift for images and sites.

import { loadModel } from "./files.js";
import { SITES } from "./run.js";
import { change, state } from "./state.js";

const USES_ARROWS = "input, select, textarea, [role=slider], [role=grid], [role=tablist]";

/**
 * Let keys change the block, the image and the site.
 * @param {HTMLElement} views
 */
export function listenToKeys(views) {
  document.addEventListener("keydown", async (event) => {
    const isElsewhere = event.target instanceof Element && event.target.closest(USES_ARROWS);
    if (isElsewhere || event.altKey || event.ctrlKey || event.metaKey || views.hidden) return;
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const isAcross = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (step === undefined || (!event.shiftKey && !isAcross)) return;
    event.preventDefault();
    const model = await loadModel(state.model);
    if (!event.shiftKey) change({ block: within(state.block + step, 1, model.depth) }, { isPassing: event.repeat });
    else if (isAcross) change({ image: neighbour(model.images.id, state.image, step) });
    else change({ site: neighbour(Object.keys(SITES).filter((site) => model.sites.includes(site)), state.site, step) });
  });
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function within(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/**
 * Return the item before or after another one in a list, or the item itself at the list's end.
 * @template Item
 * @param {Item[]} items
 * @param {Item} item
 * @param {number} step
 */
function neighbour(items, item, step) {
  return items[within(items.indexOf(item) + step, 0, items.length - 1)];
}
