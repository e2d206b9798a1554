/** One picture on its way: what was chosen, how far it is, what came of it. */

/** @typedef {"waiting" | "held" | "uploading" | "queued" | "running" | "fetching" | "done" | "failed"} EntryState */
/** @typedef {{height: number, width: number}} Size pixels */
/** @typedef {Size & {blob: Blob, url: string}} Level */

import { dimensions, duration, roughly } from "./words.js";

let count = 0;

/** @param {string} url of a picture @returns {Promise<Size | null>} as the browser shows it; null where it cannot */
export async function measure(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return null;
  }
  return { height: image.naturalHeight, width: image.naturalWidth };
}

export class Entry {
  /** @param {File} file @param {number} scale @param {string[]} wishes further parameters, such as "ensemble=true" */
  constructor(file, scale, wishes) {
    this.key = `entry-${++count}`;
    this.file = file;
    this.name = file.name;
    this.scale = scale;
    this.wishes = wishes;
    this.url = URL.createObjectURL(file);
    /** @type {Size | null} */
    this.original = null;
    /** Whether `original` has been looked for. */
    this.measured = false;
    /** @type {EntryState} */
    this.state = "waiting";
    this.uploaded = 0;
    /** @type {import("./api.js").Job | null} */
    this.job = null;
    /** Seconds until the service is asked again, while held. */
    this.heldFor = 0;
    /** @type {import("./api.js").Problem | null} */
    this.problem = null;
    /** A further parameter of the request that makes a refused picture acceptable, such as "frames=first". */
    this.remedy = "";
    /** @type {string | null} */
    this.resultId = null;
    /** @type {Map<number, Level>} the levels fetched so far */
    this.levels = new Map();
    /** @type {number[]} the levels there are */
    this.available = [];
    /** performance.now() when the upload began. */
    this.startedAt = 0;
    /** From the first byte sent to the result at hand. */
    this.seconds = 0;
    /** @type {AbortController} */
    this.abort = new AbortController();
  }

  /** @returns {string} of the request, such as "scale=4&frames=first" */
  get parameters() {
    return [`scale=${this.scale}`, ...this.wishes, this.remedy].filter(Boolean).join("&");
  }

  get isBusy() {
    return this.state !== "done" && this.state !== "failed";
  }

  /** @returns {{done: number, total: number} | null} in tiles; null before they are counted */
  get tiles() {
    return this.job && this.job.progress.total > 0 ? this.job.progress : null;
  }

  /** @returns {number | null} 0..1 over upload and tiles together; null where nothing can be said */
  get share() {
    if (this.state === "uploading") return 0.1 * this.uploaded;
    if (this.state === "running" && this.tiles) return 0.1 + (0.9 * this.tiles.done) / this.tiles.total;
    if (this.state === "queued") return 0.1;
    return this.state === "fetching" ? 1 : 0;
  }

  /** @returns {string} the state in a few words */
  get words() {
    switch (this.state) {
      case "waiting":
        return "Waiting its turn";
      case "held":
        return `The service is busy. Trying again in ${Math.ceil(this.heldFor)} s`;
      case "uploading":
        return this.uploaded >= 1 ? "Being read" : `Uploading, ${Math.round(this.uploaded * 100)} %`;
      case "queued":
        return "In the service's queue";
      case "running": {
        const left = this.job?.seconds_left;
        const soon = typeof left === "number" && left >= 1 ? `, about ${roughly(left)} left` : "";
        return this.tiles ? `${this.tiles.done} of ${this.tiles.total} tiles${soon}` : "Under way";
      }
      case "fetching":
        return "Fetching the result";
      case "failed":
        return this.problem?.title ?? "Failed";
      case "done": {
        const level = this.levels.get(this.scale);
        return `${level ? `${dimensions(level)}, ` : ""}${duration(this.seconds)}`;
      }
    }
  }

  /** Back to the start, keeping the file. */
  reset() {
    this.abort = new AbortController();
    this.state = "waiting";
    this.uploaded = 0;
    this.job = null;
    this.problem = null;
  }

  /** Give back the memory its pictures hold. */
  release() {
    URL.revokeObjectURL(this.url);
    for (const level of this.levels.values()) URL.revokeObjectURL(level.url);
  }
}
