/** What there is to compare of a picture: the original and everything that was made of it; a choice for each side. */

import { part } from "./dom.js";
import { text } from "./texts.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./result.js").Version} Version */

const ORIGINAL = "original";

export class Versions {
  #left = part("left", HTMLSelectElement);
  #right = part("right", HTMLSelectElement);

  /** @param {(side: "left" | "right", version: Version | null) => void} onChoose null: the original */
  constructor(onChoose) {
    for (const [side, select] of /** @type {const} */ ([
      ["left", this.#left],
      ["right", this.#right],
    ])) {
      select.addEventListener("change", () => onChoose(side, this.#offered.get(select.value) ?? null));
    }
  }

  /** @type {Map<string, Version>} */
  #offered = new Map();

  /** @param {Entry | null} entry null: nothing to choose @param {Version | null} left @param {Version | null} right */
  show(entry, left, right) {
    this.#offered = new Map();
    entry?.results.forEach((result, index) => {
      for (const level of result.levels) this.#offered.set(`${index}:${level}`, { result, level });
    });
    const keyOf = (/** @type {Version | null} */ version) =>
      [...this.#offered].find(([, { result, level }]) => result === version?.result && level === version?.level)?.[0] ??
      ORIGINAL;
    // What the browser cannot show is no side of a comparison; two results can be.
    const original = new Option(text(entry?.isShowable ? "compare.original" : "compare.with"), ORIGINAL);
    const made = () => [...this.#offered].map(([key, { result, level }]) => new Option(result.label(level), key));
    this.#left.replaceChildren(original, ...made());
    this.#right.replaceChildren(...made());
    this.#left.value = keyOf(left);
    this.#right.value = keyOf(right);
    this.#left.hidden = !entry?.isShowable && this.#offered.size < 2;
    this.#right.hidden = this.#right.length === 0;
  }
}
