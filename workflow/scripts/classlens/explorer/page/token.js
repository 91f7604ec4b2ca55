// One token: its largest classes, its path over blocks, its memories and what they write, and its ranks when something is cut or removed.

class Token {
  constructor(root, colour) {
    this.colour = colour;
    this.root = root;
  }

  render(choice, image, site, block, token) {
    const { model } = image;
    this.shown = [image, block, token].join();
    this.root.replaceChildren(
      h("h3", {}, capital(model.tokenName(token)) + (state.condition === "none" ? "" : ", undisturbed")),
      this.classes(image, site, block, token),
      ...this.path(choice, image, block, token),
      model.conditions.length > 1 ? this.conditions(image, token) : "",
      this.absent(model),
    );
    if (model.active) this.addMemories(image, block, token);
  }

  /** The classes with the largest logits, and the rank of the true one. */
  classes(image, site, block, token) {
    const { model } = image;
    const top = image.top(site, block, token);
    const logits = top.map((item) => item.logit);
    const [low, high] = [Math.min(0, ...logits), Math.max(0, ...logits)];
    const share = (value) => `${(100 * value) / (high - low || 1)}%`;
    const bar = (logit) => `margin-left: ${share(Math.min(0, logit) - low)}; width: ${share(Math.abs(logit))}`; // from 0, to either side
    const row = ({ index, logit }) =>
      h(
        "tr", { class: index === image.own ? "own" : false },
        h("th", { scope: "row" }, model.classes[index]), h("td", { class: "number" }, fixed(logit)),
        h("td", { class: "bar-cell" }, h("span", { style: bar(logit) })),
        h("td", {}, h("button", { type: "button", "aria-label": `Colour by ${model.classes[index]}`, click: () => change({ [this.colour]: String(index) }) }, "colour")),
      );
    const own = `${model.classes[image.own]}, the true class: rank ${image.rank(site, block, token)} (0 is first), logit ${fixed(image.logit(image.own, site, block, token))}, identifiability ${fixed(image.identifiability(site, block, token))}`;
    return h("div", {}, table(`Largest logits, ${SITES[site]} of block ${block + 1}`, ["class", "logit", "", ""], top.map(row)), h("p", {}, own));
  }

  /** The path of the token over blocks at every site, as lines and as numbers. */
  path(choice, image, block, token) {
    const shown = measure(choice, image);
    const blocks = Array.from({ length: image.model.depth }, (_, index) => index);
    const lines = image.model.sites.map((name) => [name, blocks.map((index) => shown.value(name, index, token))]);
    return [
      h("h4", {}, `Path over blocks: ${shown.name}`),
      pathChart(lines, block, shown),
      h("p", { class: "key" }, ...lines.map(([name]) => h("span", { class: `key-${name}` }, SITES[name])), shown.chance === null ? null : h("span", { class: "key-chance" }, "chance")),
      h(
        "details", { class: "numbers" }, h("summary", {}, "Numbers of the path"),
        table("", ["block", ...lines.map(([name]) => SITES[name])], blocks.map((index) =>
          h("tr", {}, h("th", { scope: "row" }, String(index + 1)), ...lines.map(([, values]) => h("td", { class: "number" }, values[index] === null ? "–" : fixed(values[index]))))),
        ),
      ),
    ];
  }

  conditions(image, token) {
    const row = (name) => {
      const rank = image.perturbedRank(name, token);
      const text = rank === -1 ? "removed" : rank === -2 ? "not run" : String(rank);
      const right = { 1: "right", 0: "wrong" }[image.perturbedRight(name)] ?? "–";
      return h("tr", {}, h("th", { scope: "row" }, CONDITIONS[name] ?? name), h("td", { class: "number" }, text), h("td", {}, right));
    };
    return table("Rank of the true class in the last block (0 is first)", ["condition", "rank", "output"], image.model.conditions.map(row));
  }

