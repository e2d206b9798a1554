/** One picture on its way: what was chosen, how far it is, what came of it. */

import { readHeader } from "./header.js";
import { pause } from "./job.js";
import { parametersOf, sameButSize, sameSize, sizeMade, writtenAs } from "./settings.js";

/** @typedef {"waiting" | "held" | "uploading" | "queued" | "running" | "fetching" | "done" | "failed"} EntryState */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./header.js").Size} Size */
/** @typedef {import("./result.js").Version} Version */
/** @typedef {import("./result.js").Result} Result */

/** Pixels a side of a small copy: twice what its place has, for dense screens. */
const THUMBNAIL = 112;
const LOOK_AGAIN_MS = 1000;

let count = 0;

export class Entry {
  /** @type {Promise<void> | null} */
  #reading = null;

  /** @param {File} file @param {string} folder it came with, such as "album/", or empty @param {Settings} settings */
  constructor(file, folder, settings) {
    this.key = `entry-${++count}`;
    this.file = file;
    this.name = file.name;
    this.folder = folder;
    /** What it is to become. */
    this.settings = settings;
    this.url = URL.createObjectURL(file);
    /** Asked for now, as a file that is deleted seems empty later. */
    this.isEmpty = file.size === 0;
    /** @type {import("./header.js").Header | null} */
    this.header = null;
    /** The size, upright; null: not known. @type {Size | null} */
    this.size = null;
    /** A small copy to recognise it by; null: the browser cannot show it. @type {HTMLCanvasElement | null} */
    this.thumbnail = null;
    /** Whether all of these have been looked for. */
    this.measured = false;
    /** @type {EntryState} */
    this.state = "waiting";
    this.uploaded = 0;
    /** Share of the result's bytes that are here; null: not known. @type {number | null} */
    this.fetched = null;
    /** @type {import("./api.js").Job | null} */
    this.job = null;
    /** Seconds until the service is asked again, while held; 0: until the connection is back. */
    this.heldFor = 0;
    /** @type {import("./problem.js").Problem | null} */
    this.problem = null;
    /** A further parameter of the request that makes a refused picture acceptable, such as "frames=first". */
    this.remedy = "";
    /** All that was made of it. @type {Result[]} */
    this.results = [];
    /** What its row names and a download saves. @type {Version | null} */
    this.current = null;
    /** performance.now() when the upload began. */
    this.startedAt = 0;
    /** @type {AbortController} */
    this.abort = new AbortController();
  }

  /** Format of the file in lower case, or empty. */
  get format() {
    return this.header?.format ?? "";
  }

  /** Whether the browser can show the file itself. */
  get isShowable() {
    return this.thumbnail !== null;
  }

  /** The format that the result will be written in. */
  get target() {
    return writtenAs(this.settings, this.format);
  }

  /** @returns {string} of the request, such as "scale=4&frames=first" */
  get parameters() {
    return [parametersOf(this.settings, this.format), this.remedy].filter(Boolean).join("&");
  }

  get isBusy() {
    return this.state !== "done" && this.state !== "failed";
  }

  /** @returns {Size | null} of what it is to become */
  get expected() {
    return this.size && sizeMade(this.settings, this.size);
  }

  /** How many times as large as the original it is to become. */
  get times() {
    const { size, expected } = this;
    if (!size || !expected) return this.settings.scale;
    return Math.max(expected.height, expected.width) / Math.max(size.height, size.width);
  }

  /** @returns {import("./result.js").Level | null} the picture that a download saves */
  get download() {
    return this.current?.result.fetched.get(this.current.level) ?? null;
  }

  /** @returns {{done: number, total: number} | null} in tiles; null before they are counted */
  get tiles() {
    return this.job && this.job.progress.total > 0 ? this.job.progress : null;
  }

  /** @returns {number} 0..1 over upload, tiles and result together */
  get share() {
    if (this.state === "uploading") return 0.1 * this.uploaded;
    if (this.state === "running" && this.tiles) return 0.1 + (0.8 * this.tiles.done) / this.tiles.total;
    if (this.state === "queued") return 0.1;
    return this.state === "fetching" ? 0.9 + 0.1 * (this.fetched ?? 1) : 0;
  }

  /** @param {Settings} settings @returns {boolean} whether they ask for what it is, or is to become */
  isAsked(settings) {
    if (this.state === "done" && this.resultFor(settings)) return true;
    return sameSize(this.settings, settings) && sameButSize(this.settings, settings, this.format);
  }

  /** @param {Settings} settings @returns {Result | undefined} one that is already what they ask for */
  resultFor(settings) {
    return this.results.findLast((result) => result.covers(settings));
  }

  /** Usable again after a removal that was taken back. */
  renew() {
    this.abort = new AbortController();
  }

  /** Back to the start, keeping the file and what was made of it. */
  reset() {
    this.renew();
    this.state = "waiting";
    this.uploaded = 0;
    this.job = null;
    this.problem = null;
  }

  /** Look at the file: its format and its size. */
  readHeader() {
    this.#reading ??= readHeader(this.file).then((header) => {
      this.header = header;
      this.size = header && header.height > 0 ? { height: header.height, width: header.width } : null;
    });
    return this.#reading;
  }

  /**
   * Looks twice: Safari refuses to read while it leaves the page, which may come back out of its cache.
   * @returns {Promise<boolean>} whether the file is still as it was chosen; one that was gone before it was looked at seems empty
   */
  async isReadable() {
    const look = () => this.file.slice(0, 1).arrayBuffer().then((start) => start.byteLength > 0, () => false);
    if (await look()) return true;
    await pause(LOOK_AGAIN_MS, this.abort.signal);
    return look();
  }

  /** Decode the file, for a small copy and the size as it is shown. */
  async decode() {
    const picture = await createImageBitmap(this.file).catch(() => null);
    if (picture) {
      this.size = { height: picture.height, width: picture.width };
      this.thumbnail = thumbnailOf(picture);
      picture.close();
    }
    this.measured = true;
  }

  /** Give back the memory its pictures hold. */
  release() {
    URL.revokeObjectURL(this.url);
    for (const result of this.results) result.release();
  }
}

/** @param {ImageBitmap} picture @returns {HTMLCanvasElement} its middle, as a small square */
function thumbnailOf(picture) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = THUMBNAIL;
  const side = Math.min(picture.height, picture.width);
  const from = { x: (picture.width - side) / 2, y: (picture.height - side) / 2 };
  const context = canvas.getContext("2d");
  if (context) context.imageSmoothingQuality = "high";
  context?.drawImage(picture, from.x, from.y, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
  return canvas;
}
