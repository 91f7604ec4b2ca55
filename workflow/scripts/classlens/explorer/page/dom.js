// Elements. Names from data only ever become text, never markup.

/** An element with attributes (functions become listeners, false and null are left out) and children. */
function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const byId = (id) => document.getElementById(id);

/** Fill a select with [value, text] pairs, or {group, items} of them, and choose one; untouched where nothing has changed. */
function fillSelect(select, entries, chosen) {
  const shape = JSON.stringify(entries);
  if (select.dataset.shape !== shape) {
    select.dataset.shape = shape;
    const option = ([value, text]) => h("option", { value }, text);
    select.replaceChildren(
      ...entries.map((entry) => (entry.group ? h("optgroup", { label: entry.group }, ...entry.items.map(option)) : option(entry))),
    );
  }
  select.value = chosen;
}

const fixed = (value, digits = 2) => (Object.is(Math.round(value * 10 ** digits), -0) ? 0 : value).toFixed(digits).replace("-", "−");
