/** The focus is never lost: when its control goes away, it moves to what the control was for, or back to where it was before. */

import { part } from "./dom.js";

/** What holds controls that come and go, and what in it takes the focus over. */
const HEIRS = [
  [".entry", ".entry-open"],
  [".stage", "#canvas"],
];

/** Watches the whole page. */
export function attachFocus() {
  /** @type {HTMLElement | null} the control that has the focus, or had it when it went away */
  let last = null;
  /** @type {Element[]} */
  let heirs = [];
  document.addEventListener("focusin", ({ target, relatedTarget }) => {
    if (!(target instanceof HTMLElement)) return;
    last = target;
    // Looked up now, as a control that has been taken out of the page no longer tells where it was.
    heirs = HEIRS.flatMap(([holder = "", heir = ""]) => target.closest(holder)?.querySelector(heir) ?? []);
    if (relatedTarget instanceof HTMLElement) heirs.push(relatedTarget);
  });
  document.addEventListener("focusout", () => {
    // The reader left it, for a place that takes no focus. A window that is left keeps its own.
    if (last && isSeen(last) && document.activeElement !== last) last = null;
  });
  new MutationObserver(() => {
    const active = document.activeElement;
    if (!last || (active !== last && active !== document.body) || (active === last && isSeen(last))) return;
    const shown = document.querySelector(".entry-open[aria-current]") ?? part("files", HTMLElement);
    const next = [last, ...heirs, shown].find(isSeen);
    if (next instanceof HTMLElement) next.focus({ preventScroll: true });
  }).observe(document.body, { subtree: true, childList: true, attributeFilter: ["hidden"] });
}

/** @param {Element} element @returns {boolean} */
function isSeen(element) {
  return element.isConnected && element.getClientRects().length > 0;
}
