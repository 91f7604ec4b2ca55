// Small pictures with one pixel per patch.

import { h } from "./dom.js";
/** @import { Model } from "./model.js" */
/** @import { Colour } from "./types.js" */

/**
 * Draw one pixel per patch. Pixels without a colour stay transparent.
 * @param {({colour: Colour, opacity?: number} | null)[]} patches with opacity from 0 to 1
 * @param {Model} model
 */
export function pixelMap(patches, { columns, rows }) {
  const canvas = h("canvas", { width: columns, height: rows, "aria-hidden": "true" });
  const picture = new ImageData(columns, rows);
  patches.forEach((patch, place) => {
    if (patch) picture.data.set([...patch.colour, Math.round(255 * (patch.opacity ?? 1))], 4 * place);
  });
  canvas.getContext("2d")?.putImageData(picture, 0, 0);
  return canvas;
}
