/** A line of words with a button: what keeps all pictures waiting, or how a picture differs from what is chosen. */

import { part } from "./dom.js";

/** @typedef {{words: string, label?: string, act?: () => void, quiet?: string}} Told quiet: for the eye only */

export class Notice {
  #root;
  #words;
  #quiet;
  #button;
  #say;

  /**
   * @param {string} id of its element; those of its parts begin with it
   * @param {(words: string) => void} [say] for a screen reader, which may miss what was hidden until now
   */
  constructor(id, say = () => {}) {
    this.#say = say;
    this.#root = part(id, HTMLElement);
    this.#words = part(`${id}-words`, HTMLElement);
    this.#quiet = part(`${id}-quiet`, HTMLElement);
    this.#button = part(`${id}-do`, HTMLButtonElement);
  }

  /** @param {Told | null} told */
  show(told) {
    this.#root.hidden = told === null;
    const words = told?.words ?? "";
    if (words && this.#words.textContent !== words) this.#say(words);
    this.#words.textContent = words;
    this.#quiet.textContent = told?.quiet ?? "";
    this.#button.hidden = !told?.act;
    this.#button.textContent = told?.label ?? "";
    this.#button.onclick = told?.act ?? null;
  }
}
