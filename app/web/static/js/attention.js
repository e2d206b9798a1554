/** What the tab tells while nobody looks at the page, and what it asks before it is left. */

import { part } from "./dom.js";
import { text } from "./texts.js";

/** @typedef {import("./entry.js").Entry} Entry */

export class Attention {
  #icon = part("icon", HTMLLinkElement);
  #plain = this.#icon.href;
  #busy = false;
  #unseen = false;

  constructor() {
    window.addEventListener("beforeunload", (event) => {
      if (!this.#busy) return;
      event.preventDefault();
      event.returnValue = true; // Chrome and Edge of 2023 ask for this only
    });
    document.addEventListener("visibilitychange", () => this.#look());
  }

  /** @param {Entry[]} entries */
  update(entries) {
    const done = entries.filter((entry) => entry.state === "done").length;
    const busy = entries.some((entry) => entry.isBusy);
    if (this.#busy && !busy && done && document.hidden) this.#unseen = true;
    this.#busy = busy;
    const counted = { count: done, total: entries.length };
    document.title = busy
      ? `${text("title.busy", counted)} · LapSRN`
      : this.#unseen
        ? `✓ ${text("title.done", counted)} · LapSRN`
        : text("title");
    this.#icon.href = this.#unseen ? this.#plain.replace("icon.svg", "icon-done.svg") : this.#plain;
  }

  #look() {
    if (document.hidden || !this.#unseen) return;
    this.#unseen = false;
    document.title = text("title");
    this.#icon.href = this.#plain;
  }
}
