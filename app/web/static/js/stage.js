/** The chosen picture with its facts, its progress, its trouble or its tools: one of the last three at a time. */

import { ApiError } from "./api.js";
import { Compare } from "./compare.js";
import { part } from "./dom.js";
import { downloadName } from "./download.js";
import { byteSize, dimensions, duration } from "./words.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./queue.js").Queue} Queue */

const ZOOM = 1.5;
/** Statuses for which the same file will fail again. */
const HOPELESS = new Set([400, 413, 415, 422]);
/** Parameters that the service's words may name as the way out, as a button each. */
const REMEDIES = [
  { query: "frames=first", label: "Take the first frame" },
  { query: "frames=all", label: "Take all frames" },
  { query: "truncated=allow", label: "Take what is there" },
];

export class Stage {
  #queue;
  #say;
  #root = part("stage", HTMLElement);
  #title = part("stage-title", HTMLElement);
  #facts = part("facts", HTMLElement);
  #work = part("work", HTMLElement);
  #workBar = part("work-bar", HTMLProgressElement);
  #workText = part("work-text", HTMLElement);
  #tools = part("tools", HTMLElement);
  #remedies = part("trouble-remedies", HTMLElement);
  #trouble = part("trouble", HTMLElement);
  #noPreview = part("no-preview", HTMLElement);
  #download = part("download", HTMLAnchorElement);
  #zoom = part("zoom-value", HTMLElement);
  #levels = part("levels", HTMLFieldSetElement);
  #compare = new Compare((compare) => this.#moved(compare));
  /** @type {Entry | null} */
  #entry = null;
  /** Which level of `#entry` is open; 0: none, so opening it is still to do. */
  #level = 0;
  #opened = false;
  /** Results that have come in once already. @type {WeakSet<Entry>} */
  #seen = new WeakSet();

