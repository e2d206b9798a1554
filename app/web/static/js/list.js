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

  /** @param {import("./row.js").Actions} actions */
  constructor(actions) {
    this.#actions = actions;
  }

  /** @param {Entry[]} entries @param {Entry | null} shown */
  render(entries, shown) {
    for (const [entry, row] of this.#rows) {
      if (entries.includes(entry)) continue;
      this.#rows.delete(entry);
      row.root.remove();
    }
    this.#next = entries.find((entry) => entry.state === "waiting");
    entries.forEach((entry, at) => {
      let row = this.#rows.get(entry);
      if (!row) {
        row = new Row(entry, this.#actions);
        this.#rows.set(entry, row);
      }
      if (this.#root.children[at] !== row.root) this.#root.insertBefore(row.root, this.#root.children[at] ?? null);
      row.update(entry === shown, entry === this.#next);
    });
  }

  /** @param {Entry} entry @param {boolean} shown */
  update(entry, shown) {
    this.#rows.get(entry)?.update(shown, entry === this.#next);
  }

  /** @param {Entry} entry whose row gets the focus */
  focus(entry) {
    this.#rows.get(entry)?.open.focus();
  }
}
