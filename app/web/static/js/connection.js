/** Whether the service can be reached: after a failure it is asked again, with growing pauses, until it answers. */

import { countDown } from "./job.js";

const PAUSES_S = [2, 4, 8, 15, 30, 60];

/** Emits "change" whenever `down` or `seconds` does. */
export class Connection extends EventTarget {
  #api;
  #hurry = new AbortController();
  /** @type {Promise<void> | null} ends when the service answers again; null while it does */
  #search = null;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    super();
    this.#api = api;
    /** Seconds until the service is asked again; 0 while it is being asked. */
    this.seconds = 0;
    window.addEventListener("online", () => this.tryNow());
  }

  get down() {
    return this.#search !== null;
  }

  /** Somebody had no answer. @param {AbortSignal} signal @returns {Promise<void>} ends when there is one again */
  lost(signal) {
    this.#search ??= Promise.resolve().then(() => this.#ask()); // which tells of the first pause, when this is `down`
    return this.back(signal);
  }

  /** @param {AbortSignal} signal @returns {Promise<void>} at once unless the connection is down; rejects when aborted */
  back(signal) {
    const stopped = new Promise((_, reject) => {
      const stop = () => reject(new DOMException("cancelled", "AbortError"));
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
    return Promise.race([this.#search ?? Promise.resolve(), stopped]);
  }

  /** Do not wait for the end of the pause. */
  tryNow() {
    this.#hurry.abort();
  }

  async #ask() {
    for (let attempt = 0; ; attempt += 1) {
      await this.#rest(PAUSES_S[Math.min(attempt, PAUSES_S.length - 1)] ?? 0);
      if (await this.#api.answers()) break;
    }
    this.#search = null;
    this.#changed();
  }

  /** @param {number} seconds at most: `tryNow` ends it */
  async #rest(seconds) {
    this.#hurry = new AbortController();
    await countDown(seconds, this.#hurry.signal, (left) => {
      this.seconds = left;
      this.#changed();
    }).catch(() => {});
    this.seconds = 0;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
