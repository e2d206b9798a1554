/** The chosen picture with its facts, its progress, its trouble or its tools: one of the last three at a time. */

import { copyPicture, hasClipboard } from "./clipboard.js";
import { Compare } from "./compare.js";
import { make, part } from "./dom.js";
import { downloadName } from "./download.js";
import { Notice } from "./notice.js";
import { ApiError, problemOf } from "./problem.js";
import { labelsOf, sizeLabel } from "./settings.js";
import { dependsOnSettings, progressOf } from "./status.js";
import { text } from "./texts.js";
import { attachTrouble } from "./trouble.js";
import { Versions } from "./versions.js";
import { byteSize, dimensions, duration } from "./words.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./queue.js").Queue} Queue */
/** @typedef {import("./result.js").Version} Version */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {{say: (words: string, urgent?: boolean) => void, tell: (words: string) => void,
 *   remove: (entry: Entry) => void, chosen: () => Settings}} Page
 *   say: to a screen reader; tell: to everybody; chosen: the settings as they are */

const ZOOM = 1.5;

export class Stage {
  #queue;
  #page;
  #root = part("stage", HTMLElement);
  #work = part("work", HTMLElement);
  #tools = part("tools", HTMLElement);
  #notice = new Notice("notice");
  #noPreview = part("no-preview", HTMLElement);
  #download = part("download", HTMLAnchorElement);
  #compare = new Compare((compare) => this.#moved(compare));
  #versions = new Versions((side, version) => void this.#choose(side, version));
  #showTrouble;
  /** @type {Entry | null} */
  #entry = null;
  /** On the left; null: the original. @type {Version | null} */
  #left = null;
  /** On the right, once it is there. @type {Version | null} */
  #right = null;
  /** One that was asked for and is no longer kept. @type {Version | null} */
  #gone = null;
  #opened = false;
  /** Results that have come in once already. @type {WeakSet<import("./result.js").Result>} */
  #seen = new WeakSet();

  /** @param {Queue} queue @param {Page} page */
  constructor(queue, page) {
    this.#queue = queue;
    this.#page = page;
    this.#showTrouble = attachTrouble(queue, page.remove);
    part("zoom-in", HTMLElement).onclick = () => this.#compare.zoomBy(ZOOM);
    part("zoom-out", HTMLElement).onclick = () => this.#compare.zoomBy(1 / ZOOM);
    part("zoom-fit", HTMLElement).onclick = () => this.#compare.fit();
    part("zoom-one", HTMLElement).onclick = () => this.#compare.oneToOne();
    part("work-cancel", HTMLElement).onclick = () => this.#cancel();
    part("copy", HTMLElement).onclick = () => void this.#copy();
    part("copy", HTMLElement).hidden = !hasClipboard();
    part("after", HTMLImageElement).addEventListener("error", () => this.#page.tell(text("compare.unshowable")));
  }

  /** @param {Entry | null} entry */
  open(entry) {
    this.#root.hidden = entry === null;
    if (entry === this.#entry) return;
    this.#entry = entry;
    this.#left = null;
    this.#right = null;
    this.#gone = null;
    this.#opened = false;
    if (entry) this.update(entry);
  }

  /** @param {Entry} entry that changed; nothing happens unless it is the one on show */
  update(entry) {
    if (entry !== this.#entry) return;
    this.#root.dataset["state"] = entry.state;
    part("stage-title", HTMLElement).textContent = entry.folder + entry.name;
    this.#openPicture(entry);
    this.#noPreview.hidden = !(entry.measured && !entry.isShowable && entry.isBusy);
    this.#work.hidden = !entry.isBusy;
    this.#tools.hidden = entry.state !== "done";
    this.#showTrouble(entry.state === "failed" ? entry : null);
    if (entry.isBusy) this.#showWork(entry);
    if (entry.state === "failed") this.#compare.showTiles({ done: 0, total: 0 });
    if (entry.state !== "done") this.#right = this.#gone = null;
    else if (entry.current && !isSame(entry.current, this.#right)) void this.#reveal(entry, entry.current);
    this.#showFacts(entry);
    this.#showNotice();
    this.#versions.show(entry.state === "done" ? entry : null, this.#left, this.#right);
  }

  /** Everything again, in another language. */
  speak() {
    if (this.#entry) this.update(this.#entry);
    if (this.#entry) this.#draw(this.#entry);
  }

  /** That the picture on show is not what is chosen, or that a version of it is gone, with the way out. */
  #showNotice() {
    const entry = this.#entry;
    if (!entry) return;
    const chosen = this.#page.chosen();
    const labels = (/** @type {Settings} */ settings) => labelsOf(settings, entry.format).join(", ");
    if (this.#gone && entry.state === "done") {
      const { result, level } = this.#gone;
      const settings = result.settingsAt(level);
      const act = () => this.#queue.again(entry, settings);
      return this.#notice.show({
        words: text("notice.expired", { label: labels(settings) }),
        label: text("do.again", { chosen: labels(settings) }),
        act,
      });
    }
    if (entry.isAsked(chosen) || (entry.state === "failed" && !dependsOnSettings(entry))) return this.#notice.show(null);
    const { current } = entry;
    const made = entry.state === "done" && current ? current.result.label(current.level) : labels(entry.settings);
    const key = entry.isBusy ? "notice.making" : entry.state === "done" ? "notice.made" : "notice.failed";
    return this.#notice.show({
      words: text(key, { made }),
      label: text(entry.results.length ? "do.again" : "do.with", { chosen: labels(chosen) }),
      act: () => this.#queue.again(entry, chosen),
    });
  }

  /** The settings have just been changed by a person: if the picture on show has what they ask for, show that. */
  follow() {
    const entry = this.#entry;
    const chosen = this.#page.chosen();
    const result = entry?.state === "done" ? entry.resultFor(chosen) : undefined;
    if (entry && result) void this.#choose("right", { result, level: result.levelFor(chosen) });
    this.#showNotice();
  }

  /** @param {Entry} entry */
  #openPicture(entry) {
    if (this.#opened || !entry.measured) return;
    this.#opened = true;
    this.#compare.open(entry.name, entry.size ?? { height: 1, width: 1 }, entry.times);
    this.#compare.show(this.#side(entry, null), null);
  }

  /** @param {Entry} entry */
  #showWork(entry) {
    part("work-bar", HTMLProgressElement).value = entry.share;
    part("work-text", HTMLElement).textContent = progressOf(entry);
    part("work-cancel", HTMLElement).textContent = text("do.cancel");
    if (this.#right || this.#left) {
      this.#left = null;
      this.#right = null;
      this.#compare.show(this.#side(entry, null), null);
    }
    this.#compare.showTiles(entry.tiles ?? { done: 0, total: 0 });
  }

  #cancel() {
    const entry = this.#entry;
    if (!entry) return;
    if (entry.results.length) this.#queue.back(entry);
    else this.#page.remove(entry);
  }

