/** The page's words: the language that the reader prefers, and a text of the table in it. */

import { LANGUAGES, TEXTS } from "../texts/table.js";

/** @typedef {string} Key of a row of the table */
/** @typedef {string | Partial<Record<Intl.LDMLPluralRule, string>>} Text by plural category where a count matters */
/** @typedef {Record<string, string | number>} Values of the {names} in a text; `count` chooses the plural */

const FALLBACK = "en";

/** @param {readonly string[]} wished such as ["pt-BR", "de-AT"] @returns {string} one of LANGUAGES */
export function chosenLanguage(wished) {
  const known = wished.map((tag) => tag.toLowerCase().split("-")[0] ?? "").find((name) => Object.hasOwn(LANGUAGES, name));
  return known ?? FALLBACK;
}

/** What the page speaks now. @type {string} */
export let language = FALLBACK;

/** @param {string} name one of LANGUAGES */
export function speak(name) {
  language = Object.hasOwn(LANGUAGES, name) ? name : FALLBACK;
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = text(/** @type {Key} */ (element.getAttribute("data-text")));
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    const label = text(/** @type {Key} */ (element.getAttribute("data-label")));
    element.setAttribute("aria-label", label);
    if (element.hasAttribute("title")) element.setAttribute("title", label);
  }
}

/** @param {Key} key @param {Values} [values] @returns {string} */
export function text(key, values = {}) {
  return filled(TEXTS[key] ?? {}, language, values);
}

/**
 * @param {Partial<Record<string, Text>>} row
 * @param {string} name of the language; what is missing in it is English
 * @param {Values} [values]
 * @returns {string}
 */
export function filled(row, name, values = {}) {
  const spoken = row[name] === undefined ? FALLBACK : name;
  const found = row[spoken] ?? "";
  const form =
    typeof found === "string"
      ? found
      : (found[new Intl.PluralRules(spoken).select(Number(values["count"] ?? 0))] ?? found.other ?? "");
  return form.replace(/\{(\w+)\}/g, (whole, value) => {
    const given = values[value];
    if (given === undefined) return whole;
    return typeof given === "number" ? given.toLocaleString(spoken) : isolated(given);
  });
}

/** Letters and marks of the scripts that run from right to left, and the marks that turn text around. */
const TURNS = /[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff]/;

/** @param {string} value @returns {string} such that it does not turn the words around it, as a file's name can */
function isolated(value) {
  return TURNS.test(value) ? `\u2068${value}\u2069` : value;
}
