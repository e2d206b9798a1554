/** One result of a picture: what it was made with, and its levels as far as they have been fetched. */

import { readHeader } from "./header.js";
import { labelsOf, sameButScale } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./header.js").Size} Size */
/** @typedef {Size & {blob: Blob, url: string}} Level */
/** @typedef {{result: Result, level: number}} Version */

export class Result {
  /**
   * @param {string} id by which the service knows it @param {Settings} settings it was made with
   * @param {number[]} levels there are @param {string} original format of the picture
   */
  constructor(id, settings, levels, original) {
    this.id = id;
    this.settings = settings;
    this.levels = levels;
    this.original = original;
    /** @type {Map<number, Level>} */
    this.fetched = new Map();
    /** From the first byte sent to the result at hand. */
    this.seconds = 0;
    /** Whether the picture was damaged, and this is what was there of it. */
    this.partial = false;
  }

  /** @param {Settings} settings @returns {boolean} whether one of its levels is what they ask for */
  covers(settings) {
    return this.levels.includes(settings.scale) && sameButScale(this.settings, settings, this.original);
  }

  /** @param {number} level @returns {string} such as "×4, best" */
  label(level) {
    return labelsOf(this.settings, level, this.original).join(", ");
  }

  /** @param {number} level @param {Blob} blob @returns {Promise<Level>} */
  async keep(level, blob) {
    const size = (await readHeader(blob)) ?? { height: 0, width: 0 };
    const kept = { height: size.height, width: size.width, blob, url: URL.createObjectURL(blob) };
    this.fetched.set(level, kept);
    return kept;
  }

  /** Give back the memory its pictures hold. */
  release() {
    for (const level of this.fetched.values()) URL.revokeObjectURL(level.url);
    this.fetched.clear();
  }
}
