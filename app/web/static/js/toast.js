/** A word at the foot of the page for some seconds, with a way to take back what it tells. */

import { part } from "./dom.js";

const STAYS_MS = 8000;

/** @typedef {{undo: () => void, settle: () => void}} Removal */

export class Toast {
  #root = part("toast", HTMLElement);
  #timer = 0;
  #say;
  /** @type {Removal | null} */
  #removal = null;

  /** @param {(words: string) => void} say for a screen reader, which may miss what was hidden until now */
  constructor(say) {
    this.#say = say;
    part("toast-undo", HTMLElement).onclick = () => {
      const removal = this.#removal;
      this.#removal = null;
      this.close();
      removal?.undo();
    };
    part("toast-close", HTMLElement).onclick = () => this.close();
    for (const event of ["pointerenter", "focusin"]) this.#root.addEventListener(event, () => clearTimeout(this.#timer));
    for (const event of ["pointerleave", "focusout"]) this.#root.addEventListener(event, () => this.#wait());
  }

  /** @param {string} words @param {Removal | null} [removal] settled as soon as it can no longer be taken back */
  show(words, removal = null) {
    this.#removal?.settle();
    this.#removal = removal;
    part("toast-words", HTMLElement).textContent = words;
    part("toast-undo", HTMLElement).hidden = removal === null;
    this.#root.hidden = false;
    this.#say(words);
    this.#wait();
  }

  /** It is too late to take it back. */
  close() {
    clearTimeout(this.#timer);
    this.#root.hidden = true;
    this.#removal?.settle();
    this.#removal = null;
  }

  #wait() {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.close(), STAYS_MS);
  }
}
