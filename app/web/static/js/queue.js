/** The pictures of this visit, a few under way at once, each from file to result. Knows no DOM. */

import { Entry } from "./entry.js";
import { refusal } from "./limits.js";
import { ApiError, problemOf } from "./problem.js";
import { Run } from "./run.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./result.js").Version} Version */
/** @typedef {import("./result.js").Level} Level */
/** @typedef {{file: File, folder: string}} Found folder: its path such as "album/", or empty */

const AT_ONCE = 2;

/**
 * Emits "list" (entries came, went or moved), "locked" (an API key is needed), and with the entry as `detail` "change"
 * and "done" (it ended, well or not).
 */
export class Queue extends EventTarget {
  #api;
  #connection;
  #running = 0;
  /** One file is looked at after another, as a hundred pictures decoded at once do not fit into a phone. */
  #looking = Promise.resolve();

  /** @param {import("./api.js").Api} api @param {import("./connection.js").Connection} connection */
  constructor(api, connection) {
    super();
    this.#api = api;
    this.#connection = connection;
    /** @type {Entry[]} */
    this.entries = [];
    /** What the service has and takes, once known. @type {import("./api.js").Model | null} */
    this.model = null;
    /** Whether nothing is sent until there is an API key. */
    this.locked = false;
    connection.addEventListener("change", () => this.#pump());
  }

  /** @param {Found[]} found @param {Settings} settings @returns {Entry[]} the new ones */
  add(found, settings) {
    const added = found.map(({ file, folder }) => new Entry(file, folder, settings));
    this.entries.push(...added);
    this.#listed();
    for (const entry of added) this.#looking = this.#looking.then(() => this.#look(entry));
    this.#pump();
    return added;
  }

  /**
   * Take entries off the list; their work is withdrawn, but nothing is forgotten yet.
   * @param {Entry[]} entries
   * @returns {{undo: () => void, settle: () => void}} put them back, or forget what was made of them, here and there
   */
  remove(entries) {
    const before = this.entries;
    for (const entry of entries) this.#withdraw(entry);
    this.entries = before.filter((entry) => !entries.includes(entry));
    this.#listed();
    return {
      undo: () => {
        const back = before.filter((entry) => entries.includes(entry) || this.entries.includes(entry));
        this.entries = [...back, ...this.entries.filter((entry) => !before.includes(entry))];
        for (const entry of entries) entry.isBusy ? entry.reset() : entry.renew();
        this.#listed();
        this.#pump();
      },
      settle: () => {
        for (const entry of entries) {
          for (const result of entry.results) this.#api.forget(result.id);
          entry.release();
        }
      },
    };
  }

  /**
   * @param {Entry} entry to be made, or made again @param {Settings} [settings] with these
   * @param {string} [remedy] one more, see Entry
   */
  again(entry, settings = entry.settings, remedy = "") {
    this.#withdraw(entry);
    entry.reset();
    entry.settings = settings;
    const remedies = new URLSearchParams(entry.remedy);
    for (const [name, value] of new URLSearchParams(remedy)) remedies.set(name, value);
    entry.remedy = String(remedies);
    this.#changed(entry);
    this.#pump();
  }

  /** @param {Entry} entry under way or failed, of which there is an earlier result to go back to */
  back(entry) {
    this.#withdraw(entry);
    entry.reset();
    entry.state = "done";
    if (entry.current) entry.settings = entry.current.result.settingsAt(entry.current.level);
    this.#changed(entry);
  }

  /** @param {Entry} entry that waits: it is the next to be sent */
  next(entry) {
    const others = this.entries.filter((other) => other !== entry);
    const at = others.findIndex((other) => other.state === "waiting");
    others.splice(at < 0 ? others.length : at, 0, entry);
    this.entries = others;
    this.#listed();
  }

  /** Go on after a 401, with the key that the Api now has. */
  unlock() {
    this.locked = false;
    for (const entry of this.entries) this.#changed(entry);
    this.#pump();
  }

  /** The page is closing: leave no work behind for nobody. */
  abandon() {
    for (const entry of this.entries) this.#withdraw(entry);
  }

  /** @param {Entry} entry @param {Version} version @returns {Promise<Level>} fetched once, then kept */
  async level(entry, { result, level }) {
    const known = result.fetched.get(level);
    if (known) return known;
    return result.keep(level, await this.#api.picture(result.id, level, entry.abort.signal));
  }

  /** @param {Entry} entry @param {Version} version that its row names and a download saves */
  choose(entry, version) {
    entry.current = version;
    this.#changed(entry);
  }

  #pump() {
    while (this.#running < AT_ONCE && !this.locked && !this.#connection.down) {
      const next = this.entries.find((entry) => entry.state === "waiting");
      if (!next) return;
      this.#running += 1;
      void this.#run(next).finally(() => {
        this.#running -= 1;
        this.#pump();
      });
    }
  }

  /** @param {Entry} entry */
  async #run(entry) {
    const { abort } = entry;
    const enter = (/** @type {import("./entry.js").EntryState} */ state) => {
      if (entry.abort === abort && !abort.signal.aborted) this.#enter(entry, state);
    };
    try {
      enter("uploading");
      await entry.readHeader();
      const refused = refusal(this.model, entry);
      if (refused) throw new ApiError(refused);
      const result = await new Run(this.#api, this.#connection, entry, enter).result();
      if (abort.signal.aborted) return this.#api.forget(result.id);
      entry.results.push(result);
      entry.current = { result, level: result.levelFor(entry.settings) };
      enter("done");
      this.#ended(entry);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#fail(entry, error);
    }
  }

  /** @param {Entry} entry @param {unknown} error */
  #fail(entry, error) {
    if (!(error instanceof ApiError)) console.error(error);
    const problem = problemOf(error);
    if (problem.status === 401) {
      entry.reset();
      this.locked = true;
      this.#changed(entry);
      this.dispatchEvent(new Event("locked"));
    } else {
      entry.problem = problem;
      this.#enter(entry, "failed");
      this.#ended(entry);
    }
  }

  /** @param {Entry} entry */
  async #look(entry) {
    if (!this.entries.includes(entry)) return;
    await entry.readHeader();
    this.#changed(entry);
    await entry.decode();
    this.#changed(entry);
  }

  /** @param {Entry} entry */
  #withdraw(entry) {
    const underWay = entry.isBusy && entry.job !== null;
    entry.abort.abort();
    if (underWay && entry.job) this.#api.cancel(entry.job.id);
  }

  /** @param {Entry} entry @param {import("./entry.js").EntryState} state */
  #enter(entry, state) {
    entry.state = state;
    this.#changed(entry);
  }

  /** @param {Entry} entry */
  #ended(entry) {
    this.dispatchEvent(new CustomEvent("done", { detail: entry }));
  }

  #listed() {
    this.dispatchEvent(new Event("list"));
  }

  /** @param {Entry} entry */
  #changed(entry) {
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
  }
}
