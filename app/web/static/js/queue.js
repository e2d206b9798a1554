/** The pictures of this visit, a few under way at once, each from file to result. Knows no DOM. */

import { ApiError } from "./api.js";
import { Entry, measure } from "./entry.js";
import { follow, pause } from "./job.js";
import { byteSize } from "./words.js";

/** @typedef {import("./entry.js").Level} Level */

const AT_ONCE = 2;
const MOST_TRIES = 8;
const FIRST_WAIT_S = 2;
/** Statuses that ask for patience: too much under way, queue full, starting. */
const BUSY = new Set([429, 503]);

/** Emits "list" (entries came or went), "change" with `detail` the entry, and "locked" (an API key is needed). */
export class Queue extends EventTarget {
  #api;
  #running = 0;
  #locked = false;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    super();
    this.#api = api;
    /** @type {Entry[]} */
    this.entries = [];
    /** The largest file the service takes, once known. Checked here, so that nobody uploads for nothing. */
    this.maxBytes = Infinity;
  }

  /** @param {Iterable<File>} files @param {number} scale @param {string[]} wishes @returns {Entry[]} the new ones */
  add(files, scale, wishes) {
    const added = [...files].map((file) => new Entry(file, scale, wishes));
    this.entries.push(...added);
    this.dispatchEvent(new Event("list"));
    for (const entry of added) void this.#measure(entry);
    this.#pump();
    return added;
  }

  /** @param {Entry} entry whose work is withdrawn and whose result is forgotten, here and by the service */
  remove(entry) {
    this.#withdraw(entry);
    if (entry.resultId) this.#api.forget(entry.resultId);
    this.entries = this.entries.filter((other) => other !== entry);
    entry.release();
    this.dispatchEvent(new Event("list"));
  }

  /** @param {Entry} entry that failed @param {string} [remedy] see Entry.remedy */
  retry(entry, remedy = entry.remedy) {
    entry.reset();
    entry.remedy = remedy;
    this.#changed(entry);
    this.#pump();
  }

  /** Go on after a 401, with the key that the Api now has. */
  unlock() {
    this.#locked = false;
    for (const entry of this.entries) if (entry.problem?.status === 401) entry.reset();
    for (const entry of this.entries) this.#changed(entry);
    this.#pump();
  }

  /** The page is closing: leave no work behind for nobody. */
  abandon() {
    for (const entry of this.entries) this.#withdraw(entry);
  }

  /**
   * @param {Entry} entry that is done
   * @param {number} level
   * @returns {Promise<Level>} fetched once, then kept
   */
  async level(entry, level) {
    const known = entry.levels.get(level);
    if (known) return known;
    if (!entry.resultId) throw new Error("no result yet");
    const blob = await this.#api.picture(entry.resultId, level, entry.abort.signal);
    const url = URL.createObjectURL(blob);
    const size = (await measure(url)) ?? { height: 0, width: 0 };
    const fetched = { ...size, blob, url };
    entry.levels.set(level, fetched);
    return fetched;
  }

  #pump() {
    while (this.#running < AT_ONCE && !this.#locked) {
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
    const { signal } = entry.abort;
    try {
      if (entry.file.size > this.maxBytes) throw new ApiError(tooLarge(entry.file.size, this.maxBytes));
      const job = await this.#upscale(entry, signal);
      entry.resultId = job.id;
      entry.available = Object.keys(job.results)
        .map(Number)
        .sort((a, b) => a - b);
      this.#enter(entry, "fetching");
      await this.level(entry, entry.scale);
      entry.seconds = (performance.now() - entry.startedAt) / 1000;
      this.#enter(entry, "done");
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      this.#fail(entry, error);
    }
  }

  /**
   * @param {Entry} entry
   * @param {AbortSignal} signal
   * @returns {Promise<import("./api.js").Job>} done; a busy service is asked again, whether it refuses at once or later
   */
  async #upscale(entry, signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const job = await follow(
          this.#api,
          await this.#submit(entry, signal),
          (latest) => this.#progress(entry, latest),
          signal,
        );
        if (job.state === "done") return job;
        throw new ApiError(failure(job));
      } catch (error) {
        const busy = error instanceof ApiError && BUSY.has(error.problem.status);
        if (!busy || attempt === MOST_TRIES) throw error;
        await this.#hold(entry, error.problem.retryAfter ?? FIRST_WAIT_S * attempt, signal);
      }
    }
  }

  /** @param {Entry} entry @param {AbortSignal} signal @returns {Promise<import("./api.js").Job>} as accepted */
  async #submit(entry, signal) {
    entry.startedAt = performance.now();
    entry.uploaded = 0;
    entry.job = null;
    this.#enter(entry, "uploading");
    const job = await this.#api.submit(entry.file, entry.parameters, signal, (share) => {
      entry.uploaded = share;
      this.#changed(entry);
    });
    this.#progress(entry, job);
    return job;
  }

  /** @param {Entry} entry @param {number} seconds @param {AbortSignal} signal */
  async #hold(entry, seconds, signal) {
    for (entry.heldFor = Math.max(1, seconds); entry.heldFor > 0; entry.heldFor -= 1) {
      this.#enter(entry, "held");
      await pause(Math.min(1, entry.heldFor) * 1000, signal);
    }
  }

  /** @param {Entry} entry @param {import("./api.js").Job} job */
  #progress(entry, job) {
    entry.job = job;
    this.#enter(entry, job.state === "queued" ? "queued" : "running");
  }

  /** @param {Entry} entry @param {unknown} error */
  #fail(entry, error) {
    if (!(error instanceof ApiError)) console.error(error);
    entry.problem =
      error instanceof ApiError
        ? error.problem
        : {
            title: "The page stumbled",
            detail: "Try again; if it happens again, reload the page.",
            status: 0,
            retryAfter: null,
          };
    this.#enter(entry, "failed");
    if (entry.problem.status === 401) {
      this.#locked = true;
      this.dispatchEvent(new CustomEvent("locked", { detail: entry.problem }));
    }
  }

  /** @param {Entry} entry */
  async #measure(entry) {
    entry.original = await measure(entry.url);
    entry.measured = true;
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
  #changed(entry) {
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
  }
}

/** @param {import("./api.js").Job} job that ended without a result @returns {import("./api.js").Problem} */
function failure(job) {
  const cancelled = job.state === "cancelled";
  return {
    title: job.error?.title ?? (cancelled ? "Cancelled" : "The service could not do it"),
    detail: job.error?.detail ?? (cancelled ? "The work was stopped. Try again if that was not you." : "Try again."),
    status: job.error?.status ?? 0,
    retryAfter: null,
  };
}

/** @param {number} bytes @param {number} limit @returns {import("./api.js").Problem} */
function tooLarge(bytes, limit) {
  return {
    title: "The file is too large",
    detail: `It has ${byteSize(bytes)}, and this service takes up to ${byteSize(limit)}. Save it smaller, or as JPEG, and add it again.`,
    status: 413,
    retryAfter: null,
  };
}
