// The state of the page. The address holds all of it, so a link opens the same view.

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
 * The current state; only the functions of this module change it.
 * @type {Readonly<State>}
 */
export const state = current;

/** @type {(() => void)[]} */
const subscribers = [];

/**
 * Call a function after each change of the state.
 * @param {() => void} subscriber
 */
export function subscribe(subscriber) {
  subscribers.push(subscriber);
}

/**
 * Change the state, and call all subscribers.
 * @param {Partial<Record<keyof State, string | number>>} changes
 */
export function change(changes) {
  Object.assign(current, changes);
  writeAddress();
  announce();
}

/**
 * Correct values that cannot be shown. This calls no subscribers, because a subscriber itself makes the corrections before it draws.
 * @param {Partial<State>} corrections
 */
export function correct(corrections) {
  Object.assign(current, corrections);
}

/** Read the state from the address, with defaults for missing and invalid values, and call all subscribers. */
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

/** Write the state into the address. */
export function writeAddress() {
  const usual = new Map(Object.entries(DEFAULTS));
  const said = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value !== usual.get(key)) said.set(key, String(value));
  history.replaceState(null, "", `#${said}`);
}

/** Return the names of the shown models, one per view. */
export function shownModels() {
  return state.second ? [state.model, state.second] : [state.model];
}

function announce() {
  for (const subscriber of subscribers) subscriber();
}
