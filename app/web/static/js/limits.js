/** What the service takes, checked before anything is uploaded. */

import { ownProblem } from "./problem.js";
import { SCALES } from "./settings.js";

/** @typedef {import("./api.js").Limits} Limits */
/** @typedef {import("./entry.js").Entry} Entry */

/** @param {Limits} limits @param {string} format in lower case @returns {boolean} */
export function takesFormat(limits, format) {
  return limits.formats.includes(format.toUpperCase());
}

/** @param {Limits} limits @param {import("./header.js").Size} size @param {number} scale @returns {boolean} */
export function takesPixels(limits, size, scale) {
  const pixels = size.height * size.width;
  return pixels <= limits.max_input_pixels && pixels * scale ** 2 <= limits.max_output_pixels;
}

/** @param {Limits} limits @param {Entry} entry @returns {import("./problem.js").Problem | null} why it would be refused */
export function refusal(limits, entry) {
  if (entry.file.size > limits.max_input_bytes) return ownProblem("too-many-bytes", { status: 413 });
  if (entry.format && !takesFormat(limits, entry.format)) return ownProblem("unsupported-format", { status: 415 });
  if (entry.size && !takesPixels(limits, entry.size, entry.settings.scale)) {
    return ownProblem("too-many-pixels", { status: 413 });
  }
  return null;
}

/** @param {Limits} limits @param {Entry} entry @returns {number[]} the scales at which it is not too large */
export function possibleScales(limits, entry) {
  const { size } = entry;
  return size ? SCALES.filter((scale) => takesPixels(limits, size, scale)) : [];
}
