// The image with its patches: colours, names of classes, and which token is chosen.

/** What a choice of colour shows of tokens: a token's value, what that is, and its chance level, which only identifiability has. */
function measure(choice, image) {
  if (choice === "identifiability") {
    const value = (site, block, token) => image.identifiability(site, block, token);
    return { value, name: `identifiability of ${image.model.classes[image.own]}`, chance: image.model.chance };
  }
  const index = chosenClass(choice, image);
  const value = (site, block, token) => image.logit(index, site, block, token);
  return { value, name: `logit of ${image.model.classes[index]}`, chance: null };
}

/** The same under a condition. */
function perturbedMeasure(image) {
  const value = (_site, _block, token) => {
    const rank = image.perturbedRank(state.condition, token);
    return rank < 0 ? null : 1 - rank / image.model.classes.length;
  };
  const name = `identifiability of ${image.model.classes[image.own]}, ${CONDITIONS[state.condition]}`;
  return { value, name, chance: image.model.chance };
}

/** Ends of the scale of logits: one for all views that show logits, so that their colours can be compared. */
function sharedRange(shown) {
  const ranges = shown.filter(([choice]) => choice !== "identifiability").map(([choice, image]) => logitRange(image, chosenClass(choice, image), state.site));
  const [low, high] = [Math.min(...ranges.map((range) => range[0])), Math.max(...ranges.map((range) => range[1]))];
  return low <= high ? [low, high] : [0, 0];
}

/** Smallest and largest logit of a class over all blocks and tokens of a site, so that colours can be compared between blocks; infinite where none is known. */
function logitRange(image, index, site) {
  const key = `${index} ${site}`;
  image.ranges ??= new Map();
  if (!image.ranges.has(key)) {
    let [low, high] = [Infinity, -Infinity];
    for (let block = 0; block < image.model.depth; block++) {
      for (let token = 0; token < image.model.tokens; token++) {
        const logit = image.logit(index, site, block, token);
        if (logit !== null) [low, high] = [Math.min(low, logit), Math.max(high, logit)];
      }
    }
    image.ranges.set(key, [low, high]);
  }
  return image.ranges.get(key);
}

class Patches {
  /** @param {function(number)} looked is called with a token that is pointed at, and with null where none is. */
  constructor(root, looked) {
    this.grid = h("div", {
      role: "grid", class: "stage", keydown: (event) => this.key(event), pointerleave: () => looked(null),
      pointerover: (event) => looked(this.tokenOf(event.target)), click: (event) => this.choose(this.tokenOf(event.target)),
    });
    this.legend = h("p", { class: "legend" });
    root.append(this.grid, this.legend);
  }

  tokenOf(element) {
    const cell = element.closest("[data-token]");
    return cell ? Number(cell.dataset.token) : null;
  }

  /** Choose a token of this model; tokens in the address are those of the first view's. */
  choose(token) {
    if (token !== null) change({ token: this.first.tokenLike(this.model, token) });
  }

  key(event) {
    const cell = event.target.closest("[data-token]");
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity] };
    if (!cell || !(event.key in steps)) return;
    event.preventDefault();
    const row = this.cells.findIndex((cells) => cells.includes(cell));
    const [down, right] = steps[event.key];
    const cells = this.cells[Math.min(Math.max(row + down, 0), this.cells.length - 1)];
    const target = cells[Math.min(Math.max(this.cells[row].indexOf(cell) + right, 0), cells.length - 1)];
    target.focus();
    this.choose(Number(target.dataset.token));
  }

  /** Make the cells of a model: a row of prefix tokens, where it has any, and the rows of patches. */
  build(model) {
    const cell = (token) => h("div", { role: "gridcell", "data-token": token, tabindex: -1 }, h("span", {}));
    const cells = (start, count) => Array.from({ length: count }, (_, column) => cell(start + column));
    const rows = Array.from({ length: model.rows }, (_, row) => cells(model.prefix + row * model.columns, model.columns));
    const prefix = cells(0, model.prefix);
    prefix.forEach((element, token) => (element.dataset.name = model.tokenName(token)));
    this.cells = prefix.length ? [prefix, ...rows] : rows;
    this.outline = svg("svg", { class: "outline", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.photograph = h("div", { role: "rowgroup", class: "photograph" }, ...rows.map((row) => h("div", { role: "row" }, ...row)), this.outline);
    const beside = prefix.length ? h("div", { role: "row", class: "prefix" }, ...prefix) : null;
    this.grid.replaceChildren(...[beside, this.photograph].filter((part) => part));
    this.grid.style.setProperty("--columns", model.columns);
  }

  render(choice, image, first, site, block, chosen, logits) {
    const { model } = image;
    if (this.model !== model) this.build(model);
    [this.model, this.first] = [model, first];
    const photograph = model.photograph(image.id);
    this.photograph.style.backgroundImage = photograph ? `url("${photograph}")` : "none";
    this.grid.setAttribute("aria-label", `Tokens of ${image.path}, ${model.label}`);
    const shown = state.condition === "none" ? measure(choice, image) : perturbedMeasure(image);
    const range = shown.chance === null ? logits : [0, 1];
    for (const cell of this.cells.flat()) this.renderCell(cell, image, shown, range, site, block, chosen);
    renderOutline(this.outline, image);
    this.legend.replaceChildren(`Colour: ${shown.name}`, legend(range, shown.chance));
  }

  renderCell(cell, image, shown, [low, high], site, block, chosen) {
    const token = Number(cell.dataset.token);
    const value = shown.value(site, block, token);
    const [text, said] = this.caption(image, shown, site, block, token);
    const colour = value === null ? null : sequential((value - low) / (high - low || 1));
    const isTrue = this.isFirst(image, site, block, token);
    cell.className = `${value === null ? "unknown" : ""} ${isTrue ? "true" : ""}`.trim();
    cell.style.backgroundColor = colour && rgb(colour, image.model.photographs ? state.strength / 100 : 1);
    cell.style.setProperty("--patch", colour ? rgb(colour) : "#fff");
    cell.style.setProperty("--ink", colour ? ink(colour) : "#000");
    cell.firstChild.textContent = state.labels || token < image.model.prefix ? text : "";
    cell.setAttribute("aria-label", `${image.model.tokenName(token)}: ${said}`);
    cell.setAttribute("aria-selected", token === chosen);
    cell.tabIndex = token === chosen ? 0 : -1;
  }

  isFirst(image, site, block, token) {
    return (state.condition === "none" ? image.rank(site, block, token) : image.perturbedRank(state.condition, token)) === 0;
  }

  /** What stands on a token, and what is said of it. */
  caption(image, shown, site, block, token) {
    const value = shown.value(site, block, token);
    if (state.condition !== "none") {
      const missing = { [-1]: "removed", [-2]: "not run" }[image.perturbedRank(state.condition, token)];
      return missing ? [missing, missing] : [fixed(value), `${shown.name} ${fixed(value)}`];
    }
    const [best] = image.top(site, block, token);
    const name = image.model.classes[best.index];
    const known = value === null ? `${shown.name} is not among the largest` : `${shown.name} ${fixed(value)}`;
    return [name, `${name} has the largest logit, ${fixed(best.logit)}; ${known}`];
  }
}

/** Draw the outline of the object, where it is known and asked for. */
function renderOutline(element, image) {
  const outline = state.outline ? image.outline : null;
  element.replaceChildren();
  if (!outline) return;
  element.setAttribute("viewBox", `0 0 ${outline.width} ${outline.height}`);
  element.append(svg("path", { d: outline.path, class: "halo" }), svg("path", { d: outline.path, class: "line" }));
}
