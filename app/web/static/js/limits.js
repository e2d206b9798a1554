/** What the service takes, checked before anything is uploaded. */

import { ownProblem } from "./problem.js";
import { SCALES, sizeMade } from "./settings.js";

/** @typedef {import("./api.js").Limits} Limits */
/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./settings.js").Settings} Settings */
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

/** @param {Model} model @param {Settings} settings @returns {number[]} the levels that they can be made at, ascending */
export function levelsFor({ models }, { network, clean }) {
  const named = models.filter(({ name }) => name === network);
  const having = named.length ? named : models;
  const levels = [...new Set(having.flatMap((one) => one.levels))].sort((a, b) => a - b);
  if (clean === "auto") return levels;
  return levels.filter((level) => having.find((one) => one.levels.includes(level))?.clean);
}

/** @param {Model} model @param {Entry} entry @returns {number | null} the one it is made at; null: none reaches its size */
export function levelOf(model, entry) {
  const { size, settings } = entry;
  if (!settings.fits) return settings.scale;
  const levels = levelsFor(model, settings);
  if (settings.by === "scale") return levels.find((level) => level >= settings.amount) ?? null;
  if (!size) return levels[0] ?? null;
  const made = sizeMade(settings, size);
  return levels.find((level) => size.height * level >= made.height && size.width * level >= made.width) ?? null;
}

/** @param {Model | null} model @param {Entry} entry @returns {import("./problem.js").Problem | null} why it would be refused */
export function refusal(model, entry) {
  if (entry.isEmpty) return ownProblem("empty");
  if (!model) return null;
  const { limits } = model;
  if (entry.file.size > limits.max_input_bytes) return ownProblem("too-many-bytes", { status: 413 });
  if (entry.format && !takesFormat(limits, entry.format)) return ownProblem("unsupported-format", { status: 415 });
  const level = levelOf(model, entry);
  if (level === null) return ownProblem("out-of-reach", { status: 422 });
  if (entry.size && !takesPixels(limits, entry.size, level)) return ownProblem("too-many-pixels", { status: 413 });
  return null;
}

/** @param {Limits} limits @param {Entry} entry @returns {number[]} the scales at which it is not too large */
export function possibleScales(limits, entry) {
  const { size } = entry;
  return size ? SCALES.filter((scale) => takesPixels(limits, size, scale)) : [];
}
