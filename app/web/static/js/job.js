/** Following one job to its end: server-sent events, or asking again and again where there are none. */

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./api.js").Api} Api */

const POLL_MS = 700;
/** Longer than the pause between two of the service's signs of life. */
const SILENCE_MS = 40_000;

/**
 * Whether this tab listens to a job: to one at a time. Over HTTP/1.1 a browser has six connections to a host for all its tabs,
 * and each event stream keeps one; with two in each of three tabs, a fourth did not even load.
 */
let isListening = false;

/** @param {Job} job */
export const isOver = (job) => job.state === "done" || job.state === "failed" || job.state === "cancelled";

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} rejects when aborted */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * By the clock, as in a tab in the background timers may fire once a minute.
 * @param {number} seconds @param {AbortSignal} signal @param {(left: number) => void} onSecond
 * @returns {Promise<void>} rejects when aborted
 */
export async function countDown(seconds, signal, onSecond) {
  const end = performance.now() + seconds * 1000;
  for (let left = seconds; left > 0; left = (end - performance.now()) / 1000) {
    onSecond(Math.max(1, Math.round(left)));
    await pause(Math.min(1, left) * 1000, signal);
  }
}

/**
 * @param {Api} api
 * @param {Job} job as accepted
 * @param {(job: Job) => void} onChange
 * @param {AbortSignal} signal
 * @returns {Promise<Job>} done, failed or cancelled
 */
export async function follow(api, job, onChange, signal) {
  const heard = await listen(api, job, onChange, signal);
  let latest = heard;
  while (!isOver(latest)) {
    latest = await api.job(job.id, signal);
    onChange(latest);
    if (!isOver(latest)) await pause(POLL_MS, signal);
  }
  return latest;
}

/**
 * @param {Api} api
 * @param {Job} job
 * @param {(job: Job) => void} onChange
 * @param {AbortSignal} signal
 * @returns {Promise<Job>} the last state heard of: an end, or whatever was known when the events stopped coming
 */
function listen(api, job, onChange, signal) {
  const source = isListening ? null : api.events(job.id);
  if (!source) return Promise.resolve(job);
  isListening = true;
  let latest = job;
  return new Promise((resolve, reject) => {
    let silence = setTimeout(finish, SILENCE_MS);
    function finish() {
      isListening = false;
      clearTimeout(silence);
      source?.close();
      signal.removeEventListener("abort", stop);
      resolve(latest);
    }
    function stop() {
      finish();
      reject(new DOMException("cancelled", "AbortError"));
    }
    /** @param {MessageEvent<string>} event */
    function hear(event) {
      clearTimeout(silence);
      silence = setTimeout(finish, SILENCE_MS);
      latest = JSON.parse(event.data);
      onChange(latest);
      if (isOver(latest)) finish();
    }
    source.addEventListener("state", hear);
    source.onerror = finish;
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
  });
}
