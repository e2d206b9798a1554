/** One result of a picture: what it was made with, and its levels as far as they have been fetched. */

import { readHeader } from "./header.js";
import { labelsOf, sameButSize, sameSize } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./header.js").Size} Size */
/** @typedef {Size & {blob: Blob, url: string}} Level */
/** @typedef {{result: Result, level: number}} Version */

export class Result {
  /**
   * @param {string} id by which the service knows it @param {Settings} settings it was made with
   * @param {number[]} levels there are, ascending; where a size was wished for, the last is of that size, and the only one
   *   that counts
   * @param {string} original format of the picture
   */
  constructor(id, settings, levels, original) {
    this.id = id;
    this.settings = settings;
    this.levels = settings.fits ? levels.slice(-1) : levels;
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
    if (!sameButSize(this.settings, settings, this.original)) return false;
    const isLevel = !this.settings.fits && !settings.fits;
    return isLevel ? this.levels.includes(settings.scale) : sameSize(this.settings, settings);
  }

  /** @param {Settings} settings that it covers @returns {number} the level that they ask for */
  levelFor(settings) {
    return settings.fits ? (this.levels.at(-1) ?? 0) : settings.scale;
  }

  /** @param {number} level @returns {Settings} that ask for this one */
  settingsAt(level) {
    return this.settings.fits ? this.settings : { ...this.settings, scale: level };
  }

  /** @param {number} level @returns {string} such as "×4, best" */
  label(level) {
    return labelsOf(this.settingsAt(level), this.original).join(", ");
  }

  /** @param {number} level @param {Size | null} size of the picture @returns {number} how many times as large it is */
  times(level, size) {
    const kept = this.fetched.get(level);
    if (!this.settings.fits || !kept?.width || !size) return level;
    return Math.max(kept.height, kept.width) / Math.max(size.height, size.width);
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