  /** What other models of a run may have, and this one has not: random twins have none of it. */
  absent(model) {
    const missing = [
      model.sites.length === Object.keys(SITES).length ? null : "what attention and the MLP add",
      model.conditions.length > 1 ? null : "ranks when attention is cut or tokens are removed", model.active ? null : "active memories", model.methods.length ? null : "relevance maps",
    ].filter((part) => part);
    return missing.length ? h("p", { class: "absent" }, `Not in these results for this model: ${missing.join(", ")}.`) : "";
  }

  /** The token's active memories with the classes that they write, once those are there. */
  async addMemories(image, block, token) {
    const asked = this.shown;
    const place = h("div", { class: "memories" }, h("p", {}, "Loading memories…"));
    this.root.append(place);
    try {
      const { arrays } = await loadMemories(image.model);
      if (asked === this.shown) place.replaceChildren(...image.model.layers.map((layer, number) => memoryTable(image, arrays[layer], number, block, token)));
    } catch (error) {
      place.replaceChildren(h("p", { class: "error" }, error.message));
    }
  }
}

function memoryTable(image, written, layer, block, token) {
  const [, memories, kept] = written.shape;
  const classes = (memory) => Array.from(written.subarray((block * memories + memory) * kept, (block * memories + memory + 1) * kept));
  const row = ({ memory, coefficient }) =>
    h(
      "tr", {}, h("th", { scope: "row" }, String(memory)), h("td", { class: "number" }, fixed(coefficient)),
      h("td", {}, ...classes(memory).flatMap((index, place) => [place ? ", " : "", h("span", { class: index === image.own ? "own" : false }, image.model.classes[index])])),
    );
  const name = { attn: "attention", mlp: "MLP" }[image.model.layers[layer]];
  return table(`Active memories, ${name} of block ${block + 1}`, ["memory", "coefficient", "writes"], image.memories(layer, block, token).map(row));
}

function table(caption, heads, rows) {
  return h(
    "table", {}, caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, ...heads.map((text) => (text ? h("th", { scope: "col" }, text) : h("td"))))), h("tbody", {}, ...rows),
  );
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** Lines of values over blocks, from one [site, values] each; null where a value is not known. */
function pathChart(lines, block, shown) {
  const [width, height, left, bottom, top] = [320, 170, 34, 20, 8];
  const values = lines.flatMap(([, line]) => line.filter((value) => value !== null));
  const isShare = shown.chance !== null;
  const [low, high] = isShare ? [0, 1] : [Math.min(0, ...values), Math.max(0, ...values)];
  const last = Math.max(lines[0][1].length - 1, 1);
  const x = (index) => left + ((width - left - 8) * index) / last;
  const y = (value) => height - bottom - ((height - bottom - top) * (value - low)) / (high - low || 1);
  const across = (value, kind) => svg("line", { class: kind, x1: left, x2: width - 8, y1: y(value), y2: y(value) });
  const label = (text, place) => svg("text", { "text-anchor": "middle", ...place }, text);
  const ends = lines.map(([name, line]) => `${SITES[name]} from ${shownValue(line[0])} to ${shownValue(line[line.length - 1])}`);
  return svg(
    "svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${shown.name} over blocks: ${ends.join(", ")}` },
    ...[low, high].map((value) => across(value, "axis")), isShare ? across(shown.chance, "chance") : null,
    ...(isShare ? [0, 0.5, 1] : [low, high]).map((value) => label(fixed(value, 1), { "text-anchor": "end", x: left - 5, y: y(value) + 4 })),
    ...[...new Set([0, block, last])].map((index) => label(String(index + 1), { x: x(index), y: height - 5 })),
    svg("line", { class: "now", x1: x(block), x2: x(block), y1: top, y2: height - bottom }),
    ...lines.flatMap(([name, line]) => [svg("path", { class: `line line-${name}`, d: linePath(line, x, y) }), dot(name, line[block], x(block), y)]),
  );
}

const shownValue = (value) => (value === null ? "unknown" : fixed(value));

function linePath(line, x, y) {
  return line.map((value, index) => (value === null ? "" : `${index && line[index - 1] !== null ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`)).join("");
}

function dot(name, value, x, y) {
  return value === null ? null : svg("circle", { class: `dot-${name}`, cx: x, cy: y(value), r: 4 });
}