  /** @param {"left" | "right"} side @param {Version | null} version null: the original */
  async #choose(side, version) {
    const entry = this.#entry;
    if (!entry || entry.state !== "done") return;
    const before = { left: this.#left, current: entry.current };
    try {
      if (version) await this.#queue.level(entry, version);
      if (entry !== this.#entry || entry.state !== "done") return;
      if (side === "right" && version) {
        this.#queue.choose(entry, version);
        this.#page.say(text("said.showing", { label: version.result.label(version.level) }));
      } else {
        this.#left = version;
        this.#draw(entry);
      }
    } catch (error) {
      if (!(error instanceof ApiError) || entry !== this.#entry) return;
      this.#left = before.left;
      this.#versions.show(entry, this.#left, this.#right);
      if (!version) return;
      if (problemOf(error).status === 404) {
        this.#gone = version;
        this.#showNotice();
      } else this.#page.tell(text("notice.unreachable", { label: version.result.label(version.level) }));
    }
  }

  /** @param {Entry} entry @param {Version} version on the right */
  async #reveal(entry, version) {
    this.#right = version;
    if (!this.#opened) return;
    if (!entry.isShowable && !this.#left) {
      const { height, width } = await this.#queue.level(entry, version);
      const times = version.result.times(version.level, entry.size);
      if (entry !== this.#entry) return;
      this.#compare.open(entry.name, entry.size ?? { height: height / times, width: width / times }, times);
    }
    this.#draw(entry, !this.#seen.has(version.result));
    this.#seen.add(version.result);
  }

  /** @param {Entry} entry @param {boolean} [fresh] */
  #draw(entry, fresh = false) {
    const version = this.#right;
    if (!version) return;
    this.#compare.show(this.#side(entry, this.#left), this.#side(entry, version), fresh);
    const level = version.result.fetched.get(version.level);
    if (level) this.#download.href = level.url;
    this.#download.download = downloadName(entry, version);
    this.#download.textContent = text("do.download-one", { label: sizeLabel(version.result.settingsAt(version.level)) });
    this.#versions.show(entry, this.#left, version);
    this.#showFacts(entry);
  }

  /** @param {Entry} entry @param {Version | null} version @returns {import("./compare.js").Side | null} */
  #side(entry, version) {
    const label = version ? version.result.label(version.level) : text("compare.original");
    const alt = text("compare.alt", { name: entry.name, label });
    if (!version) return entry.isShowable ? { url: entry.url, alt, label, level: 1 } : null;
    const kept = version.result.fetched.get(version.level);
    return kept ? { url: kept.url, alt, label, level: version.result.times(version.level, entry.size) } : null;
  }

  /** @param {Entry} entry */
  #showFacts(entry) {
    const size = entry.size ? `${dimensions(entry.size)}, ` : "";
    /** @type {[string, string][]} */
    const facts = [[text("compare.original"), size + byteSize(entry.file.size)]];
    const level = this.#right?.result.fetched.get(this.#right.level);
    if (this.#right && level) {
      facts.push([this.#right.result.label(this.#right.level), `${dimensions(level)}, ${byteSize(level.blob.size)}`]);
      facts.push([text("facts.time"), duration(this.#right.result.seconds)]);
    } else if (entry.isBusy && entry.expected) {
      facts.push([labelsOf(entry.settings, entry.format).join(", "), dimensions(entry.expected)]);
    }
    part("facts", HTMLElement).replaceChildren(
      ...facts.map(([term, value]) => make("div", "", make("dt", "", term), make("dd", "", value))),
    );
    part("partial", HTMLElement).hidden = !this.#right?.result.partial;
  }

  async #copy() {
    const entry = this.#entry;
    if (!entry?.download) return;
    try {
      await copyPicture(entry.download.blob);
      this.#page.tell(text("said.copied"));
    } catch {
      this.#page.tell(text("said.not-copied"));
    }
  }

  /** @param {Compare} compare */
  #moved(compare) {
    const zoom = compare.viewport.zoomOf(compare.level || 1) * 100;
    const words = text("percent", { value: zoom < 10 ? Number(zoom.toFixed(1)) : Math.round(zoom) });
    // A live region: the same words again may be said again.
    const value = part("zoom-value", HTMLElement);
    if (value.textContent !== words) value.textContent = words;
  }
}

/** @param {Version} one @param {Version | null} other @returns {boolean} */
function isSame(one, other) {
  return one.result === other?.result && one.level === other.level;
}
