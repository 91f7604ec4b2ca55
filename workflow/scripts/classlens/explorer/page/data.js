// The files of the models. A page that was opened from disk may not fetch files, but it may run scripts: each file is a call of `classlens`.

const KEPT_IMAGES = 12; // numbers of images that stay in memory, of all models together
const arrivals = new Map(); // what to do with a file's content, by key
const models = new Map(); // promises of Model, by name
const images = new Map(); // promises of ImageNumbers, by key, the least recently used first

const classlens = {
  model: (name, facts) => arrivals.get(name)(facts),
  memories: (name, text) => arrivals.get(`${name} memories`)(text),
  image: (name, id, text) => arrivals.get(`${name} ${id}`)(text),
};

/** The content of a file, which arrives under a key. */
function load(key, path) {
  return new Promise((resolve, reject) => {
    const script = h("script", { src: path });
    const fail = () => reject(new Error(`${path} is missing or damaged: delete its folder and run the workflow again.`));
    arrivals.set(key, resolve);
    script.onload = () => (script.remove(), fail()); // too late where the file has called
    script.onerror = () => (script.remove(), fail());
    document.head.append(script);
  });
}

/** Arrays and texts of a packed file, in the format of safetensors. */
async function unpacked(text) {
  const bytes = await inflated(text);
  const header = Number(new DataView(bytes).getBigUint64(0, true));
  const { __metadata__: metadata, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, header)));
  const types = { U8: Uint8Array, U16: Uint16Array, I16: Int16Array, I32: Int32Array, F32: Float32Array };
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(tensors)) {
    const type = types[dtype];
    arrays[name] = new type(bytes, 8 + header + start, (end - start) / type.BYTES_PER_ELEMENT);
    arrays[name].shape = shape;
  }
  return { arrays, facts: JSON.parse(metadata.facts) };
}

