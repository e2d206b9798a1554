/** The service, as seen over HTTP. Addresses are relative to the page, so a path prefix in front does no harm. */

/**
 * @typedef {{title: string, detail: string, status: number, retryAfter: number | null}} Problem
 *   status 0: no answer at all; retryAfter in seconds
 * @typedef {"queued" | "running" | "done" | "failed" | "cancelled"} JobState
 * @typedef {{id: string, state: JobState, progress: {done: number, total: number}, seconds_left: number | null,
 *   results: Record<string, string>, error: {title: string, detail: string, status: number} | null}} Job
 *   progress in tiles, total 0 until the picture is decoded; results: level to address; its id is the result's too
 * @typedef {{max_input_bytes: number, max_input_pixels: number, formats: string[]}} Limits
 * @typedef {{name: string, purpose: string, levels: number[]}} Network
 *   purpose: what it does besides enlarging, or empty
 * @typedef {{name: string, device: string, limits: Limits, models: Network[]}} Model
 */

/** An answer that is not what was asked for, in words that can be shown. */
export class ApiError extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const UNREACHABLE = {
  title: "The service does not answer",
  detail: "Check that you are connected and that the service is running, then try again.",
  status: 0,
  retryAfter: null,
};

/**
 * @param {number} status
 * @param {string} body
 * @param {string | null} retryAfter the header, in seconds
 * @returns {Problem} from problem+json, or from the status alone when the body is something else (a proxy's page)
 */
export function problemFrom(status, body, retryAfter) {
  /** @type {{title?: unknown, detail?: unknown}} */
  let parsed = {};
  try {
    parsed = JSON.parse(body) ?? {};
  } catch {
    // Not JSON: the status has to do.
  }
  const wait = Number.parseFloat(retryAfter ?? "");
  return {
    title: typeof parsed.title === "string" ? parsed.title : `The service answered ${status}`,
    detail:
      typeof parsed.detail === "string" ? parsed.detail : "Try again; if it stays so, ask whoever runs the service.",
    status,
    retryAfter: Number.isFinite(wait) ? wait : null,
  };
}

export class Api {
  /** @param {string | URL} base address of the page */
  constructor(base) {
    this.base = new URL(".", base);
    /** API key, or empty. */
    this.key = "";
  }

  /** @param {string} path @returns {URL} */
  url(path) {
    return new URL(path, this.base);
  }

  /** @returns {Record<string, string>} */
  #auth() {
    return this.key ? { "X-API-Key": this.key } : {};
  }

  /**
   * @param {string} path
   * @param {RequestInit} [options]
   * @returns {Promise<Response>} one whose status is 2xx; anything else is thrown as an ApiError
   */
  async #fetch(path, options = {}) {
    let response;
    try {
      response = await fetch(this.url(path), { ...options, headers: { ...options.headers, ...this.#auth() } });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(UNREACHABLE);
    }
    if (response.ok) return response;
    throw new ApiError(problemFrom(response.status, await response.text(), response.headers.get("Retry-After")));
  }

  /**
   * Send a picture; the work goes on after this returns. XMLHttpRequest, as fetch does not tell how far an upload is.
   * @param {File} file
   * @param {string} parameters such as "scale=4&frames=first"
   * @param {AbortSignal} signal
   * @param {(share: number) => void} onUpload share of the bytes sent, 0..1
   * @returns {Promise<Job>}
   */
  submit(file, parameters, signal, onUpload) {
    const form = new FormData();
    form.append("image", file, file.name);
    const request = new XMLHttpRequest();
    request.open("POST", this.url(`upscale?${parameters}`));
    request.setRequestHeader("Prefer", "respond-async");
    request.setRequestHeader("Accept", "image/png, application/json");
    for (const [name, value] of Object.entries(this.#auth())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onUpload(event.loaded / event.total);
    return new Promise((resolve, reject) => {
      const abort = () => request.abort();
      signal.addEventListener("abort", abort);
      request.onloadend = () => signal.removeEventListener("abort", abort);
      request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
      request.onerror = () => reject(new ApiError(UNREACHABLE));
      request.onload = () => {
        if (request.status === 202) return resolve(JSON.parse(request.responseText));
        const problem = problemFrom(request.status, request.responseText, request.getResponseHeader("Retry-After"));
        return reject(new ApiError(problem));
      };
      if (signal.aborted) return reject(new DOMException("cancelled", "AbortError"));
      return request.send(form);
    });
  }

  /** @param {string} id @param {AbortSignal} signal @returns {Promise<Job>} */
  async job(id, signal) {
    return (await this.#fetch(`jobs/${encodeURIComponent(id)}`, { signal, cache: "no-store" })).json();
  }

  /** @param {string} id @returns {EventSource | null} null: with a key there is none, as EventSource sends no headers */
  events(id) {
    return this.key ? null : new EventSource(this.url(`jobs/${encodeURIComponent(id)}/events`));
  }

  /** @param {string} id of a job; answers are not waited for, so that it works while the page is closing */
  cancel(id) {
    this.#fetch(`jobs/${encodeURIComponent(id)}`, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  /** @param {string} id of a result, which the service then forgets */
  forget(id) {
    this.#fetch(`upscale?id=${encodeURIComponent(id)}`, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  /** @param {string} id of a result @param {number} level @param {AbortSignal} [signal] @returns {Promise<Blob>} */
  async picture(id, level, signal) {
    return (
      await this.#fetch(`upscale?level=${level}&id=${encodeURIComponent(id)}`, { signal: signal ?? null })
    ).blob();
  }

  /** @returns {Promise<Model>} what is served, and what is accepted */
  async model() {
    return (await this.#fetch("model")).json();
  }
}
