// The controls above the views: their options, and the effects of a choice.

import { byId, fillSelect } from "./dom.js";
import { CONDITIONS, RESIDUAL_STREAM, RUN, SITES, modelOptions, namedModel } from "./run.js";
import { change, state } from "./state.js";
/** @import { Offer, Option } from "./types.js" */

const model = byId("model", HTMLSelectElement);
const beside = byId("beside", HTMLSelectElement);
const condition = byId("condition", HTMLSelectElement);
const site = byId("site", HTMLSelectElement);
const strength = byId("strength", HTMLInputElement);
const labels = byId("labels", HTMLSelectElement);
const outline = byId("outline", HTMLInputElement);
const theme = byId("theme", HTMLSelectElement);
const menu = byId("view-menu", HTMLDetailsElement);
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

/** @type {Option[]} */
const LABELS = [["differing", "where they differ"], ["all", "on all patches"], ["none", "none"]];
/** @type {Option[]} */
const THEMES = [["", "as the system"], ["light", "light"], ["dark", "dark"]];

/** Let each control change the state. */
export function listen() {
  model.addEventListener("change", () => chooseModel(model.value));
  beside.addEventListener("change", () => chooseSecond(beside.value));
  condition.addEventListener("change", () => change({ condition: condition.value }));
  site.addEventListener("change", () => change({ site: site.value }));
  strength.addEventListener("input", () => change({ strength: Number(strength.value) }, { isPassing: true }));
  labels.addEventListener("change", () => change({ labels: labels.value }));
  outline.addEventListener("change", () => change({ outline: Number(outline.checked) }));
  theme.addEventListener("change", () => change({ theme: theme.value }));
  systemIsDark.addEventListener("change", renderTheme);
  byId("link", HTMLButtonElement).addEventListener("click", copyLink);
  byId("skip", HTMLAnchorElement).addEventListener("click", skip);
  menu.addEventListener("keydown", (event) => event.key === "Escape" && closeMenu());
  document.addEventListener("click", (event) => event.target instanceof Node && !menu.contains(event.target) && (menu.open = false));
}

/**
 * Show the options and the current choices in the controls.
 * @param {Offer} offer
 */
export function renderControls({ images, conditions, sites }) {
  const isPerturbed = state.condition !== "none";
  fillSelect(model, modelOptions(RUN.models), state.model);
  fillSelect(beside, besideOptions(), state.second);
  fillSelect(condition, conditions.map((name) => [name, CONDITIONS[name] ?? name]), state.condition);
  byId("condition-label", HTMLLabelElement).hidden = conditions.length < 2;
  fillSelect(site, sites.map((name) => [name, SITES[name]]), isPerturbed ? RESIDUAL_STREAM : state.site);
  site.disabled = isPerturbed || sites.length < 2;
  fillSelect(labels, LABELS, state.labels);
  fillSelect(theme, THEMES, state.theme);
  strength.value = String(state.strength);
  outline.checked = state.outline === 1;
  byId("outline-label", HTMLLabelElement).hidden = !images.some((image) => image.outline);
}

/**
 * Return the options for the second view: nothing, another class of the same model, or another model on the same images.
 * @returns {Option[]}
 */
export function besideOptions() {
  const { dataset } = namedModel(state.model);
  const others = RUN.models.filter((other) => other.dataset === dataset && other.name !== state.model);
  return [["", "nothing"], [state.model, "another class"], ...modelOptions(others)];
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
    change({ second, colour2: state.colour, map2: state.map, component2: "" });
    return;
  }
  const colour = state.colour === "identifiability" ? "true" : state.colour;
  change({ second, colour, colour2: "rival", map2: "rival", component2: state.component });
}

/** Show the page in the chosen colours, or in those of the system. */
export function renderTheme() {
  const isKnown = THEMES.some(([name]) => name === state.theme);
  const usual = systemIsDark.matches ? "dark" : "light";
  document.documentElement.dataset.theme = (isKnown && state.theme) || usual;
}

function closeMenu() {
  menu.open = false;
  menu.querySelector("summary")?.focus();
}

/**
 * Move to the chosen token; the address stays the same.
 * @param {Event} event
 */
function skip(event) {
  event.preventDefault();
  /** @type {HTMLElement | null} */ (document.querySelector("[role=gridcell][tabindex='0']"))?.focus();
}

async function copyLink() {
  const status = byId("status", HTMLParagraphElement);
  try {
    await navigator.clipboard.writeText(location.href);
    status.textContent = "The link was copied.";
  } catch {
    status.textContent = `Copy the address of this page: ${location.href}`;
  }
}
