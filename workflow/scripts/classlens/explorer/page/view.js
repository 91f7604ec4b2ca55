// One model's view of the image: what is asked, the patches, the chosen token, and the relevance maps.

class View {
  /** @param names of the keys of the state that choose this view's colour and map, and of the view itself. */
  constructor(names) {
    this.names = names;
    this.heading = h("h2");
    this.output = h("p", { class: "output" });
    this.colour = h("select", { change: () => change({ [names.colour]: this.colour.value }) });
    this.left = h("div", { class: "patches" });
    this.right = h("div", { class: "token" });
    this.below = h("div", { class: "relevance" });
    this.root = h(
      "section", { class: "view" },
      h("div", { class: "view-head" }, this.heading, this.output, h("label", {}, "Colour by ", this.colour)),
      h("div", { class: "columns" }, this.left, this.right, this.below),
    );
    this.patches = new Patches(this.left, (token) => this.look(token));
    this.token = new Token(this.right, names.colour);
    this.relevance = new Relevance(this.below, names.map);
  }

  /** Show a token that is pointed at, or the chosen one again. */
  look(token) {
    if (!this.image) return;
    this.token.render(state[this.names.colour], this.image, this.site, this.block, token ?? this.chosen);
  }

  /** @param logits are the ends of the scale of logits. */
  render(image, first, logits) {
    const { model } = image;
    this.image = image;
    this.site = state.condition === "none" ? state.site : "resid_post";
    this.block = state.condition === "none" ? model.blockLike(first, state.block - 1) : model.depth - 1;
    this.chosen = model.tokenLike(first, Math.min(state.token, first.tokens - 1));
    this.root.setAttribute("aria-label", `${this.names.view}: ${model.label}`);
    this.root.style.setProperty("--shape", `${model.columns} / ${model.rows}`);
    this.heading.textContent = `${model.label}, block ${this.block + 1} of ${model.depth}`;
    this.output.replaceChildren(...outputOf(image));
    const choice = state[this.names.colour];
    fillSelect(this.colour, colourChoices(choice, image), state.condition === "none" ? colourChoice(choice, image) : "identifiability");
    this.colour.disabled = state.condition !== "none";
    this.patches.render(choice, image, first, this.site, this.block, this.chosen, logits);
    this.look(null);
    this.relevance.render(image);
  }

  /** How many tokens have the true class first, in words. */
  get summary() {
    const { model } = this.image;
    const isFirst = (token) => this.patches.isFirst(this.image, this.site, this.block, token);
    const isThere = (token) => state.condition === "none" || this.image.perturbedRank(state.condition, token) >= 0;
    const tokens = Array.from({ length: model.tokens - model.prefix }, (_, patch) => model.prefix + patch).filter(isThere);
    const atCls = model.cls ? `, and ${isFirst(0) ? "" : "not "}at [CLS]` : "";
    return `${model.label}, ${SITES[this.site]} of block ${this.block + 1}: ${model.classes[this.image.own]} is first at ${tokens.filter(isFirst).length} of ${tokens.length} patches${atCls}.`;
  }
}

function outputOf(image) {
  const { model } = image;
  const right = image.own === image.predicted;
  const others = image.output.map(({ index, logit }) => `${model.classes[index]} ${fixed(logit)}`).join(", ");
  return [
    h("strong", {}, model.classes[image.own]), ` in ${image.path}. ${state.condition === "none" ? "Output" : "Undisturbed output"}: `, h("span", { class: right ? "right" : "wrong" }, right ? "right" : "wrong"), ` (${others})`,
  ];
}

/** Whether a class was not kept at every token, but is only known where it is among the largest. */
const isPartlyKnown = (choice, image) => !image.interest.includes(chosenClass(choice, image));

/** The value of the choice of colours that stands for what the address says. */
function colourChoice(choice, image) {
  if (choice === "identifiability") return choice;
  const index = chosenClass(choice, image);
  return index === image.own ? "true" : index === image.rival ? "rival" : String(index);
}

function colourChoices(choice, image) {
  const { model } = image;
  const logits = image.interest.map((index) => [colourChoice(String(index), image), className(index, image)]);
  const choices = [["identifiability", `identifiability of ${model.classes[image.own]}`], { group: "logit of", items: logits }];
  if (isPartlyKnown(choice, image)) {
    const index = chosenClass(choice, image);
    choices.push({ group: "logit, where it is among the largest, of", items: [[String(index), model.classes[index]]] });
  }
  return choices;
}
