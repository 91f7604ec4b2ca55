// Saving the views as a drawing: the sentence, the filmstrip, and the image with its patches.

import { h, messageOf, svg } from "./dom.js";
import { RUN } from "./run.js";
/** @import { View } from "./view.js" */
/** @import { Shown } from "./types.js" */

const VIEW_WIDTH = 640; // of a view, in pixels
const GAP = 24;
const TOP = 150; // of the image with its patches
const SCALE = 2; // pixels of a PNG per pixel of the drawing

/**
 * Add buttons that save the shown views.
 * @param {HTMLElement} root
 * @param {() => View[]} shownViews
 */
export function offerToSave(root, shownViews) {
  for (const [name, make] of /** @type {[string, (drawing: string) => Promise<Blob>][]} */ ([["PNG", pngOf], ["SVG", svgOf]])) {
    const save = async () => {
      try {
        const views = shownViews();
        download(await make(drawingOf(views)), `${fileName(views[0])}.${name.toLowerCase()}`);
      } catch (error) {
        const status = document.getElementById("status");
        if (status) status.textContent = `The view could not be saved: ${messageOf(error)}`;
      }
    };
    root.append(h("button", { type: "button", click: save }, `Save as ${name}`));
  }
}

/** @param {View} view */
function fileName({ shown }) {
  if (!shown) throw new Error("no image is shown");
  return `${RUN.run}_${shown.image.model.name}_image${shown.image.id}_block${shown.block + 1}`;
}

/**
 * @param {Blob} content
 * @param {string} name
 */
function download(content, name) {
  const url = URL.createObjectURL(content);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url));
}

/** @param {string} drawing */
async function svgOf(drawing) {
  return new Blob([drawing], { type: "image/svg+xml" });
}

/** @param {string} drawing */
async function pngOf(drawing) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
  await image.decode();
  const canvas = h("canvas", { width: SCALE * image.width, height: SCALE * image.height });
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the image is too large")))));
}

/**
 * Draw views side by side as SVG.
 * @param {View[]} views
 */
function drawingOf(views) {
  const shapes = views.map(({ shown }) => (shown ? (VIEW_WIDTH * shown.image.model.rows) / shown.image.model.columns : 0));
  const width = views.length * (VIEW_WIDTH + GAP) + GAP;
  const height = TOP + Math.max(...shapes) + 70;
  const left = (/** @type {number} */ place) => `translate(${GAP + place * (VIEW_WIDTH + GAP)} 0)`;
  const parts = views.map((view, place) => svg("g", { transform: left(place) }, ...drawnView(view, shapes[place])));
  const look = { viewBox: `0 0 ${width} ${height}`, width, height, "font-family": "sans-serif", fill: "#1b1f24" };
  const drawing = svg("svg", look, svg("rect", { width, height, fill: "#fff" }), ...parts);
  return new XMLSerializer().serializeToString(drawing);
}

/**
 * Draw one view.
 * @param {View} view
 * @param {number} height of its image
 */
function drawnView(view, height) {
  const { shown } = view;
  if (!shown) return [];
  const { image } = shown;
  const texts = [
    svg("text", { y: 30, "font-size": 17 }, view.sentence.textContent ?? ""),
    svg("text", { y: 52, "font-size": 14, fill: "#57606a" }, `${view.heading.textContent} · ${RUN.run}`),
    svg("text", { y: TOP + height + 24, "font-size": 14 }, view.patches.legendText),
    svg("text", { y: TOP + height + 46, "font-size": 14, fill: "#57606a" }, `Output: ${image.model.classes[image.predicted]}`),
  ];
  return [...texts, ...drawnStrip(view), drawnImage(view, shown, height)];
}

/**
 * Draw the filmstrip.
 * @param {View} view
 */
function drawnStrip(view) {
  const all = [...view.filmstrip.frames.children];
  const size = Math.min(48, VIEW_WIDTH / all.length - 4);
  return all.map((frame, place) => {
    const x = place * (VIEW_WIDTH / all.length);
    const now = frame.classList.contains("now");
    const map = /** @type {HTMLCanvasElement} */ (frame.querySelector("canvas")).toDataURL();
    const [block, count] = (/** @type {HTMLElement} */ (frame).innerText ?? "").trim().split(/\s+/);
    const label = svg("text", { x: size / 2, y: size + 13, "font-size": 11, "text-anchor": "middle" }, `${block}: ${count}`);
    const border = { x: -2, y: -2, width: size + 4, height: size + 20, fill: "none", stroke: "#0b5cad", "stroke-width": 2 };
    const look = { href: map, width: size, height: size, preserveAspectRatio: "none", style: "image-rendering: pixelated" };
    return svg("g", { transform: `translate(${x} 64)` }, svg("image", look), label, now ? svg("rect", border) : null);
  });
}

/**
 * Draw the image with the colours and names of its patches, and its outlines.
 * @param {View} view
 * @param {Shown} shown
 * @param {number} height
 */
function drawnImage(view, shown, height) {
  const { model } = shown.image;
  const side = VIEW_WIDTH / model.columns;
  const { photograph } = shown.image;
  const tone = shown.head ? "filter: grayscale(1)" : null;
  const at = (/** @type {number} */ patch) => ({ x: (patch % model.columns) * side, y: Math.floor(patch / model.columns) * side });
  const cells = view.patches.cells.flat().filter((cell) => Number(cell.dataset.token) >= model.prefix);
  const outlines = [view.patches.object, view.patches.region].map((drawing) => drawnOutline(drawing, height));
  return svg(
    "g", { transform: `translate(0 ${TOP})` },
    photograph ? svg("image", { href: photograph, width: VIEW_WIDTH, height, preserveAspectRatio: "none", style: tone }) : null,
    ...cells.map((cell, patch) => svg("rect", { ...at(patch), width: side, height: side, fill: cell.style.backgroundColor || "#888" })),
    ...outlines,
    ...cells.map((cell, patch) => drawnName(cell, { ...at(patch), side })),
  );
}

/**
 * @param {SVGElement} drawing
 * @param {number} height
 */
function drawnOutline(drawing, height) {
  const [, , columns, rows] = (drawing.getAttribute("viewBox") ?? "0 0 1 1").split(" ").map(Number);
  const [across, down] = [VIEW_WIDTH / columns, height / rows];
  /** @type {Record<string, [stroke: string, width: number]>} */
  const strokes = { halo: ["#000", 4], line: ["#fff", 2] };
  const lines = [...drawing.children].map((path) => {
    const [stroke, width] = strokes[path.getAttribute("class") ?? "line"];
    return svg("path", { d: path.getAttribute("d"), fill: "none", stroke, "stroke-width": width / across });
  });
  return svg("g", { transform: `scale(${across} ${down})` }, ...lines);
}

/**
 * Write the name on a patch.
 * @param {HTMLElement} cell
 * @param {{x: number, y: number, side: number}} place
 */
function drawnName(cell, { x, y, side }) {
  const text = cell.children[0].textContent ?? "";
  const size = Math.min(side / 5, 14);
  const [fill, ink] = ["--patch", "--ink"].map((key) => cell.style.getPropertyValue(key));
  if (!text) return null;
  const isLong = text.length * size * 0.55 > side;
  return svg(
    "g", { transform: `translate(${x} ${y + side})` },
    svg("rect", { y: -1.5 * size, width: side, height: 1.5 * size, fill }),
    svg("text", { x: 2, y: -0.45 * size, "font-size": size, fill: ink, textLength: isLong ? side - 4 : null }, text),
  );
}