function inflated(text) {
  const deflated = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

/** A model: what its summary says, with names for its tokens. */
class Model {
  constructor(name, facts) {
    Object.assign(this, RUN.models.find((model) => model.name === name), facts);
    [this.rows, this.columns] = facts.grid;
    this.tokens = this.prefix + this.rows * this.columns;
    this.place = new Map(this.images.id.map((id, place) => [id, place]));
  }

  /** Row and column of a token, from 0; null for a prefix token. */
  position(token) {
    const patch = token - this.prefix;
    return patch < 0 ? null : [Math.floor(patch / this.columns), patch % this.columns];
  }

  tokenName(token) {
    const position = this.position(token);
    if (position) return `patch in row ${position[0] + 1}, column ${position[1] + 1}`;
    return this.cls && token === 0 ? "[CLS]" : `prefix token ${token + 1}`;
  }

  /** The token here that lies where a token of another model does. */
  tokenLike(other, token) {
    const position = other.position(token);
    if (!position) return Math.min(token, Math.max(this.prefix - 1, 0));
    const row = Math.floor(((position[0] + 0.5) / other.rows) * this.rows);
    return this.prefix + row * this.columns + Math.floor(((position[1] + 0.5) / other.columns) * this.columns);
  }

  /** The block here at the relative depth of another model's. */
  blockLike(other, block) {
    return other.depth === this.depth ? block : Math.round((block / Math.max(other.depth - 1, 1)) * (this.depth - 1));
  }

  photograph(id) {
    return this.photographs ? `${this.name}/photographs/${padded(id)}.jpg` : null;
  }
}

const padded = (id) => String(id).padStart(5, "0");

function loadModel(name) {
  if (!models.has(name)) models.set(name, load(name, `${name}/model.js`).then((facts) => new Model(name, facts)));
  return models.get(name);
}

/** The classes that each memory of a model writes. */
function loadMemories(model) {
  model.written ??= load(`${model.name} memories`, `${model.name}/memories.js`).then(unpacked);
  return model.written;
}

function loadImage(model, id) {
  const key = `${model.name} ${id}`;
  const known = images.get(key);
  const numbers = known ?? load(key, `${model.name}/images/${padded(id)}.js`).then(unpacked).then((content) => new ImageNumbers(model, id, content));
  images.delete(key);
  images.set(key, numbers);
  if (images.size > KEPT_IMAGES) images.delete(images.keys().next().value);
  return numbers;
}

/** Everything that is known of an image in a model. Sites, blocks and tokens are counted from 0. */
class ImageNumbers {
  constructor(model, id, { arrays, facts }) {
    Object.assign(this, { model, id, arrays, facts });
    const place = model.place.get(id);
    this.own = model.images.class[place];
    this.predicted = model.images.predicted[place];
    this.path = model.images.path[place];
  }

  /** Classes with the largest outputs of the model: {index, logit}. */
  get output() {
    return [...this.arrays.output].map((index, place) => ({ index, logit: this.arrays.output_logit[place] }));
  }

  /** The class with the largest output besides the true one. */
  get rival() {
    return [...this.arrays.output].find((index) => index !== this.own);
  }

  get interest() {
    return [...this.arrays.interest];
  }

  at(site, block, token) {
    return (this.model.sites.indexOf(site) * this.model.depth + block) * this.model.tokens + token;
  }

  rank(site, block, token) {
    return this.arrays.rank[this.at(site, block, token)];
  }

  identifiability(site, block, token) {
    return 1 - this.rank(site, block, token) / this.model.classes.length;
  }

  /** Classes with the largest logits at a token: {index, logit}. */
  top(site, block, token) {
    const kept = this.arrays.top.shape[3];
    const start = this.at(site, block, token) * kept;
    const step = Number(this.facts.top_logit_step);
    return Array.from({ length: kept }, (_, place) => ({ index: this.arrays.top[start + place], logit: this.arrays.top_logit[start + place] * step }));
  }

  /** Logit of a class at a token; null where it is neither a class of interest nor among the largest. */
  logit(index, site, block, token) {
    const slot = this.arrays.interest.indexOf(index);
    if (slot < 0) return this.top(site, block, token).find((item) => item.index === index)?.logit ?? null;
    const size = this.model.sites.length * this.model.depth * this.model.tokens;
    return this.arrays.interest_logit[slot * size + this.at(site, block, token)] * Number(this.facts.interest_logit_step);
  }

  /** Memories that a token uses most: {memory, coefficient}. */
  memories(layer, block, token) {
    const used = this.arrays.memory.shape[3];
    const start = ((layer * this.model.depth + block) * this.model.tokens + token) * used;
    const step = Number(this.facts.coefficient_step);
    return Array.from({ length: used }, (_, place) => ({
      memory: this.arrays.memory[start + place],
      coefficient: this.arrays.coefficient[start + place] * step,
    }));
  }

  /** Rank of the true class under a condition: -1 where the token was removed, -2 where the image was not run. */
  perturbedRank(condition, token) {
    return this.arrays.perturbed[this.model.conditions.indexOf(condition) * this.model.tokens + token];
  }

  /** Whether the output is right under a condition: 1 or 0, or -2 where the image was not run. */
  perturbedRight(condition) {
    return this.arrays.perturbed_right[this.model.conditions.indexOf(condition)];
  }

  /** Relevance maps: {method, index (of the class), values}. */
  get maps() {
    const length = this.model.rows * this.model.columns;
    return Array.from({ length: this.arrays.map ? this.arrays.map.shape[0] : 0 }, (_, row) => ({
      method: this.model.methods[this.arrays.map[2 * row]],
      index: this.arrays.map[2 * row + 1],
      values: this.arrays.relevance.subarray(row * length, (row + 1) * length),
    }));
  }

  /** The outline of the object as an SVG path in pixels, with the image's size; null where there is no mask. */
  get outline() {
    if (this.traced === undefined) this.traced = this.arrays.object ? outlineOf(this.arrays.object, Number(this.facts.object_width)) : null;
    return this.traced;
  }
}

/** The path between pixels inside and outside of a bit mask. */
function outlineOf(bits, width) {
  const [height, stride] = bits.shape;
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && (bits[y * stride + (x >> 3)] >> (x & 7)) & 1;
  const parts = [];
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (inside(x, y) !== inside(x, y - 1)) parts.push(`M${x} ${y}h1`);
      if (inside(x, y) !== inside(x - 1, y)) parts.push(`M${x} ${y}v1`);
    }
  }
  return { path: parts.join(""), width, height };
}
