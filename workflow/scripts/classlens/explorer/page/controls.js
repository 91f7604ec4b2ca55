// The controls above the views: their options, and the effects of a choice.

import { byId, fillSelect, h } from "./dom.js";
import { CONDITIONS, RESIDUAL_STREAM, RUN, SITES, modelOptions, namedModel } from "./run.js";
import { change, state, writeAddress } from "./state.js";
/** @import { Offer, Option } from "./types.js" */

const model = byId("model", HTMLSelectElement);
const beside = byId("beside", HTMLSelectElement);
const condition = byId("condition", HTMLSelectElement);
const site = byId("site", HTMLFieldSetElement);
const block = byId("block", HTMLInputElement);
const strength = byId("strength", HTMLInputElement);
const labels = byId("labels", HTMLInputElement);
const outline = byId("outline", HTMLInputElement);
const theme = byId("theme", HTMLButtonElement);

/** Let each control change the state. */
export function listen() {
  for (const [value, text] of Object.entries(SITES)) {
    const radio = h("input", { type: "radio", name: "site", value, change: () => change({ site: value }) });
    site.append(h("label", {}, radio, ` ${text}`));
  }
  model.addEventListener("change", () => chooseModel(model.value));
  beside.addEventListener("change", () => chooseSecond(beside.value));
  condition.addEventListener("change", () => change({ condition: condition.value }));
  block.addEventListener("input", () => change({ block: Number(block.value) }));
  strength.addEventListener("input", () => change({ strength: Number(strength.value) }));
  labels.addEventListener("change", () => change({ labels: Number(labels.checked) }));
  outline.addEventListener("change", () => change({ outline: Number(outline.checked) }));
  byId("link", HTMLButtonElement).addEventListener("click", copyLink);
  theme.addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

/**
 * Show the options and the current choices in the controls.
 * @param {Offer} offer
 */
export function renderControls({ first, images, conditions, sites }) {
  const isPerturbed = state.condition !== "none";
  fillSelect(model, modelOptions(RUN.models), state.model);
  fillSelect(beside, besideOptions(), state.second);
  fillSelect(condition, conditions.map((name) => [name, CONDITIONS[name] ?? name]), state.condition);
  byId("condition-label", HTMLLabelElement).hidden = conditions.length < 2;
  renderSites(sites, isPerturbed);
  renderBlock(first.depth, isPerturbed);
  strength.value = String(state.strength);
  labels.checked = state.labels === 1;
  outline.checked = state.outline === 1;
  byId("outline-label", HTMLLabelElement).hidden = !images.some((image) => image.outline);
}

/**
 * @param {string[]} sites
 * @param {boolean} isPerturbed
 */
function renderSites(sites, isPerturbed) {
  site.disabled = isPerturbed;
  for (const radio of site.querySelectorAll("input")) {
    radio.checked = radio.value === (isPerturbed ? RESIDUAL_STREAM : state.site);
    radio.disabled = !sites.includes(radio.value);
  }
}

/**
 * @param {number} depth
 * @param {boolean} isPerturbed
 */
function renderBlock(depth, isPerturbed) {
  block.disabled = isPerturbed;
  block.max = String(depth);
  block.value = String(isPerturbed ? depth : state.block);
  byId("block-number", HTMLOutputElement).textContent = `${block.value} of ${depth}`;
}

/**
 * Return the options for the second view: nothing, another class of the same model, or another model on the same images.
 * @returns {Option[]}
 */
export function besideOptions() {
  const { dataset } = namedModel(state.model);
  const others = RUN.models.filter((other) => other.dataset === dataset && other.name !== state.model);
  return [["", "nothing"], [state.model, "the same model, another class"], ...modelOptions(others)];
}

/**
 * Choose another model; if both views show one model with two classes, change the model of both.
 * @param {string} name
 */
function chooseModel(name) {
  const second = state.second === name ? "" : state.second;
  change({ model: name, second: state.second === state.model ? name : second });
}

/**
 * Show a second model with the colours and maps of the first view, or the same model with those of another class.
 * @param {string} second
 */
function chooseSecond(second) {
  if (second !== state.model) {
    change({ second, colour2: state.colour, map2: state.map });
    return;
  }
  const colour = state.colour === "identifiability" ? "true" : state.colour;
  change({ second, colour, colour2: "rival", map2: "rival" });
}

/** @param {string} name */
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = name === "dark" ? "Light colours" : "Dark colours";
}

async function copyLink() {
  writeAddress();
  const status = byId("status", HTMLParagraphElement);
  try {
    await navigator.clipboard.writeText(location.href);
    status.textContent = "The link was copied.";
  } catch {
    status.textContent = `Copy the address of this page: ${location.href}`;
  }
}
