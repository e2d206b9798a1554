/** Finding the parts of the page. */

/** @template {Element} T @param {string} id @param {new () => T} type @returns {T} */
export function part(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}
