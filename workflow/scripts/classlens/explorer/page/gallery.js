// Choosing an image: a list that is filtered and sorted, a page of it at a time.

const PER_PAGE = 24;
const ORDERS = {
  given: ["as analysed", () => 0],
  least: ["least identified first", (model, a, b) => model.images.identified[a] - model.images.identified[b]],
  most: ["most identified first", (model, a, b) => model.images.identified[b] - model.images.identified[a]],
};
const OUTCOMES = {
  all: ["right and wrong", () => true],
  right: ["right output", (images, place) => images.class[place] === images.predicted[place]],
  wrong: ["wrong output", (images, place) => images.class[place] !== images.predicted[place]],
};

class Gallery {
  constructor(root) {
    this.page = 0;
    const changed = () => ((this.page = 0), this.show());
    this.search = h("input", { type: "search", input: changed });
    this.class = h("select", { change: changed });
    this.outcome = h("select", { change: changed });
    this.order = h("select", { change: changed });
    this.found = h("p", { class: "found" });
    this.list = h("ul", { class: "thumbnails" });
    this.previous = h("button", { type: "button", click: () => this.turn(-1) }, "Previous");
    this.next = h("button", { type: "button", click: () => this.turn(1) }, "Next");
    fillSelect(this.outcome, Object.entries(OUTCOMES).map(([key, [text]]) => [key, text]), "all");
    fillSelect(this.order, Object.entries(ORDERS).map(([key, [text]]) => [key, text]), "given");
    root.append(
      h("label", {}, "Find ", this.search), h("label", {}, "Class ", this.class), h("label", {}, "Output ", this.outcome),
      h("label", {}, "Order ", this.order), this.found, this.list, h("p", { class: "pager" }, this.previous, this.next),
    );
  }

  turn(by) {
    this.page += by;
    this.show();
  }

  /** Show a model's images; the page that has the chosen one, where that was not chosen here. */
  render(model) {
    const isNew = this.model !== model || this.image !== state.image;
    this.image = state.image;
    if (this.model !== model) {
      this.model = model;
      const there = [...new Set(model.images.class)].sort((a, b) => a - b);
      const chosen = there.includes(Number(this.class.value)) && this.class.value ? this.class.value : "";
      fillSelect(this.class, [["", "all classes"], ...there.map((index) => [index, model.classes[index]])], chosen);
    }
    if (isNew) {
      const place = this.places().indexOf(model.place.get(state.image));
      if (place >= 0) this.page = Math.floor(place / PER_PAGE);
    }
    this.show();
  }

  /** Places in the model's list of the images that are asked for. */
  places() {
    const { model } = this;
    const wanted = this.search.value.trim().toLowerCase();
    const isWanted = OUTCOMES[this.outcome.value][1];
    return model.images.id
      .map((_, place) => place)
      .filter((place) => this.class.value === "" || model.images.class[place] === Number(this.class.value))
      .filter((place) => isWanted(model.images, place))
      .filter((place) => `${model.images.path[place]} ${model.classes[model.images.class[place]]}`.toLowerCase().includes(wanted))
      .sort((a, b) => ORDERS[this.order.value][1](model, a, b));
  }

  show() {
    const places = this.places();
    const pages = Math.max(1, Math.ceil(places.length / PER_PAGE));
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const shown = places.slice(this.page * PER_PAGE, (this.page + 1) * PER_PAGE);
    this.found.textContent = `${places.length} of ${this.model.images.id.length} images, page ${this.page + 1} of ${pages}`;
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
    const key = JSON.stringify([this.model.name, shown]);
    if (this.key !== key) {
      this.key = key;
      this.list.replaceChildren(...shown.map((place) => h("li", {}, this.thumbnail(place))));
    }
    for (const button of this.list.querySelectorAll("button")) {
      button.setAttribute("aria-current", Number(button.dataset.image) === state.image);
    }
  }

  thumbnail(place) {
    const { model } = this;
    const id = model.images.id[place];
    const isRight = OUTCOMES.right[1](model.images, place);
    const photograph = model.photograph(id);
    return h(
      "button", { type: "button", "data-image": id, title: model.images.path[place], click: () => change({ image: id }) },
      photograph ? h("img", { src: photograph, alt: "", loading: "lazy", decoding: "async" }) : h("span", { class: "blank" }, String(id)),
      h("span", {}, model.classes[model.images.class[place]]),
      h("span", { class: isRight ? "right" : "wrong" }, isRight ? "right" : `output: ${model.classes[model.images.predicted[place]]}`),
    );
  }
}
