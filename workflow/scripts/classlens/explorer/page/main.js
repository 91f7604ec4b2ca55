// The page: each change of the state redraws everything.

import { besideOptions, listen, renderControls, renderTheme } from "./controls.js";
import { byId, h, messageOf } from "./dom.js";
import { loadImage, loadModel, loadTerms } from "./files.js";
import { Gallery } from "./gallery.js";
import { headsTab } from "./heads.js";
import { sharedRange } from "./measure.js";
import { listenToKeys } from "./keys.js";
import { offerToSave } from "./save.js";
import { RESIDUAL_STREAM, RUN, SITES, namedModel } from "./run.js";
import { NONE, VIEW_KEYS, correct, readAddress, shownModels, state, subscribe } from "./state.js";
import { View } from "./view.js";
/** @import { Model } from "./model.js" */
/** @import { ImageNumbers } from "./numbers.js" */
/** @import { Offer } from "./types.js" */

const gallery = new Gallery(byId("gallery", HTMLElement));
const views = ["First view", "Second view"].map((name, number) => new View(name, VIEW_KEYS[number]));
const status = byId("status", HTMLParagraphElement);
let drawings = 0;

/** Draw the state, unless another drawing starts in the meantime. */
async function render() {
  const drawing = ++drawings;
  try {
    const first = await loadModel(state.model);
    correctForModel(first);
    const images = await Promise.all(shownModels().map(shownImage));
    if (drawing === drawings) draw(offerOf(first, images));
  } catch (error) {
    status.classList.add("error");
    status.textContent = messageOf(error);
  }
}

/**
 * Return the numbers of the image in a model, with those that only the open tab shows.
 * @param {string} name
 */
async function shownImage(name) {
  const model = await loadModel(name);
  const image = await loadImage(model, state.image);
  if (state.tab === headsTab.name && model.attribution) await loadTerms(image);
  return image;
}

/**
 * Correct the parts of the state that the first view's model cannot show.
 * @param {Model} first
 */
function correctForModel(first) {
  if (!first.places.has(state.image)) correct({ image: first.start });
  if (state.block === NONE) correct({ block: first.series.jump(first.place(state.image)) + 1 });
  if (state.block < 1 || state.block > first.depth) correct({ block: first.depth });
  if (!besideOptions().some(([name]) => name === state.second)) correct({ second: "" });
}

/**
 * Return the conditions and sites that all views have, and correct the chosen ones if they are not among them.
 * @param {Model} first
 * @param {ImageNumbers[]} images
 * @returns {Offer}
 */
function offerOf(first, images) {
  const conditions = first.conditions.filter((name) => images.every(({ model }) => model.conditions.includes(name)));
  const sites = Object.keys(SITES).filter((name) => images.every(({ model }) => model.sites.includes(name)));
  if (!conditions.includes(state.condition)) correct({ condition: "none" });
  if (!sites.includes(state.site)) correct({ site: RESIDUAL_STREAM });
  return { first, images, conditions, sites };
}

/** @param {Offer} offer */
function draw(offer) {
  const { first, images } = offer;
  renderControls(offer);
  renderWarnings();
  renderTheme();
  gallery.render(first);
  const logits = sharedRange(images.map((image, number) => [state[VIEW_KEYS[number].colour], image]));
  const current = views.slice(0, images.length);
  current.forEach((view, number) => view.render(images[number], first, logits));
  const place = byId("views", HTMLElement);
  place.classList.toggle("two", current.length > 1);
  place.hidden = state.page === "images";
  if (place.childElementCount !== current.length) place.replaceChildren(...current.map((view) => view.root));
  status.classList.remove("error");
  status.textContent = [...new Set(current.map((view) => view.summary))].join(" ");
}

/** Show the run's warnings about the shown models and their data sets. */
function renderWarnings() {
  const models = shownModels().map(namedModel);
  const shown = RUN.warnings.filter((warning) => models.some(({ name, dataset }) => warning.model === name || warning.dataset === dataset));
  const list = byId("warnings", HTMLUListElement);
  list.hidden = shown.length === 0;
  list.replaceChildren(...shown.map(({ about, message }) => h("li", {}, h("strong", {}, `${about}: `), message)));
}

document.title = `classlens explorer, ${RUN.run}`;
byId("run", HTMLSpanElement).textContent = RUN.run;
listen();
offerToSave(byId("share", HTMLDivElement), () => views.slice(0, shownModels().length));
listenToKeys(byId("views", HTMLElement));
subscribe(render);
window.addEventListener("hashchange", readAddress);
readAddress();
