// Functions that make elements. Names from data become text, never markup.

/** @import { Attribute, Child, Option, OptionGroup } from "./types.js" */

/**
 * Make an element with attributes and children. Functions become listeners; false and null are left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} attributes
 * @param {...Child} children
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * Make an SVG element.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} attributes
 * @param {...Child} children
 */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/**
 * @template {Element} Kind
 * @param {Kind} element
 * @param {Record<string, Attribute>} attributes
 * @param {Child[]} children
 */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * Return the element with an id, or throw if it is of another kind.
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`The page has no ${kind.name} with the id ${id}.`);
  return element;
}

/**
 * Fill a select, unless it already has these entries, and select one of them.
 * @param {HTMLSelectElement} select
 * @param {(Option | OptionGroup)[]} entries
 * @param {string} chosen
 */
export function fillSelect(select, entries, chosen) {
  const shape = JSON.stringify(entries);
  if (select.dataset.shape !== shape) {
    select.dataset.shape = shape;
    select.replaceChildren(
      ...entries.map((entry) => ("group" in entry ? h("optgroup", { label: entry.group }, ...entry.items.map(option)) : option(entry))),
    );
  }
  select.value = chosen;
}

/** @param {Option} entry */
function option([value, text]) {
  return h("option", { value }, text);
}

/**
 * Make a table; the caption and single heads may be empty.
 * @param {string} caption
 * @param {string[]} heads
 * @param {HTMLTableRowElement[]} rows
 */
export function table(caption, heads, rows) {
  const head = heads.map((text) => (text ? h("th", { scope: "col" }, text) : h("td")));
  return h("table", {}, caption ? h("caption", {}, caption) : null, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
}

/**
 * Return a number with a fixed number of decimals; zero never has a minus sign.
 * @param {number} value
 */
export function fixed(value, digits = 2) {
  return (Object.is(Math.round(value * 10 ** digits), -0) ? 0 : value).toFixed(digits).replace("-", "−");
}

/**
 * Return a number with its sign and three decimals.
 * @param {number} value
 */
export function signed(value) {
  return (value > 0 ? "+" : "") + fixed(value, 3);
}

/**
 * Return a positive number with three significant digits.
 * @param {number} value
 */
export function significant(value) {
  return value === 0 || (value >= 0.001 && value < 10000) ? String(Number(value.toPrecision(3))) : value.toExponential(2).replace("-", "−");
}

/**
 * Return a number with two decimals, or another text for an unknown number.
 * @param {number | null} value
 * @param {string} unknown
 */
export function fixedOr(value, unknown) {
  return value === null ? unknown : fixed(value);
}

/**
 * Return the message of a thrown value.
 * @param {unknown} error
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