  /**
   * @param {Queue} queue
   * @param {(entry: Entry) => void} onRemove
   * @param {(words: string, urgent?: boolean) => void} say to a screen reader
   */
  constructor(queue, onRemove, say) {
    this.#queue = queue;
    this.#say = say;
    part("zoom-in", HTMLElement).onclick = () => this.#compare.zoomBy(ZOOM);
    part("zoom-out", HTMLElement).onclick = () => this.#compare.zoomBy(1 / ZOOM);
    part("zoom-fit", HTMLElement).onclick = () => this.#compare.fit();
    part("zoom-one", HTMLElement).onclick = () => this.#compare.oneToOne();
    part("work-cancel", HTMLElement).onclick = () => this.#entry && onRemove(this.#entry);
    part("trouble-remove", HTMLElement).onclick = () => this.#entry && onRemove(this.#entry);
    part("trouble-again", HTMLElement).onclick = () => this.#entry && queue.retry(this.#entry);
    this.#levels.addEventListener("change", (event) => {
      if (event.target instanceof HTMLInputElement) void this.#show(Number(event.target.value), false);
    });
  }

  /** @param {Entry | null} entry */
  open(entry) {
    this.#root.hidden = entry === null;
    if (entry === this.#entry) return;
    this.#entry = entry;
    this.#level = 0;
    this.#opened = false;
    if (entry) this.update(entry);
  }

  /** @param {Entry} entry that changed; nothing happens unless it is the one on show */
  update(entry) {
    if (entry !== this.#entry) return;
    this.#root.dataset["state"] = entry.state;
    this.#title.textContent = entry.name;
    this.#openPicture(entry);
    this.#noPreview.hidden = !(entry.measured && !entry.original && entry.isBusy);
    this.#work.hidden = !entry.isBusy;
    this.#tools.hidden = entry.state !== "done";
    this.#trouble.hidden = entry.state !== "failed";
    if (entry.isBusy) this.#showWork(entry);
    if (entry.state === "failed") this.#showTrouble(entry);
    if (entry.state === "done" && this.#level === 0) void this.#show(entry.scale, !this.#seen.has(entry));
    this.#showFacts(entry);
  }

  /** @param {Entry} entry */
  #openPicture(entry) {
    if (this.#opened || !entry.measured) return;
    this.#opened = true;
    this.#compare.open(entry.name, entry.original && entry.url, entry.original ?? { height: 1, width: 1 }, entry.scale);
  }

  /** @param {Entry} entry */
  #showWork(entry) {
    this.#workBar.value = entry.share ?? 0;
    this.#workText.textContent = entry.words;
    this.#compare.showTiles(entry.tiles ?? { done: 0, total: 0 });
  }

  /** @param {Entry} entry */
  #showTrouble(entry) {
    part("trouble-title", HTMLElement).textContent = entry.problem?.title ?? "";
    part("trouble-detail", HTMLElement).textContent = entry.problem?.detail ?? "";
    const remedies = REMEDIES.filter(({ query }) => entry.problem?.detail.includes(query));
    this.#remedies.replaceChildren(...remedies.map(({ query, label }) => this.#remedy(entry, query, label)));
    part("trouble-again", HTMLElement).hidden = HOPELESS.has(entry.problem?.status ?? 0);
    this.#compare.showTiles({ done: 0, total: 0 });
  }

  /** @param {Entry} entry @param {string} query @param {string} label @returns {HTMLButtonElement} */
  #remedy(entry, query, label) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button primary";
    button.textContent = label;
    button.onclick = () => this.#queue.retry(entry, query);
    return button;
  }

  /** @param {number} level @param {boolean} fresh */
  async #show(level, fresh) {
    const entry = this.#entry;
    if (!entry || entry.state !== "done") return;
    const before = this.#level;
    this.#level = level;
    try {
      const picture = await this.#queue.level(entry, level);
      if (entry !== this.#entry || level !== this.#level) return;
      if (!entry.original && before === 0) {
        const size = { height: picture.height / level, width: picture.width / level };
        this.#compare.open(entry.name, null, size, entry.scale);
      }
      this.#compare.reveal(entry.name, level, picture.url, fresh && before === 0);
      this.#seen.add(entry);
      this.#download.href = picture.url;
      this.#download.download = downloadName(entry.name, level, picture.blob.type);
      this.#download.textContent = `Download ×${level}`;
      if (before !== 0) this.#say(`Showing ×${level}, ${dimensions(picture)}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#level = before;
      this.#say(`×${level} is not to be had. ${error.problem.detail}`, true);
    }
    this.#showLevels(entry);
    this.#showFacts(entry);
  }

  /** @param {Entry} entry */
  #showLevels(entry) {
    for (const input of this.#levels.querySelectorAll("input")) {
      const level = Number(input.value);
      input.checked = level === this.#level;
      if (input.parentElement) input.parentElement.hidden = !entry.available.includes(level);
    }
  }

  /** @param {Entry} entry */
  #showFacts(entry) {
    const result = entry.levels.get(this.#level);
    const size = entry.original ? `${dimensions(entry.original)}, ` : "";
    /** @type {[string, string][]} */
    const facts = [["Original", size + byteSize(entry.file.size)]];
    if (result) facts.push([`×${this.#level}`, `${dimensions(result)}, ${byteSize(result.blob.size)}`]);
    if (entry.state === "done") facts.push(["Time", duration(entry.seconds)]);
    this.#facts.replaceChildren(...facts.map(([term, value]) => fact(term, value)));
  }

  /** @param {Compare} compare */
  #moved(compare) {
    const zoom = compare.viewport.zoomOf(compare.level || 1) * 100;
    this.#zoom.textContent = `${zoom < 10 ? zoom.toFixed(1) : Math.round(zoom)} %`;
  }
}

/** @param {string} term @param {string} value @returns {HTMLElement} */
function fact(term, value) {
  const group = document.createElement("div");
  const name = document.createElement("dt");
  const text = document.createElement("dd");
  name.textContent = term;
  text.textContent = value;
  group.append(name, text);
  return group;
}
