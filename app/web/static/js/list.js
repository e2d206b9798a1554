/** The list of pictures: a row each, in the order in which they are sent. */

import { part } from "./dom.js";
import { Row } from "./row.js";

/** @typedef {import("./entry.js").Entry} Entry */

export class List {
  #root = part("queue", HTMLUListElement);
  #actions;
  /** @type {Map<Entry, Row>} */
  #rows = new Map();
  /** @type {Entry | undefined} the first that waits */
  #next;
  /** @type {Entry | null} */
  #shown = null;

  /** @param {import("./row.js").Actions} actions */
  constructor(actions) {
    this.#actions = actions;
  }

  /** All rows. @param {Entry[]} entries @param {Entry | null} shown */
  render(entries, shown) {
    for (const [entry, row] of this.#rows) {
      if (entries.includes(entry)) continue;
      this.#rows.delete(entry);
      row.root.remove();
    }
    this.#next = firstWaiting(entries);
    entries.forEach((entry, at) => {
      let row = this.#rows.get(entry);
      if (!row) {
        row = new Row(entry, this.#actions);
        this.#rows.set(entry, row);
      }
      if (this.#root.children[at] !== row.root) this.#root.insertBefore(row.root, this.#root.children[at] ?? null);
      row.update(entry === shown, entry === this.#next);
    });
    if (shown !== this.#shown) this.#reveal(shown);
    this.#shown = shown;
  }

  /** The row of one entry that changed, and of those whose turn it changed. @param {Entry} entry @param {Entry[]} entries */
  update(entry, entries) {
    const changed = new Set([entry]);
    const next = firstWaiting(entries);
    if (next !== this.#next) {
      if (this.#next) changed.add(this.#next);
      if (next) changed.add(next);
      this.#next = next;
    }
    for (const each of changed) this.#rows.get(each)?.update(each === this.#shown, each === next);
  }

  /** @param {Entry | null} entry whose row is brought into view, where the list scrolls by itself */
  #reveal(entry) {
    const row = entry && this.#rows.get(entry)?.root;
    if (!row || this.#root.scrollHeight <= this.#root.clientHeight) return;
    const top = row.offsetTop - this.#root.offsetTop;
    const bottom = top + row.offsetHeight;
    if (top < this.#root.scrollTop) this.#root.scrollTop = top;
    else if (bottom > this.#root.scrollTop + this.#root.clientHeight) this.#root.scrollTop = bottom - this.#root.clientHeight;
  }

  /** @param {Entry} entry whose row gets the focus */
  focus(entry) {
    this.#rows.get(entry)?.open.focus();
  }
}

/** @param {Entry[]} entries @returns {Entry | undefined} the next to be sent */
function firstWaiting(entries) {
  return entries.find((entry) => entry.state === "waiting");
}
