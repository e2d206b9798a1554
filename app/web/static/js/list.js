/** The list of pictures: one row each, to choose it or to remove it. */

import { part } from "./dom.js";

/** @typedef {import("./entry.js").Entry} Entry */

const CROSS = "M4 4l8 8M12 4l-8 8";
const SVG = "http://www.w3.org/2000/svg";

export class List {
  #root = part("queue", HTMLUListElement);
  #onOpen;
  #onRemove;
  /** @type {Map<Entry, Row>} */
  #rows = new Map();

  /** @param {(entry: Entry) => void} onOpen @param {(entry: Entry) => void} onRemove */
  constructor(onOpen, onRemove) {
    this.#onOpen = onOpen;
    this.#onRemove = onRemove;
  }

  /** @param {Entry[]} entries @param {Entry | null} shown */
  render(entries, shown) {
    for (const [entry, row] of this.#rows) {
      if (entries.includes(entry)) continue;
      this.#rows.delete(entry);
      row.root.remove();
    }
    for (const entry of entries) {
      let row = this.#rows.get(entry);
      if (!row) {
        row = new Row(entry, this.#onOpen, this.#onRemove);
        this.#rows.set(entry, row);
        this.#root.append(row.root);
      }
      row.update(entry === shown);
    }
  }

  /** @param {Entry} entry @param {boolean} shown */
  update(entry, shown) {
    this.#rows.get(entry)?.update(shown);
  }

  /** @param {Entry} entry whose row gets the focus */
  focus(entry) {
    this.#rows.get(entry)?.open.focus();
  }
}

class Row {
  #entry;
  #thumb = document.createElement("span");
  #state = document.createElement("span");
  #bar = document.createElement("progress");

  /** @param {Entry} entry @param {(entry: Entry) => void} onOpen @param {(entry: Entry) => void} onRemove */
  constructor(entry, onOpen, onRemove) {
    this.#entry = entry;
    this.root = document.createElement("li");
    this.root.className = "entry";
    this.open = document.createElement("button");
    this.open.type = "button";
    this.open.className = "entry-open";
    this.open.onclick = () => onOpen(entry);
    const name = document.createElement("span");
    name.className = "entry-name";
    name.textContent = entry.name;
    this.#thumb.className = "entry-thumb";
    this.#state.className = "entry-state";
    this.open.append(this.#thumb, name, this.#state);
    this.#bar.setAttribute("aria-label", `Progress of ${entry.name}`);
    this.root.append(this.open, this.#bar, removeButton(entry, onRemove));
  }

  /** @param {boolean} shown */
  update(shown) {
    const entry = this.#entry;
    this.root.dataset["state"] = entry.state;
    this.root.dataset["shown"] = String(shown);
    if (shown) this.open.setAttribute("aria-current", "true");
    else this.open.removeAttribute("aria-current");
    this.#state.textContent = entry.words;
    this.#bar.hidden = !entry.isBusy;
    this.#bar.value = entry.share ?? 0;
    if (entry.measured && !this.#thumb.hasChildNodes()) this.#thumb.append(thumbnail(entry));
  }
}

/** @param {Entry} entry @returns {Node} */
function thumbnail(entry) {
  if (!entry.original) return document.createTextNode(entry.name.split(".").pop()?.slice(0, 4).toUpperCase() ?? "");
  const image = new Image();
  image.src = entry.url;
  image.alt = "";
  return image;
}

/** @param {Entry} entry @param {(entry: Entry) => void} onRemove @returns {HTMLButtonElement} */
function removeButton(entry, onRemove) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "entry-remove";
  button.setAttribute("aria-label", `Remove ${entry.name}`);
  button.onclick = () => onRemove(entry);
  const icon = document.createElementNS(SVG, "svg");
  icon.setAttribute("viewBox", "0 0 16 16");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", CROSS);
  icon.append(path);
  button.append(icon);
  return button;
}
