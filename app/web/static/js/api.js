/** The service, as seen over HTTP. Addresses are relative to the page, so a path prefix in front does no harm. */

import { ApiError, ownProblem, problemFrom } from "./problem.js";

/**
 * @typedef {"queued" | "running" | "done" | "failed" | "cancelled"} JobState
 * @typedef {{id: string, state: JobState, progress: {done: number, total: number}, seconds_left: number | null,
 *   results: Record<string, string>, error: {type: string, title: string, detail: string, status: number} | null}} Job
 *   progress in tiles, total 0 until the picture is decoded; results: level to address; its id is the result's too
 * @typedef {{max_input_bytes: number, max_input_pixels: number, max_output_pixels: number, formats: string[]}} Limits
 * @typedef {{name: string, purpose: string, levels: number[], clean?: boolean, full_strength_of?: string}} Network
 *   purpose: what it does besides enlarging, or empty; clean: whether its clean-up has a strength; full_strength_of: the
 *   network that this one is at full strength of that
 * @typedef {{name: string, device: string, limits: Limits, models: Network[]}} Model
 */

/** @param {string} body @returns {unknown} null where it is no JSON, such as a proxy's page */
function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

/** @param {string | null} header Retry-After @returns {number | null} seconds */
function seconds(header) {
  const value = Number.parseFloat(header ?? "");
  return Number.isFinite(value) ? value : null;
}

/** @param {unknown} [error] of a request @returns {unknown} to be thrown: itself if the request was aborted, else that nobody answered */
function lost(error) {
  return error instanceof DOMException && error.name === "AbortError" ? error : new ApiError(ownProblem("unreachable"));
}

/** The service as the page needs it. What is not its answer, such as the page of a captive portal, is nobody's. */
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
      throw lost(error);
    }
    if (response.ok) return response;
    const body = parsed(await response.text().catch(() => ""));
    throw new ApiError(problemFrom(response.status, body, seconds(response.headers.get("Retry-After"))));
  }

  /** @param {string} path @param {RequestInit} options @returns {Promise<any>} */
  async #json(path, options) {
    const response = await this.#fetch(path, options);
    return response.json().catch((error) => Promise.reject(lost(error)));
  }

  /**
   * Send a picture; the work goes on after this returns. XMLHttpRequest, as fetch does not tell how far an upload is.
   * @param {File} file
   * @param {string} parameters such as "scale=4&frames=first"
   * @param {string} key sent again when the response was lost, so that the picture is not computed twice
   * @param {AbortSignal} signal
   * @param {(share: number) => void} onUpload share of the bytes sent, 0..1
   * @returns {Promise<Job>}
   */
  submit(file, parameters, key, signal, onUpload) {
    const form = new FormData();
    form.append("image", file, file.name);
    const request = new XMLHttpRequest();
    request.open("POST", this.url(`upscale?${parameters}`));
    request.setRequestHeader("Prefer", "respond-async");
    request.setRequestHeader("Idempotency-Key", key);
    request.setRequestHeader("Accept", "image/png, application/json");
    for (const [name, value] of Object.entries(this.#auth())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onUpload(event.loaded / event.total);
    return new Promise((resolve, reject) => {
      const abort = () => request.abort();
      signal.addEventListener("abort", abort);
      request.onloadend = () => signal.removeEventListener("abort", abort);
      request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
      request.onerror = () => reject(lost());
      request.onload = () => {
        const answer = /** @type {Job | null} */ (parsed(request.responseText));
        if (request.status === 202 && answer) return resolve(answer);
        if (request.status < 300) return reject(lost());
        const wait = seconds(request.getResponseHeader("Retry-After"));
        return reject(new ApiError(problemFrom(request.status, answer, wait)));
      };
      if (signal.aborted) return reject(new DOMException("cancelled", "AbortError"));
      return request.send(form);
    });
  }

  /** @param {string} id @param {AbortSignal} signal @returns {Promise<Job>} */
  async job(id, signal) {
    return this.#json(`jobs/${encodeURIComponent(id)}`, { signal, cache: "no-store" });
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

  /**
   * @param {string} id of a result
   * @param {number} level
   * @param {AbortSignal} signal
   * @param {(share: number) => void} [onShare] share of the bytes that are here, 0..1; not called if their number is not told
   * @returns {Promise<Blob>}
   */
  async picture(id, level, signal, onShare = () => {}) {
    const address = `upscale?level=${level}&id=${encodeURIComponent(id)}`;
    const response = await this.#fetch(address, { signal });
    if (!response.headers.get("Content-Type")?.startsWith("image/")) throw lost();
    const total = Number(response.headers.get("Content-Length"));
    let here = 0;
    /** @type {TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>} */
    const counted = new TransformStream({
      transform(bytes, out) {
        here += bytes.byteLength;
        if (here <= total) onShare(here / total); // of a body that a proxy has compressed, it counts other bytes
        out.enqueue(bytes);
      },
    });
    try {
      return await new Response(response.body?.pipeThrough(counted), { headers: response.headers }).blob();
    } catch (error) {
      throw lost(error);
    }
  }

  /** @returns {Promise<boolean>} whether it is the service that answers, in whatever state it is */
  async answers() {
    try {
      const response = await fetch(this.url("healthz"), { cache: "no-store" });
      return (response.headers.get("Content-Type") ?? "").includes("json");
    } catch {
      return false;
    }
  }

  /** @returns {Promise<Model>} what is served, and what is accepted */
  async model() {
    return this.#json("model", { cache: "no-store" });
  }
}
