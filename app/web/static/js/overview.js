/** What can be done with all pictures at once, and how far they are together. */

import { part } from "./dom.js";
import { troubleOf } from "./status.js";
import { text } from "./texts.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./settings.js").Settings} Settings */
/**
 * @typedef {{downloadAll: () => void, clear: (entries: Entry[]) => void, retry: (entries: Entry[]) => void,
 *   again: (entries: Entry[]) => void, chosen: () => Settings}} Actions
 */

export class Overview {
  #queue;
  #actions;
  #count = part("count", HTMLElement);
  #all = part("download-all", HTMLButtonElement);
  #clear = part("clear", HTMLButtonElement);
  #retry = part("retry-all", HTMLButtonElement);
  #again = part("again-all", HTMLButtonElement);

  /** @param {import("./queue.js").Queue} queue @param {Actions} actions */
  constructor(queue, actions) {
    this.#queue = queue;
    this.#actions = actions;
    this.#all.onclick = () => actions.downloadAll();
    this.#clear.onclick = () => actions.clear(this.#done);
    this.#retry.onclick = () => actions.retry(this.#failed);
    this.#again.onclick = () => actions.again(this.#others);
  }

  get #done() {
    return this.#queue.entries.filter((entry) => entry.state === "done");
  }

  /** Those that may succeed when they are tried again. */
  get #failed() {
    const { entries, model } = this.#queue;
    return entries.filter((entry) => entry.state === "failed" && troubleOf(entry, model).mayRetry);
  }

  /** Those that are done or waiting, but are not what is chosen. */
  get #others() {
    const chosen = this.#actions.chosen();
    return this.#queue.entries.filter(
      (entry) => (entry.state === "done" || entry.state === "waiting") && !entry.isAsked(chosen),
    );
  }

  show() {
    const { entries } = this.#queue;
    const done = this.#done.length;
    const failed = this.#failed.length;
    this.#count.textContent = text("list.count", { count: done, total: entries.length });
    this.#all.hidden = done < 2;
    this.#all.textContent = text("do.download-all", { count: done });
    this.#clear.hidden = done < 2;
    const others = this.#others.length;
    this.#again.hidden = others < 2;
    this.#again.textContent = text("do.again-all", { count: others });
    this.#retry.hidden = failed < 2;
    this.#retry.textContent = text("do.retry-all", { count: failed });
  }
}
