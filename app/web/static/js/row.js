/** One picture's row in the list: what it is and how far, to open it, to save it, to send it next, to remove it. */

import { button, icon, make } from "./dom.js";
import { labelsOf } from "./settings.js";
import { progressOf } from "./status.js";
import { text } from "./texts.js";
import { dimensions } from "./words.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {Record<"open" | "save" | "next" | "remove", (entry: Entry) => void>} Actions */

const CROSS = "M4 4l8 8M12 4l-8 8";
const DOWN = "M8 2v8M4.5 6.5L8 10l3.5-3.5M3 13.5h10";
const UP = "M3 2.5h10M8 13.5v-8M4.5 9L8 5.5 11.5 9";
const TICK = "M3.5 8.5l3 3 6-7";
const LOUD = "M8 4v5M8 12v.5";

export class Row {
  #entry;
  #thumb = make("span", "entry-thumb");
  #mark = make("span", "entry-mark");
  #what = make("span", "entry-what");
  #state = make("span", "entry-state");
  #bar = make("progress", "");
  #save;
  #next;
  #remove;

  /** @param {Entry} entry @param {Actions} actions */
  constructor(entry, actions) {
    this.#entry = entry;
    this.open = button("entry-open", "", () => actions.open(entry));
    const name = make("span", "entry-name", entry.name);
    name.dir = "auto";
    name.title = entry.folder + entry.name;
    this.open.append(this.#thumb, name, make("span", "entry-line", this.#what, this.#state));
    this.#save = symbol("entry-save", DOWN, () => actions.save(entry));
    this.#next = symbol("entry-next", UP, () => actions.next(entry));
    this.#remove = symbol("entry-remove", CROSS, () => actions.remove(entry));
    this.root = make("li", "entry", this.open, this.#bar, make("span", "entry-do", this.#save, this.#next, this.#remove));
  }

  /** @param {boolean} shown @param {boolean} isNext whether it is the next to be sent already */
  update(shown, isNext) {
    const entry = this.#entry;
    const { root, open } = this;
    root.dataset["state"] = entry.state;
    root.dataset["shown"] = String(shown);
    if (shown) open.setAttribute("aria-current", "true");
    else open.removeAttribute("aria-current");
    this.#what.textContent = whatIs(entry);
    this.#state.textContent = entry.state === "done" ? madeOf(entry) : progressOf(entry);
    this.#bar.hidden = !entry.isBusy || entry.state === "waiting";
    this.#bar.value = entry.share;
    this.#save.hidden = entry.state !== "done";
    this.#next.hidden = entry.state !== "waiting" || isNext;
    this.#drawThumb();
    for (const [element, words] of /** @type {const} */ ([
      [this.#bar, text("row.progress", { name: entry.name })],
      [this.#save, text("row.save", { name: entry.name })],
      [this.#next, text("row.next", { name: entry.name })],
      [this.#remove, text("row.remove", { name: entry.name })],
    ])) {
      element.setAttribute("aria-label", words);
      if (element !== this.#bar) element.title = words;
    }
  }

  #drawThumb() {
    const entry = this.#entry;
    const symbolPath = entry.state === "done" ? TICK : entry.state === "failed" ? LOUD : "";
    if (this.#mark.dataset["path"] !== symbolPath) {
      this.#mark.dataset["path"] = symbolPath;
      this.#mark.replaceChildren(...(symbolPath ? [icon(symbolPath)] : []));
    }
    if (!entry.measured || this.#thumb.hasChildNodes()) return;
    const ending = entry.format || (/\.(\w{1,4})$/.exec(entry.name)?.[1] ?? "");
    this.#thumb.append(entry.thumbnail ?? make("span", "entry-ending", ending.toUpperCase()), this.#mark);
  }
}

/** @param {Entry} entry @returns {string} such as "×4, best" */
function whatIs(entry) {
  if (entry.state === "done" && entry.current) return entry.current.result.label(entry.current.level);
  return labelsOf(entry.settings, entry.format).join(", ");
}

/** @param {Entry} entry @returns {string} its size in pixels */
function madeOf(entry) {
  return entry.download?.width ? dimensions(entry.download) : "";
}

/** @param {string} className @param {string} path @param {() => void} act @returns {HTMLButtonElement} */
function symbol(className, path, act) {
  const element = button(`entry-button ${className}`, "", act);
  element.append(icon(path));
  return element;
}
