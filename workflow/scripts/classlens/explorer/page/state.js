// The state of the page. The address holds all of it, so a link opens the same view and the Back button returns to the one before.

import { RESIDUAL_STREAM, RUN, SITES } from "./run.js";
/** @import { Changes, State, ViewKeys } from "./types.js" */

/** Stands for the image or block that tells most. */
export const NONE = -1;
/** @type {State} */
const DEFAULTS = {
  model: RUN.models[0].name,
  image: NONE,
  site: RESIDUAL_STREAM,
  block: NONE,
  token: 0,
  condition: "none",
  colour: "identifiability",
  map: "true",
  second: "",
  colour2: "identifiability",
  map2: "true",
  component: "",
  component2: "",
  threshold: 0,
  strength: 55,
  labels: "differing",
  outline: 1,
  tab: "token",
  method: "ours",
  theme: "",
  page: "image",
  find: "",
  class: "",
  output: "all",
  order: "given",
};
/** @type {ViewKeys[]} */
export const VIEW_KEYS = [
  { colour: "colour", map: "map", component: "component" },
  { colour: "colour2", map: "map2", component: "component2" },
];

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
 * Change the state, and call all subscribers. Each change is a step to which the Back button returns.
 * @param {Changes} changes
 * @param {object} options
 * @param {boolean} [options.isPassing] whether the change is one of many, such as a move of a slider, and no step of its own
 */
export function change(changes, { isPassing = false } = {}) {
  Object.assign(current, changes);
  const address = addressOf({});
  if (isPassing) history.replaceState(null, "", address);
  else if (address !== location.hash) history.pushState(null, "", address);
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

/**
 * Return the address of the current state with some changes.
 * @param {Changes} changes
 */
export function addressOf(changes) {
  const usual = new Map(Object.entries(DEFAULTS));
  const said = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...state, ...changes })) if (value !== usual.get(key)) said.set(key, String(value));
  return `#${said}`;
}

/** Return the names of the shown models, one per view. */
export function shownModels() {
  return state.second ? [state.model, state.second] : [state.model];
}

function announce() {
  for (const subscriber of subscribers) subscriber();
}
