/** Why a picture could not be made, in the place where it would be, and the ways out. */

import { button, part } from "./dom.js";
import { troubleOf } from "./status.js";
import { text } from "./texts.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./queue.js").Queue} Queue */

/** @param {Queue} queue @param {(entry: Entry) => void} onRemove @returns {(entry: Entry | null) => void} null: hide it */
export function attachTrouble(queue, onRemove) {
  const root = part("trouble", HTMLElement);
  const again = part("trouble-again", HTMLButtonElement);
  const back = part("trouble-back", HTMLButtonElement);
  /** @type {Entry | null} */
  let shown = null;
  again.onclick = () => shown && queue.again(shown);
  back.onclick = () => shown && queue.back(shown);
  part("trouble-remove", HTMLElement).onclick = () => shown && onRemove(shown);
  return (entry) => {
    shown = entry;
    root.hidden = entry === null;
    if (!entry) return;
    const { title, detail, remedies, mayRetry } = troubleOf(entry, queue.model);
    part("trouble-title", HTMLElement).textContent = title;
    part("trouble-detail", HTMLElement).textContent = detail;
    part("trouble-remedies", HTMLElement).replaceChildren(
      ...remedies.map(({ label, settings, remedy }) =>
        button("button primary", label, () => queue.again(entry, { ...entry.settings, ...settings }, remedy)),
      ),
    );
    again.hidden = !mayRetry;
    back.hidden = entry.results.length === 0;
    back.textContent = text("do.back");
  };
}
