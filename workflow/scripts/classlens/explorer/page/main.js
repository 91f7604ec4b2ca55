// The page: what surrounds the views, and drawing everything anew when something is chosen.

const gallery = new Gallery(byId("gallery"));
const shownViews = [new View({ view: "First view", colour: "colour", map: "map" }), new View({ view: "Second view", colour: "colour2", map: "map2" })];
let turns = 0;

/** Draw what the state says; a drawing that was overtaken by another is given up. */
async function render() {
  const turn = ++turns;
  try {
    const first = await loadModel(state.model);
    if (!first.place.has(state.image)) state.image = first.images.id[0];
    if (state.block < 1 || state.block > first.depth) state.block = first.depth;
    if (!besideChoices().some(([name]) => name === state.second)) state.second = "";
    const images = await Promise.all(views().map(async ({ model }) => loadImage(await loadModel(model), state.image)));
    if (turn !== turns) return;
    const conditions = first.conditions.filter((name) => images.every(({ model }) => model.conditions.includes(name)));
    if (!conditions.includes(state.condition)) state.condition = "none";
    const sites = Object.keys(SITES).filter((name) => images.every(({ model }) => model.sites.includes(name)));
    if (!sites.includes(state.site)) state.site = DEFAULTS.site;
    renderControls(first, images, conditions, sites);
    renderWarnings();
    gallery.render(first);
    const current = shownViews.slice(0, images.length);
    const logits = sharedRange(views().map(({ colour }, number) => [state[colour], images[number]]));
    current.forEach((view, number) => view.render(images[number], first, logits));
    byId("views").classList.toggle("two", current.length > 1);
    if (byId("views").childElementCount !== current.length) byId("views").replaceChildren(...current.map((view) => view.root));
    byId("status").classList.remove("error");
    byId("status").textContent = [...new Set(current.map((view) => view.summary))].join(" ");
  } catch (error) {
    byId("status").classList.add("error");
    byId("status").textContent = error.message;
  }
}

const labelOf = (model) => (RUN.models.filter((other) => other.label === model.label).length > 1 ? `${model.label} (${model.name})` : model.label);

/** What may stand beside the first view: nothing, another class of the same model, or another model on the same images. */
function besideChoices() {
  const { dataset } = RUN.models.find((model) => model.name === state.model);
  const others = RUN.models.filter((model) => model.dataset === dataset && model.name !== state.model);
  return [["", "nothing"], [state.model, "the same model, another class"], ...others.map((model) => [model.name, labelOf(model)])];
}

/** Show what is odd about the shown models and their images. */
function renderWarnings() {
  const shown = views().map(({ model }) => RUN.models.find((other) => other.name === model));
  const mine = RUN.warnings.filter((warning) => shown.some((model) => warning.model === model.name || warning.dataset === model.dataset));
  byId("warnings").hidden = mine.length === 0;
  byId("warnings").replaceChildren(...mine.map(({ about, message }) => h("li", {}, h("strong", {}, `${about}: `), message)));
}

/** @param conditions and sites that all views have. */
function renderControls(first, images, conditions, sites) {
  const isPerturbed = state.condition !== "none";
  fillSelect(byId("model"), RUN.models.map((model) => [model.name, labelOf(model)]), state.model);
  fillSelect(byId("beside"), besideChoices(), state.second);
  fillSelect(byId("condition"), conditions.map((name) => [name, CONDITIONS[name] ?? name]), state.condition);
  byId("condition-label").hidden = conditions.length < 2;
  byId("site").disabled = isPerturbed;
  byId("block").disabled = isPerturbed;
  byId("block").max = first.depth;
  byId("block").value = isPerturbed ? first.depth : state.block;
  byId("controls").querySelector("output").textContent = `${byId("block").value} of ${first.depth}`;
  for (const radio of byId("site").querySelectorAll("input")) {
    radio.checked = radio.value === (isPerturbed ? "resid_post" : state.site);
    radio.disabled = !sites.includes(radio.value);
  }
  byId("strength").value = state.strength;
  byId("labels").checked = state.labels === 1;
  byId("outline").checked = state.outline === 1;
  byId("outline-label").hidden = !images.some((image) => image.outline);
}

/** Take another model, and its own second class where two classes are compared. */
function chooseModel(name) {
  change({ model: name, second: state.second === state.model ? name : state.second === name ? "" : state.second });
}

/** Put a model beside the first with the same colours and maps, or the same model with those of another class. */
function chooseSecond(second) {
  if (second !== state.model) return change({ second, colour2: state.colour, map2: state.map });
  const colour = state.colour === "identifiability" ? "true" : state.colour;
  return change({ second, colour, colour2: "rival", map2: "rival" });
}

function start() {
  document.title = `classlens explorer, ${RUN.run}`;
  byId("run").textContent = RUN.run;
  for (const [site, text] of Object.entries(SITES)) {
    byId("site").append(h("label", {}, h("input", { type: "radio", name: "site", value: site, change: () => change({ site }) }), ` ${text}`));
  }
  byId("model").addEventListener("change", (event) => chooseModel(event.target.value));
  byId("beside").addEventListener("change", (event) => chooseSecond(event.target.value));
  byId("condition").addEventListener("change", (event) => change({ condition: event.target.value }));
  for (const name of ["block", "strength"]) byId(name).addEventListener("input", (event) => change({ [name]: Number(event.target.value) }));
  for (const name of ["labels", "outline"]) byId(name).addEventListener("change", (event) => change({ [name]: Number(event.target.checked) }));
  byId("link").addEventListener("click", copyLink);
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  window.addEventListener("hashchange", () => (readAddress(), render()));
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  byId("gallery").open = matchMedia("(min-width: 60rem)").matches;
  readAddress();
  render();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light colours" : "Dark colours";
}

async function copyLink() {
  writeAddress();
  try {
    await navigator.clipboard.writeText(location.href);
    byId("status").textContent = "The link was copied.";
  } catch {
    byId("status").textContent = `Copy the address of this page: ${location.href}`;
  }
}

start();
