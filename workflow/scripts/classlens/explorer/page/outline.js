// Drawing the outline of the object over an image.

import { svg } from "./dom.js";
import { state } from "./state.js";
/** @import { Outline } from "./types.js" */

/** Make an empty drawing of an outline. */
export function outlineDrawing() {
  return svg("svg", { class: "outline", "aria-hidden": "true", preserveAspectRatio: "none" });
}

/**
 * Draw an outline if it is known and switched on.
 * @param {SVGElement} drawing
 * @param {Outline | null} outline
 */
export function drawOutline(drawing, outline) {
  drawing.replaceChildren();
  if (!outline || !state.outline) return;
  drawing.setAttribute("viewBox", `0 0 ${outline.width} ${outline.height}`);
  drawing.append(svg("path", { d: outline.path, class: "halo" }), svg("path", { d: outline.path, class: "line" }));
}
