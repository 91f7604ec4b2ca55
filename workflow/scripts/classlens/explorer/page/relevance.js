// Relevance maps of every method, side by side, for one class.

class Relevance {
  constructor(root, map) {
    this.map = map;
    this.choice = h("select", { change: () => change({ [map]: this.choice.value }) });
    this.threshold = h("input", { type: "range", min: 0, max: 100, step: 1, input: () => change({ threshold: Number(this.threshold.value) }) });
    this.level = h("output");
    this.cards = h("div", { class: "cards" });
    this.missing = h("p");
    this.root = root;
    root.append(
      h("h3", {}, "Relevance maps"),
      h("p", {}, h("label", {}, "For class ", this.choice), " ", h("label", { class: "wide" }, "Only patches above ", this.threshold, " ", this.level)),
      this.cards, this.missing,
    );
  }

  render(image) {
    this.root.hidden = image.maps.length === 0;
    const maps = image.maps;
    const classes = [...new Set(maps.map((map) => map.index))];
    const wanted = chosenClass(state[this.map], image);
    const index = classes.includes(wanted) ? wanted : image.own;
    fillSelect(this.choice, classes.map((known) => [String(known), className(known, image)]), String(index));
    this.threshold.value = state.threshold;
    this.level.textContent = state.threshold ? `${state.threshold} % of the largest` : "no threshold";
    const mapOf = (method) => maps.find((map) => map.method === method && (map.index === index || FOR_ANY_CLASS.includes(method)));
    const missing = image.model.methods.filter((method) => !mapOf(method)).map((method) => METHODS[method]);
    this.cards.replaceChildren(...image.model.methods.map(mapOf).filter((map) => map).map((map) => mapCard(map, image)));
    this.missing.hidden = missing.length === 0;
    this.missing.textContent = `Only for the true class: ${missing.join(", ")}.`;
  }
}

const ROLES = [
  ["true class", (index, image) => index === image.own],
  ["output", (index, image) => index === image.predicted],
  ["rival", (index, image) => index === image.rival && index !== image.predicted],
];

/** A class's name with what it is to the image. */
function className(index, image) {
  const roles = ROLES.filter(([, holds]) => holds(index, image)).map(([text]) => text);
  return image.model.classes[index] + (roles.length ? ` (${roles.join(", ")})` : "");
}

function mapCard(map, image) {
  const { model } = image;
  const { method } = map;
  const values = method === "probe" ? aboveLeast(map.values) : map.values;
  const largest = Math.max(...values.map(Math.abs)) || 1;
  const isKept = (value) => state.threshold === 0 || value >= (state.threshold / 100) * Math.max(...values);
  const cells = [...values].map((value, patch) => {
    const strength = isKept(value) ? Math.abs(value) / largest : 0;
    return svg("rect", {
      x: patch % model.columns, y: Math.floor(patch / model.columns), width: 1, height: 1,
      fill: rgb(diverging(value < 0 ? -1 : 1)), "fill-opacity": (0.85 * strength).toFixed(3),
    });
  });
  const overlay = svg("svg", { viewBox: `0 0 ${model.columns} ${model.rows}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...cells);
  const outline = svg("svg", { class: "outline", "aria-hidden": "true", preserveAspectRatio: "none" });
  renderOutline(outline, image);
  const best = model.tokenName(model.prefix + values.indexOf(Math.max(...values)));
  const photograph = model.photograph(image.id);
  const picture = h(
    "div", { class: "map", role: "img", "aria-label": `${METHODS[method]}: most relevant is the ${best}`, style: photograph ? `background-image: url("${photograph}")` : "" },
    overlay, outline,
  );
  const notes = [FOR_ANY_CLASS.includes(method) ? "the same for every class" : null, onObject(values, isKept, image)].filter((note) => note);
  return h("figure", {}, picture, h("figcaption", {}, METHODS[method], ...notes.flatMap((note) => [h("br"), h("small", {}, note)])));
}

/** Ranks of probes are worse or better, not for or against: their maps begin at the least relevant patch. */
function aboveLeast(values) {
  const least = Math.min(...values);
  return values.map((value) => value - least);
}

/** How much of what is kept of a map lies on the object: of patches above the threshold, or else of positive relevance. */
function onObject(values, isKept, image) {
  const share = image.arrays.class_fraction;
  if (!share) return null;
  const weight = (value) => (state.threshold ? Number(isKept(value)) : Math.max(value, 0));
  const [on, all] = values.reduce(([on, all], value, patch) => [on + weight(value) * share[patch], all + weight(value)], [0, 0]);
  if (!all) return null;
  return `${Math.round((100 * on) / all)} % of ${state.threshold ? "these patches" : "positive relevance"} on the object`;
}
