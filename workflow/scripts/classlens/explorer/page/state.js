// What is shown, all of it in the address: a link brings somebody else to the same view.

const SITES = { resid_post: "residual stream", attn_out: "attention", mlp_out: "MLP" };
const CONDITIONS = {
  none: "undisturbed",
  self_only: "image tokens attend to themselves only",
  no_cls: "no attention to [CLS]",
  without_context: "context removed",
  without_class: "object removed",
};
const METHODS = {
  ours: "class projection (ours)",
  chefer: "Chefer et al.",
  rollout: "attention rollout",
  last_attention: "last attention",
  probe: "linear probes",
  random: "random",
};
const FOR_ANY_CLASS = ["rollout", "last_attention", "random"];

// Blocks are counted from 1 here, as everywhere where people see them. `second` is the second view's model, `""` for none.
const DEFAULTS = {
  model: RUN.models[0].name, image: 0, site: "resid_post", block: 0, token: 0, condition: "none", colour: "identifiability", map: "true",
  second: "", colour2: "rival", map2: "rival", threshold: 0, strength: 55, labels: 1, outline: 1,
};
const state = { ...DEFAULTS };

/** Take over what an address says; anything that it does not know, or says wrongly, stays as it is by default. */
function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const [key, usual] of Object.entries(DEFAULTS)) {
    const value = said.get(key);
    const number = Number(value);
    if (value === null) state[key] = usual;
    else if (typeof usual === "number") state[key] = Number.isInteger(number) && number >= 0 ? number : usual;
    else state[key] = value;
  }
  const isModel = (name) => RUN.models.some((model) => model.name === name);
  if (!isModel(state.model)) state.model = DEFAULTS.model;
  if (!isModel(state.second)) state.second = "";
  if (!(state.site in SITES)) state.site = DEFAULTS.site;
}

function writeAddress() {
  const said = new URLSearchParams();
  for (const [key, usual] of Object.entries(DEFAULTS)) if (state[key] !== usual) said.set(key, state[key]);
  history.replaceState(null, "", `#${said}`);
}

/** The views side by side: model, and which class colours patches and maps. */
function views() {
  const first = { model: state.model, colour: "colour", map: "map" };
  return state.second ? [first, { model: state.second, colour: "colour2", map: "map2" }] : [first];
}

/** Change what is shown. */
function change(changes) {
  Object.assign(state, changes);
  writeAddress();
  return render();
}

/** The class that a choice of colour or map means for an image: `true`, `rival` (the likeliest besides it), or an index. */
function chosenClass(choice, image) {
  if (choice === "true" || choice === "identifiability") return image.own;
  if (choice === "rival") return image.rival;
  const index = Number(choice);
  return Number.isInteger(index) && index >= 0 && index < image.model.classes.length ? index : image.own;
}
