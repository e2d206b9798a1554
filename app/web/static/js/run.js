/** One picture's way through the service: sent, followed, fetched; patient with a service that is busy or away. */

import { countDown, follow } from "./job.js";
import { ApiError, failureOf, isUnreachable, ownProblem, problemOf } from "./problem.js";
import { Result } from "./result.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./entry.js").EntryState} EntryState */

const MOST_TRIES = 8;
/** Times in a row that this request finds nobody while the service answers others: something else is in its way. */
const MOST_LOSSES = 4;
const FIRST_WAIT_S = 2;
/** Statuses that ask for patience: too much under way, queue full, starting. */
const BUSY = new Set([429, 503]);
const ENDED_BADLY = new Set(["failed", "cancelled"]);

/** @returns {string} an Idempotency-Key; crypto.randomUUID is missing on pages without TLS */
function newKey() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

export class Run {
  #api;
  #connection;
  #entry;
  #enter;
  #signal;
  /** The key of the job that may have been begun, and what was asked for under it. */
  #asked = { key: "", parameters: "" };

  /**
   * @param {Api} api @param {Connection} connection @param {Entry} entry
   * @param {(state: EntryState) => void} enter called whenever the entry changes
   */
  constructor(api, connection, entry, enter) {
    this.#api = api;
    this.#connection = connection;
    this.#entry = entry;
    this.#enter = enter;
    this.#signal = entry.abort.signal;
  }

  /** @returns {Promise<Result>} with the level asked for fetched. Throws ApiError, or AbortError when cancelled */
  async result() {
    for (let tries = 1, losses = 0; ; ) {
      try {
        const result = await this.#attempt();
        losses = 0;
        return result;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const problem = problemOf(error);
        if (isUnreachable(problem)) {
          if (!this.#entry.job && !(await this.#entry.isReadable())) throw new ApiError(ownProblem("unreadable"));
          losses = this.#entry.job ? 1 : losses + 1;
          tries += 1;
          if (losses > MOST_LOSSES || tries > 2 * MOST_TRIES) throw error;
          await this.#reconnect();
        } else {
          const { job } = this.#entry;
          const isLost = job !== null && (problem.status === 404 || problem.type === "job-lost");
          if (!(isLost || BUSY.has(problem.status)) || tries >= MOST_TRIES) throw error;
          // A job that goes on, or is done, is kept: it is only the question about it that found no time.
          if (!job || isLost || ENDED_BADLY.has(job.state)) {
            this.#entry.job = null;
            this.#asked.key = ""; // a failed job would be found under it again
          }
          if (!isLost) await this.#hold(problem.retryAfter ?? FIRST_WAIT_S * tries);
          tries += 1;
        }
      }
    }
  }

  async #attempt() {
    const entry = this.#entry;
    const accepted = entry.job ?? (await this.#submit());
    const job = await follow(this.#api, accepted, (latest) => this.#progress(latest), this.#signal);
    if (job.state !== "done") throw new ApiError(failureOf(job));
    const levels = Object.keys(job.results).map(Number);
    const result = new Result(job.id, entry.settings, levels.sort((a, b) => a - b), entry.format);
    result.partial = entry.remedy.includes("truncated=allow");
    entry.fetched = null;
    this.#enter("fetching");
    const level = result.levelFor(entry.settings);
    const picture = await this.#api.picture(job.id, level, this.#signal, (share) => {
      entry.fetched = share;
      this.#enter("fetching");
    });
    await result.keep(level, picture);
    result.seconds = (performance.now() - entry.startedAt) / 1000;
    return result;
  }

  async #submit() {
    const entry = this.#entry;
    entry.startedAt = performance.now();
    entry.uploaded = 0;
    this.#enter("uploading");
    const { parameters } = entry;
    if (!this.#asked.key || this.#asked.parameters !== parameters) this.#asked = { key: newKey(), parameters };
    const job = await this.#api.submit(entry.file, parameters, this.#asked.key, this.#signal, (share) => {
      entry.uploaded = share;
      this.#enter("uploading");
    });
    this.#progress(job);
    return job;
  }

  async #reconnect() {
    this.#entry.heldFor = 0;
    this.#enter("held");
    await this.#connection.lost(this.#signal);
  }

  /** @param {number} seconds */
  async #hold(seconds) {
    await countDown(Math.max(1, seconds), this.#signal, (left) => {
      this.#entry.heldFor = left;
      this.#enter("held");
    });
  }

  /** @param {import("./api.js").Job} job */
  #progress(job) {
    this.#entry.job = job;
    this.#enter(job.state === "queued" ? "queued" : "running");
  }
}
