/** The API key: asked for when the service wants one, kept for this tab only. */

import { part } from "./dom.js";
import { text } from "./texts.js";

const PLACE = "lapsrn-api-key";
/** What a header can hold: others, such as typographic quotes, come along when a key is copied. */
const SENDABLE = /^\s*[ -~]*\s*$/;

/** @returns {string} the key of this tab, or empty */
export function storedKey() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} key */
function store(key) {
  try {
    sessionStorage.setItem(PLACE, key);
  } catch {
    // Storage is switched off: the key lives as long as the page.
  }
}

/** @param {(key: string) => void} onKey @returns {(wasWrong: boolean) => void} asks, unless it is being asked for */
export function attachKey(onKey) {
  const dialog = part("key", HTMLDialogElement);
  const value = part("key-value", HTMLInputElement);
  part("key-cancel", HTMLElement).onclick = () => dialog.close();
  value.oninput = () => value.setCustomValidity(SENDABLE.test(value.value) ? "" : text("key.wrong"));
  part("key-form", HTMLFormElement).addEventListener("submit", () => {
    const key = value.value.trim();
    value.value = "";
    store(key);
    onKey(key);
  });
  return (wasWrong) => {
    const detail = part("key-detail", HTMLElement);
    detail.textContent = wasWrong ? text("key.wrong") : "";
    detail.hidden = !wasWrong;
    if (!dialog.open) dialog.showModal();
  };
}
