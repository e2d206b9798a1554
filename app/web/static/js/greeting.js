/** What the service says about itself: asked for until it is known, and again after it was away. */

import { part } from "./dom.js";
import { takesFormat } from "./limits.js";
import { isUnreachable, problemOf } from "./problem.js";
import { formatName } from "./settings.js";
import { text } from "./texts.js";
import { anyOf, byteSize, megapixels } from "./words.js";

/** @typedef {import("./api.js").Model} Model */

/** Of formats that systems may not know to be pictures. */
const SUFFIXES = { tiff: ".tif,.tiff", avif: ".avif", heic: ".heic,.heif,.hif", jxl: ".jxl" };
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];
const NEVER = new AbortController().signal;

/** Emits "change" when `isStarting` does. */
export class Greeting extends EventTarget {
  #api;
  #connection;
  #onModel;
  /** @type {Model | null} */
  #model = null;

  /** @param {import("./api.js").Api} api @param {import("./connection.js").Connection} connection @param {(model: Model) => void} onModel */
  constructor(api, connection, onModel) {
    super();
    this.#api = api;
    this.#connection = connection;
    this.#onModel = onModel;
    /** Whether the service answers, but is not ready to say. */
    this.isStarting = false;
    void this.#ask();
    let wasDown = false;
    connection.addEventListener("change", () => {
      // It may be another version by now, with other networks and limits.
      if (wasDown && !connection.down) void this.#ask();
      wasDown = connection.down;
    });
  }

  /** Tells, in the page's language, what is accepted. */
  show() {
    if (!this.#model) return;
    const { limits } = this.#model;
    const formats = limits.formats.map((name) => formatName(name.toLowerCase()));
    part("limits", HTMLElement).textContent = text("limits", {
      formats: anyOf(formats),
      bytes: byteSize(limits.max_input_bytes),
      pixels: megapixels(limits.max_input_pixels),
    });
    // Where HEIC is not named, an iPhone sends its photos as JPEG.
    const taken = Object.entries(SUFFIXES).filter(([format]) => takesFormat(limits, format));
    part("files", HTMLInputElement).accept = ["image/*", ...taken.map(([, suffixes]) => suffixes)].join();
  }

  async #ask() {
    for (let attempt = 0; ; attempt += 1) {
      try {
        this.#model = await this.#api.model();
        break;
      } catch (error) {
        if (isUnreachable(problemOf(error))) return void this.#connection.lost(NEVER);
        this.#tell(true);
        await new Promise((resolve) => setTimeout(resolve, PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)]));
      }
    }
    this.#tell(false);
    this.#onModel(this.#model);
    this.show();
  }

  /** @param {boolean} isStarting */
  #tell(isStarting) {
    if (this.isStarting === isStarting) return;
    this.isStarting = isStarting;
    this.dispatchEvent(new Event("change"));
  }
}
