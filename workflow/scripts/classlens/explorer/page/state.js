// What is shown, all of it in the address: a link brings somebody else to the same view.

import { RESIDUAL_STREAM, RUN, SITES } from "./run.js";
/** @import { State, ViewKeys } from "./types.js" */

/** @type {State} */
const DEFAULTS = {
  model: RUN.models[0].name,
  image: 0,
  site: RESIDUAL_STREAM,
  block: 0,
  token: 0,
  condition: "none",
  colour: "identifiability",
  map: "true",
  second: "",
  colour2: "rival",
  map2: "rival",
  threshold: 0,
  strength: 55,
  labels: 1,
  outline: 1,
};
/** @type {ViewKeys[]} */
export const VIEW_KEYS = [{ colour: "colour", map: "map" }, { colour: "colour2", map: "map2" }];

const current = { ...DEFAULTS };
/**
 * What is shown now; only the functions of this module change it.
 * @type {Readonly<State>}
 */
export const state = current;

/** @type {(() => void)[]} */
const subscribers = [];

/**
 * Call a function after each change of what is shown.
 * @param {() => void} subscriber
 */
export function subscribe(subscriber) {
  subscribers.push(subscriber);
}

/**
 * Change what is shown, and tell all subscribers.
 * @param {Partial<Record<keyof State, string | number>>} changes
 */
export function change(changes) {
  Object.assign(current, changes);
  writeAddress();
  announce();
}

/**
 * Replace what cannot be shown. Subscribers are not told: one of them does this, before it draws.
 * @param {Partial<State>} corrections
 */
export function correct(corrections) {
  Object.assign(current, corrections);
}

/** Take over what the address says, with the default for all that it does not say or says wrongly, and tell all subscribers. */
export function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const values = Object.entries(DEFAULTS).map(([key, usual]) => [key, valueSaid(said.get(key), usual)]);
  Object.assign(current, Object.fromEntries(values));
  const isModel = (/** @type {string} */ name) => RUN.models.some((model) => model.name === name);
  if (!isModel(state.model)) current.model = DEFAULTS.model;
  if (!isModel(state.second)) current.second = "";
  if (!(state.site in SITES)) current.site = DEFAULTS.site;
  announce();
}

/**
 * @param {string | null} text
 * @param {string | number} usual
 */
function valueSaid(text, usual) {
  if (text === null) return usual;
  if (typeof usual === "string") return text;
  const number = Number(text);
  return Number.isInteger(number) && number >= 0 ? number : usual;
}

/** Write what is shown into the address. */
export function writeAddress() {
  const usual = new Map(Object.entries(DEFAULTS));
  const said = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value !== usual.get(key)) said.set(key, String(value));
  history.replaceState(null, "", `#${said}`);
}

/** Return the names of the models side by side, one per view. */
export function shownModels() {
  return state.second ? [state.model, state.second] : [state.model];
}

function announce() {
  for (const subscriber of subscribers) subscriber();
}
