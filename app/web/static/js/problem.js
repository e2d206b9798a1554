/** What went wrong with a request, as the service or the page tells it. */

/**
 * @typedef {{type: string, title: string, detail: string, status: number, retryAfter: number | null, id: string}} Problem
 *   type: the last part of the service's `type`, one of its own kinds of error, or one of the page's: "unreachable",
 *   "unreadable", "empty", "cancelled", "page", or "" for an answer that is not the service's; status 0: no answer at all;
 *   retryAfter in seconds; id: of the request
 */

/** Statuses of proxies that do not reach the service. */
const GATEWAY = new Set([502, 503, 504]);

/** An answer that is not what was asked for. */
export class ApiError extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** @param {string} type @param {Partial<Problem>} [more] @returns {Problem} one of the page's own */
export function ownProblem(type, more = {}) {
  return { type, title: "", detail: "", status: 0, retryAfter: null, id: "", ...more };
}

/** @param {unknown} error @returns {Problem} */
export function problemOf(error) {
  return error instanceof ApiError ? error.problem : ownProblem("page");
}

/** @param {Problem} problem @returns {boolean} whether nobody answered, or only a proxy */
export function isUnreachable(problem) {
  return problem.type === "unreachable" || (problem.type === "" && GATEWAY.has(problem.status));
}

/**
 * @param {number} status
 * @param {unknown} body a problem document, or anything else
 * @param {number | null} [retryAfter] seconds
 * @returns {Problem}
 */
export function problemFrom(status, body, retryAfter = null) {
  const said = /** @type {Record<string, unknown>} */ (body && typeof body === "object" ? body : {});
  const word = (/** @type {string} */ name) => (typeof said[name] === "string" ? said[name] : "");
  return {
    type: word("type").split(":").at(-1) ?? "",
    title: word("title"),
    detail: word("detail"),
    status,
    retryAfter,
    id: word("request_id"),
  };
}

/** @param {import("./api.js").Job} job that ended without a result @returns {Problem} */
export function failureOf(job) {
  if (job.error) return problemFrom(job.error.status, job.error);
  return ownProblem(job.state === "cancelled" ? "cancelled" : "internal-error", { status: 500 });
}
