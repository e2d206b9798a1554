/** Finding the parts of the page, and making new ones. */

const SVG = "http://www.w3.org/2000/svg";

/** @template {Element} T @param {string} id @param {new () => T} type @returns {T} */
export function part(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {string} className @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** @param {string} className @param {string} words @param {() => void} act @returns {HTMLButtonElement} */
export function button(className, words, act) {
  const element = make("button", className, words);
  element.type = "button";
  element.onclick = act;
  return element;
}

/** @param {string} path in a square of 16 × 16 @returns {SVGElement} strokes in the colour of the text */
export function icon(path) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 16 16");
  drawing.setAttribute("aria-hidden", "true");
  drawing.classList.add("icon");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}
