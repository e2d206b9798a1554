/** The choice of the page's language: the reader's own at first, or what was chosen here or in the address. */

import { part } from "./dom.js";
import { chosenLanguage, language, speak } from "./texts.js";
import { LANGUAGES } from "../texts/table.js";

const PLACE = "lapsrn-language";

/** @returns {string[]} languages in the order in which the reader wants them */
function wished() {
  const asked = new URLSearchParams(location.search).get("lang");
  let stored = null;
  try {
    stored = localStorage.getItem(PLACE);
  } catch {
    // Storage is switched off.
  }
  return [asked, stored, ...navigator.languages].filter((tag) => tag !== null);
}

/** @param {() => void} onChange called when another one was chosen, and the page's fixed words are in it */
export function attachLanguage(onChange) {
  const select = part("language", HTMLSelectElement);
  speak(chosenLanguage(wished()));
  const names = Object.entries(LANGUAGES);
  select.replaceChildren(...names.map(([tag, name]) => new Option(name, tag, tag === language, tag === language)));
  select.addEventListener("change", () => {
    speak(select.value);
    try {
      localStorage.setItem(PLACE, select.value);
    } catch {
      // Storage is switched off: it holds for this visit.
    }
    onChange();
  });
}
